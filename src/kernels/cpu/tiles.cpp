#include "kernels/cpu/tiles.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "kernels/stored.h"
#include "tandem/quantization.h"

namespace tandem::kernels {
namespace {

std::uint32_t load_word(const std::byte* from) {
  std::uint32_t word;
  std::memcpy(&word, from, sizeof(word));
  return word;
}

std::size_t block_bytes(int vectors) { return static_cast<std::size_t>(vectors) * kVectorBytes; }

std::size_t header_bytes(const TileMatrix& m) {
  return std::size_t{2 * kTileRows} * size_of(m.format.type);
}

std::size_t group_bytes(const TileMatrix& m) {
  return header_bytes(m) + block_bytes(m.format.group / kBlockCols * m.format.bits);
}

std::size_t row_bytes(const TileMatrix& m) { return row_bytes(m.format, m.cols); }

/// Nibbles 0..7 of a word to the order 0 4 1 5 2 6 3 7: low halves are columns 0 to 3.
std::uint32_t shuffle_nibbles(std::uint32_t x) {
  std::uint32_t t = (x ^ (x >> 8)) & 0x0000FF00U;
  x ^= t ^ (t << 8);
  t = (x ^ (x >> 4)) & 0x00F000F0U;
  return x ^ t ^ (t << 4);
}

/// The widths of the planes of `bits`, lower bits first; 0 ends.
std::array<int, 2> planes(int bits) {
  for (const QuantFormat& format : kQuantFormats) {
    if (format.bits == bits) return format.planes;
  }
  return {bits, 0};
}

using Sources = std::array<const std::byte*, kTileRows>;      // of missing rows: null
using Elements = std::uint8_t[kBlockCols / 4][kVectorBytes];  // a byte each, in the tile's lanes

/// The elements of 32 columns, a byte each.
template <int Bits>
void spread(const Sources& rows, std::size_t offset, Elements& q) {
  for (std::size_t row = 0; row < kTileRows; ++row) {
    std::uint32_t words[Bits] = {};
    if (rows[row] != nullptr) std::memcpy(words, rows[row] + offset, sizeof(words));
#pragma GCC unroll 32
    for (int i = 0; i < kBlockCols; ++i) {
      q[i / 4][row * 4 + static_cast<std::size_t>(i % 4)] =
          static_cast<std::uint8_t>(packed_element(words, Bits, i));
    }
  }
}

/// Writes element bits [low, low + width) as a plane of `width` vectors.
std::byte* write_plane(const Elements& q, int low, int width, std::byte* out) {
  const int parts = 8 / width;
  const unsigned mask = (1U << width) - 1;
  for (int vector = 0; vector < width; ++vector, out += kVectorBytes) {
    std::uint8_t bytes[kVectorBytes] = {};
    for (int part = 0; part < parts; ++part) {
      const std::uint8_t* from = q[vector * parts + part];
      for (int i = 0; i < kVectorBytes; ++i) {
        const unsigned value = (static_cast<unsigned>(from[i]) >> low & mask) << (part * width);
        bytes[i] = static_cast<std::uint8_t>(bytes[i] | value);
      }
    }
    std::memcpy(out, bytes, sizeof(bytes));
  }
  return out;
}

template <int Bits>
void pack_planes(const Sources& rows, std::size_t offset, std::byte* out) {
  Elements q;
  spread<Bits>(rows, offset, q);
  int low = 0;
  for (const int width : planes(Bits)) {
    if (width == 0) break;
    out = write_plane(q, low, width, out);
    low += width;
  }
}

/// 4 or 8 bits: the source's own words, nibbles in the tile's order.
void pack_words(int bits, const Sources& rows, std::size_t offset, std::byte* out) {
  for (int vector = 0; vector < bits; ++vector, out += kVectorBytes, offset += 4) {
    std::array<std::uint32_t, kTileRows> words{};
    for (std::size_t row = 0; row < kTileRows; ++row) {
      if (rows[row] != nullptr) words[row] = load_word(rows[row] + offset);
    }
    if (bits == 4) {
      for (std::uint32_t& word : words) word = shuffle_nibbles(word);
    }
    std::memcpy(out, words.data(), sizeof(words));
  }
}

/// 32 columns of 16 rows.
void pack_block(int bits, const Sources& rows, std::size_t offset, std::byte* out) {
  switch (bits) {
    case 2:
      return pack_planes<2>(rows, offset, out);
    case 3:
      return pack_planes<3>(rows, offset, out);
    case 5:
      return pack_planes<5>(rows, offset, out);
    case 6:
      return pack_planes<6>(rows, offset, out);
    default:
      return pack_words(bits, rows, offset, out);
  }
}

void pack_quantized(const TileMatrix& m, const RowMajor& source, int first, int count,
                    std::byte* out) {
  const std::size_t element = size_of(m.format.type);
  const int groups = m.cols / m.format.group;
  Sources rows{};
  for (int row = 0; row < count; ++row) {
    rows[static_cast<std::size_t>(row)] =
        source.weight + static_cast<std::size_t>(first + row) * row_bytes(m);
  }
  std::size_t offset = 0;
  for (int g = 0; g < groups; ++g) {
    std::memset(out, 0, header_bytes(m));
    for (int row = 0; row < count; ++row) {
      const std::size_t index =
          (static_cast<std::size_t>(first + row) * static_cast<std::size_t>(groups) +
           static_cast<std::size_t>(g)) *
          element;
      std::byte* slot = out + static_cast<std::size_t>(row) * element;
      std::memcpy(slot, source.scales + index, element);
      std::memcpy(slot + kTileRows * element, source.biases + index, element);
    }
    out += header_bytes(m);
    for (int block = 0; block < m.format.group / kBlockCols; ++block) {
      pack_block(m.format.bits, rows, offset, out);
      offset += static_cast<std::size_t>(m.format.bits) * 4;
      out += block_bytes(m.format.bits);
    }
  }
}

template <class T>
void pack_dense(const TileMatrix& m, const RowMajor& source, int first, int count, std::byte* out) {
  constexpr int kCols = 64;  // columns at a time, so that both sides stay in the first cache
  for (int begin = 0; begin < m.cols; begin += kCols) {
    const int end = std::min(begin + kCols, m.cols);
    for (int row = 0; row < count; ++row) {
      const std::byte* from = source.weight + static_cast<std::size_t>(first + row) * row_bytes(m);
      for (int col = begin; col < end; ++col) {
        const auto index = static_cast<std::size_t>(col);
        std::memcpy(out + (index * kTileRows + static_cast<std::size_t>(row)) * sizeof(T),
                    from + index * sizeof(T), sizeof(T));
      }
    }
  }
}

/// The eight byte vectors' element (j, column) of one lane of a block in tile form.
std::uint32_t tile_element(const std::byte* block, int bits, int lane, int j, int column) {
  std::uint32_t value = 0;
  int low = 0;
  for (const int width : planes(bits)) {
    if (width == 0) break;
    const int per_byte = 8 / width;
    const std::byte* vector = block + block_bytes(j / per_byte);
    const auto byte = static_cast<std::uint32_t>(vector[lane * 4 + column]);
    value |= (byte >> (j % per_byte * width) & ((1U << width) - 1)) << low;
    low += width;
    block += block_bytes(width);
  }
  return value;
}

}  // namespace

int tile_count(int rows) { return (rows + kTileRows - 1) / kTileRows; }

std::size_t tile_bytes(const TileMatrix& shape) {
  if (shape.format.bits != 0)
    return static_cast<std::size_t>(shape.cols / shape.format.group) * group_bytes(shape);
  const std::size_t bytes = row_bytes(shape) * kTileRows;
  return (bytes + kVectorBytes - 1) / kVectorBytes * kVectorBytes;
}

void pack_tile(const TileMatrix& shape, const RowMajor& source, int tile, std::byte* out) {
  const int first = tile * kTileRows;
  const int count = std::min(kTileRows, shape.rows - first);
  if (shape.format.bits != 0) {
    pack_quantized(shape, source, first, count, out);
    return;
  }
  if (count < kTileRows) std::memset(out, 0, tile_bytes(shape));
  if (shape.format.type == DType::kF32) {
    pack_dense<std::uint32_t>(shape, source, first, count, out);
  } else {
    pack_dense<std::uint16_t>(shape, source, first, count, out);
  }
}

void unpack_row(const TileMatrix& matrix, int row, float* out) {
  const auto lane = static_cast<std::size_t>(row % kTileRows);
  const std::byte* tile =
      matrix.tiles + static_cast<std::size_t>(row / kTileRows) * matrix.tile_bytes;
  if (matrix.format.bits == 0) {
    for (int col = 0; col < matrix.cols; ++col) {
      out[col] =
          stored_float(matrix.format.type, tile, static_cast<std::size_t>(col) * kTileRows + lane);
    }
    return;
  }
  for (int g = 0; g < matrix.cols / matrix.format.group; ++g) {
    const std::byte* group = tile + static_cast<std::size_t>(g) * group_bytes(matrix);
    const float scale = stored_float(matrix.format.type, group, lane);
    const float bias = stored_float(matrix.format.type, group, kTileRows + lane);
    const std::byte* block = group + header_bytes(matrix);
    for (int col = 0; col < matrix.format.group; col += 4) {
      const int j = col % kBlockCols / 4;
      for (int c = 0; c < 4; ++c) {
        const std::uint32_t q =
            tile_element(block, matrix.format.bits, static_cast<int>(lane), j, c);
        *out++ = scale * static_cast<float>(q) + bias;
      }
      if (j == 7) block += block_bytes(matrix.format.bits);
    }
  }
}

}  // namespace tandem::kernels
