#pragma once
// What both implementations that use MLX's streams share.

#include <mlx/mlx.h>

namespace tandem::kernels {

/// Waits until no node of a failed computation runs, because they read KV that the next one may
/// free. Takes its further failures off the stream, or the next one would get them.
void settle(const mlx::core::Stream& stream);

}  // namespace tandem::kernels
