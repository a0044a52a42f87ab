#pragma once
// The order in which the one kernel of decode.cuh multiplies its matrices, and the ring of each
// warp that brings them.

#include "product.cuh"

namespace tandem::cuda {

enum class Part { kQkv, kOut, kGateUp, kDown, kHead };
__device__ __forceinline__ Part part_of(int matrix, int count) {
  return matrix + 1 == count ? Part::kHead : static_cast<Part>(matrix & 3);
}

/// The stages of a tile that a warp has; in a down of experts, `all` are each expert's.
struct StageRange {
  int begin, end;
};
__device__ __forceinline__ StageRange stages_of(int all, int warp, int warps) {
  return {warp * all / warps, (warp + 1) * all / warps};
}

/// One warp's ring over all matrices of the launch.
template <bool kMoe>
struct Supply {
  const Weights* list;
  const unsigned char* from;
  u64 step;  // from the end of this warp's part of a tile to its part of the next
  u32 to;
  int count, left, matrix, tile, tiles, stage, stages;
  // Of experts:
  const int* ids;
  u64 of_lane;  // lane u has where tile u (of at most 32) of this block's gate and up begins
  int top_k, turn, lane_slot, lane_place;
  bool paused = false, gated = false;

  __device__ void start(const Weights* matrices, int matrix_count, int steps, u32 ring) {
    to = ring + (threadIdx.x & 31) * 16;
    list = matrices;
    count = matrix_count;
    left = matrix_count * steps;
    matrix = -1;
    if (kMoe) {
      const int of = blockIdx.x + (threadIdx.x & 31) * gridDim.x;
      lane_slot = min(of / list[2].tiles, top_k - 1);
      lane_place = of % list[2].tiles;
    }
    next_matrix();
  }
  __device__ void next_matrix() {
    const int warp = threadIdx.x / 32;
    for (; left > 0; --left) {
      if (++matrix == count) matrix = 0;
      const Part part = part_of(matrix, count);
      if (kMoe && part == Part::kGateUp) {
        paused = true;
        return;
      }
      const Weights& w = list[matrix];
      const int all = w.groups / kStageGroups;
      const bool down = kMoe && part == Part::kDown;
      const int warps = down ? kWarps / top_k : kWarps;
      const StageRange range = stages_of(all, down ? warp % warps : warp, warps);
      stages = range.end - range.begin;
      stage = 0;
      tiles = w.tiles;
      tile = blockIdx.x;
      if (stages == 0 || tile >= tiles) continue;
      --left;
      const int expert = down ? ids[warp / warps] : 0;
      from = w.packed +
             (static_cast<u64>(expert * tiles + tile) * all + range.begin) * kStageBytes +
             (threadIdx.x & 31) * 16;
      step = (static_cast<u64>(gridDim.x) * all - stages) * kStageBytes;
      return;
    }
    left = -1;
  }
  /// Experts are known: those of the gate and up at which the ring has stopped.
  __device__ void resume() {
    const Weights& w = list[matrix];
    const int all = w.groups / kStageGroups;
    const StageRange range = stages_of(all, threadIdx.x / 32, kWarps);
    stages = range.end - range.begin;
    stage = 0;
    tiles = top_k * w.tiles;
    tile = blockIdx.x;
    paused = false;
    --left;
    if (stages == 0 || tile >= tiles) return next_matrix();
    gated = true;
    turn = 0;
    of_lane =
        reinterpret_cast<u64>(w.packed) +
        (static_cast<u64>(ids[lane_slot] * w.tiles + lane_place) * all + range.begin) * kStageBytes;
    locate();
  }
  /// `from` of a tile of the gate and up.
  __device__ __forceinline__ void locate() {
    from = reinterpret_cast<const unsigned char*>(__shfl_sync(~0u, of_lane, turn)) +
           (threadIdx.x & 31) * 16;
  }
  __device__ __forceinline__ void fill(int to_slot) {
    if (left >= 0 && !(kMoe && paused)) {
      copy_stage(to + to_slot * kStageBytes, from);
      from += kStageBytes;
      if (++stage == stages) {
        stage = 0;
        from += step;
        tile += gridDim.x;
        if (kMoe && gated && tile < tiles) {
          ++turn;
          locate();
        }
        if (tile >= tiles) {
          gated = false;
          next_matrix();
        }
      }
    }
    commit_copies();
  }
};

}  // namespace tandem::cuda
