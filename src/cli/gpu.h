#pragma once

#include <filesystem>

namespace tandem::cli {

/// Whether a GPU of this machine can run the model of a folder.
bool gpu_available(const std::filesystem::path& folder);

/// Lets float32 products on a CUDA GPU keep all bits, where MLX would round their inputs to 10 bits
/// of fraction (TF32), unless MLX_ENABLE_TF32 is set. Call it before the first thread starts.
void keep_float32_products_exact();

}  // namespace tandem::cli
