#include "stage/layer_range.h"

#include <fmt/format.h>

namespace tandem::stage {

Result<LayerRange> resolve_range(LayerRange range, int layer_count) {
  if (range == LayerRange{}) return LayerRange{0, layer_count};
  if (range.first < 0 || range.first >= range.last || range.last > layer_count) {
    return invalid(fmt::format("layers [{}, {}) are not a range of the model's {} layers",
                               range.first, range.last, layer_count));
  }
  return range;
}

}  // namespace tandem::stage
