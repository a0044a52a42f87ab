#include "models/loading/gather.h"

#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "base/check.h"
#include "kernels/stored.h"

namespace tandem::models {
namespace {

using kernels::MatrixData;
using Buffer = std::vector<std::byte>;

/// The mapped tensors of one source.
struct Mapped {
  weights::Tensor weight;
  weights::Tensor scales;
  weights::Tensor biases;
};

Result<Mapped> map_source(weights::WeightFolder& folder, const Source& source) {
  Mapped mapped;
  const std::pair<const std::string*, weights::Tensor*> tensors[] = {
      {&source.weight, &mapped.weight},
      {source.scales.empty() ? &source.scale_inverse : &source.scales, &mapped.scales},
      {&source.biases, &mapped.biases}};
  for (const auto& [name, tensor] : tensors) {
    if (name->empty()) continue;
    auto taken = folder.take(*name);
    if (!taken.ok()) return taken.error();
    *tensor = *std::move(taken);
  }
  return mapped;
}

/// Hands a buffer to the matrix and returns its span.
std::span<const std::byte> own(MatrixData& data, Buffer buffer) {
  auto owner = std::make_shared<const Buffer>(std::move(buffer));
  const std::span<const std::byte> bytes(*owner);
  data.keep.push_back(std::move(owner));
  return bytes;
}

void append(Buffer& to, std::span<const std::byte> from, std::size_t begin, std::size_t count) {
  check(begin + count <= from.size(), "a piece lies inside its tensor");
  to.insert(to.end(), from.begin() + static_cast<std::ptrdiff_t>(begin),
            from.begin() + static_cast<std::ptrdiff_t>(begin + count));
}

/// weight * weight_scale_inv of its block, rounded once.
void append_fp8(Buffer& to, const Mapped& mapped, const Source& source, const Piece& piece) {
  const auto cols = static_cast<std::size_t>(source.cols);
  const auto block_cols = static_cast<std::size_t>(source.format.blocks.block_cols);
  const std::size_t blocks_a_row = (cols + block_cols - 1) / block_cols;
  std::vector<std::uint16_t> row(cols);
  for (int r = piece.first; r < piece.first + piece.rows; ++r) {
    const std::size_t first = static_cast<std::size_t>(r) * cols;
    const std::size_t block_row =
        static_cast<std::size_t>(r / source.format.blocks.block_rows) * blocks_a_row;
    for (std::size_t c = 0; c < cols; ++c) {
      const float scale = kernels::stored_float(source.format.dtype, mapped.scales.bytes.data(),
                                                block_row + c / block_cols);
      const auto bits = std::to_integer<std::uint8_t>(mapped.weight.bytes[first + c]);
      row[c] = kernels::bf16_of_float(from_e4m3(bits) * scale);
    }
    const auto* bytes = reinterpret_cast<const std::byte*>(row.data());
    to.insert(to.end(), bytes, bytes + cols * sizeof(std::uint16_t));
  }
}

bool whole(const MatrixPlan& plan) {
  if (plan.sources.size() != 1 || plan.pieces.size() != 1) return false;
  const Source& source = plan.sources.front();
  const Piece& piece = plan.pieces.front();
  return piece.index == 0 && piece.first == 0 && piece.rows == source.count * source.rows;
}

/// Everything but transposition.
Result<MatrixData> gather_rows(weights::WeightFolder& folder, const MatrixPlan& plan) {
  const Format& format = plan.sources.front().format;
  const bool fp8 = format.kind == Format::Kind::kFp8;
  MatrixData data;
  data.dtype = fp8 ? DType::kBF16 : format.dtype;
  if (format.kind == Format::Kind::kQuantized) data.quantization = format.quantization;
  data.cols = plan.sources.front().cols;
  Buffer weight, scales, biases;
  const std::size_t rows = plan.transposed ? static_cast<std::size_t>(plan.count) * plan.cols
                                           : static_cast<std::size_t>(plan.count) * plan.rows;
  if (!whole(plan) || fp8) {
    const RowBytes row = row_bytes(plan.sources.front());
    weight.reserve(rows * row.weight * (fp8 ? sizeof(std::uint16_t) : 1));
    scales.reserve(rows * row.scales);
    biases.reserve(rows * row.scales);
  }
  std::size_t next = 0;
  for (std::size_t s = 0; s < plan.sources.size(); ++s) {
    const Source& source = plan.sources[s];
    auto mapped = map_source(folder, source);
    if (!mapped.ok()) return mapped.error();
    if (whole(plan) && !fp8) {
      data.weight = mapped->weight.bytes;
      data.scales = mapped->scales.bytes;
      data.biases = mapped->biases.bytes;
      data.keep = {mapped->weight.keep, mapped->scales.keep, mapped->biases.keep};
      return data;
    }
    // Pieces come in the order of their sources, so that one source is mapped at a time.
    for (; next < plan.pieces.size() && plan.pieces[next].source == static_cast<int>(s); ++next) {
      const Piece& piece = plan.pieces[next];
      if (fp8) {
        append_fp8(weight, *mapped, source, piece);
        continue;
      }
      const RowBytes row = row_bytes(source);
      const std::size_t first = static_cast<std::size_t>(piece.index) * source.rows + piece.first;
      const auto count = static_cast<std::size_t>(piece.rows);
      append(weight, mapped->weight.bytes, first * row.weight, count * row.weight);
      append(scales, mapped->scales.bytes, first * row.scales, count * row.scales);
      append(biases, mapped->biases.bytes, first * row.scales, count * row.scales);
    }
  }
  check(next == plan.pieces.size(), "pieces are in the order of their sources");
  data.weight = own(data, std::move(weight));
  data.scales = own(data, std::move(scales));
  data.biases = own(data, std::move(biases));
  return data;
}

/// `count` dense matrices [from_rows, from_cols] turned.
Buffer turned(std::span<const std::byte> bytes, std::size_t item, int count, int from_rows,
              int from_cols) {
  const auto rows = static_cast<std::size_t>(from_rows);
  const auto cols = static_cast<std::size_t>(from_cols);
  Buffer out(bytes.size());
  for (std::size_t m = 0; m < static_cast<std::size_t>(count); ++m) {
    const std::byte* from = bytes.data() + m * rows * cols * item;
    std::byte* to = out.data() + m * rows * cols * item;
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t c = 0; c < cols; ++c) {
        std::memcpy(to + (c * rows + r) * item, from + (r * cols + c) * item, item);
      }
    }
  }
  return out;
}

std::array<float, 256> e4m3_values() {
  std::array<float, 256> values{};
  for (int bits = 0; bits < 256; ++bits) {
    const int exponent = (bits >> 3) & 15;
    const int fraction = bits & 7;
    float value = exponent == 0 ? std::ldexp(static_cast<float>(fraction), -9)
                                : std::ldexp(static_cast<float>(8 + fraction), exponent - 10);
    if ((bits & 127) == 127) value = std::numeric_limits<float>::quiet_NaN();
    values[static_cast<std::size_t>(bits)] = bits >= 128 ? -value : value;
  }
  return values;
}

}  // namespace

float from_e4m3(std::uint8_t bits) {
  static const std::array<float, 256> values = e4m3_values();
  return values[bits];
}

MatrixData dense(const MatrixData& from, DType type) {
  MatrixData to;
  to.count = from.count;
  to.rows = from.rows;
  to.cols = from.cols;
  to.dtype = type;
  Buffer bytes;
  for (int m = 0; m < from.count; ++m) {
    for (const float value : kernels::dequantize(from, m)) {
      const std::uint16_t rounded = kernels::bf16_of_float(value);
      const auto* at = to.dtype == DType::kBF16 ? reinterpret_cast<const std::byte*>(&rounded)
                                                : reinterpret_cast<const std::byte*>(&value);
      bytes.insert(bytes.end(), at, at + size_of(to.dtype));
    }
  }
  to.weight = own(to, std::move(bytes));
  return to;
}

Result<MatrixData> gather(weights::WeightFolder& folder, const MatrixPlan& plan, DType dense_type) {
  auto gathered = gather_rows(folder, plan);
  if (!gathered.ok()) return gathered;
  MatrixData data = *std::move(gathered);
  data.count = plan.count;
  data.rows = plan.transposed ? plan.cols : plan.rows;
  data.cols = plan.transposed ? plan.rows : plan.cols;
  if (!plan.transposed) return data;
  if (data.quantization) data = dense(data, dense_type);
  MatrixData out;
  out.count = plan.count;
  out.rows = plan.rows;
  out.cols = plan.cols;
  out.dtype = data.dtype;
  out.weight = own(out, turned(data.weight, size_of(data.dtype), data.count, data.rows, data.cols));
  return out;
}

Result<std::vector<float>> gather_floats(weights::WeightFolder& folder, const MatrixPlan& plan) {
  auto data = gather(folder, plan, DType::kF32);
  if (!data.ok()) return data.error();
  if (data->quantization) *data = dense(*data, DType::kF32);
  std::vector<float> values;
  const std::size_t count = data->weight.size() / size_of(data->dtype);
  values.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    values.push_back(kernels::stored_float(data->dtype, data->weight.data(), i));
  }
  return values;
}

Result<std::vector<float>> gather_vector(weights::WeightFolder& folder, const VectorPlan& plan) {
  auto tensor = folder.take(plan.tensor);
  if (!tensor.ok()) return tensor.error();
  const std::size_t count = tensor->bytes.size() / size_of(tensor->dtype);
  std::vector<float> values;
  values.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    values.push_back(kernels::stored_float(tensor->dtype, tensor->bytes.data(), i) + plan.offset);
  }
  check(values.size() == static_cast<std::size_t>(plan.size), "a vector has its planned size");
  return values;
}

}  // namespace tandem::models
