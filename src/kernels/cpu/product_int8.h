#pragma once
// Products of int8 rows with quantized tiles. Included once per instruction set, after its lanes.
//
// y = sum over groups g, in order, of scale[g] * (s_a[g] * dot[g]) + bias[g] * (s_a[g] * sum_a[g]),
// dot exact in int32. The order is fixed by the columns only, so a row has the same bits whatever
// is computed beside it.

#include "kernels/cpu/product_store.h"

namespace tandem::kernels {
namespace {

// How far ahead of the loop tiles are fetched when they come from memory (the first rows' pass):
// the hardware's own prefetch stops at pages and falls behind.
constexpr int kPrefetchBytes = 12288;

/// One row of the input.
struct Int8Row {
  const std::int8_t* q;
  const float* scales;
  const float* sums;
  const std::int32_t* counts;
};

[[maybe_unused]] Int8Row int8_row(const Product& product, int row) {
  const Int8Rows& rows = *product.int8;
  const std::size_t from = product.in != nullptr ? static_cast<std::size_t>(product.in[row])
                                                 : static_cast<std::size_t>(row);
  const std::size_t groups = from * static_cast<std::size_t>(rows.cols / rows.group);
  return {rows.q + from * static_cast<std::size_t>(rows.cols), rows.scales + groups,
          rows.sums + groups, rows.counts + groups};
}

/// 8-bit elements minus 128, for instructions that take signed bytes.
template <class L>
[[gnu::always_inline]] inline void recenter(typename L::Bytes (&q)[8]) {
  if constexpr (L::kSignedBytes) {
    for (auto& v : q) v = L::minus_128(v);
  }
}

/// dots[r] += 32 columns of 16 rows of w times those of row r. Where a column's four bytes are one
/// instruction, rows take turns: a chain of one row's would wait for itself.
template <class L, int Bits, int Rows>
[[gnu::always_inline]] inline void block_dots(const typename L::Bytes (&q)[8],
                                              const Int8Row (&rows)[Rows], int col,
                                              typename L::Int (&dots)[Rows]) {
  if constexpr (L::kPairs) {
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) {
#pragma GCC unroll 8
      for (int r = 0; r < Rows; ++r) {
        dots[r] = L::dot_four(dots[r], q[j], L::four(rows[r].q + col + 4 * j));
      }
    }
  } else {
    for (int r = 0; r < Rows; ++r) {
      dots[r] = L::template dot<Bits>(dots[r], q, rows[r].q + col);
    }
  }
}

/// Exact dot products of one group of one part of a tile with `Rows` rows.
template <int Bits, int Rows>
[[gnu::always_inline]] inline void group_dots(const std::byte* p, int blocks, int col, int g,
                                              const Int8Row (&rows)[Rows],
                                              Lanes::Int (&dots)[Rows]) {
  for (int r = 0; r < Rows; ++r) {
    if constexpr (Bits == 8 && Lanes::kSignedBytes) {
      dots[r] = Lanes::int_broadcast(128 * rows[r].counts[g]);
    } else {
      dots[r] = Lanes::int_zero();
    }
  }
  for (int block = 0; block < blocks; ++block) {
    Lanes::Bytes q[8];
    unpack<Bits>(p, q);
    if constexpr (Bits == 8) recenter<Lanes>(q);
    block_dots<Lanes, Bits, Rows>(q, rows, col + block * kBlockCols, dots);
    p += Bits * kVectorBytes;
  }
}

/// The 16 outputs of one tile for `Rows` rows, from row `first` of the product.
template <int Bits, int Rows>
void int8_tile(const Product& product, int tile, int first, bool fetch) {
  const TileMatrix& w = product.w;
  Int8Row rows[Rows];
  for (int r = 0; r < Rows; ++r) rows[r] = int8_row(product, first + r);
  Lanes::Float sums[Rows][kParts];
  for (auto& row : sums) {
    for (Lanes::Float& sum : row) sum = Lanes::zero();
  }
  const std::byte* p = w.tiles + static_cast<std::size_t>(tile) * w.tile_bytes;
  const int blocks = w.format.group / kBlockCols;
  const std::size_t header = header_bytes(w.format.type);
  const std::size_t bytes = header + static_cast<std::size_t>(blocks * Bits) * kVectorBytes;
  for (int g = 0, col = 0; col < w.cols; ++g, col += w.format.group) {
    if (fetch) {
      for (std::size_t at = 0; at < bytes; at += kVectorBytes) {
        Lanes::prefetch(p + kPrefetchBytes + at);
      }
    }
    for (int part = 0; part < kParts; ++part) {
      const Group group = load_group(w.format.type, p, part);
      Lanes::Int dots[Rows];
      group_dots<Bits, Rows>(p + header + part * (kVectorBytes / kParts), blocks, col, g, rows,
                             dots);
      for (int r = 0; r < Rows; ++r) {
        const Lanes::Float dot =
            Lanes::mul(Lanes::to_float(dots[r]), Lanes::broadcast(rows[r].scales[g]));
        Lanes::Float sum = Lanes::fma(group.scale, dot, sums[r][part]);
        sums[r][part] = Lanes::fma(group.bias, Lanes::broadcast(rows[r].sums[g]), sum);
      }
    }
    p += bytes;
  }
  const int output = tile * kTileRows;
  const int count = w.rows - output < kTileRows ? w.rows - output : kTileRows;
  for (int r = 0; r < Rows; ++r) {
    float values[kTileRows];
    for (int part = 0; part < kParts; ++part) {
      Lanes::store(values + part * Lanes::kLanes, sums[r][part]);
    }
    finish_row(product, first + r, output, count, values);
  }
}

/// Rows [first, first + count) of one tile, as many at a time as registers allow.
template <int Bits, int Rows>
void int8_rows(const Product& product, int tile, int first, int count, bool fetch) {
  for (; count >= Rows; count -= Rows, first += Rows, fetch = false) {
    int8_tile<Bits, Rows>(product, tile, first, fetch);
  }
  if constexpr (Rows > 1) int8_rows<Bits, Rows - 1>(product, tile, first, count, fetch);
}

// Groups whose largest magnitude is smaller than this count as zero: its inverse must be finite.
constexpr float kSmallest = 1e-30F;

[[maybe_unused]] void quantize_group(const float* x, int group, std::int8_t* q, float* scale,
                                     float* sum, std::int32_t* count) {
  Lanes::Int magnitude = Lanes::int_zero();
  for (int i = 0; i < group; i += Lanes::kLanes) {
    magnitude = Lanes::max_magnitude(magnitude, Lanes::load(x + i));
  }
  const auto most_bits = static_cast<std::uint32_t>(Lanes::int_max(magnitude));
  const float most = float_of_bits(most_bits);
  const bool finite = most_bits < 0x7F800000U;
  if (!finite || most < kSmallest) {  // infinities and NaNs make the row's outputs NaN
    std::memset(q, 0, static_cast<std::size_t>(group));
    *scale = *sum = finite ? 0.0F : float_of_bits(0x7FC00000U);
    *count = 0;
    return;
  }
  const Lanes::Float inverse = Lanes::broadcast(127.0F / most);
  Lanes::Int total = Lanes::int_zero();
  for (int i = 0; i < group; i += Lanes::kLanes) {
    const Lanes::Int n = Lanes::round(Lanes::mul(Lanes::load(x + i), inverse));
    Lanes::store_int8(q + i, n);
    total = Lanes::int_add(total, n);
  }
  *count = Lanes::int_sum(total);
  *scale = most / 127.0F;
  *sum = *scale * static_cast<float>(*count);
}

[[maybe_unused]] void quantize_rows(const float* x, const Int8Rows& to, std::int64_t begin,
                                    std::int64_t end) {
  const int groups = to.cols / to.group;
  for (std::int64_t row = begin; row < end; ++row) {
    for (int g = 0; g < groups; ++g) {
      const std::int64_t at = row * to.cols + g * to.group;
      const std::int64_t slot = row * groups + g;
      quantize_group(x + at, to.group, to.q + at, to.scales + slot, to.sums + slot,
                     to.counts + slot);
    }
  }
}

}  // namespace
}  // namespace tandem::kernels
