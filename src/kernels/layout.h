#pragma once
// Other shapes of the same elements. On kCpu done at once and without a copy where memory allows
// it; on kMlx MLX's own operations.

#include "kernels/context.h"

namespace tandem::kernels {

/// x with another shape of as many elements.
mx::array reshape(const Context& context, const mx::array& x, mx::Shape shape);

/// Elements [begin, end) of the last axis. Row-major on kCpu.
mx::array slice_last(const Context& context, const mx::array& x, int begin, int end);

/// a and b beside each other along the last axis; the other axes and the types are equal.
mx::array join_last(const Context& context, const mx::array& a, const mx::array& b);

/// x, evaluated and row-major.
mx::array ready(const Context& context, const mx::array& x);

}  // namespace tandem::kernels
