#pragma once
// A node of MLX's graph that runs our own loop on the CPU.

#include <functional>
#include <span>
#include <vector>

#include "kernels/context.h"

namespace tandem::kernels {

/// Runs on the stream's thread once the inputs hold data. `outputs` are allocated and row-major
/// contiguous; inputs are made row-major contiguous before the node.
using CpuLoop =
    std::function<void(std::span<const mx::array> inputs, std::span<mx::array> outputs)>;

/// Adds a node with these outputs to the graph. `name` is a literal, for errors and debugging. The
/// loop owns (by value or shared_ptr) whatever it reads besides the inputs. When it throws, eval
/// goes on with zeros as the node's outputs, and take_node_failure() has the reason.
std::vector<mx::array> cpu_node(const Context& context, const char* name,
                                std::vector<mx::array> inputs, std::vector<mx::Shape> shapes,
                                std::vector<mx::Dtype> dtypes, CpuLoop loop);
/// The same with one output.
mx::array cpu_node(const Context& context, const char* name, std::vector<mx::array> inputs,
                   mx::Shape shape, mx::Dtype dtype, CpuLoop loop);

}  // namespace tandem::kernels
