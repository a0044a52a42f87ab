#pragma once
// How many bytes go into one message of a link. Pure: the clock is a parameter.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "cluster/wire/frame_chunks.h"
#include "tandem/deadline.h"

namespace tandem::cluster {

/// A message is handed over whole, so on a slow link a long one looks like none at all. This keeps
/// messages so short that one takes a quarter of a second, by how soon the probe behind a piece
/// comes back. Begins small: a fast link is known by its first piece. Not thread-safe.
class LinkPace {
 public:
  static constexpr std::size_t kLeastBytes = 16 << 10;

  /// Bytes of the next piece of a frame.
  std::size_t piece() const { return piece_; }
  /// Whether a piece of so many bytes that begins now tells something.
  bool tells(std::size_t bytes) const { return probe_ == 0 && bytes >= kLeastBytes; }
  /// A piece of `bytes` began at `began`; probe `number` follows it.
  void sent(std::size_t bytes, Clock::time_point began, std::uint64_t number) {
    bytes_ = bytes;
    began_ = began;
    probe_ = number;
  }
  /// A probe came back; `round_trip`: what the way alone takes, when that is known.
  void answered(std::uint64_t number, Clock::time_point now,
                std::optional<Clock::duration> round_trip) {
    if (probe_ == 0 || number < probe_) return;
    probe_ = 0;
    const std::chrono::duration<double> took = now - began_ - round_trip.value_or(kNoTime);
    const double seconds = std::max(took.count(), 1e-6);
    const double bytes = static_cast<double>(bytes_) / seconds * kPieceSeconds;
    piece_ = static_cast<std::size_t>(
        std::clamp(bytes, static_cast<double>(kLeastBytes), static_cast<double>(kMaxChunkBytes)));
  }

 private:
  static constexpr double kPieceSeconds = 0.25;
  static constexpr Clock::duration kNoTime{0};

  std::size_t piece_ = kLeastBytes;
  std::size_t bytes_ = 0;
  Clock::time_point began_{};
  std::uint64_t probe_ = 0;  // awaited; 0: none
};

}  // namespace tandem::cluster
