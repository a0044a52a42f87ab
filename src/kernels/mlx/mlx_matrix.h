#pragma once
// A matrix in MLX's own layout.

#include <mlx/mlx.h>

#include <optional>

#include "kernels/matrix.h"

namespace tandem::kernels {

/// [rows, ...] when count is 1, else [count, rows, ...].
struct MlxMatrix final : Matrix::Prepared {
  std::optional<Quantization> quantization;
  std::optional<mlx::core::array> weight;
  std::optional<mlx::core::array> scales;  // of a quantized one
  std::optional<mlx::core::array> biases;
};

}  // namespace tandem::kernels
