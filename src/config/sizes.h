#pragma once
// Sizes and layer ranges as people write them, in flags and in host files. Pure.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tandem/error.h"
#include "tandem/stage_info.h"

namespace tandem::config {

/// A size in bytes below 2^63, as mlx-lm reads them: "4000000", "1.5G", "500MB"; decimal units.
Result<std::uint64_t> parse_bytes(std::string_view text);
/// "612 MB", "4.68 GB": decimal units, three digits.
std::string format_bytes(double bytes);

/// "0-19": the layers from the first to the last, both in it; "7" is one layer.
Result<LayerRange> parse_layers(std::string_view text);
/// "0-19,20-27": one range a rank. They follow each other from layer 0 on.
Result<std::vector<LayerRange>> parse_layer_list(std::string_view text);

}  // namespace tandem::config
