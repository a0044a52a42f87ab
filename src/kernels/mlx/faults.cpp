#include "kernels/mlx/faults.h"

#include <cstddef>
#include <variant>

namespace tandem::kernels {

namespace mx = mlx::core;

int cuda_generation(const mx::Device& device) {
  if (device == mx::Device::cpu) return 0;
  const auto& info = mx::device_info(device);
  const auto found = info.find("compute_capability_major");
  if (found == info.end()) return 0;
  const auto* major = std::get_if<std::size_t>(&found->second);
  return major == nullptr ? 0 : static_cast<int>(*major);
}

bool must_be_dense(int cuda_generation, const MatrixData& data) {
  constexpr int kHopper = 9;
  return cuda_generation == kHopper && data.quantization && data.cols <= data.quantization->group;
}

}  // namespace tandem::kernels
