#pragma once
// The layers that a stage is asked to hold.

#include "tandem/error.h"
#include "tandem/stage_info.h"

namespace tandem::stage {

/// {0, 0} stands for all layers.
Result<LayerRange> resolve_range(LayerRange range, int layer_count);

}  // namespace tandem::stage
