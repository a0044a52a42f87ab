#include "kernels/state_spec.h"

namespace tandem::kernels {

StateLayout::StateLayout(const StateSpec& spec) {
  constexpr std::size_t kLine = 64;
  const auto size = [](int n) { return static_cast<std::size_t>(n); };
  const std::size_t inputs = size(spec.conv_rows) * size(spec.channels) * size_of(spec.conv_type);
  tiles = (size(spec.value_dim) + kTileRows - 1) / kTileRows;
  tile_floats = size(spec.key_dim) * kTileRows;
  matrices = (inputs + kLine - 1) / kLine * kLine;
  bytes = matrices + size(spec.heads) * tiles * tile_floats * sizeof(float);
}

std::size_t page_bytes(const LayerKept& kept) {
  if (const auto* kv = std::get_if<KvSpec>(&kept)) return kv_page_bytes(*kv);
  return StateLayout(std::get<StateSpec>(kept)).bytes;
}

}  // namespace tandem::kernels
