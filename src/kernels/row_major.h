#pragma once
// Matrices as a folder stores them, row by row.

#include <cstddef>
#include <cstdint>

#include "tandem/dtype.h"
#include "tandem/quantization.h"

namespace tandem::kernels {

/// How the elements of a matrix are stored. Packed ones are `bits` wide, little-endian in uint32
/// words along a row.
struct ElementFormat {
  int bits = 0;              // 0: dense
  int group = 0;             // columns of a scale; 0 when dense
  DType type = DType::kF32;  // of dense elements, or of scales and biases: kF32, kBF16 or kF16
};

/// `quantization`: null when dense.
ElementFormat element_format(const Quantization* quantization, DType type);

/// One matrix [rows, cols]. Borrows the bytes; scales and biases are null when dense.
struct RowMajor {
  const std::byte* weight = nullptr;
  const std::byte* scales = nullptr;
  const std::byte* biases = nullptr;
};

/// Columns of a whole number of words, whatever the bits.
inline constexpr int kBlockCols = 32;

/// Bytes of a row's elements, and of its scales, which are as many as those of its biases.
std::size_t row_bytes(const ElementFormat& format, int cols);
std::size_t scale_bytes(const ElementFormat& format, int cols);
/// Row `row` in float32: out[cols].
void dequantize_row(const ElementFormat& format, int cols, const RowMajor& source, int row,
                    float* out);

/// Element `index` of the `bits` words that hold kBlockCols packed elements.
inline std::uint32_t packed_element(const std::uint32_t* words, int bits, int index) {
  const int at = index * bits;
  const int word = at / 32;
  const int shift = at % 32;
  std::uint32_t value = words[word] >> shift;
  if (shift + bits > 32) value |= words[word + 1] << (32 - shift);
  return value & ((1U << bits) - 1);
}

}  // namespace tandem::kernels
