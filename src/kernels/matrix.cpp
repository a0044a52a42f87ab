#include "kernels/matrix.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "base/check.h"
#include "kernels/matrix_impl.h"
#include "kernels/product.h"
#include "kernels/tiles.h"

namespace tandem::kernels {
namespace {

// Elements of all matrices together: products of sizes stay far from overflow.
constexpr std::uint64_t kMostElements = std::uint64_t{1} << 48;

std::optional<Stored> stored_type(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return Stored::kF32;
    case DType::kBF16:
      return Stored::kBF16;
    case DType::kF16:
      return Stored::kF16;
    default:
      return std::nullopt;
  }
}

/// The same for a type that validate() has let pass.
Stored stored_of(const MatrixData& data) { return stored_type(data.dtype).value_or(Stored::kF32); }

mx::Dtype mlx_type(Stored stored) {
  switch (stored) {
    case Stored::kF32:
      return mx::float32;
    case Stored::kBF16:
      return mx::bfloat16;
    case Stored::kF16:
      break;
  }
  return mx::float16;
}

/// Bytes that one matrix takes in each of the three spans.
struct Sizes {
  std::size_t weight = 0;
  std::size_t scales = 0;  // and biases
};

Sizes sizes(const MatrixData& data) {
  const auto elements = static_cast<std::size_t>(data.rows) * static_cast<std::size_t>(data.cols);
  if (!data.quantization) return {elements * size_of(data.dtype), 0};
  const auto bits = static_cast<std::size_t>(data.quantization->bits);
  const auto group = static_cast<std::size_t>(data.quantization->group);
  return {elements / 8 * bits, elements / group * size_of(data.dtype)};
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

Status validate(const MatrixData& data) {
  if (data.count < 1 || data.rows < 1 || data.cols < 1) {
    return invalid(describe(data) + ": every size must be at least 1");
  }
  const auto count = static_cast<std::uint64_t>(data.count);
  const auto rows = static_cast<std::uint64_t>(data.rows);
  const auto cols = static_cast<std::uint64_t>(data.cols);
  if (rows * cols > kMostElements / count) {
    return invalid(describe(data) + ": more than 2^48 elements");
  }
  if (!stored_type(data.dtype)) {
    return invalid(describe(data) + ": type " + std::string(dtype_name(data.dtype)) +
                   " is none of F32, BF16, F16");
  }
  if (data.quantization) {
    const auto [bits, group] = *data.quantization;
    if (!known_bits(bits)) {
      return invalid(describe(data) + ": " + std::to_string(bits) +
                     " bits is none of 2, 3, 4, 5, 6, 8");
    }
    if (!known_group(group)) {
      return invalid(describe(data) + ": group " + std::to_string(group) +
                     " is none of 32, 64, 128");
    }
    if (data.cols % group != 0) {
      return invalid(describe(data) + ": group " + std::to_string(group) +
                     " does not divide the columns");
    }
  }
  const Sizes one = sizes(data);
  const auto n = static_cast<std::size_t>(data.count);
  if (Status s = check_span(data, "weight", data.weight.size(), n * one.weight); !s) return s;
  if (Status s = check_span(data, "scales", data.scales.size(), n * one.scales); !s) return s;
  return check_span(data, "biases", data.biases.size(), n * one.scales);
}

TileMatrix tile_shape(const MatrixData& data) {
  TileMatrix shape;
  shape.rows = data.rows;
  shape.cols = data.cols;
  if (data.quantization) {
    shape.bits = data.quantization->bits;
    shape.group = data.quantization->group;
  }
  shape.stored = stored_of(data);
  shape.tile_bytes = tile_bytes(shape);
  return shape;
}

RowMajor source(const MatrixData& data, int index) {
  const Sizes one = sizes(data);
  const auto i = static_cast<std::size_t>(index);
  return {data.weight.data() + i * one.weight, data.scales.data() + i * one.scales,
          data.biases.data() + i * one.scales};
}

Status fill_tiles(const Context& context, const MatrixData& data, Matrix::Impl& impl) {
  impl.tiles = tile_shape(data);
  const int tiles = tile_count(data.rows);
  impl.matrix_bytes = static_cast<std::size_t>(tiles) * impl.tiles.tile_bytes;
  impl.bytes = static_cast<std::size_t>(data.count) * impl.matrix_bytes;
  Result<Pages> pages = Pages::allocate(impl.bytes);
  if (!pages) return pages.error();
  impl.storage = std::move(*pages);
  impl.tiles.tiles = impl.storage.data();
  constexpr std::int64_t kGrain = 4;
  in_parallel(context.pool, std::int64_t{tiles} * data.count, kGrain,
              [&](std::int64_t begin, std::int64_t end, int) {
                for (std::int64_t i = begin; i < end; ++i) {
                  const auto index = static_cast<int>(i / tiles);
                  pack_tile(
                      impl.tiles, source(data, index), static_cast<int>(i % tiles),
                      impl.storage.data() + static_cast<std::size_t>(i) * impl.tiles.tile_bytes);
                }
              });
  return {};
}

/// An MLX array over borrowed bytes (MLX copies them where its device cannot use them in place).
mx::array borrow(const MatrixData& data, std::span<const std::byte> bytes, int last,
                 mx::Dtype dtype) {
  mx::Shape shape = {data.rows, last};
  if (data.count > 1) shape.insert(shape.begin(), data.count);
  // MLX's interface takes mutable memory, but weights are never written.
  void* memory = const_cast<std::byte*>(bytes.data());
  return mx::array(memory, std::move(shape), dtype, [keep = data.keep](void*) {});
}

void fill_arrays(const MatrixData& data, Matrix::Impl& impl) {
  const mx::Dtype type = mlx_type(stored_of(data));
  impl.bytes = data.weight.size() + data.scales.size() + data.biases.size();
  if (!data.quantization) {
    impl.weight = borrow(data, data.weight, data.cols, type);
    return;
  }
  const int groups = data.cols / data.quantization->group;
  impl.weight = borrow(data, data.weight, data.cols / 32 * data.quantization->bits, mx::uint32);
  impl.scales = borrow(data, data.scales, groups, type);
  impl.biases = borrow(data, data.biases, groups, type);
}

}  // namespace

MatrixData MatrixData::slice_rows(int begin, int end) const {
  check(count == 1 && begin >= 0 && begin <= end && end <= rows, "rows of a slice are in range");
  MatrixData slice = *this;
  slice.rows = end - begin;
  const auto part = [&](std::span<const std::byte> bytes) {
    const std::size_t row = bytes.size() / static_cast<std::size_t>(std::max(rows, 1));
    return bytes.subspan(static_cast<std::size_t>(begin) * row,
                         static_cast<std::size_t>(end - begin) * row);
  };
  slice.weight = part(weight);
  slice.scales = part(scales);
  slice.biases = part(biases);
  return slice;
}

Result<Matrix> Matrix::prepare(const Context& context, MatrixData data) {
  if (Status status = validate(data); !status) return status.error();
  auto impl = std::make_shared<Impl>();
  impl->backend = context.backend;
  impl->count = data.count;
  impl->rows = data.rows;
  impl->cols = data.cols;
  impl->quantization = data.quantization;
  if (context.backend == Backend::kMlx) {
    fill_arrays(data, *impl);
  } else if (Status status = fill_tiles(context, data, *impl); !status) {
    return status.error();
  }
  return Matrix(std::move(impl));
}

int Matrix::count() const { return impl_->count; }
int Matrix::rows() const { return impl_->rows; }
int Matrix::cols() const { return impl_->cols; }
std::size_t Matrix::bytes() const { return impl_->bytes; }

std::vector<float> dequantize(const MatrixData& data, int index) {
  const Status status = validate(data);
  check(status.ok() && index >= 0 && index < data.count, "dequantize() takes a valid matrix");
  const TileMatrix shape = tile_shape(data);
  const RowMajor from = source(data, index);
  const auto cols = static_cast<std::size_t>(data.cols);
  std::vector<float> values(static_cast<std::size_t>(data.rows) * cols);
  for (int row = 0; row < data.rows; ++row) {
    dequantize_row(shape, from, row, values.data() + static_cast<std::size_t>(row) * cols);
  }
  return values;
}

MatrixData from_f32(std::vector<float> values, int count, int rows, int cols) {
  auto owner = std::make_shared<const std::vector<float>>(std::move(values));
  MatrixData data;
  data.count = count;
  data.rows = rows;
  data.cols = cols;
  data.dtype = DType::kF32;
  data.weight = std::as_bytes(std::span<const float>(*owner));
  data.keep.push_back(std::move(owner));
  return data;
}

}  // namespace tandem::kernels
