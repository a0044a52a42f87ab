#include "cli/gpu.h"

#include <mlx/device.h>

namespace tandem::cli {

bool gpu_available() { return mlx::core::is_available(mlx::core::Device::gpu); }

}  // namespace tandem::cli
