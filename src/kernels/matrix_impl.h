#pragma once
// What is behind a Matrix.

#include <cstddef>
#include <memory>
#include <optional>

#include "base/pages.h"
#include "kernels/matrix.h"
#include "kernels/tiles.h"

namespace tandem::kernels {

struct Matrix::Impl {
  Backend backend = Backend::kCpu;
  int count = 1;
  int rows = 0;
  int cols = 0;
  std::optional<Quantization> quantization;
  std::size_t bytes = 0;

  // kCpu: `count` matrices of tiles, one behind the other.
  TileMatrix tiles;  // of matrix 0
  std::size_t matrix_bytes = 0;
  Pages storage;

  // kMlx: MLX's own layout; [rows, ...] when count is 1, else [count, rows, ...].
  std::optional<mx::array> weight;
  std::optional<mx::array> scales;
  std::optional<mx::array> biases;

  TileMatrix matrix(int index) const {
    TileMatrix one = tiles;
    one.tiles += static_cast<std::size_t>(index) * matrix_bytes;
    return one;
  }
};

}  // namespace tandem::kernels
