#pragma once
// The input of products, converted once for all matrices that it meets.

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/context.h"
#include "kernels/product.h"

namespace tandem::kernels {

/// What a node needs besides its inputs to multiply.
struct ProductContext {
  const ProductLoops* loops = nullptr;
  ThreadPool* pool = nullptr;
  bool int8 = false;  // quantize the inputs of quantized matrices

  explicit ProductContext(const Context& context);
};

/// Memory for int8 rows.
class Int8Buffer {
 public:
  Int8Buffer(std::int64_t rows, int cols, int group);
  const Int8Rows& rows() const { return rows_; }

 private:
  std::unique_ptr<std::int8_t[]> q_;
  std::unique_ptr<float[]> floats_;
  std::unique_ptr<std::int32_t[]> counts_;
  Int8Rows rows_;
};

/// Rows of x as float32 and, where a quantized matrix asks for it, as int8. Borrows x's memory.
class PreparedRows {
 public:
  /// `x` holds rows * cols elements, float32 or bfloat16.
  PreparedRows(const ProductContext& context, const mx::array& x, std::int64_t rows, int cols);
  /// Sets the input of `product`; its w is set already.
  void attach(Product& product);

 private:
  const ProductContext& context_;
  std::int64_t rows_;
  int cols_;
  std::unique_ptr<float[]> converted_;
  const float* x_;
  std::vector<std::unique_ptr<Int8Buffer>> int8_;  // one a group size
};

/// x as an array that PreparedRows takes.
mx::array as_rows(const Context& context, const mx::array& x);
/// Elements of a float32, bfloat16 or float16 array in float32.
std::vector<float> to_floats(const mx::array& values);

}  // namespace tandem::kernels
