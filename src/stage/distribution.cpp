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

inline float exp_negative_inline(float x) {
  // x = n ln 2 + r with |r| <= ln 2 / 2; adding 1.5 * 2^23 rounds to an integer in the low bits.
  constexpr float kRound = 12582912.0F;
  const float clamped = x < -87.0F ? -87.0F : x;
  const float shifted = clamped * 1.44269504F + kRound;
  const float n = shifted - kRound;
  const float r = (clamped - n * 0.693145752F) - n * 1.42860677e-6F;
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * r * r + r + 1.0F;
  const auto exponent = std::bit_cast<std::uint32_t>(shifted) << 23;
  const float power = std::bit_cast<float>(std::bit_cast<std::uint32_t>(p) + exponent);
  return x < -87.0F ? 0.0F : power;
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
        lanes[lane] += exp_negative_inline(x[i + lane] - max);
      }
    }
    for (std::size_t lane = 0; i + lane < count; ++lane) {
      lanes[lane] += exp_negative_inline(x[i + lane] - max);
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

float exp_negative(float x) { return exp_negative_inline(x); }

std::optional<Softmax> softmax(std::span<const float> logits) {
  // Most likely first by blocks: the maximum of a block vectorizes, the search for its id is rare.
  Candidate best{-1, -kInfinity};
  bool finite = true;
  for (std::size_t i = 0; i < logits.size(); ++i) finite = finite && logits[i] < kInfinity;
  if (!finite) return std::nullopt;
  float max = -kInfinity;
  for (const float logit : logits) max = logit > max ? logit : max;
  if (!(max > -kInfinity)) return std::nullopt;
  const auto it = std::find(logits.begin(), logits.end(), max);
  best = {static_cast<std::int32_t>(it - logits.begin()), max};
  return Softmax{best, static_cast<double>(max) + std::log(sum_of_exp(logits, max))};
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
