// Products of several matrices, of heads, of strided inputs; rows of a table.
#include <gtest/gtest.h>

#include <cmath>

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

constexpr std::uint64_t kSeed = 20240614;

class ShapesOnEveryIsa : public testing::TestWithParam<Isa> {};

TEST_P(ShapesOnEveryIsa, LinearManyHasTheBitsOfLinear) {
  Random random(kSeed + 4);
  ThreadPool pool(3);
  for (const Activations a : {Activations::kF32, Activations::kBF16, Activations::kInt8}) {
    const auto ops = test::ops_of(GetParam(), a, &pool);
    const mx::array x = mx::astype(test::array_of(test::random_rows(random, 5, 256), {5, 256}),
                                   mlx_type(ops->dtype()));
    std::vector<LinearSpec> specs;
    for (const auto& [rows, format] : {std::pair{40, Format{Quantization{4, 64}, DType::kBF16}},
                                       std::pair{17, Format{Quantization{8, 32}, DType::kF16}},
                                       std::pair{64, Format{std::nullopt, DType::kF32}},
                                       std::pair{8, Format{Quantization{6, 64}, DType::kF32}}}) {
      Result<Matrix> w = ops->prepare(make(random, format, 1, rows, 256).data);
      ASSERT_TRUE(w.ok());
      std::optional<mx::array> bias;
      if (rows > 10) bias = test::array_of(test::random_rows(random, 1, rows), {rows});
      if (rows == 17) bias = mx::astype(*bias, mx::bfloat16);
      if (rows == 40) bias = mx::astype(*bias, mx::float16);
      specs.push_back({std::move(*w), bias});
    }
    const std::vector<mx::array> many = ops->linear_many(x, specs);
    ASSERT_EQ(many.size(), specs.size());
    for (std::size_t i = 0; i < many.size(); ++i) {
      const mx::array one = ops->linear(x, specs[i].w, specs[i].bias);
      EXPECT_EQ(many[i].dtype(), mlx_type(ops->dtype()));
      EXPECT_EQ(test::floats(many[i]), test::floats(one)) << i;
    }
  }
}

TEST_P(ShapesOnEveryIsa, LinearPerHeadMultipliesEachHeadWithItsMatrix) {
  Random random(kSeed + 5);
  ThreadPool pool(2);
  for (const Format& format :
       {Format{Quantization{4, 32}, DType::kBF16}, Format{Quantization{8, 64}, DType::kF32},
        Format{std::nullopt, DType::kBF16}}) {
    constexpr int kHeads = 3;
    constexpr int kTokens = 5;
    const TestMatrix m = make(random, format, kHeads, 20, 64);
    const std::vector<float> x = test::random_rows(random, kTokens * kHeads, 64);
    for (const test::Backend backend : {test::Backend::kCpu, test::Backend::kMlx}) {
      const auto ops = test::ops_of(GetParam(), Activations::kF32, &pool, backend);
      const Result<Matrix> w = ops->prepare(m.data);
      ASSERT_TRUE(w.ok());
      const std::vector<float> y =
          test::floats(ops->linear_per_head(test::array_of(x, {kTokens, kHeads, 64}), *w));
      for (int row = 0; row < kTokens * kHeads; ++row) {
        for (int out = 0; out < 20; ++out) {
          const Expected e = product(m, row % kHeads, out, x.data() + row * 64);
          ASSERT_NEAR(y[static_cast<std::size_t>(row * 20 + out)], e.value,
                      1e-4 * e.magnitude + 1e-3 * (backend == test::Backend::kMlx))
              << format.name();
        }
      }
    }
  }
}

TEST(Linear, ReadsStridedInputs) {
  Random random(kSeed + 6);
  ThreadPool pool(1);
  const auto ops = test::ops_of(available_isas().front(), Activations::kF32, &pool);
  const TestMatrix m = test::dense_matrix(random, 1, 10, 6, DType::kF32);
  const Result<Matrix> w = ops->prepare(m.data);
  ASSERT_TRUE(w.ok());
  const std::vector<float> x = test::random_rows(random, 6, 4);
  const mx::array columns = mx::transpose(test::array_of(x, {6, 4}));
  EXPECT_EQ(test::floats(ops->linear(columns, *w)),
            test::floats(ops->linear(mx::contiguous(columns), *w)));
}

TEST(Embed, GivesRowsOfTheTable) {
  Random random(kSeed + 7);
  ThreadPool pool(2);
  const std::vector<std::int32_t> ids = {0, 36, 5, 5, 17, 36, 1, 2};
  for (const Format& format : formats()) {
    const TestMatrix m = make(random, format, 1, 37, 128);
    for (const test::Backend backend : {test::Backend::kCpu, test::Backend::kMlx}) {
      for (const Activations a : {Activations::kF32, Activations::kBF16}) {
        const auto ops = test::ops_of(available_isas().front(), a, &pool, backend);
        const Result<Matrix> table = ops->prepare(m.data);
        ASSERT_TRUE(table.ok());
        const mx::array y = ops->embed(mx::array(ids.data(), {8}, mx::int32), *table);
        EXPECT_EQ(y.dtype(), mlx_type(ops->dtype()));
        const std::vector<float> rows = test::floats(y);
        for (std::size_t i = 0; i < rows.size(); ++i) {
          const auto at = static_cast<std::size_t>(ids[i / 128]) * 128 + i % 128;
          const double want = m.values[at];
          const double step = a == Activations::kBF16 ? 4e-3 : 1e-6;
          ASSERT_NEAR(rows[i], want, step * (std::abs(want) + 1.5)) << format.name();
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, ShapesOnEveryIsa, testing::ValuesIn(available_isas()),
                         test::isa_test_name);

}  // namespace
}  // namespace tandem::kernels
