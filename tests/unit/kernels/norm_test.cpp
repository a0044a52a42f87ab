#include <gtest/gtest.h>

#include "kernels/ops.h"
#include "node_support.h"
#include "row_checks.h"

namespace tandem::kernels {
namespace {

TEST(Norm, LoopsMatchDoubleOnEveryInstructionSet) {
  for (const Isa isa : available_isas()) {
    for (const DType element : kElements) {
      SCOPED_TRACE(std::string(isa_name(isa)) + " " + name_of(element));
      EXPECT_LE(check_rms_norm(loops_of(isa).rows[element], element, 7), 1);
      EXPECT_LE(check_gated_rms_norm(loops_of(isa).rows[element], element, 9), 1);
      EXPECT_LE(check_add(loops_of(isa).rows[element], element, 8), 1);
    }
  }
}

TEST(Norm, NodeMatchesMlxAndKeepsEachRowsBits) {
  ThreadPool one(1);
  ThreadPool three(3);
  Rng rng(11);
  const int rows = 67;
  const int cols = 1027;
  const mx::array weight = array_of(random_values(rng, cols), {cols});
  const std::vector<float> values = random_values(rng, rows * cols, 3);
  for (const Activations activations : {Activations::kF32, Activations::kBF16}) {
    for (const Isa isa : available_isas()) {
      SCOPED_TRACE(isa_name(isa));
      const auto serial = test::ops_of(isa, activations, &one);
      const auto parallel = test::ops_of(isa, activations, &three);
      const auto mlx = test::ops_of(isa, activations, nullptr, test::Backend::kMlx);
      const mx::array x = array_of(values, {rows, cols}, mlx_type(serial->dtype()));
      const mx::array all = parallel->rms_norm(x, weight, 1e-6f);
      EXPECT_EQ(all.dtype(), mlx_type(serial->dtype()));
      const std::vector<float> got = values_of(all);
      EXPECT_TRUE(same_bits(got, values_of(serial->rms_norm(x, weight, 1e-6f))));
      EXPECT_LE(largest_difference(got, values_of(mlx->rms_norm(x, weight, 1e-6f))),
                activations == Activations::kBF16 ? 0.04 : 1e-5);
      const mx::array row = mx::slice(x, {13, 0}, {14, cols}, mx::Device::cpu);
      const std::vector<float> alone = values_of(serial->rms_norm(row, weight, 1e-6f));
      EXPECT_TRUE(same_bits(alone, {got.begin() + 13 * cols, got.begin() + 14 * cols}));
    }
  }
}

TEST(Norm, ResidualIsTheSumAndTheNormOfTheSumAsStored) {
  ThreadPool pool(2);
  Rng rng(12);
  const int rows = 40;
  const int cols = 1030;
  const mx::array weight = array_of(random_values(rng, cols), {cols});
  for (const Activations activations : {Activations::kF32, Activations::kBF16}) {
    for (const Isa isa : available_isas()) {
      const auto ops = test::ops_of(isa, activations, &pool);
      const auto mlx = test::ops_of(isa, activations, nullptr, test::Backend::kMlx);
      const mx::array x =
          array_of(random_values(rng, rows * cols), {rows, cols}, mlx_type(ops->dtype()));
      const mx::array d =
          array_of(random_values(rng, rows * cols), {rows, cols}, mlx_type(ops->dtype()));
      const Residual both = ops->add_rms_norm(x, d, weight, 1e-5f);
      const Residual twin = mlx->add_rms_norm(x, d, weight, 1e-5f);
      EXPECT_TRUE(same_bits(values_of(both.sum), values_of(twin.sum)));
      EXPECT_LE(largest_difference(values_of(both.normed), values_of(twin.normed)),
                activations == Activations::kBF16 ? 0.04 : 1e-5);
      EXPECT_TRUE(
          same_bits(values_of(both.normed), values_of(ops->rms_norm(both.sum, weight, 1e-5f))));
    }
  }
}

TEST(Norm, AWeightInTheTypeOfTheRowsIsTakenAsItIs) {
  Rng rng(13);
  const mx::array weight = array_of(random_values(rng, 256), {256}, mx::bfloat16);
  const mx::array x = array_of(random_values(rng, 7 * 256, 3), {7, 256}, mx::bfloat16);
  const Isa isa = available_isas().front();
  const auto ops = test::ops_of(isa, Activations::kBF16, nullptr, test::Backend::kMlx);
  const mx::array got = ops->rms_norm(x, weight, 1e-6f);
  EXPECT_EQ(got.dtype(), mx::bfloat16);
  const mx::array wide = array_of(values_of(weight), {256});
  EXPECT_LE(largest_difference(values_of(got), values_of(ops->rms_norm(x, wide, 1e-6f))), 0.04);
  EXPECT_EQ(ops->norm_weight(wide).id(), wide.id()) << "a CPU takes float32";
}

TEST(Norm, ZeroRowsAndZeroValuesAreFine) {
  const auto ops = test::ops_of(available_isas().front(), Activations::kF32, nullptr);
  const mx::array weight = array_of({1, 2, 3}, {3});
  EXPECT_TRUE(values_of(ops->rms_norm(array_of({}, {0, 3}), weight, 1e-5f)).empty());
  EXPECT_EQ(values_of(ops->rms_norm(array_of({0, 0, 0}, {1, 3}), weight, 1e-5f)),
            (std::vector<float>{0, 0, 0}));
}

}  // namespace
}  // namespace tandem::kernels
