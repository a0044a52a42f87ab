#pragma once
// The input of products, converted once for all matrices that it meets.

#include <mlx/mlx.h>

#include <cstdint>
#include <list>

#include "base/workspace.h"
#include "kernels/cpu/product.h"

namespace tandem::kernels {

namespace mx = mlx::core;

/// What a loop needs besides its inputs to multiply.
struct ProductContext {
  const ProductLoops* loops = nullptr;
  ThreadPool* pool = nullptr;
  bool int8 = false;  // quantize the inputs of quantized matrices
};

/// The memory of one loop: the pool's workspace, emptied, or its own when there is no pool.
class LoopMemory {
 public:
  explicit LoopMemory(ThreadPool* pool);
  Workspace& operator*() { return *memory_; }

 private:
  Workspace own_;
  Workspace* memory_;
};

/// Memory for int8 rows.
Int8Rows take_int8_rows(Workspace& memory, std::int64_t rows, int cols, int group);

/// Rows of x as float32 and, where a quantized matrix asks for it, as int8. Borrows x's memory.
class PreparedRows {
 public:
  /// `x` holds rows * cols elements, float32 or bfloat16.
  PreparedRows(const ProductContext& context, Workspace& memory, const mx::array& x,
               std::int64_t rows, int cols);
  /// Sets the input of `product`; its w is set already.
  void attach(Product& product);

 private:
  const ProductContext& context_;
  Workspace& memory_;
  std::int64_t rows_;
  int cols_;
  const float* x_;
  std::list<Int8Rows> int8_;  // one a group size; products point to them
};

}  // namespace tandem::kernels
