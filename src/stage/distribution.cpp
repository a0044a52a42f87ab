#include "stage/distribution.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

namespace tandem::stage {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
/// Partial sums that run side by side; fixed, so that the sum does not depend on the machine.
constexpr std::size_t kLanes = 16;
/// Elements summed in single precision before the sum joins the double one.
constexpr std::size_t kBlock = 1024;

/// exp(-y) for y >= 0. Selections compare bits: comparisons of floats would stop the vectorizer.
inline float exp_minus(float y) {
  // Numbers without a sign are ordered as their bits.
  constexpr auto kLargest = std::bit_cast<std::int32_t>(87.0F);
  const auto bits = std::bit_cast<std::int32_t>(y);
  const float x = -std::bit_cast<float>(std::min(bits, kLargest));
  // x = n ln 2 + r with |r| <= ln 2 / 2; adding 1.5 * 2^23 rounds to an integer in the low bits.
  constexpr float kRound = 12582912.0F;
  const float shifted = x * 1.44269504F + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * 0.693145752F) - n * 1.42860677e-6F;
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * r * r + r + 1.0F;
  const auto power =
      std::bit_cast<std::uint32_t>(p) + (std::bit_cast<std::uint32_t>(shifted) << 23);
  const std::uint32_t mask = bits > kLargest ? 0U : ~0U;
  return std::bit_cast<float>(power & mask);
}

/// A number whose order as an integer is that of the float: NaNs lie beyond the infinities.
inline std::int32_t ordered(float x) {
  const auto bits = std::bit_cast<std::int32_t>(x);
  return bits ^ ((bits >> 31) & 0x7fffffff);
}

/// The largest logit; nullopt when one is NaN or +infinity, or none is finite.
std::optional<float> finite_max(std::span<const float> logits) {
  std::int32_t high = std::numeric_limits<std::int32_t>::min();
  std::int32_t low = std::numeric_limits<std::int32_t>::max();
  for (const float logit : logits) {
    const std::int32_t key = ordered(logit);
    high = std::max(high, key);
    low = std::min(low, key);
  }
  if (high >= ordered(kInfinity) || high <= ordered(-kInfinity) || low < ordered(-kInfinity)) {
    return std::nullopt;
  }
  // ordered() is its own inverse.
  return std::bit_cast<float>(high ^ ((high >> 31) & 0x7fffffff));
}

/// Sum of exp(logit - max).
double sum_of_exp(std::span<const float> logits, float max) {
  double total = 0;
  for (std::size_t begin = 0; begin < logits.size(); begin += kBlock) {
    const std::size_t count = std::min(kBlock, logits.size() - begin);
    const float* x = logits.data() + begin;
    std::array<float, kLanes> lanes{};
    std::size_t i = 0;
    for (; i + kLanes <= count; i += kLanes) {
      for (std::size_t lane = 0; lane < kLanes; ++lane) {
        lanes[lane] += exp_minus(max - x[i + lane]);
      }
    }
    for (std::size_t lane = 0; i + lane < count; ++lane) {
      lanes[lane] += exp_minus(max - x[i + lane]);
    }
    for (const float lane : lanes) total += lane;
  }
  return total;
}

/// Keeps the best `count` in a heap whose top is the worst of them. Ids must ascend.
class BestHeap {
 public:
  explicit BestHeap(std::size_t count) : count_(count) {}

  void add(std::int32_t id, float value) {
    if (heap_.size() == count_) {
      if (count_ == 0 || !(value > heap_.front().value)) return;
      std::pop_heap(heap_.begin(), heap_.end(), better);
      heap_.back() = {id, value};
    } else {
      if (!(value > -kInfinity)) return;
      heap_.push_back({id, value});
    }
    std::push_heap(heap_.begin(), heap_.end(), better);
  }
  std::vector<Candidate> sorted() && {
    std::sort_heap(heap_.begin(), heap_.end(), better);
    return std::move(heap_);
  }

 private:
  std::size_t count_;
  std::vector<Candidate> heap_;
};

}  // namespace

float exp_negative(float x) { return exp_minus(-x); }

void exp_below(std::span<float> values, float max, float factor) {
  // A factor that overflowed would make the best 0 * infinity.
  const float finite = std::min(factor, std::numeric_limits<float>::max());
  for (float& value : values) value = exp_minus((max - value) * finite);
}

std::optional<Softmax> softmax(std::span<const float> logits) {
  const auto max = finite_max(logits);
  if (!max) return std::nullopt;
  const auto first = std::find(logits.begin(), logits.end(), *max);
  const Candidate best{static_cast<std::int32_t>(first - logits.begin()), *max};
  return Softmax{best, static_cast<double>(*max) + std::log(sum_of_exp(logits, *max))};
}

std::vector<Candidate> best_of(std::span<const float> values, std::size_t count) {
  BestHeap heap(std::min(count, values.size()));
  for (std::size_t i = 0; i < values.size(); ++i) heap.add(static_cast<std::int32_t>(i), values[i]);
  return std::move(heap).sorted();
}

std::vector<Candidate> best_of(std::span<const Candidate> values, std::size_t count) {
  BestHeap heap(std::min(count, values.size()));
  for (const Candidate& each : values) heap.add(each.id, each.value);
  return std::move(heap).sorted();
}

std::vector<TokenLogprob> top_logprobs(std::span<const float> logits, const Softmax& softmax,
                                       std::size_t count) {
  std::vector<TokenLogprob> top;
  if (count == 0) return top;
  for (const Candidate& each : best_of(logits, count)) {
    top.push_back({each.id, softmax.logprob(each.value)});
  }
  return top;
}

}  // namespace tandem::stage
