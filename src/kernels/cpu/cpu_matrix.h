#pragma once
// A matrix in tiles.

#include <cstddef>

#include "base/pages.h"
#include "kernels/cpu/tiles.h"
#include "kernels/matrix.h"

namespace tandem::kernels {

/// `count` matrices of tiles, one behind the other.
struct CpuMatrix final : Matrix::Prepared {
  TileMatrix tiles;  // of matrix 0
  std::size_t matrix_bytes = 0;
  Pages storage;

  TileMatrix matrix(int index) const {
    TileMatrix one = tiles;
    one.tiles += static_cast<std::size_t>(index) * matrix_bytes;
    return one;
  }
};

}  // namespace tandem::kernels
