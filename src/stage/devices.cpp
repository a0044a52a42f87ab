#include "stage/devices.h"

#include <mlx/mlx.h>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <variant>

#include "base/platform.h"
#include "stage/cuda_stage.h"

namespace tandem::stage {
namespace {

namespace mx = mlx::core;

/// A number that MLX says of its GPU.
std::optional<std::uint64_t> gpu_number(const char* name) {
  const auto& info = mx::device_info(mx::Device(mx::Device::gpu));
  const auto found = info.find(name);
  if (found == info.end()) return std::nullopt;
  const auto* value = std::get_if<std::size_t>(&found->second);
  return value == nullptr ? std::nullopt : std::optional<std::uint64_t>(*value);
}

}  // namespace

bool gpu_runs(const StageOptions& options) {
  return mx::is_available(mx::Device(mx::Device::gpu)) || why_no_cuda_stage(options).empty();
}

std::uint64_t free_memory(bool gpu) {
  if (!gpu) return platform::free_memory_bytes();
  if (!mx::is_available(mx::Device(mx::Device::gpu))) {
    const auto device = cuda::Executor::usable_device();
    if (!device.ok()) return 0;
    const auto free = (*device)->free_memory();
    return free.ok() ? *free : 0;
  }
  if (const auto free = gpu_number("free_memory")) return *free;
  const std::uint64_t set = gpu_number("max_recommended_working_set_size").value_or(0);
  return set - std::min<std::uint64_t>(set, mx::get_active_memory());
}

void give_memory_back() {
  mx::clear_cache();
  platform::give_memory_back();
}

}  // namespace tandem::stage
