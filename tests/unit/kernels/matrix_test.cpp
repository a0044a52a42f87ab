#include "kernels/matrix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/ops.h"
#include "unit/kernels/matrices.h"

namespace tandem::kernels {
namespace {

using test::Random;
using test::TestMatrix;
using testing::HasSubstr;

constexpr std::uint64_t kSeed = 20240613;

std::unique_ptr<Ops> ops() {
  return test::ops_of(available_isas().front(), Activations::kF32, nullptr);
}

/// The error of preparing `data` with both implementations, which must be the same line.
std::string error_of(const MatrixData& data) {
  const Result<Matrix> cpu = ops()->prepare(data);
  const auto other =
      test::ops_of(available_isas().front(), Activations::kF32, nullptr, test::Backend::kMlx);
  const Result<Matrix> mlx = other->prepare(data);
  if (cpu.ok() || mlx.ok()) return "accepted";
  EXPECT_EQ(cpu.error().message, mlx.error().message);
  EXPECT_EQ(cpu.error().code, ErrorCode::kInvalidArgument);
  return cpu.error().message;
}

TEST(MatrixPrepare, KeepsShapesAndCountsBytesOfAPass) {
  Random random(kSeed);
  const TestMatrix m = test::quantized_matrix(random, 3, 32, 128, {4, 64}, DType::kBF16);
  const Result<Matrix> w = ops()->prepare(m.data);
  ASSERT_TRUE(w.ok());
  EXPECT_EQ(w->count(), 3);
  EXPECT_EQ(w->rows(), 32);
  EXPECT_EQ(w->cols(), 128);
  EXPECT_EQ(w->bytes(), m.data.weight.size() + m.data.scales.size() + m.data.biases.size());
}

TEST(MatrixPrepare, DoesNotNeedTheSourceAfterwards) {
  Random random(kSeed + 1);
  TestMatrix m = test::quantized_matrix(random, 1, 16, 64, {4, 64}, DType::kF32);
  const std::weak_ptr<const void> source = m.data.keep[0];
  const Result<Matrix> w = ops()->prepare(std::move(m.data));
  m = {};
  ASSERT_TRUE(w.ok());
  EXPECT_TRUE(source.expired());
}

TEST(MatrixPrepare, RefusesWhatDoesNotFit) {
  Random random(kSeed + 2);
  const MatrixData good = test::quantized_matrix(random, 2, 8, 64, {4, 32}, DType::kBF16).data;
  EXPECT_EQ(error_of(good), "accepted");
  MatrixData bad = good;
  bad.weight = bad.weight.first(bad.weight.size() - 1);
  EXPECT_THAT(error_of(bad), HasSubstr("weight has 511 bytes, not 512"));
  bad = good;
  bad.scales = {};
  EXPECT_THAT(error_of(bad), HasSubstr("scales has 0 bytes, not 64"));
  bad = good;
  bad.biases = bad.biases.first(2);
  EXPECT_THAT(error_of(bad), HasSubstr("biases has 2 bytes, not 64"));
  bad = good;
  bad.quantization->bits = 7;
  EXPECT_THAT(error_of(bad), HasSubstr("7 bits"));
  bad = good;
  bad.quantization->group = 48;
  EXPECT_THAT(error_of(bad), HasSubstr("group 48"));
  bad = good;
  bad.quantization->group = 128;
  EXPECT_THAT(error_of(bad), HasSubstr("does not divide"));
  bad = good;
  bad.dtype = DType::kU8;
  EXPECT_THAT(error_of(bad), HasSubstr("U8"));
  for (int MatrixData::* size : {&MatrixData::count, &MatrixData::rows, &MatrixData::cols}) {
    bad = good;
    bad.*size = 0;
    EXPECT_THAT(error_of(bad), HasSubstr("at least 1"));
    bad.*size = -1;
    EXPECT_THAT(error_of(bad), HasSubstr("at least 1"));
  }
  bad = good;
  bad.count = bad.rows = 0x7FFFFFFF;
  bad.cols = 0x7FFFFFE0;
  EXPECT_THAT(error_of(bad), HasSubstr("2^48"));
}

TEST(MatrixDequantize, GivesTheFormatsValues) {
  Random random(kSeed + 3);
  for (const DType type : {DType::kF32, DType::kBF16, DType::kF16}) {
    for (const int bits : {2, 3, 4, 5, 6, 8}) {
      const TestMatrix m = test::quantized_matrix(random, 2, 5, 128, {bits, 32}, type, 3);
      for (const int index : {0, 1}) {
        const std::vector<float> values = dequantize(m.data, index);
        ASSERT_EQ(values.size(), 5U * 128U);
        for (std::size_t i = 0; i < values.size(); ++i) {
          const double want = m.values[static_cast<std::size_t>(index) * 5 * 128 + i];
          ASSERT_NEAR(values[i], want, 1e-6 * (std::abs(want) + 1)) << bits;
        }
      }
    }
    const TestMatrix m = test::dense_matrix(random, 1, 3, 7, type);
    const std::vector<float> values = dequantize(m.data);
    for (std::size_t i = 0; i < values.size(); ++i) ASSERT_EQ(values[i], m.values[i]);
  }
}

TEST(MatrixDequantize, AgreesWithMlx) {
  Random random(kSeed + 4);
  for (const int bits : {2, 3, 4, 5, 6, 8}) {
    for (const int group : {32, 64, 128}) {
      const TestMatrix m = test::quantized_matrix(random, 1, 4, 256, {bits, group}, DType::kF32);
      const auto array = [&](std::span<const std::byte> bytes, int last, mx::Dtype type) {
        const auto* words = reinterpret_cast<const std::uint32_t*>(bytes.data());
        const mx::array raw(words, {4, last}, mx::uint32);
        return mx::view(raw, type);
      };
      const mx::array y =
          mx::dequantize(array(m.data.weight, 256 * bits / 32, mx::uint32),
                         array(m.data.scales, 256 / group, mx::float32),
                         array(m.data.biases, 256 / group, mx::float32), group, bits);
      const std::vector<float> want = test::floats(y);
      const std::vector<float> have = dequantize(m.data);
      ASSERT_EQ(have.size(), want.size());
      for (std::size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(have[i], want[i], 1e-5);
    }
  }
}

}  // namespace
}  // namespace tandem::kernels
