#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/ops.h"
#include "unit/kernels/formats.h"

namespace tandem::kernels {
namespace {

using test::Expected;
using test::Format;
using test::formats;
using test::make;
using test::product;
using test::Random;
using test::TestMatrix;

constexpr std::uint64_t kSeed = 20240611;

/// The int8 rule: x = amax / 127 * round(x * 127 / amax) in each group of the weights.
std::vector<float> through_int8(const std::vector<float>& x, int group) {
  std::vector<float> y(x.size());
  for (std::size_t begin = 0; begin < x.size(); begin += static_cast<std::size_t>(group)) {
    const std::size_t end = begin + static_cast<std::size_t>(group);
    float most = 0;
    for (std::size_t i = begin; i < end; ++i) most = std::max(most, std::abs(x[i]));
    for (std::size_t i = begin; i < end; ++i) {
      y[i] = most == 0 ? 0 : most / 127.0F * std::nearbyint(x[i] * (127.0F / most));
    }
  }
  return y;
}

class EveryIsa : public testing::TestWithParam<Isa> {};

void expect_close(const std::vector<float>& y, const TestMatrix& m, const std::vector<float>& x,
                  int tokens, double tolerance, const std::string& what) {
  const auto cols = static_cast<std::size_t>(m.data.cols);
  const auto rows = static_cast<std::size_t>(m.data.rows);
  ASSERT_EQ(y.size(), static_cast<std::size_t>(tokens) * rows) << what;
  for (std::size_t t = 0; t < static_cast<std::size_t>(tokens); ++t) {
    for (std::size_t row = 0; row < rows; ++row) {
      const Expected e = product(m, 0, static_cast<int>(row), x.data() + t * cols);
      ASSERT_NEAR(y[t * rows + row], e.value, tolerance * (e.magnitude + 1e-6))
          << what << " token " << t << " row " << row;
    }
  }
}

TEST_P(EveryIsa, LinearMatchesAScalarTwinInEveryFormat) {
  Random random(kSeed);
  ThreadPool pool(2);
  for (const Format& format : formats()) {
    const int unit = format.quantization ? format.quantization->group : 1;
    for (const auto& [rows, units] : {std::pair{1, 1}, {16, 2}, {33, 5}, {70, 3}}) {
      const int cols = format.quantization ? unit * units : 13 * units * units;
      const std::size_t misalign = static_cast<std::size_t>(random() % 8);
      const TestMatrix m = make(random, format, 1, rows, cols, misalign);
      for (const int tokens : {1, 2, 7, 11}) {
        const std::vector<float> x = test::random_rows(random, tokens, cols);
        for (const Activations a : {Activations::kF32, Activations::kInt8}) {
          const auto ops = test::ops_of(GetParam(), a, &pool);
          const Result<Matrix> w = ops->prepare(m.data);
          ASSERT_TRUE(w.ok()) << w.error().message;
          const mx::array y = ops->linear(test::array_of(x, {tokens, cols}), *w);
          const bool int8 = a == Activations::kInt8 && format.quantization;
          // The integer rule sums scale * q and bias apart: its terms are larger than w * x.
          expect_close(test::floats(y), m, int8 ? through_int8(x, unit) : x, tokens,
                       int8 ? 6e-6 : 3e-6,
                       format.name() + (int8 ? " int8 " : " f32 ") + std::to_string(rows) + "x" +
                           std::to_string(cols));
        }
      }
    }
  }
}

TEST_P(EveryIsa, LinearHasTheSameBitsInAnyBatchAndOnAnyThreads) {
  Random random(kSeed + 1);
  constexpr int kTokens = 75;  // more rows than one pass of the float loop takes
  for (const Format& format : formats()) {
    if (format.type != DType::kBF16 && format.quantization) continue;
    const int rows = 200;
    const int cols = 384;
    const TestMatrix m = make(random, format, 1, rows, cols);
    const std::vector<float> x = test::random_rows(random, kTokens, cols);
    for (const Activations a : {Activations::kF32, Activations::kBF16, Activations::kInt8}) {
      std::vector<float> alone;
      {
        ThreadPool pool(1);
        const auto ops = test::ops_of(GetParam(), a, &pool);
        const Result<Matrix> w = ops->prepare(m.data);
        ASSERT_TRUE(w.ok());
        for (int t = 0; t < kTokens; ++t) {
          const std::vector<float> row(x.begin() + t * cols, x.begin() + (t + 1) * cols);
          const mx::array one = mx::astype(test::array_of(row, {1, cols}), mlx_type(ops->dtype()));
          const std::vector<float> y = test::floats(ops->linear(one, *w));
          alone.insert(alone.end(), y.begin(), y.end());
        }
      }
      for (int threads = 1; threads <= 4; ++threads) {
        ThreadPool pool(threads);
        const auto ops = test::ops_of(GetParam(), a, &pool);
        const Result<Matrix> w = ops->prepare(m.data);
        ASSERT_TRUE(w.ok());
        for (int begin = 0; begin < kTokens;) {
          const int n = std::min<int>(kTokens - begin,
                                      threads == 1 ? kTokens : 1 + static_cast<int>(random() % 40));
          const std::vector<float> part(x.begin() + begin * cols, x.begin() + (begin + n) * cols);
          const mx::array batch =
              mx::astype(test::array_of(part, {n, cols}), mlx_type(ops->dtype()));
          const std::vector<float> y = test::floats(ops->linear(batch, *w));
          ASSERT_EQ(std::memcmp(y.data(), alone.data() + begin * rows, y.size() * sizeof(float)), 0)
              << format.name() << " threads " << threads << " rows " << begin << "+" << n
              << " seed " << kSeed + 1;
          begin += n;
        }
      }
    }
  }
}

TEST_P(EveryIsa, LinearAgreesWithMlx) {
  Random random(kSeed + 2);
  ThreadPool pool(2);
  for (const Format& format : formats()) {
    const TestMatrix m = make(random, format, 1, 48, 256);
    const std::vector<float> x = test::random_rows(random, 3, 256);
    const auto ours = test::ops_of(GetParam(), Activations::kF32, &pool);
    const auto theirs = test::ops_of(GetParam(), Activations::kF32, &pool, test::Backend::kMlx);
    const Result<Matrix> a = ours->prepare(m.data);
    const Result<Matrix> b = theirs->prepare(m.data);
    ASSERT_TRUE(a.ok() && b.ok());
    const mx::array input = test::array_of(x, {3, 256});
    const std::vector<float> bias = test::random_rows(random, 1, 48);
    const mx::array offset = test::array_of(bias, {48});
    const std::vector<float> y = test::floats(ours->linear(input, *a, offset));
    const std::vector<float> z = test::floats(theirs->linear(input, *b, offset));
    ASSERT_EQ(y.size(), z.size());
    for (std::size_t i = 0; i < y.size(); ++i) {
      ASSERT_NEAR(y[i], z[i], 2e-3) << format.name() << " " << i;
    }
  }
}

TEST_P(EveryIsa, ExtremeBytesDoNotSaturate) {
  ThreadPool pool(1);
  for (const int bits : {2, 3, 4, 5, 6, 8}) {
    for (const int high : {0, 1}) {
      constexpr int kCols = 128;
      MatrixData data;
      data.rows = 16;
      data.cols = kCols;
      data.quantization = Quantization{bits, kCols};
      data.dtype = DType::kF32;
      const std::vector<std::byte> packed(16 * kCols * bits / 8,
                                          static_cast<std::byte>(high * 255));
      const std::vector<float> ones(16, 1.0F);
      const std::vector<float> zeros(16, 0.0F);
      data.weight = packed;
      data.scales = std::as_bytes(std::span(ones));
      data.biases = std::as_bytes(std::span(zeros));
      const auto ops = test::ops_of(GetParam(), Activations::kInt8, &pool);
      const Result<Matrix> w = ops->prepare(data);
      ASSERT_TRUE(w.ok());
      for (const float sign : {1.0F, -1.0F}) {
        const std::vector<float> x(kCols, 127.0F * sign);
        const std::vector<float> y = test::floats(ops->linear(test::array_of(x, {1, kCols}), *w));
        const float q = static_cast<float>(high * ((1 << bits) - 1));
        for (const float value : y) ASSERT_EQ(value, q * 127.0F * sign * kCols) << bits;
      }
    }
  }
}

TEST_P(EveryIsa, NonFiniteInputsStayInTheirRow) {
  Random random(kSeed + 3);
  ThreadPool pool(1);
  const TestMatrix m = test::quantized_matrix(random, 1, 20, 128, {4, 64}, DType::kBF16);
  for (const float bad :
       {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    std::vector<float> x = test::random_rows(random, 3, 128);
    x[128 + 70] = bad;
    const auto ops = test::ops_of(GetParam(), Activations::kInt8, &pool);
    const Result<Matrix> w = ops->prepare(m.data);
    ASSERT_TRUE(w.ok());
    const std::vector<float> y = test::floats(ops->linear(test::array_of(x, {3, 128}), *w));
    for (std::size_t i = 0; i < y.size(); ++i) {
      EXPECT_EQ(std::isnan(y[i]), i / 20 == 1) << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, EveryIsa, testing::ValuesIn(available_isas()), test::isa_test_name);

}  // namespace
}  // namespace tandem::kernels
