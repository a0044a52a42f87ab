#pragma once
// A weight matrix, prepared for the backend that will multiply with it.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "kernels/context.h"
#include "tandem/dtype.h"
#include "tandem/error.h"
#include "tandem/quantization.h"

namespace tandem::kernels {

/// Borrowed bytes of `count` stacked matrices [rows, cols] (count > 1: experts or heads),
/// row-major. A row is an output. `keep` owns the bytes.
struct MatrixData {
  int count = 1;
  int rows = 0;
  int cols = 0;
  std::optional<Quantization> quantization;  // nullopt: dense, in `dtype`
  DType dtype = DType::kF32;                 // of dense weights, or of scales and biases
  std::span<const std::byte> weight;         // dense elements or packed words
  std::span<const std::byte> scales;         // [count, rows, cols / group]; empty when dense
  std::span<const std::byte> biases;         // as scales
  std::vector<std::shared_ptr<const void>> keep;

  /// Rows [begin, end) of every one of a single matrix (count == 1); shares the bytes.
  MatrixData slice_rows(int begin, int end) const;
};

/// Immutable, cheap to copy (shared). `bytes()` is what one pass over it reads.
class Matrix {
 public:
  struct Impl;

  /// Fails on sizes that do not fit the spans, unknown types, or a group that does not divide cols.
  static Result<Matrix> prepare(const Context& context, MatrixData data);

  int count() const;
  int rows() const;
  int cols() const;
  std::size_t bytes() const;
  const Impl& impl() const { return *impl_; }

 private:
  explicit Matrix(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

/// Dense float32 copy of matrix `index` of `data`, [rows * cols]: for load-time rewrites only.
std::vector<float> dequantize(const MatrixData& data, int index = 0);
/// Dense float32 matrices that own `values` [count * rows * cols]: rewritten weights at load.
MatrixData from_f32(std::vector<float> values, int count, int rows, int cols);

}  // namespace tandem::kernels
