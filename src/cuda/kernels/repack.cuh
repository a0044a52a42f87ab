#pragma once
// From a matrix as MLX stores it to the tiles that a product reads.

#include "primitives.cuh"

namespace tandem::cuda {

/// Grid: tiles. `to` is w.packed.
__global__ void __launch_bounds__(kThreads)
    repack(StoredMatrix from, Weights w, unsigned char* to) {
  const int tile = blockIdx.x;
  for (int i = threadIdx.x; i < w.groups * 16; i += kThreads) {
    const int r = i / w.groups, group = i % w.groups;
    const int row = w.first_row(tile) + r % 8 + r / 8 * 8 * w.per;
    const u64 at = static_cast<u64>(row) * w.groups + group;
    *reinterpret_cast<u32*>(to + w.scale_at(tile, group, r)) =
        u32{from.biases[at]} << 16 | from.scales[at];
  }
  for (int i = threadIdx.x; i < w.groups * 128; i += kThreads) {
    const int r = i / (w.groups * 8), word = i % (w.groups * 8);
    const int row = w.first_row(tile) + r % 8 + r / 8 * 8 * w.per;
    *reinterpret_cast<u32*>(to + w.word_at(tile, word / 8, r, word % 8)) =
        from.words[static_cast<u64>(row) * w.groups * 8 + word];
  }
}

}  // namespace tandem::cuda
