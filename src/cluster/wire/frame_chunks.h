#pragma once
// Frames cut into messages of bounded size, so that nobody can make a rank hold a large message
// before it has been authenticated, and a large frame flows while it is still being read.
//
// A message is a header of 12 bytes and a piece of a frame: epoch (8 bytes, little endian), bytes
// of the frame that follow in later messages (4 bytes, little endian; 0: this piece is the last).
//
// Between frames the dialer may send a probe: the header with kProbeMark, and 8 bytes that name it.
// The listener sends the same bytes back, which nothing else ever is.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tandem/error.h"

namespace tandem::cluster {

inline constexpr std::size_t kChunkHeaderBytes = 12;
/// Most bytes of a frame in one message.
inline constexpr std::size_t kMaxChunkBytes = 1 << 20;

using ChunkHeader = std::array<char, kChunkHeaderBytes>;
ChunkHeader make_chunk_header(std::uint64_t epoch, std::uint32_t remaining);

/// In place of the bytes that follow: more than any frame has.
inline constexpr std::uint32_t kProbeMark = 0xFFFFFFFF;
inline constexpr std::size_t kProbeBytes = kChunkHeaderBytes + 8;
std::string make_probe(std::uint64_t epoch, std::uint64_t number);
/// The number of a probe of that epoch; nullopt: something else.
std::optional<std::uint64_t> read_probe(std::string_view message, std::uint64_t epoch);

/// Puts frames together again. One thread.
class FrameAssembler {
 public:
  explicit FrameAssembler(std::uint64_t epoch) : epoch_(epoch) {}

  /// The header of the next message, whose piece has `bytes` bytes. False: a frame of another
  /// epoch, skip the piece. Errors: pieces that do not fit together, a frame over kMaxFrameBytes.
  Result<bool> begin(const ChunkHeader& header, std::size_t bytes);
  /// Bytes of the piece, in any number of parts.
  void append(std::string_view part) { frame_.append(part); }
  /// After the piece: the frame when it was the last.
  std::optional<std::string> end();

 private:
  std::uint64_t epoch_;
  std::string frame_;
  std::uint64_t total_ = 0;  // of the frame being put together; 0 between frames
  std::uint32_t remaining_ = 0;
  bool within_ = false;
};

}  // namespace tandem::cluster
