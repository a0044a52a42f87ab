#pragma once
// A weight matrix: as a folder has it, and as the operations that multiply with it keep it.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/check.h"
#include "kernels/row_major.h"
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

  ElementFormat format() const;
  /// Matrix `index` of the stack.
  RowMajor matrix(int index) const;
};

/// Whether the sizes fit the spans, the type is known and the groups divide the columns.
Status check_data(const MatrixData& data);

/// Immutable, cheap to copy (shared).
class Matrix {
 public:
  /// What one implementation of the operations makes of a matrix.
  struct Prepared {
    virtual ~Prepared() = default;
    int count = 1;
    int rows = 0;
    int cols = 0;
    std::size_t bytes = 0;  // that one pass over it reads
  };

  explicit Matrix(std::shared_ptr<const Prepared> prepared) : prepared_(std::move(prepared)) {}

  int count() const { return prepared_->count; }
  int rows() const { return prepared_->rows; }
  int cols() const { return prepared_->cols; }
  std::size_t bytes() const { return prepared_->bytes; }

  template <class P>
  const P& as() const {
    const auto* own = dynamic_cast<const P*>(prepared_.get());
    check(own != nullptr, "a matrix meets the operations that prepared it");
    return *own;
  }

 private:
  std::shared_ptr<const Prepared> prepared_;
};

/// Dense float32 copy of matrix `index` of `data`, [rows * cols]: for load-time rewrites only.
std::vector<float> dequantize(const MatrixData& data, int index = 0);

}  // namespace tandem::kernels
