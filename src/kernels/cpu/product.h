#pragma once
// Products of rows with tiled matrices: the loops of every instruction set behind one table, and
// their distribution over threads. No MLX here.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "kernels/cpu/tiles.h"

namespace tandem {
class ThreadPool;
}

namespace tandem::kernels {

/// Rows of float32 quantized to int8, one scale a group of `group` columns: x = scale * q within
/// half a step, q in [-127, 127]. A row has `cols` bytes and cols / group of each of the others.
struct Int8Rows {
  std::int8_t* q = nullptr;
  float* scales = nullptr;
  float* sums = nullptr;           // scale * (sum of q)
  std::int32_t* counts = nullptr;  // sum of q
  int cols = 0;
  int group = 0;
};

/// y[out[i]] = W x[in[i]] + bias for i in [0, count). Null `in` or `out`: i itself.
struct Product {
  TileMatrix w;
  const float* x = nullptr;        // row-major [*, w.cols]; null: use `int8`
  const Int8Rows* int8 = nullptr;  // quantized by w.format.group
  const std::int32_t* in = nullptr;
  const std::int32_t* out = nullptr;
  int count = 0;
  void* y = nullptr;            // row-major [*, y_stride]
  std::size_t y_stride = 0;     // elements
  DType y_type = DType::kF32;   // kF32 or kBF16
  const float* bias = nullptr;  // [w.rows] or null
};

/// The loops of one instruction set. A row of y depends on its row of x only, bit for bit.
struct ProductLoops {
  /// Tiles [begin, end) of all rows.
  void (*multiply)(const Product& product, int begin, int end);
  /// Rows [begin, end) of x [*, cols].
  void (*quantize)(const float* x, const Int8Rows& to, std::int64_t begin, std::int64_t end);
};

/// pool->parallel_for, or one call when there is no pool.
void in_parallel(ThreadPool* pool, std::int64_t n, std::int64_t grain,
                 const std::function<void(std::int64_t, std::int64_t, int)>& body);
/// Runs all tiles of all products over the threads of `pool`.
void multiply(const ProductLoops& loops, ThreadPool* pool, std::span<const Product> products);
/// Quantizes `rows` rows of x over the threads of `pool`.
void quantize(const ProductLoops& loops, ThreadPool* pool, const float* x, const Int8Rows& to,
              std::int64_t rows);

}  // namespace tandem::kernels
