#include "kernels/row_major.h"

#include <array>
#include <cstring>

#include "kernels/stored.h"

namespace tandem::kernels {

std::size_t row_bytes(const ElementFormat& format, int cols) {
  if (format.bits == 0) return static_cast<std::size_t>(cols) * size_of(format.type);
  return static_cast<std::size_t>(cols / kBlockCols) * static_cast<std::size_t>(format.bits) * 4;
}

std::size_t scale_bytes(const ElementFormat& format, int cols) {
  if (format.bits == 0) return 0;
  return static_cast<std::size_t>(cols / format.group) * size_of(format.type);
}

ElementFormat element_format(const Quantization* quantization, DType type) {
  if (quantization == nullptr) return {0, 0, type};
  return {quantization->bits, quantization->group, type};
}

void dequantize_row(const ElementFormat& format, int cols, const RowMajor& source, int row,
                    float* out) {
  const std::byte* from = source.weight + static_cast<std::size_t>(row) * row_bytes(format, cols);
  if (format.bits == 0) {
    for (int col = 0; col < cols; ++col) {
      out[col] = stored_float(format.type, from, static_cast<std::size_t>(col));
    }
    return;
  }
  const auto groups = static_cast<std::size_t>(cols / format.group);
  std::array<std::uint32_t, 8> words{};
  for (int begin = 0; begin < cols; begin += kBlockCols) {
    const std::size_t index =
        static_cast<std::size_t>(row) * groups + static_cast<std::size_t>(begin / format.group);
    const float scale = stored_float(format.type, source.scales, index);
    const float bias = stored_float(format.type, source.biases, index);
    const auto bytes = static_cast<std::size_t>(format.bits) * 4;
    std::memcpy(words.data(), from, bytes);
    from += bytes;
    for (int i = 0; i < kBlockCols; ++i) {
      const std::uint32_t q = packed_element(words.data(), format.bits, i);
      out[begin + i] = scale * static_cast<float>(q) + bias;
    }
  }
}

}  // namespace tandem::kernels
