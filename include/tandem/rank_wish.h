#pragma once
// What a person asks of one rank, by flags or in a host file. What is absent the plan decides.

#include <cstdint>
#include <optional>
#include <string>

#include "tandem/stage_info.h"

namespace tandem {

/// What computes: the CPU's own kernels, or Metal or CUDA through MLX.
enum class DeviceKind : std::uint8_t { kCpu, kGpu };

struct RankWish {
  std::optional<DeviceKind> device = {};
  std::string activations = {};           // "f32", "bf16" or "int8"; empty: the device's usual ones
  int threads = 0;                        // 0: physical cores
  std::uint64_t memory_bytes = 0;         // most for weights, KV and a step; 0: what is free
  std::uint64_t kv_bytes = 0;             // most for KV; 0: what the rest leaves
  std::optional<LayerRange> layers = {};  // {0, 0} never
  bool operator==(const RankWish&) const = default;
};

}  // namespace tandem
