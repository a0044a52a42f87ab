#include "kernels/norm.h"

#include <gtest/gtest.h>

#include "node_support.h"
#include "row_checks.h"

namespace tandem::kernels {
namespace {

TEST(Norm, LoopsMatchDoubleOnEveryInstructionSet) {
  for (const Isa isa : available_isas()) {
    for (const Element element : kElements) {
      SCOPED_TRACE(std::string(isa_name(isa)) + " " + name_of(element));
      EXPECT_LE(check_rms_norm(row_table(isa)[element], element, 7), 1);
      EXPECT_LE(check_add(row_table(isa)[element], element, 8), 1);
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
      const Context serial = test_context(Backend::kCpu, activations, isa, &one);
      const Context parallel = test_context(Backend::kCpu, activations, isa, &three);
      const Context mlx = test_context(Backend::kMlx, activations, isa, nullptr);
      const mx::array x = array_of(values, {rows, cols}, serial.dtype());
      const mx::array all = rms_norm(parallel, x, weight, 1e-6f);
      EXPECT_EQ(all.dtype(), serial.dtype());
      const std::vector<float> got = values_of(all);
      EXPECT_TRUE(same_bits(got, values_of(rms_norm(serial, x, weight, 1e-6f))));
      EXPECT_LE(largest_difference(got, values_of(rms_norm(mlx, x, weight, 1e-6f))),
                activations == Activations::kBF16 ? 0.04 : 1e-5);
      const mx::array row = mx::slice(x, {13, 0}, {14, cols}, mx::Device::cpu);
      const std::vector<float> alone = values_of(rms_norm(serial, row, weight, 1e-6f));
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
      const Context context = test_context(Backend::kCpu, activations, isa, &pool);
      const Context mlx = test_context(Backend::kMlx, activations, isa, nullptr);
      const mx::array x = array_of(random_values(rng, rows * cols), {rows, cols}, context.dtype());
      const mx::array d = array_of(random_values(rng, rows * cols), {rows, cols}, context.dtype());
      const Residual both = add_rms_norm(context, x, d, weight, 1e-5f);
      const Residual twin = add_rms_norm(mlx, x, d, weight, 1e-5f);
      EXPECT_TRUE(same_bits(values_of(both.sum), values_of(twin.sum)));
      EXPECT_LE(largest_difference(values_of(both.normed), values_of(twin.normed)),
                activations == Activations::kBF16 ? 0.04 : 1e-5);
      EXPECT_TRUE(
          same_bits(values_of(both.normed), values_of(rms_norm(context, both.sum, weight, 1e-5f))));
    }
  }
}

TEST(Norm, AWeightInTheTypeOfTheRowsIsTakenAsItIs) {
  Rng rng(13);
  const mx::array weight = array_of(random_values(rng, 256), {256}, mx::bfloat16);
  const mx::array x = array_of(random_values(rng, 7 * 256, 3), {7, 256}, mx::bfloat16);
  const Isa isa = available_isas().front();
  const Context context = test_context(Backend::kMlx, Activations::kBF16, isa, nullptr);
  const mx::array got = rms_norm(context, x, weight, 1e-6f);
  EXPECT_EQ(got.dtype(), mx::bfloat16);
  const mx::array wide = array_of(values_of(weight), {256});
  EXPECT_LE(largest_difference(values_of(got), values_of(rms_norm(context, x, wide, 1e-6f))), 0.04);
  EXPECT_EQ(norm_weight(context, wide).id(), wide.id()) << "a CPU takes float32";
}

TEST(Norm, ZeroRowsAndZeroValuesAreFine) {
  const Context context =
      test_context(Backend::kCpu, Activations::kF32, available_isas().front(), nullptr);
  const mx::array weight = array_of({1, 2, 3}, {3});
  EXPECT_TRUE(values_of(rms_norm(context, array_of({}, {0, 3}), weight, 1e-5f)).empty());
  EXPECT_EQ(values_of(rms_norm(context, array_of({0, 0, 0}, {1, 3}), weight, 1e-5f)),
            (std::vector<float>{0, 0, 0}));
}

}  // namespace
}  // namespace tandem::kernels
