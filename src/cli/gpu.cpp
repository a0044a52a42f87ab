#include "cli/gpu.h"

#include <mlx/device.h>
#include <stdlib.h>

namespace tandem::cli {

bool gpu_available() { return mlx::core::is_available(mlx::core::Device::gpu); }

void keep_float32_products_exact() { ::setenv("MLX_ENABLE_TF32", "0", 0); }

}  // namespace tandem::cli
