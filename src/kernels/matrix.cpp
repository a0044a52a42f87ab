#include "kernels/matrix.h"

#include <cstdint>
#include <string>

#include "base/check.h"

namespace tandem::kernels {
namespace {

// Elements of all matrices together: products of sizes stay far from overflow.
constexpr std::uint64_t kMostElements = std::uint64_t{1} << 48;

bool is_float(DType type) {
  return type == DType::kF32 || type == DType::kBF16 || type == DType::kF16;
}

std::string describe(const MatrixData& data) {
  return "matrix " + std::to_string(data.count) + " x " + std::to_string(data.rows) + " x " +
         std::to_string(data.cols);
}

Status check_span(const MatrixData& data, const char* name, std::size_t have, std::size_t want) {
  if (have == want) return {};
  return invalid(describe(data) + ": " + name + " has " + std::to_string(have) + " bytes, not " +
                 std::to_string(want));
}

/// "2, 3, 4": what a format can have instead.
template <class Numbers>
std::string listed(const Numbers& numbers) {
  std::string text;
  for (const int number : numbers) {
    if (!text.empty()) text += ", ";
    text += std::to_string(number);
  }
  return text;
}

Status check_quantization(const MatrixData& data) {
  const Quantization& q = *data.quantization;
  const QuantFormat* format = find_format(q.mode, q.bits);
  if (format == nullptr) {
    std::vector<int> known;
    for (const QuantFormat& row : kQuantFormats) {
      if (row.mode == q.mode) known.push_back(row.bits);
    }
    return invalid(describe(data) + ": " + std::to_string(q.bits) + " bits is none of " +
                   listed(known));
  }
  if (!has_group(*format, q.group)) {
    return invalid(describe(data) + ": group " + std::to_string(q.group) + " is none of " +
                   listed(format->groups));
  }
  if (data.cols % q.group != 0) {
    return invalid(describe(data) + ": group " + std::to_string(q.group) +
                   " does not divide the columns");
  }
  return {};
}

}  // namespace

ElementFormat MatrixData::format() const {
  return element_format(quantization ? &*quantization : nullptr, dtype);
}

RowMajor MatrixData::matrix(int index) const {
  const std::size_t first = static_cast<std::size_t>(index) * static_cast<std::size_t>(rows);
  const std::size_t scale = first * scale_bytes(format(), cols);
  return {weight.data() + first * row_bytes(format(), cols), scales.data() + scale,
          biases.data() + scale};
}

Status check_data(const MatrixData& data) {
  if (data.count < 1 || data.rows < 1 || data.cols < 1) {
    return invalid(describe(data) + ": every size must be at least 1");
  }
  const auto count = static_cast<std::uint64_t>(data.count);
  const auto rows = static_cast<std::uint64_t>(data.rows);
  const auto cols = static_cast<std::uint64_t>(data.cols);
  if (rows * cols > kMostElements / count) {
    return invalid(describe(data) + ": more than 2^48 elements");
  }
  if (!is_float(data.dtype)) {
    return invalid(describe(data) + ": type " + std::string(dtype_name(data.dtype)) +
                   " is none of F32, BF16, F16");
  }
  if (data.quantization) {
    if (Status s = check_quantization(data); !s) return s;
  }
  const std::size_t n = count * rows;
  const ElementFormat format = data.format();
  const std::size_t scales = n * scale_bytes(format, data.cols);
  if (Status s = check_span(data, "weight", data.weight.size(), n * row_bytes(format, data.cols));
      !s) {
    return s;
  }
  if (Status s = check_span(data, "scales", data.scales.size(), scales); !s) return s;
  return check_span(data, "biases", data.biases.size(), scales);
}

std::vector<float> dequantize(const MatrixData& data, int index) {
  const Status status = check_data(data);
  check(status.ok() && index >= 0 && index < data.count, "dequantize() takes a valid matrix");
  const RowMajor from = data.matrix(index);
  const auto cols = static_cast<std::size_t>(data.cols);
  std::vector<float> values(static_cast<std::size_t>(data.rows) * cols);
  for (int row = 0; row < data.rows; ++row) {
    dequantize_row(data.format(), data.cols, from, row,
                   values.data() + static_cast<std::size_t>(row) * cols);
  }
  return values;
}

}  // namespace tandem::kernels
