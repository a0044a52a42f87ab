#pragma once
// Every format of weights, and products with them in double.

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "tandem/dtype.h"
#include "tandem/quantization.h"
#include "unit/kernels/matrices.h"

namespace tandem::kernels::test {

/// One format of weights.
struct Format {
  std::optional<Quantization> quantization;
  DType type;
  std::string name() const {
    const std::string stored(dtype_name(type));
    if (!quantization) return "dense_" + stored;
    return std::to_string(quantization->bits) + "bit_" + std::to_string(quantization->group) + "_" +
           stored;
  }
};

inline std::vector<Format> formats() {
  std::vector<Format> all;
  for (const DType type : {DType::kBF16, DType::kF16, DType::kF32}) {
    all.push_back({std::nullopt, type});
    for (const QuantFormat& row : kQuantFormats) {
      for (const int group : row.groups)
        all.push_back({Quantization{row.bits, group, row.mode}, type});
    }
  }
  return all;
}

inline TestMatrix make(Random& random, const Format& format, int count, int rows, int cols,
                       std::size_t misalign = 0) {
  if (!format.quantization) {
    return dense_matrix(random, count, rows, cols, format.type, misalign);
  }
  return quantized_matrix(random, count, rows, cols, *format.quantization, format.type, misalign);
}

/// A result with the sum of its terms' magnitudes, which bounds rounding errors.
struct Expected {
  double value = 0;
  double magnitude = 0;
};

inline Expected product(const TestMatrix& m, int index, int row, const float* x) {
  Expected y;
  const auto cols = static_cast<std::size_t>(m.data.cols);
  const std::size_t at = (static_cast<std::size_t>(index * m.data.rows + row)) * cols;
  for (std::size_t i = 0; i < cols; ++i) {
    y.value += m.values[at + i] * x[i];
    y.magnitude += std::abs(m.values[at + i] * x[i]);
  }
  return y;
}

/// For test suites that run on every instruction set.
inline std::string isa_test_name(const testing::TestParamInfo<Isa>& isa) {
  return std::string(isa_name(isa.param));
}

}  // namespace tandem::kernels::test
