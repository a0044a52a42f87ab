#include "cli/gpu.h"

#include <stdlib.h>

#include "stage/devices.h"
#include "stage/stage.h"

namespace tandem::cli {

bool gpu_available(const std::filesystem::path& folder) {
  stage::StageOptions options;
  options.folder = folder;
  options.gpu = true;
  options.activations = kernels::Activations::kBF16;
  return stage::gpu_runs(options);
}

void keep_float32_products_exact() { ::setenv("MLX_ENABLE_TF32", "0", 0); }

}  // namespace tandem::cli
