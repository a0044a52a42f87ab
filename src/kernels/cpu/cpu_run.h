#pragma once
// Runs our own loops over MLX's arrays.
//
// At once, in the calling thread, not as nodes of MLX's graph: a token of a small model is a
// hundred loops of a few microseconds, and a graph of them, handed node by node to a stream's
// thread, cost as much time as a tenth of the weights and a third thread where two have a core
// each.

#include <mlx/mlx.h>

#include <functional>
#include <span>
#include <vector>

namespace tandem::kernels {

namespace mx = mlx::core;

/// Inputs hold data and are row-major contiguous; outputs are allocated and row-major.
using CpuLoop =
    std::function<void(std::span<const mx::array> inputs, std::span<mx::array> outputs)>;

/// Runs `loop` and returns its outputs. Inputs of MLX's own operations are evaluated first, and
/// copied where they are not row-major. What is thrown becomes a std::runtime_error that starts
/// with `name`.
std::vector<mx::array> cpu_run(const char* name, std::vector<mx::array> inputs,
                               std::vector<mx::Shape> shapes, const std::vector<mx::Dtype>& dtypes,
                               const CpuLoop& loop);
/// The same with one output.
mx::array cpu_run(const char* name, std::vector<mx::array> inputs, mx::Shape shape, mx::Dtype dtype,
                  const CpuLoop& loop);

}  // namespace tandem::kernels
