#include "cluster/rank/device_name.h"

#include <fmt/format.h>

#include "base/platform.h"
#include "kernels/isa.h"

namespace tandem::cluster {

std::string device_name(const stage::StageOptions& options) {
  if (options.gpu) return "GPU";
  if (options.mlx_kernels) return "CPU (MLX)";
  const auto isa = kernels::resolve_isa(options.isa);
  const int threads = options.threads > 0 ? options.threads : platform::physical_cores();
  return fmt::format("CPU ({}), {} {}", kernels::isa_name(isa ? *isa : options.isa), threads,
                     threads == 1 ? "thread" : "threads");
}

}  // namespace tandem::cluster
