#include <gtest/gtest.h>

#include "kernels/mlx/faults.h"
#include "unit/kernels/matrices.h"

namespace tandem::kernels {
namespace {

constexpr int kAmpere = 8;
constexpr int kHopper = 9;
constexpr int kBlackwell = 10;

MatrixData quantized(int cols, int group) {
  test::Random random(20261124);
  return test::quantized_matrix(random, 2, 16, cols, {4, group}, DType::kBF16).data;
}

TEST(MlxFaults, RowsOfOneGroupComeDenseOnHopperOnly) {
  EXPECT_TRUE(must_be_dense(kHopper, quantized(64, 64)));
  EXPECT_TRUE(must_be_dense(kHopper, quantized(128, 128)));
  for (const int other : {0, kAmpere, kBlackwell}) {
    EXPECT_FALSE(must_be_dense(other, quantized(64, 64))) << other;
  }
}

TEST(MlxFaults, LongerRowsAndDenseMatricesStayAsTheyAre) {
  EXPECT_FALSE(must_be_dense(kHopper, quantized(128, 64)));
  EXPECT_FALSE(must_be_dense(kHopper, quantized(64, 32)));
  test::Random random(20261125);
  EXPECT_FALSE(must_be_dense(kHopper, test::dense_matrix(random, 2, 16, 64, DType::kBF16).data));
}

TEST(MlxFaults, ACpuHasNoCudaGeneration) {
  EXPECT_EQ(cuda_generation(mx::Device(mx::Device::cpu)), 0);
}

}  // namespace
}  // namespace tandem::kernels
