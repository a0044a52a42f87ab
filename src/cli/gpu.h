#pragma once

namespace tandem::cli {

/// True when MLX was built with a GPU backend and finds a device.
bool gpu_available();

}  // namespace tandem::cli
