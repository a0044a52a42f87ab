#pragma once
// The loops of one instruction set together. Included last.

#include "kernels/cpu/product_float.h"
#include "kernels/cpu/product_int8.h"
#include "kernels/cpu/product_pairs.h"

namespace tandem::kernels {
namespace {

// Rows of x that stay in the second cache while all tiles pass over them.
constexpr int kInt8CacheBytes = 512 * 1024;

/// Rows [row, row + count) of tiles [begin, end).
template <int Bits>
void int8_block(const Product& product, int begin, int end, int row, int count) {
  const int paired = int8_pairs<Lanes, Bits>(product, begin, end, row, count);
  const int pairs_end = begin + (end - begin) / 2 * 2;
  for (int tile = begin; tile < end; ++tile) {
    const int done = tile < pairs_end ? paired : 0;
    int8_rows<Bits, Lanes::kMaxRows>(product, tile, row + done, count - done,
                                     row == 0 && done == 0);
  }
}

template <int Bits>
void int8_tiles(const Product& product, int begin, int end) {
  int most = kInt8CacheBytes / product.w.cols / Lanes::kMaxRows * Lanes::kMaxRows;
  if (most < Lanes::kMaxRows) most = Lanes::kMaxRows;
  for (int row = 0; row < product.count; row += most) {
    const int count = product.count - row < most ? product.count - row : most;
    int8_block<Bits>(product, begin, end, row, count);
  }
}

[[maybe_unused]] void multiply_int8(const Product& product, int begin, int end) {
  with_bits(product.w.format.bits,
            [&](auto bits) { int8_tiles<decltype(bits)::value>(product, begin, end); });
}

[[maybe_unused]] void multiply_any(const Product& product, int begin, int end) {
  if (product.count <= 0) return;
  product.x != nullptr ? multiply_float(product, begin, end) : multiply_int8(product, begin, end);
}

}  // namespace
}  // namespace tandem::kernels
