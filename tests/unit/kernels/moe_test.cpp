#include "kernels/moe.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/ops.h"
#include "unit/kernels/matrices.h"

namespace tandem::kernels {
namespace {

using test::Random;
using test::TestMatrix;

constexpr std::uint64_t kSeed = 20240612;
constexpr int kExperts = 7;
constexpr int kHidden = 128;
constexpr int kInner = 96;

struct Weights {
  TestMatrix gate;
  TestMatrix up;
  TestMatrix down;
};

Weights make(Random& random, std::optional<Quantization> quantization, int experts = kExperts) {
  const auto one = [&](int rows, int cols) {
    TestMatrix m = quantization ? test::quantized_matrix(random, experts, rows, cols, *quantization,
                                                         DType::kBF16)
                                : test::dense_matrix(random, experts, rows, cols, DType::kBF16);
    return m;
  };
  return {one(kInner, kHidden), one(kInner, kHidden), one(kHidden, kInner)};
}

struct Prepared {
  Matrix gate;
  Matrix up;
  Matrix down;
};

Prepared prepare(const Ops& ops, const Weights& w) {
  return {ops.prepare(w.gate.data).value(), ops.prepare(w.up.data).value(),
          ops.prepare(w.down.data).value()};
}

double act(GatedActivation kind, double x) {
  switch (kind) {
    case GatedActivation::kSwiGlu:
      return x / (1 + std::exp(-x));
    case GatedActivation::kGeGluTanh:
      return x / 2 * (1 + std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
    case GatedActivation::kGeGlu:
      break;
  }
  return x / 2 * std::erfc(-x / std::sqrt(2.0));
}

std::vector<double> times(const TestMatrix& m, int index, const std::vector<double>& x) {
  std::vector<double> y(static_cast<std::size_t>(m.data.rows));
  const double* w =
      m.values.data() + static_cast<std::ptrdiff_t>(index) * m.data.rows * m.data.cols;
  for (double& value : y) {
    value = std::inner_product(x.begin(), x.end(), w, 0.0);
    w += m.data.cols;
  }
  return y;
}

std::vector<double> expert(const Weights& w, int index, const float* x, GatedActivation kind) {
  const std::vector<double> in(x, x + kHidden);
  std::vector<double> gate = times(w.gate, index, in);
  const std::vector<double> up = times(w.up, index, in);
  for (std::size_t i = 0; i < gate.size(); ++i) gate[i] = act(kind, gate[i]) * up[i];
  return times(w.down, index, gate);
}

/// Random distinct experts a token, in no order.
std::vector<std::int32_t> choose(Random& random, int tokens, int k) {
  std::vector<std::int32_t> ids;
  for (int t = 0; t < tokens; ++t) {
    std::vector<std::int32_t> all(kExperts);
    std::iota(all.begin(), all.end(), 0);
    std::shuffle(all.begin(), all.end(), random);
    ids.insert(ids.end(), all.begin(), all.begin() + k);
  }
  return ids;
}

Routing routing(const std::vector<std::int32_t>& ids, const std::vector<float>& weights, int tokens,
                int k) {
  return {mx::array(ids.data(), {tokens, k}, mx::int32),
          mx::array(weights.data(), {tokens, k}, mx::float32)};
}

class MoeOnEveryIsa : public testing::TestWithParam<Isa> {};

TEST_P(MoeOnEveryIsa, MatchesAScalarTwin) {
  Random random(kSeed);
  ThreadPool pool(2);
  for (const auto& quantization :
       {std::optional<Quantization>(), std::optional(Quantization{4, 32}),
        std::optional(Quantization{8, 32})}) {
    const Weights w = make(random, quantization);
    for (const auto& [tokens, k] : {std::pair{1, 1}, {1, 3}, {9, 2}, {30, 7}}) {
      const std::vector<float> x = test::random_rows(random, tokens, kHidden);
      const std::vector<std::int32_t> ids = choose(random, tokens, k);
      const std::vector<float> weights = test::random_rows(random, tokens, k);
      for (const GatedActivation kind :
           {GatedActivation::kSwiGlu, GatedActivation::kGeGluTanh, GatedActivation::kGeGlu}) {
        std::vector<double> want;
        for (int t = 0; t < tokens; ++t) {
          std::vector<double> sum(kHidden, 0.0);
          for (int j = 0; j < k; ++j) {
            const auto pair = static_cast<std::size_t>(t * k + j);
            const std::vector<double> y = expert(w, ids[pair], x.data() + t * kHidden, kind);
            for (std::size_t i = 0; i < y.size(); ++i) sum[i] += weights[pair] * y[i];
          }
          want.insert(want.end(), sum.begin(), sum.end());
        }
        double scale = 0;
        for (const double value : want) scale += value * value;
        scale = std::sqrt(scale / static_cast<double>(want.size()));
        for (const test::Backend backend : {test::Backend::kCpu, test::Backend::kMlx}) {
          for (const Activations a : {Activations::kF32, Activations::kInt8}) {
            if (backend == test::Backend::kMlx && a == Activations::kInt8) continue;
            const auto ops = test::ops_of(GetParam(), a, &pool, backend);
            const Prepared p = prepare(*ops, w);
            const std::vector<float> y = test::floats(
                ops->moe_mlp(test::array_of(x, {tokens, kHidden}), routing(ids, weights, tokens, k),
                             {p.gate, p.up, p.down, kind}));
            ASSERT_EQ(y.size(), want.size());
            double error = 0;
            for (std::size_t i = 0; i < y.size(); ++i) error += std::pow(y[i] - want[i], 2);
            error = std::sqrt(error / static_cast<double>(y.size())) / scale;
            const bool int8 = a == Activations::kInt8 && quantization;
            EXPECT_LT(error, int8                             ? 0.03
                             : backend == test::Backend::kMlx ? 1e-3
                                                              : 2e-6)
                << tokens << "x" << k << " int8 " << int8;
          }
        }
      }
    }
  }
}

TEST_P(MoeOnEveryIsa, TokensHaveTheSameBitsAloneAndTogetherOnAnyThreads) {
  Random random(kSeed + 1);
  constexpr int kTokens = 40;
  constexpr int kChosen = 3;
  for (const auto& quantization :
       {std::optional<Quantization>(), std::optional(Quantization{4, 32})}) {
    const Weights w = make(random, quantization);
    const std::vector<float> x = test::random_rows(random, kTokens, kHidden);
    const std::vector<std::int32_t> ids = choose(random, kTokens, kChosen);
    const std::vector<float> weights = test::random_rows(random, kTokens, kChosen);
    const auto run = [&](ThreadPool& pool, Activations a, int begin, int n) {
      const auto ops = test::ops_of(GetParam(), a, &pool);
      const Prepared p = prepare(*ops, w);
      const std::vector<float> part(x.begin() + begin * kHidden, x.begin() + (begin + n) * kHidden);
      const std::vector<std::int32_t> chosen(ids.begin() + begin * kChosen,
                                             ids.begin() + (begin + n) * kChosen);
      const std::vector<float> share(weights.begin() + begin * kChosen,
                                     weights.begin() + (begin + n) * kChosen);
      return test::floats(ops->moe_mlp(
          mx::astype(test::array_of(part, {n, kHidden}), mlx_type(ops->dtype())),
          routing(chosen, share, n, kChosen), {p.gate, p.up, p.down, GatedActivation::kSwiGlu}));
    };
    for (const Activations a : {Activations::kF32, Activations::kBF16, Activations::kInt8}) {
      ThreadPool one(1);
      std::vector<float> alone;
      for (int t = 0; t < kTokens; ++t) {
        const std::vector<float> y = run(one, a, t, 1);
        alone.insert(alone.end(), y.begin(), y.end());
      }
      for (int threads = 1; threads <= 4; ++threads) {
        ThreadPool pool(threads);
        const int split = threads == 1 ? kTokens : 1 + static_cast<int>(random() % (kTokens - 1));
        std::vector<float> y = run(pool, a, 0, split);
        if (split < kTokens) {
          const std::vector<float> rest = run(pool, a, split, kTokens - split);
          y.insert(y.end(), rest.begin(), rest.end());
        }
        ASSERT_EQ(y.size(), alone.size());
        ASSERT_EQ(std::memcmp(y.data(), alone.data(), y.size() * sizeof(float)), 0)
            << "threads " << threads << " split " << split << " seed " << kSeed + 1;
      }
    }
  }
}

TEST_P(MoeOnEveryIsa, OrderOfTheChosenExpertsDoesNotMatter) {
  Random random(kSeed + 2);
  ThreadPool pool(2);
  const auto ops = test::ops_of(GetParam(), Activations::kInt8, &pool);
  const Prepared p = prepare(*ops, make(random, Quantization{4, 32}));
  const mx::array x = test::array_of(test::random_rows(random, 1, kHidden), {1, kHidden});
  const auto run = [&](const std::vector<std::int32_t>& ids, const std::vector<float>& weights) {
    return test::floats(ops->moe_mlp(x, routing(ids, weights, 1, 3),
                                     {p.gate, p.up, p.down, GatedActivation::kSwiGlu}));
  };
  EXPECT_EQ(run({6, 0, 3}, {0.5F, 0.25F, 0.125F}), run({0, 3, 6}, {0.25F, 0.125F, 0.5F}));
}

TEST_P(MoeOnEveryIsa, DenseMlpHasTheBitsOfItsParts) {
  Random random(kSeed + 3);
  ThreadPool pool(2);
  for (const auto& quantization :
       {std::optional<Quantization>(), std::optional(Quantization{4, 32})}) {
    const Weights w = make(random, quantization, 1);
    for (const Activations a : {Activations::kF32, Activations::kInt8}) {
      const auto ops = test::ops_of(GetParam(), a, &pool);
      const Prepared p = prepare(*ops, w);
      const mx::array x = test::array_of(test::random_rows(random, 5, kHidden), {5, kHidden});
      const mx::array inner =
          ops->gated(ops->linear(x, p.gate), ops->linear(x, p.up), GatedActivation::kGeGluTanh);
      EXPECT_EQ(
          test::floats(ops->gated_mlp(x, {p.gate, p.up, p.down, GatedActivation::kGeGluTanh})),
          test::floats(ops->linear(inner, p.down)));
    }
  }
}

/// Root-mean-square difference in units of the size of `b`.
double difference(const std::vector<float>& a, const std::vector<float>& b) {
  double error = 0;
  double scale = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    error += std::pow(a[i] - b[i], 2);
    scale += std::pow(b[i], 2);
  }
  return std::sqrt(error / scale);
}

TEST_P(MoeOnEveryIsa, DenseMlpKeepsItsAccuracyInEveryTypeAndBackend) {
  Random random(kSeed + 4);
  ThreadPool pool(2);
  for (const auto& quantization :
       {std::optional<Quantization>(), std::optional(Quantization{4, 32})}) {
    const Weights w = make(random, quantization, 1);
    const std::vector<float> rows = test::random_rows(random, 5, kHidden);
    const auto run = [&](Activations a, test::Backend backend) {
      const auto ops = test::ops_of(GetParam(), a, &pool, backend);
      const Prepared p = prepare(*ops, w);
      const mx::array x = mx::astype(test::array_of(rows, {5, kHidden}), mlx_type(ops->dtype()));
      return test::floats(ops->gated_mlp(x, {p.gate, p.up, p.down, GatedActivation::kSwiGlu}));
    };
    const std::vector<float> exact = run(Activations::kF32, test::Backend::kCpu);
    EXPECT_LT(difference(run(Activations::kF32, test::Backend::kMlx), exact), 1e-5);
    EXPECT_LT(difference(run(Activations::kBF16, test::Backend::kCpu), exact), 0.006);
    EXPECT_LT(difference(run(Activations::kInt8, test::Backend::kCpu), exact), 0.02);
    // MLX's CPU loops add up in bfloat16.
    EXPECT_LT(difference(run(Activations::kBF16, test::Backend::kMlx), exact), 0.06);
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, MoeOnEveryIsa, testing::ValuesIn(available_isas()),
                         [](const testing::TestParamInfo<Isa>& isa) {
                           return std::string(isa_name(isa.param));
                         });

}  // namespace
}  // namespace tandem::kernels
