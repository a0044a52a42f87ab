#pragma once
// What the pinned MLX computes wrongly, so that nobody asks it to.

#include <mlx/mlx.h>

#include "kernels/matrix.h"

namespace tandem::kernels {

/// The major number of the CUDA compute capability (9: Hopper) of a device; 0 for any other.
int cuda_generation(const mlx::core::Device& device);

/// Whether products with this matrix are wrong as long as it is quantized: it has to come dense.
///
/// MLX 0.32.4 on Hopper GPUs takes a kernel of its own (qmm_sm90) for quantized products whose
/// rows are one group long, as in DeepSeek's latent attention (64 columns, groups of 64), and its
/// results are wrong. bench/devices.py sees it.
bool must_be_dense(int cuda_generation, const MatrixData& data);

}  // namespace tandem::kernels
