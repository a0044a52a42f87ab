#pragma once
// Random weight matrices with their values in double, for tests of products.

#include <mlx/mlx.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "kernels/matrix.h"
#include "unit/kernels/test_ops.h"

namespace tandem::kernels::test {

using Random = std::mt19937_64;

inline double uniform(Random& random, double low, double high) {
  return std::uniform_real_distribution<double>(low, high)(random);
}

/// `value` rounded (toward zero in the last kept bit) to a type, as its bits and as a double.
struct Rounded {
  std::uint32_t bits;
  double value;
};

inline Rounded rounded(DType type, double value) {
  const auto single = static_cast<float>(value);
  std::uint32_t bits;
  std::memcpy(&bits, &single, 4);
  if (type == DType::kF32) return {bits, single};
  if (type == DType::kBF16) {
    bits &= 0xFFFF0000U;
    float kept;
    std::memcpy(&kept, &bits, 4);
    return {bits >> 16, kept};
  }
  const auto half = static_cast<mx::float16_t>(single);
  std::uint16_t stored;
  std::memcpy(&stored, &half, 2);
  return {stored, static_cast<double>(static_cast<float>(half))};
}

inline void append(std::vector<std::byte>& bytes, DType type, std::uint32_t bits) {
  const auto* from = reinterpret_cast<const std::byte*>(&bits);
  bytes.insert(bytes.end(), from, from + size_of(type));
}

/// What a Matrix is made of, and its elements: values[(index * rows + row) * cols + col].
struct TestMatrix {
  MatrixData data;
  std::vector<double> values;
  // Of quantized matrices, for the exact integer rule: one q an element, scale and bias a group.
  std::vector<int> q;
  std::vector<double> scales;
  std::vector<double> biases;
};

/// Keeps the bytes `misalign` past an aligned address, as a mapped file may.
inline std::span<const std::byte> keep_bytes(MatrixData& data, const std::vector<std::byte>& bytes,
                                             std::size_t misalign) {
  auto owner = std::make_shared<std::vector<std::byte>>(bytes.size() + misalign);
  std::copy(bytes.begin(), bytes.end(), owner->begin() + static_cast<std::ptrdiff_t>(misalign));
  data.keep.push_back(owner);
  return std::span<const std::byte>(*owner).subspan(misalign);
}

inline TestMatrix dense_matrix(Random& random, int count, int rows, int cols, DType type,
                               std::size_t misalign = 0) {
  TestMatrix m;
  m.data.count = count;
  m.data.rows = rows;
  m.data.cols = cols;
  m.data.dtype = type;
  std::vector<std::byte> bytes;
  for (std::int64_t i = 0; i < std::int64_t{count} * rows * cols; ++i) {
    const Rounded value = rounded(type, uniform(random, -1, 1));
    append(bytes, type, value.bits);
    m.values.push_back(value.value);
  }
  m.data.weight = keep_bytes(m.data, bytes, misalign);
  return m;
}

inline TestMatrix quantized_matrix(Random& random, int count, int rows, int cols,
                                   Quantization quantization, DType type,
                                   std::size_t misalign = 0) {
  const int bits = quantization.bits;
  const int group = quantization.group;
  TestMatrix m;
  m.data.count = count;
  m.data.rows = rows;
  m.data.cols = cols;
  m.data.quantization = quantization;
  m.data.dtype = type;
  std::vector<std::byte> weight;
  std::vector<std::byte> scales;
  std::vector<std::byte> biases;
  for (std::int64_t row = 0; row < std::int64_t{count} * rows; ++row) {
    std::vector<std::byte> packed(static_cast<std::size_t>(cols * bits / 8));
    for (int col = 0; col < cols; ++col) {
      if (col % group == 0) {
        const Rounded scale = rounded(type, uniform(random, -0.2, 0.2));
        const Rounded bias = rounded(type, uniform(random, -1, 1));
        append(scales, type, scale.bits);
        append(biases, type, bias.bits);
        m.scales.push_back(scale.value);
        m.biases.push_back(bias.value);
      }
      const int q = static_cast<int>(random() & ((1U << bits) - 1));
      m.q.push_back(q);
      m.values.push_back(m.scales.back() * q + m.biases.back());
      for (int bit = 0; bit < bits; ++bit) {
        const int at = col * bits + bit;
        packed[static_cast<std::size_t>(at / 8)] |=
            static_cast<std::byte>((q >> bit & 1) << (at % 8));
      }
    }
    weight.insert(weight.end(), packed.begin(), packed.end());
  }
  m.data.weight = keep_bytes(m.data, weight, misalign);
  m.data.scales = keep_bytes(m.data, scales, misalign);
  m.data.biases = keep_bytes(m.data, biases, misalign);
  return m;
}

inline std::vector<float> random_rows(Random& random, int rows, int cols) {
  std::vector<float> x(static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols));
  for (float& value : x) value = static_cast<float>(uniform(random, -2, 2));
  return x;
}

inline mx::array array_of(const std::vector<float>& values, mx::Shape shape) {
  return mx::array(values.data(), std::move(shape), mx::float32);
}

inline std::vector<float> floats(mx::array y) {
  y = mx::contiguous(mx::astype(y, mx::float32, mx::Device::cpu), false, mx::Device::cpu);
  y.eval();
  return {y.data<float>(), y.data<float>() + y.size()};
}

}  // namespace tandem::kernels::test
