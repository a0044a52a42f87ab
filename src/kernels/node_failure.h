#pragma once
// What went wrong in a CPU node.

#include <mlx/mlx.h>

#include <optional>
#include <string>

namespace tandem::kernels {

/// The text of the first exception that a CPU node of `stream` threw since the last call. The
/// outputs of that node were zeros, so whatever was evaluated since is void. Call after eval.
std::optional<std::string> take_node_failure(const mlx::core::Stream& stream);

}  // namespace tandem::kernels
