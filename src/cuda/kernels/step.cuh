#pragma once
// The two ends of a step: token ids become rows, logits become the next ids.

#include "epilogues.cuh"

namespace tandem::cuda {

/// Where a row's KV goes and how its heads turn, by a block.
__device__ void place_row(const StepArgs& a, int row, int position) {
  const int at = max(position, 0);
  if (threadIdx.x < a.half) {
    float sine, cosine;
    sincosf(static_cast<float>(at) * a.frequency[threadIdx.x], &sine, &cosine);
    a.turns[row * a.half + threadIdx.x] = {cosine, sine};
  }
  if (threadIdx.x == 0) {
    a.slots[row] = position < 0 ? -1 : a.table[row * a.table_stride + at / 64] * 64 + at % 64;
  }
}

/// The same, and its embedding from a `table` of 4 bits with `per` 1.
__device__ void embed_row(const StepArgs& a, const Weights& table, int row, int id, int position) {
  const int width = table.groups * 64;
  for (int i = threadIdx.x; i < table.groups * 8; i += kThreads) {
    const auto at = [&](u64 byte) { return *reinterpret_cast<const u32*>(table.packed + byte); };
    const u32 word = at(table.word_at(id / 16, i / 8, id % 16, i % 8));
    const u32 scale = at(table.scale_at(id / 16, i / 8, id % 16));
    const auto value = [&](int n) {
      return fmaf(low(scale), static_cast<float>(word >> 4 * n & 15), high(scale));
    };
    reinterpret_cast<uint4*>(a.x + static_cast<u64>(row) * width)[i] = {
        narrow(value(0), value(1)), narrow(value(2), value(3)), narrow(value(4), value(5)),
        narrow(value(6), value(7))};
  }
  place_row(a, row, position);
}

/// Grid: rows, whose hidden states a stage before this one has computed.
__global__ void __launch_bounds__(kThreads) place(StepArgs a) {
  let_successor_start();
  wait_for_predecessor();
  place_row(a, blockIdx.x, a.positions[blockIdx.x]);
}

/// Grid: rows.
__global__ void __launch_bounds__(kThreads) embed(StepArgs a, Weights table) {
  let_successor_start();
  wait_for_predecessor();
  embed_row(a, table, blockIdx.x, a.ids[blockIdx.x], a.positions[blockIdx.x]);
}

/// The greater logit, of equal ones the lower id.
__device__ __forceinline__ Choice better(Choice a, Choice b) {
  return b.logit > a.logit || (b.logit == a.logit && b.id < a.id) ? b : a;
}
/// The best of a block, valid in thread 0.
__device__ __forceinline__ Choice best_of_block(Choice best, Choice* scratch) {
  for (int lane = 16; lane > 0; lane /= 2) {
    best =
        better(best, {__shfl_xor_sync(~0u, best.logit, lane), __shfl_xor_sync(~0u, best.id, lane)});
  }
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = best;
  __syncthreads();
  for (int w = 1; threadIdx.x == 0 && w < static_cast<int>(blockDim.x / 32); ++w) {
    best = better(best, scratch[w]);
  }
  return best;
}

/// Grid: [blocks, rows]. The block that ends last writes ids[row] and moves the position on.
__global__ void __launch_bounds__(kThreads)
    argmax(const float* logits, int count, Choice* blocks, int* arrived, StepArgs a) {
  __shared__ Choice scratch[kWarps];
  __shared__ bool is_last;
  let_successor_start();
  wait_for_predecessor();
  const int row = blockIdx.y;
  const float* from = logits + static_cast<u64>(row) * count;
  Choice best = {-infinity(), 0x7fffffff};
  for (int i = blockIdx.x * kThreads + threadIdx.x; i < count; i += gridDim.x * kThreads) {
    best = better(best, {__ldcg(from + i), i});
  }
  best = best_of_block(best, scratch);
  Choice* mine = blocks + row * gridDim.x;
  if (threadIdx.x == 0) {
    mine[blockIdx.x] = best;
    __threadfence();
    is_last = atomicAdd(arrived + row, 1) == static_cast<int>(gridDim.x) - 1;
    __threadfence();
  }
  __syncthreads();
  if (!is_last) return;
  best = {-infinity(), 0x7fffffff};
  if (threadIdx.x < gridDim.x) {
    const float2 bits = __ldcg(reinterpret_cast<const float2*>(mine + threadIdx.x));
    best = {bits.x, __float_as_int(bits.y)};
  }
  best = best_of_block(best, scratch);
  if (threadIdx.x == 0) {
    arrived[row] = 0;
    a.ids[row] = best.id;
    if (a.positions[row] >= 0) ++a.positions[row];
  }
}

}  // namespace tandem::cuda
