#pragma once

namespace tandem::cli {

/// True when MLX was built with a GPU backend and finds a device.
bool gpu_available();

/// Lets float32 products on a CUDA GPU keep all bits, where MLX would round their inputs to 10 bits
/// of fraction (TF32), unless MLX_ENABLE_TF32 is set. Call it before the first thread starts.
void keep_float32_products_exact();

}  // namespace tandem::cli
