#include "tandem/dtype.h"

#include <gtest/gtest.h>

namespace tandem {
namespace {

TEST(DType, NamesRoundTrip) {
  for (int i = 0; i <= static_cast<int>(DType::kF64); ++i) {
    const auto dtype = static_cast<DType>(i);
    const auto name = dtype_name(dtype);
    ASSERT_NE(name, "?") << i;
    EXPECT_EQ(dtype_from_name(name), dtype) << name;
    EXPECT_GT(size_of(dtype), 0U) << name;
  }
}

TEST(DType, NamesAreSafetensorsOwn) {
  EXPECT_EQ(dtype_from_name("BF16"), DType::kBF16);
  EXPECT_EQ(dtype_from_name("F8_E4M3"), DType::kF8E4M3);
  EXPECT_EQ(dtype_from_name("bf16"), std::nullopt);
  EXPECT_EQ(dtype_from_name(""), std::nullopt);
  EXPECT_EQ(dtype_from_name("F4"), std::nullopt);
}

}  // namespace
}  // namespace tandem
