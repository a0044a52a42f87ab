#pragma once
// How our own loops keep a weight matrix: tiles of 16 rows whose elements are interleaved, so that
// one vector holds the same columns of 16 outputs and a pass over the matrix is one stream of
// memory.
//
// Quantized, a tile is its groups in order; a group is 16 scales, 16 biases, then for every 32
// columns `bits` vectors of 64 bytes. A vector has one 4-byte lane a row. The 32 columns are eight
// byte vectors j (columns 4j to 4j + 3), cut into bit planes: an 8-bit plane stores them as they
// are; a 4-bit plane puts j = 2i and 2i + 1 into the low and high half of vector i; a 2-bit plane
// puts j = 4i + s at bit 2s of vector i; a 1-bit plane puts j at bit j. 2, 4 and 8 bits are one
// plane, 3 = 2 + 1, 5 = 4 + 1, 6 = 4 + 2 with the lower bits first.
// Dense, a tile is [cols][16] elements. Rows that fill the last tile up are zero.

#include <cstddef>

#include "kernels/row_major.h"
#include "tandem/dtype.h"

namespace tandem::kernels {

inline constexpr int kTileRows = 16;
inline constexpr int kVectorBytes = 64;

/// One matrix [rows, cols] in tiles. Borrows the bytes.
struct TileMatrix {
  const std::byte* tiles = nullptr;  // 64-byte aligned
  std::size_t tile_bytes = 0;        // from one tile to the next; a multiple of 64
  int rows = 0;
  int cols = 0;
  ElementFormat format;
};

/// Tiles of a matrix of `rows`.
int tile_count(int rows);
/// TileMatrix::tile_bytes for the other fields of `shape`.
std::size_t tile_bytes(const TileMatrix& shape);
/// Writes tile `tile` of `shape` to `out` (tile_bytes, 64-byte aligned).
void pack_tile(const TileMatrix& shape, const RowMajor& source, int tile, std::byte* out);
/// Row `row` in float32: out[cols].
void unpack_row(const TileMatrix& matrix, int row, float* out);

}  // namespace tandem::kernels
