#include "kernels/mlx/mlx_ops.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "kernels/mlx/faults.h"
#include "kernels/mlx/mlx_matrix.h"
#include "kernels/mlx_stream.h"
#include "kernels/stored.h"

namespace tandem::kernels {
namespace {

/// An MLX array over borrowed bytes (MLX copies them where its device cannot use them in place).
mx::array borrow(const MatrixData& data, std::span<const std::byte> bytes, int last,
                 mx::Dtype dtype) {
  mx::Shape shape = {data.rows, last};
  if (data.count > 1) shape.insert(shape.begin(), data.count);
  // MLX's interface takes mutable memory, but weights are never written.
  void* memory = const_cast<std::byte*>(bytes.data());
  return mx::array(memory, std::move(shape), dtype, [keep = data.keep](void*) {});
}

mx::Shape with_last(const mx::array& x, int size) {
  mx::Shape shape = x.shape();
  shape.back() = size;
  return shape;
}

}  // namespace

MlxOps::MlxOps(Activations activations, mx::Stream stream)
    : Ops(activations), stream_(stream), cuda_generation_(cuda_generation(stream.device)) {}

bool MlxOps::keeps_kv(DType type) const { return type == DType::kF32 || type == DType::kBF16; }

bool MlxOps::needs_dense(const MatrixData& data) const {
  return must_be_dense(cuda_generation_, data);
}

void MlxOps::settle() const { kernels::settle(stream_); }

Result<Matrix> MlxOps::run_prepare(MatrixData data) const {
  auto made = std::make_shared<MlxMatrix>();
  made->count = data.count;
  made->rows = data.rows;
  made->cols = data.cols;
  made->quantization = data.quantization;
  made->bytes = data.weight.size() + data.scales.size() + data.biases.size();
  const mx::Dtype type = mlx_type(data.dtype);
  if (!data.quantization) {
    made->weight = borrow(data, data.weight, data.cols, type);
    return Matrix(std::move(made));
  }
  const int groups = data.cols / data.quantization->group;
  made->weight = borrow(data, data.weight, data.cols / 32 * data.quantization->bits, mx::uint32);
  made->scales = borrow(data, data.scales, groups, type);
  made->biases = borrow(data, data.biases, groups, type);
  return Matrix(std::move(made));
}

/// On a GPU in the activations' type if that changes no value, which takes MLX's kernel without
/// conversions.
mx::array MlxOps::run_norm_weight(const mx::array& weight) const {
  if (!on_gpu() || dtype() == DType::kF32) return weight;
  const float* values = weight.data<float>();
  const bool exact = std::all_of(values, values + weight.size(), [](float value) {
    return float_of_bf16(bf16_of_float(value)) == value;
  });
  if (!exact) return weight;
  mx::array narrow = activation(weight);
  narrow.eval();
  return narrow;
}

mx::array MlxOps::run_ready(const mx::array& x) const {
  if (x.is_available() && x.flags().row_contiguous) return x;
  mx::array whole = mx::contiguous(x, false, stream_);
  whole.eval();
  return whole;
}

mx::array MlxOps::run_reshape(const mx::array& x, mx::Shape shape) const {
  return mx::reshape(x, std::move(shape), stream_);
}

mx::array MlxOps::run_slice_last(const mx::array& x, int begin, int end) const {
  mx::Shape from(x.ndim(), 0);
  from.back() = begin;
  return mx::slice(x, from, with_last(x, end), stream_);
}

mx::array MlxOps::run_join_last(const mx::array& a, const mx::array& b) const {
  return mx::concatenate({a, b}, -1, stream_);
}

mx::array MlxOps::run_take_rows(const mx::array& x, const mx::array& rows) const {
  return mx::take(x, rows, 0, stream_);
}

mx::array MlxOps::run_cast(const mx::array& x, mx::Dtype type) const {
  return mx::astype(x, type, stream_);
}

mx::array MlxOps::run_rms_norm(const mx::array& x, const mx::array& weight, float epsilon) const {
  // Float32 inside either way; in one type it is one kernel.
  const bool alike = x.dtype() == weight.dtype();
  const mx::array in = alike ? x : as_f32(x);
  const mx::array by = alike ? weight : as_f32(weight);
  return activation(mx::fast::rms_norm(in, by, epsilon, stream_));
}

Residual MlxOps::run_add_rms_norm(const mx::array& x, const mx::array& delta,
                                  const mx::array& weight, float epsilon) const {
  const mx::array sum = run_add(x, delta);
  return {sum, run_rms_norm(sum, weight, epsilon)};
}

}  // namespace tandem::kernels
