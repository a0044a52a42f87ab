#pragma once
// Many int8 rows with 4- and 8-bit tiles, two tiles at a time: an activation is loaded once for
// both. For instruction sets with the registers for it; the same bits as product_int8.h.

#include "kernels/cpu/product_int8.h"

namespace tandem::kernels {
namespace {

/// Exact dot products of one group of two tiles, `other` bytes apart, with `Rows` rows.
template <class L, int Bits, int Rows>
[[gnu::always_inline]] inline void pair_dots(const std::byte* p, std::size_t other, int group,
                                             int col, const Int8Row (&rows)[Rows],
                                             typename L::Int (&dots)[2][Rows]) {
  constexpr int kVectors = Bits == 4 ? 2 : 1;  // of four columns in 64 stored bytes
  for (int r = 0; r < Rows; ++r) dots[0][r] = dots[1][r] = L::int_zero();
  for (int c = 0; c < group; c += 4 * kVectors, p += kVectorBytes) {
    typename L::Bytes q[2][kVectors];
    for (int t = 0; t < 2; ++t) {
      const typename L::Bytes stored = L::load_bytes(p + static_cast<std::size_t>(t) * other);
      if constexpr (Bits == 4) {
        q[t][0] = L::mask(stored, 0x0F);
        q[t][1] = L::mask(L::template shift<4>(stored), 0x0F);
      } else {
        q[t][0] = stored;
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
      for (int v = 0; v < kVectors; ++v) {
        const typename L::Bytes a = L::four(rows[r].q + col + c + 4 * v);
        dots[0][r] = L::dot_four(dots[0][r], q[0][v], a);
        dots[1][r] = L::dot_four(dots[1][r], q[1][v], a);
      }
    }
  }
}

/// The 32 outputs of tiles `tile` and `tile + 1` for `Rows` rows, from row `first`.
template <class L, int Bits, int Rows>
void int8_pair(const Product& product, int tile, int first, bool fetch) {
  const TileMatrix& w = product.w;
  Int8Row rows[Rows];
  for (int r = 0; r < Rows; ++r) rows[r] = int8_row(product, first + r);
  alignas(64) float sums[2][Rows][kTileRows] = {};
  const std::byte* const start = w.tiles + static_cast<std::size_t>(tile) * w.tile_bytes;
  const std::byte* p = start;
  const std::size_t header = header_bytes(w.format.type);
  const std::size_t bytes =
      header + static_cast<std::size_t>(w.format.group / kBlockCols * Bits) * kVectorBytes;
  for (int g = 0, col = 0; col < w.cols; ++g, col += w.format.group, p += bytes) {
    if (fetch) {  // the next pair, as one stream of memory
      const std::byte* next = p + 2 * w.tile_bytes + static_cast<std::size_t>(p - start);
      for (std::size_t at = 0; at < 2 * bytes; at += kVectorBytes) L::prefetch(next + at);
    }
    typename L::Int dots[2][Rows];
    pair_dots<L, Bits, Rows>(p + header, w.tile_bytes, w.format.group, col, rows, dots);
    for (int t = 0; t < 2; ++t) {
      const Group group =
          load_group(w.format.type, p + static_cast<std::size_t>(t) * w.tile_bytes, 0);
#pragma GCC unroll 8
      for (int r = 0; r < Rows; ++r) {
        const auto dot = L::mul(L::to_float(dots[t][r]), L::broadcast(rows[r].scales[g]));
        const auto sum = L::fma(group.scale, dot, L::load(sums[t][r]));
        L::store(sums[t][r], L::fma(group.bias, L::broadcast(rows[r].sums[g]), sum));
      }
    }
  }
  for (int t = 0; t < 2; ++t) {
    const int output = (tile + t) * kTileRows;
    const int count = w.rows - output < kTileRows ? w.rows - output : kTileRows;
    for (int r = 0; r < Rows; ++r) finish_row(product, first + r, output, count, sums[t][r]);
  }
}

/// Takes tiles from `tile` on in pairs, and of `count` rows from `first` as many as fill passes.
/// Returns the rows taken; the pairs' other rows and a last odd tile are left.
template <class L, int Bits>
int int8_pairs(const Product& product, int begin, int end, int first, int count) {
  if constexpr (L::kPairs && (Bits == 4 || Bits == 8)) {
    if (count < L::kMaxRows) return 0;
    const int taken = count / L::kMaxRows * L::kMaxRows;
    for (int tile = begin; tile + 2 <= end; tile += 2) {
      for (int row = first; row < first + taken; row += L::kMaxRows) {
        int8_pair<L, Bits, L::kMaxRows>(product, tile, row, row == 0);
      }
    }
    return taken;
  }
  return 0;
}

}  // namespace
}  // namespace tandem::kernels
