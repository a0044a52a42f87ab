// What the gateway accepts, every part below it accepts: the frame, the stage's check, the sampler.

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "cluster/wire/frame.h"
#include "rules/tick_entry.h"
#include "scheduler/request_check.h"
#include "scheduler/sequence.h"
#include "stage/penalties.h"
#include "stage/sampler.h"
#include "stage/tick_check.h"
#include "tandem/limits.h"

namespace tandem::scheduler {
namespace {

constexpr std::int32_t kVocabulary = 96;
constexpr int kContext = 64;

class RandomRequests {
 public:
  explicit RandomRequests(std::uint32_t seed) : random_(seed) {}

  Request make() {
    Request request;
    for (std::size_t i = pick(6); i > 0; --i) request.prompt.push_back(id());
    request.max_tokens = static_cast<int>(pick(9)) - (rarely() ? 5 : 0);
    for (std::size_t i = pick(3); i > 0; --i) request.stop_ids.push_back(id());
    request.top_logprobs = static_cast<std::uint32_t>(pick(rarely() ? 2000 : 5));
    SamplingParams& p = request.sampling;
    for (float* number : {&p.temperature, &p.top_p, &p.min_p, &p.xtc_probability, &p.xtc_threshold,
                          &p.repetition_penalty, &p.presence_penalty, &p.frequency_penalty}) {
      if (pick(3) == 0) *number = real();
    }
    for (std::int32_t* count : {&p.top_k, &p.repetition_context, &p.presence_context,
                                &p.frequency_context, &p.min_tokens_to_keep}) {
      if (pick(3) == 0) *count = static_cast<std::int32_t>(pick(100)) - (rarely() ? 90 : 0);
    }
    for (std::size_t i = pick(4); i > 0; --i) p.logit_bias.emplace_back(id(), real() * 100);
    for (std::size_t i = pick(4); i > 0; --i) {
      p.xtc_special_tokens.push_back(pick(3) == 0 ? 1 << 20 : id());
    }
    p.seed = random_();
    return request;
  }

  std::vector<float> logits() {
    std::normal_distribution<float> normal(0, 8);
    std::vector<float> row(kVocabulary);
    for (float& logit : row) logit = normal(random_);
    return row;
  }

 private:
  std::size_t pick(std::size_t n) { return random_() % n; }
  bool rarely() { return pick(40) == 0; }
  std::int32_t id() {
    if (rarely()) return pick(2) == 0 ? -1 : kVocabulary;
    return static_cast<std::int32_t>(pick(kVocabulary));
  }
  /// Mostly in [0, 1), often tiny, rarely out of every range.
  float real() {
    if (rarely()) {
      const float odd[] = {std::nanf(""), std::numeric_limits<float>::infinity(), -1, 1, 1e30F};
      return odd[pick(5)];
    }
    const float unit = static_cast<float>(pick(1000)) / 1000;
    return unit * std::pow(10.0F, pick(2) == 0 ? 0.0F : -static_cast<float>(pick(46)));
  }

  std::mt19937 random_;
};

/// The tick of a request's whole prompt, as a stage gets it.
Tick sent(const Request& request) {
  Sequence sequence;
  sequence.request = request;
  sequence.tokens = request.prompt;
  sequence.lose_kv(7);
  cluster::Frame frame;
  frame.tick.epoch = frame.tick.number = 1;
  frame.tick.entries.push_back(
      sequence.entry({.sequence = 7, .count = sequence.total(), .sample = request.max_tokens > 0}));
  const auto arrived = cluster::decode(cluster::encode(frame));
  EXPECT_TRUE(arrived.ok()) << arrived.error().message;
  return arrived.ok() ? arrived->tick : Tick{};
}

TEST(Rulebook, WhatTheGatewayAcceptsTheStageAcceptsAndTheSamplerDraws) {
  const std::uint32_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  RandomRequests random(seed);
  int accepted = 0;
  int refused = 0;
  for (int i = 0; i < 20000 && !::testing::Test::HasFailure(); ++i) {
    const Request request = random.make();
    if (!check_request(request, kVocabulary, kContext).ok()) {
      ++refused;
      continue;
    }
    ++accepted;
    const Tick tick = sent(request);
    const auto whole = stage::check_tick(tick, {}, {true, 32, DType::kF32});
    ASSERT_TRUE(whole.ok()) << whole.error().message;
    const auto status = rules::check_entry(tick.entries.at(0), {kVocabulary, kContext});
    ASSERT_TRUE(status.ok()) << status.error().message;
    auto logits = random.logits();
    const SamplingParams& params = tick.entries.at(0).sampling.value();
    stage::Penalties().apply(logits, params, request.prompt, 0);
    const auto drawn = stage::sample(logits, params, 9, 2);
    ASSERT_TRUE(drawn.ok()) << drawn.error().message << ", repetition_penalty "
                            << params.repetition_penalty;
  }
  EXPECT_GT(accepted, 1000);
  EXPECT_GT(refused, 1000);
}

}  // namespace
}  // namespace tandem::scheduler
