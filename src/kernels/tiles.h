#pragma once
// How kCpu keeps a weight matrix: tiles of 16 rows whose elements are interleaved, so that one
// vector holds the same columns of 16 outputs and a pass over the matrix is one stream of memory.
//
// Quantized, a tile is its groups in order; a group is 16 scales, 16 biases, then for every 32
// columns `bits` vectors of 64 bytes. A vector has one 4-byte lane a row. The 32 columns are eight
// byte vectors j (columns 4j to 4j + 3), cut into bit planes: an 8-bit plane stores them as they
// are; a 4-bit plane puts j = 2i and 2i + 1 into the low and high half of vector i; a 2-bit plane
// puts j = 4i + s at bit 2s of vector i; a 1-bit plane puts j at bit j. 2, 4 and 8 bits are one
// plane, 3 = 2 + 1, 5 = 4 + 1, 6 = 4 + 2 with the lower bits first.
// Dense, a tile is [cols][16] elements. Rows that fill the last tile up are zero.

#include <cstddef>
#include <cstdint>

namespace tandem::kernels {

inline constexpr int kTileRows = 16;
inline constexpr int kBlockCols = 32;
inline constexpr int kVectorBytes = 64;

/// Types of dense weights, scales, inputs and outputs.
enum class Stored : std::uint8_t { kF32, kBF16, kF16 };

/// One matrix [rows, cols] in tiles. Borrows the bytes.
struct TileMatrix {
  const std::byte* tiles = nullptr;  // 64-byte aligned
  std::size_t tile_bytes = 0;        // from one tile to the next; a multiple of 64
  int rows = 0;
  int cols = 0;
  int bits = 0;                  // 0: dense
  int group = 0;                 // columns of a scale; 0 when dense
  Stored stored = Stored::kF32;  // of dense weights, or of scales and biases
};

/// Row-major source of one matrix, as MLX lays it out.
struct RowMajor {
  const std::byte* weight = nullptr;
  const std::byte* scales = nullptr;
  const std::byte* biases = nullptr;
};

std::size_t stored_bytes(Stored stored);
/// Tiles of a matrix of `rows`.
int tile_count(int rows);
/// TileMatrix::tile_bytes for the other fields of `shape`.
std::size_t tile_bytes(const TileMatrix& shape);
/// Writes tile `tile` of `shape` to `out` (tile_bytes, 64-byte aligned).
void pack_tile(const TileMatrix& shape, const RowMajor& source, int tile, std::byte* out);
/// Row `row` in float32: out[cols].
void unpack_row(const TileMatrix& matrix, int row, float* out);
/// One row of a row-major source in float32: out[cols].
void dequantize_row(const TileMatrix& shape, const RowMajor& source, int row, float* out);

}  // namespace tandem::kernels
