#include "models/loading/gather.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <string>

#include "unit/kernels/matrices.h"
#include "unit/models/harness.h"
#include "unit/models/tiny_model.h"

namespace tandem::models::testing {
namespace {

TEST(Gather, E4m3FollowsTheFormat) {
  EXPECT_EQ(from_e4m3(0x00), 0);
  EXPECT_EQ(from_e4m3(0x01), std::ldexp(1.0F, -9)) << "smallest subnormal";
  EXPECT_EQ(from_e4m3(0x07), std::ldexp(7.0F, -9)) << "largest subnormal";
  EXPECT_EQ(from_e4m3(0x08), std::ldexp(1.0F, -6)) << "smallest normal";
  EXPECT_EQ(from_e4m3(0x38), 1);
  EXPECT_EQ(from_e4m3(0x7E), 448) << "largest";
  EXPECT_EQ(from_e4m3(0xFE), -448);
  EXPECT_TRUE(std::isnan(from_e4m3(0x7F)));
  EXPECT_TRUE(std::isnan(from_e4m3(0xFF)));
  for (int bits = 1; bits < 0x7F; ++bits) {
    const auto code = static_cast<std::uint8_t>(bits);
    EXPECT_GT(from_e4m3(code), from_e4m3(static_cast<std::uint8_t>(code - 1)));
  }
}

class GatherFolder : public ::testing::Test {
 protected:
  GatherFolder() : folder_("gather"), model_({}, 5) {
    model_.add("a.weight", {4, 6}, 1);
    model_.add("b.weight", {2, 3, 6}, 1);
    model_.write(folder_.path());
  }

  std::vector<float> values(const std::string& name) {
    const std::string& bytes = model_.tensors()[name].bytes;
    std::vector<float> out(bytes.size() / sizeof(float));
    std::memcpy(out.data(), bytes.data(), bytes.size());
    return out;
  }

  std::vector<float> gathered(const MatrixPlan& plan) {
    auto opened = weights::WeightFolder::open(folder_.path());
    EXPECT_TRUE(opened.ok()) << (opened.ok() ? "" : opened.error().message);
    auto data = gather(*opened, plan, DType::kF32);
    EXPECT_TRUE(data.ok());
    EXPECT_EQ(data->count, plan.count);
    EXPECT_EQ(data->rows, plan.rows);
    EXPECT_EQ(data->cols, plan.cols);
    std::vector<float> out(data->weight.size() / sizeof(float));
    std::memcpy(out.data(), data->weight.data(), data->weight.size());
    return out;
  }

  static Source source(const char* name, int count, int rows, int cols) {
    Source out;
    out.weight = name;
    out.count = count;
    out.rows = rows;
    out.cols = cols;
    return out;
  }

  TempFolder folder_;
  TinyModel model_;
};

TEST_F(GatherFolder, PiecesFollowEachOther) {
  MatrixPlan plan{1,
                  4,
                  6,
                  false,
                  {source("a.weight", 1, 4, 6), source("b.weight", 2, 3, 6)},
                  {{0, 0, 1, 2}, {1, 1, 0, 2}}};
  const auto a = values("a.weight");
  const auto b = values("b.weight");
  std::vector<float> expected(a.begin() + 6, a.begin() + 18);
  expected.insert(expected.end(), b.begin() + 18, b.begin() + 30);
  EXPECT_EQ(gathered(plan), expected);
}

TEST_F(GatherFolder, TransposedMatricesAreTurnedOneByOne) {
  MatrixPlan plan{2, 6, 3, true, {source("b.weight", 2, 3, 6)}, {{0, 0, 0, 6}}};
  const auto b = values("b.weight");
  const auto turned = gathered(plan);
  for (int m = 0; m < 2; ++m) {
    for (int r = 0; r < 3; ++r) {
      for (int c = 0; c < 6; ++c) {
        EXPECT_EQ(turned[static_cast<std::size_t>(m * 18 + c * 3 + r)],
                  b[static_cast<std::size_t>(m * 18 + r * 6 + c)]);
      }
    }
  }
}

TEST(Dense, KeepsTheValuesOfQuantizedMatricesAndRoundsThemOnceToBf16) {
  kernels::test::Random random(20261124);
  const auto m = kernels::test::quantized_matrix(random, 3, 5, 64, {4, 64}, DType::kBF16);
  const kernels::MatrixData exact = dense(m.data, DType::kF32);
  const kernels::MatrixData rounded = dense(m.data, DType::kBF16);
  ASSERT_EQ(exact.weight.size(), m.values.size() * sizeof(float));
  ASSERT_EQ(rounded.weight.size(), m.values.size() * sizeof(std::uint16_t));
  for (const kernels::MatrixData* data : {&exact, &rounded}) {
    EXPECT_EQ(data->count, 3);
    EXPECT_EQ(data->rows, 5);
    EXPECT_EQ(data->cols, 64);
    EXPECT_FALSE(data->quantization.has_value());
  }
  for (std::size_t i = 0; i < m.values.size(); ++i) {
    float value = 0;
    std::memcpy(&value, exact.weight.data() + i * sizeof(value), sizeof(value));
    EXPECT_NEAR(value, m.values[i], 1e-6);
    mlx::core::bfloat16_t half;
    std::memcpy(static_cast<void*>(&half), rounded.weight.data() + i * sizeof(half), sizeof(half));
    EXPECT_EQ(static_cast<float>(half), static_cast<float>(mlx::core::bfloat16_t(value)));
  }
}

}  // namespace
}  // namespace tandem::models::testing
