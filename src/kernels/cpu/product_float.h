#pragma once
// Products of float32 rows with dense or quantized tiles. Included once per instruction set.
//
// y = sum over columns, in order, of w * x, one fused multiply-add each (where the instruction set
// has it). Quantized elements become scale * q + bias first. A row has the same bits whatever is
// computed beside it.

#include "kernels/cpu/product_store.h"

namespace tandem::kernels {
namespace {

constexpr int kFloatRows = 64;   // rows whose sums are kept while all columns pass
constexpr int kFloatCols = 256;  // columns that stay in the first cache; a multiple of a group
constexpr int kDequantizedCols = 128;

/// Columns of `Tiles` tiles in float32 or as stored.
struct Panel {
  const std::byte* p;      // first column
  std::size_t tile_bytes;  // to the next tile's
  int cols;
};

template <DType Type>
[[gnu::always_inline]] inline Lanes::Float load_weight(const std::byte* p, std::size_t at) {
  if constexpr (Type == DType::kF32) return Lanes::load(reinterpret_cast<const float*>(p) + at);
  if constexpr (Type == DType::kBF16) {
    return Lanes::load_bf16(reinterpret_cast<const std::uint16_t*>(p) + at);
  }
  if constexpr (Type == DType::kF16) {
    return Lanes::load_f16(reinterpret_cast<const std::uint16_t*>(p) + at);
  }
}

/// sums[r] += panel * x[r] for `Rows` rows; sums are [row][Tiles * 16].
template <DType Type, int Tiles, int Rows>
void add_panel(const Panel& panel, const float* const (&x)[Rows], float* sums) {
  constexpr int kVectors = Tiles * kParts;
  Lanes::Float sum[Rows][kVectors];
  for (int r = 0; r < Rows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      sum[r][v] = Lanes::load(sums + (r * kVectors + v) * Lanes::kLanes);
    }
  }
  for (int col = 0; col < panel.cols; ++col) {
    Lanes::Float w[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      const std::byte* tile = panel.p + static_cast<std::size_t>(v / kParts) * panel.tile_bytes;
      w[v] = load_weight<Type>(
          tile, static_cast<std::size_t>(col * kTileRows + v % kParts * Lanes::kLanes));
    }
    for (int r = 0; r < Rows; ++r) {
      const Lanes::Float value = Lanes::broadcast(x[r][col]);
      for (int v = 0; v < kVectors; ++v) sum[r][v] = Lanes::fma(w[v], value, sum[r][v]);
    }
  }
  for (int r = 0; r < Rows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      Lanes::store(sums + (r * kVectors + v) * Lanes::kLanes, sum[r][v]);
    }
  }
}

[[maybe_unused]] const float* float_row(const Product& product, int row) {
  const std::size_t from = product.in != nullptr ? static_cast<std::size_t>(product.in[row])
                                                 : static_cast<std::size_t>(row);
  return product.x + from * static_cast<std::size_t>(product.w.cols);
}

/// The panel times rows [first, first + count), columns from `col` of x.
template <DType Type, int Tiles, int Rows>
void add_rows(const Product& product, const Panel& panel, int col, int first, int count,
              float* sums) {
  for (; count >= Rows; count -= Rows, first += Rows, sums += Rows * Tiles * kTileRows) {
    const float* x[Rows];
    for (int r = 0; r < Rows; ++r) x[r] = float_row(product, first + r) + col;
    add_panel<Type, Tiles, Rows>(panel, x, sums);
  }
  if constexpr (Rows > 1) {
    add_rows<Type, Tiles, Rows / 2>(product, panel, col, first, count, sums);
  }
}

/// 32 columns of one tile in float32: out[32][16].
template <int Bits>
void dequantize_block(const std::byte* header, const std::byte* p, DType type, float* out) {
  for (int part = 0; part < kParts; ++part) {
    const Group group = load_group(type, header, part);
    Lanes::Bytes q[8];
    unpack<Bits>(p + part * (kVectorBytes / kParts), q);
    float* to = out + part * Lanes::kLanes;
    for (int j = 0; j < 8; ++j) {
      const Lanes::Int bytes[4] = {
          Lanes::template byte_of<0>(q[j]), Lanes::template byte_of<1>(q[j]),
          Lanes::template byte_of<2>(q[j]), Lanes::template byte_of<3>(q[j])};
      for (int c = 0; c < 4; ++c) {
        const Lanes::Float value = Lanes::fma(group.scale, Lanes::to_float(bytes[c]), group.bias);
        Lanes::store(to + (4 * j + c) * kTileRows, value);
      }
    }
  }
}

/// Columns [col, col + cols) of one tile in float32: out[cols][16].
template <int Bits>
void dequantize(const TileMatrix& w, int tile, int col, int cols, float* out) {
  const int blocks = w.format.group / kBlockCols;
  const std::size_t header = header_bytes(w.format.type);
  const std::size_t bytes = header + static_cast<std::size_t>(blocks * Bits) * kVectorBytes;
  const std::byte* p = w.tiles + static_cast<std::size_t>(tile) * w.tile_bytes +
                       static_cast<std::size_t>(col / w.format.group) * bytes;
  for (int done = 0; done < cols; done += w.format.group, p += bytes) {
    for (int block = 0; block < blocks; ++block) {
      dequantize_block<Bits>(p, p + header + block * Bits * kVectorBytes, w.format.type, out);
      out += kBlockCols * kTileRows;
    }
  }
}

[[maybe_unused]] void dequantize_any(const TileMatrix& w, int tile, int col, int cols, float* out) {
  with_bits(w.format.bits,
            [&](auto bits) { dequantize<decltype(bits)::value>(w, tile, col, cols, out); });
}

/// Rows [first, first + count) of `Tiles` tiles; Rows of them at a time.
template <int Tiles, int Rows>
void float_tiles(const Product& product, int tile, int first, int count) {
  const TileMatrix& w = product.w;
  alignas(64) float sums[(Rows == 1 ? 1 : kFloatRows) * Tiles * kTileRows];
  std::memset(sums, 0, static_cast<std::size_t>(count * Tiles * kTileRows) * sizeof(float));
  const int step = w.format.bits != 0 ? kDequantizedCols : kFloatCols;
  for (int col = 0; col < w.cols; col += step) {
    const int cols = w.cols - col < step ? w.cols - col : step;
    if (w.format.bits != 0) {
      alignas(64) float panel[Tiles][kDequantizedCols * kTileRows];
      for (int t = 0; t < Tiles; ++t) dequantize_any(w, tile + t, col, cols, panel[t]);
      const Panel dense = {reinterpret_cast<const std::byte*>(panel), sizeof(panel[0]), cols};
      add_rows<DType::kF32, Tiles, Rows>(product, dense, col, first, count, sums);
      continue;
    }
    const std::size_t element = w.format.type == DType::kF32 ? 4 : 2;
    const Panel panel = {w.tiles + static_cast<std::size_t>(tile) * w.tile_bytes +
                             static_cast<std::size_t>(col * kTileRows) * element,
                         w.tile_bytes, cols};
    switch (w.format.type) {
      case DType::kF32:
        add_rows<DType::kF32, Tiles, Rows>(product, panel, col, first, count, sums);
        break;
      case DType::kBF16:
        add_rows<DType::kBF16, Tiles, Rows>(product, panel, col, first, count, sums);
        break;
      default:
        add_rows<DType::kF16, Tiles, Rows>(product, panel, col, first, count, sums);
        break;
    }
  }
  for (int r = 0; r < count; ++r) {
    for (int t = 0; t < Tiles; ++t) {
      const int output = (tile + t) * kTileRows;
      const int rest = w.rows - output < kTileRows ? w.rows - output : kTileRows;
      finish_row(product, first + r, output, rest, sums + (r * Tiles + t) * kTileRows);
    }
  }
}

/// All tiles, `Tiles` at a time while there are as many.
template <int Tiles, int Rows>
void float_pass(const Product& product, int begin, int end, int first, int count) {
  for (; begin + Tiles <= end; begin += Tiles) {
    float_tiles<Tiles, Rows>(product, begin, first, count);
  }
  if constexpr (Tiles > 1) float_pass<Tiles / 2, Rows>(product, begin, end, first, count);
}

[[maybe_unused]] void multiply_float(const Product& product, int begin, int end) {
  if (product.count == 1) return float_pass<Lanes::kOneRowTiles, 1>(product, begin, end, 0, 1);
  for (int row = 0; row < product.count; row += kFloatRows) {
    const int count = product.count - row < kFloatRows ? product.count - row : kFloatRows;
    float_pass<Lanes::kRowTiles, Lanes::kMaxRows>(product, begin, end, row, count);
  }
}

}  // namespace
}  // namespace tandem::kernels
