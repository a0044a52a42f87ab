#include <gtest/gtest.h>

#include <limits>
#include <numeric>
#include <set>

#include "kernels/moe.h"
#include "loop_values.h"
#include "node_support.h"

namespace tandem::kernels {
namespace {

struct Choice {
  std::vector<int> ids;
  std::vector<double> weights;
};

/// The rules of the papers and of transformers, in double, by sorting.
Choice route_twin(const RouterSpec& spec, const std::vector<float>& logits,
                  const std::vector<float>& correction) {
  const int experts = spec.experts;
  std::vector<double> scores(logits.begin(), logits.end());
  const auto softmax = [](std::vector<double>& x) {
    const double top = *std::max_element(x.begin(), x.end());
    double sum = 0;
    for (double& v : x) sum += v = std::exp(v - top);
    for (double& v : x) v /= sum;
  };
  if (spec.score == RouterSpec::Score::kSigmoid) {
    for (double& v : scores) v = 1 / (1 + std::exp(-v));
  } else if (!spec.softmax_after_top_k) {
    softmax(scores);
  }
  std::vector<double> choice = scores;
  for (std::size_t i = 0; i < correction.size(); ++i) choice[i] += correction[i];
  std::vector<int> allowed;
  if (spec.groups > 1) {
    const int size = experts / spec.groups;
    std::vector<std::pair<double, int>> groups;
    for (int g = 0; g < spec.groups; ++g) {
      std::vector<double> members(choice.begin() + g * size, choice.begin() + (g + 1) * size);
      std::sort(members.rbegin(), members.rend());
      const bool two = spec.group_score == RouterSpec::GroupScore::kTopTwoSum && size > 1;
      groups.emplace_back(-(members[0] + (two ? members[1] : 0)), g);
    }
    std::sort(groups.begin(), groups.end());
    for (int i = 0; i < spec.top_groups; ++i) {
      for (int e = 0; e < size; ++e) allowed.push_back(groups[i].second * size + e);
    }
  } else {
    allowed.resize(experts);
    std::iota(allowed.begin(), allowed.end(), 0);
  }
  std::sort(allowed.begin(), allowed.end(),
            [&](int a, int b) { return choice[a] != choice[b] ? choice[a] > choice[b] : a < b; });
  Choice result;
  result.ids.assign(allowed.begin(), allowed.begin() + spec.top_k);
  for (const int id : result.ids) result.weights.push_back(scores[id]);
  if (spec.softmax_after_top_k) softmax(result.weights);
  const double sum = std::accumulate(result.weights.begin(), result.weights.end(), 0.0);
  for (double& w : result.weights) {
    if (spec.normalize) w /= sum + spec.normalize_epsilon;
    w *= spec.scale;
  }
  return result;
}

struct Case {
  const char* name;
  RouterSpec spec;
  bool corrected;
};

std::vector<Case> cases() {
  using Score = RouterSpec::Score;
  using Group = RouterSpec::GroupScore;
  RouterSpec mixtral{.score = Score::kSoftmax, .experts = 8, .top_k = 2};
  mixtral.softmax_after_top_k = true;
  RouterSpec qwen{.score = Score::kSoftmax, .experts = 128, .top_k = 8};
  qwen.normalize = true;
  RouterSpec greedy{.score = Score::kSoftmax, .experts = 64, .top_k = 6};
  greedy.scale = 16;
  RouterSpec limited{.score = Score::kSoftmax,
                     .experts = 160,
                     .top_k = 6,
                     .groups = 8,
                     .top_groups = 3,
                     .group_score = Group::kMax};
  limited.scale = 16;
  RouterSpec v3{.score = Score::kSigmoid,
                .experts = 256,
                .top_k = 8,
                .groups = 8,
                .top_groups = 4,
                .group_score = Group::kTopTwoSum};
  v3.normalize = true;
  v3.normalize_epsilon = 1e-20f;
  v3.scale = 2.5f;
  RouterSpec one{.score = Score::kSigmoid,
                 .experts = 4,
                 .top_k = 1,
                 .groups = 4,
                 .top_groups = 1,
                 .group_score = Group::kTopTwoSum};
  return {{"mixtral", mixtral, false},
          {"qwen3_moe", qwen, false},
          {"v2 greedy", greedy, false},
          {"v2 group limited", limited, false},
          {"v3", v3, true},
          {"groups of one", one, true}};
}

TEST(Route, EveryVariantMatchesItsRuleOnBothBackends) {
  ThreadPool pool(2);
  Rng rng(41);
  const int tokens = 97;
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.name);
    const std::vector<float> logits = random_values(rng, tokens * c.spec.experts, 2);
    std::vector<float> correction;
    // Corrections that make most corrected scores negative: masked experts must still lose.
    if (c.corrected) correction = random_values(rng, c.spec.experts, 0.3f);
    for (float& value : correction) value -= 1.5f;
    for (const test::Backend backend : {test::Backend::kCpu, test::Backend::kMlx}) {
      const auto ops = test::ops_of(Isa::kPortable, Activations::kF32, &pool, backend);
      std::optional<mx::array> added;
      if (c.corrected) added = array_of(correction, {c.spec.experts});
      const Routing got = ops->route(array_of(logits, {tokens, c.spec.experts}), c.spec, added);
      ASSERT_EQ(got.ids.dtype(), mx::int32);
      const std::vector<float> ids = values_of(got.ids);
      const std::vector<float> weights = values_of(got.weights);
      for (int t = 0; t < tokens; ++t) {
        const Choice want = route_twin(
            c.spec,
            {logits.begin() + t * c.spec.experts, logits.begin() + (t + 1) * c.spec.experts},
            correction);
        for (int k = 0; k < c.spec.top_k; ++k) {
          ASSERT_EQ(static_cast<int>(ids[t * c.spec.top_k + k]), want.ids[k]) << t;
          ASSERT_NEAR(weights[t * c.spec.top_k + k], want.weights[k],
                      2e-6 * std::abs(want.weights[k]));
        }
      }
    }
  }
}

TEST(Route, TiesGoToTheLowerId) {
  const auto ops = test::ops_of(Isa::kPortable, Activations::kF32, nullptr);
  RouterSpec spec{.score = RouterSpec::Score::kSoftmax, .experts = 6, .top_k = 3};
  const Routing got = ops->route(array_of({1, 2, 2, 0, 2, 2}, {1, 6}), spec);
  EXPECT_EQ(values_of(got.ids), (std::vector<float>{1, 2, 4}));
}

TEST(Route, UndefinedLogitsStillChooseDistinctExperts) {
  const auto ops = test::ops_of(Isa::kPortable, Activations::kF32, nullptr);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const Case& c : cases()) {
    std::vector<float> logits(c.spec.experts, nan);
    std::optional<mx::array> added;
    if (c.corrected) added = array_of(logits, {c.spec.experts});
    const Routing got = ops->route(array_of(logits, {1, c.spec.experts}), c.spec, added);
    const std::vector<float> ids = values_of(got.ids);
    EXPECT_EQ(std::set<float>(ids.begin(), ids.end()).size(), ids.size()) << c.name;
    for (const float id : ids) {
      EXPECT_GE(id, 0);
      EXPECT_LT(id, c.spec.experts);
    }
  }
}

}  // namespace
}  // namespace tandem::kernels
