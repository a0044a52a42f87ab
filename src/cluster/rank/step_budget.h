#pragma once
// How long may one tick compute before it counts as stuck? Pure: durations are parameters.

#include <array>
#include <chrono>
#include <cstdint>

namespace tandem::cluster {

/// Learns from measured ticks. Ticks are grouped by the power of two of their token count, because
/// a decode step and a prefill chunk differ by orders of magnitude. Not thread-safe.
class StepBudget {
 public:
  using Duration = std::chrono::microseconds;

  /// A tick of `tokens` tokens took `took`.
  void observe(std::uint64_t tokens, Duration took);
  /// What a tick of `tokens` tokens may take: kStepFactor times the slowest of its group lately (at
  /// least kStepFloor); in a group without a measurement kWarmUp and kWarmUpPerToken for each
  /// token.
  Duration allowed(std::uint64_t tokens) const;

 private:
  static constexpr int kGroups = 32;
  static constexpr int kFade = 16;  // a slow tick is forgotten by a sixteenth a tick
  struct Group {
    Duration slowest{0};
    int count = 0;
  };
  static int group(std::uint64_t tokens);
  std::array<Group, kGroups> groups_{};
};

}  // namespace tandem::cluster
