#pragma once
// Draws a token from each row of logits. All sums go in an order that the vocabulary alone decides.

#include "step.cuh"

namespace tandem::cuda {

/// What the block of a row that ends last knows of the whole row.
struct DrawShared {
  Choice scratch[kWarps];
  float sums[kWarps], masses[kWarps];
  Choice best;
  bool is_last;
  int part;    // that the draw falls into
  float left;  // of the mass there
  int found, last;
};

/// exp(factor * (logit - best)): a logit of -infinity has no mass, a NaN or +infinity gives NaN.
__device__ __forceinline__ float mass_of(float logit, float best, float factor) {
  constexpr float kLog2E = 1.4426950408889634f;
  return logit == -infinity() ? 0.0f : exp2_fast((logit - best) * kLog2E * factor);
}

/// This block's part of the row, valid in thread 0.
__device__ __forceinline__ SummaryPart summarize_part(const float* from, int begin, int end,
                                                      float factor, DrawShared& shared) {
  Choice best = {-infinity(), 0x7fffffff};
  for (int i = begin + threadIdx.x; i < end; i += kThreads) {
    best = better(best, {__ldcg(from + i), i});
  }
  best = best_of_block(best, shared.scratch);
  if (threadIdx.x == 0) shared.best = best;
  __syncthreads();
  float sum = 0, mass = 0;
  for (int i = begin + threadIdx.x; i < end; i += kThreads) {
    const float logit = __ldcg(from + i);
    sum += mass_of(logit, shared.best.logit, 1);
    mass += mass_of(logit, shared.best.logit, factor);
  }
  for (int lane = 16; lane > 0; lane /= 2) {
    sum += __shfl_xor_sync(~0u, sum, lane);
    mass += __shfl_xor_sync(~0u, mass, lane);
  }
  if (threadIdx.x % 32 == 0) {
    shared.sums[threadIdx.x / 32] = sum;
    shared.masses[threadIdx.x / 32] = mass;
  }
  __syncthreads();
  for (int w = 1; threadIdx.x == 0 && w < kWarps; ++w) {
    sum += shared.sums[w];
    mass += shared.masses[w];
  }
  return {shared.best.logit, shared.best.id, sum, mass};
}

/// The parts joined, and the part that the draw falls into: thread 0's work.
__device__ __forceinline__ Summary join_parts(const SummaryPart* parts, DrawArgs draw,
                                              DrawShared& shared) {
  Choice best = {-infinity(), 0x7fffffff};
  for (int i = 0; i < kSummaryBlocks; ++i) best = better(best, {parts[i].best, parts[i].id});
  float sum = best.logit == -infinity() ? __uint_as_float(0x7fc00000u) : 0.0f;
  double total = 0;
  for (int i = 0; i < kSummaryBlocks; ++i) {
    const SummaryPart& part = parts[i];
    sum += part.sum * (part.sum == 0 ? 0 : mass_of(part.best, best.logit, 1));
    total +=
        part.mass * (part.mass == 0 ? 0 : mass_of(part.best, best.logit, draw.inverse_temperature));
  }
  double left = draw.at * total;
  shared.part = -1;
  for (int i = 0; i < kSummaryBlocks; ++i) {
    const SummaryPart& part = parts[i];
    const double mass =
        part.mass == 0 ? 0 : part.mass * mass_of(part.best, best.logit, draw.inverse_temperature);
    if (!(mass > 0)) continue;
    shared.part = i;
    shared.left = static_cast<float>(left);
    if (left < mass) break;
    left -= mass;
  }
  shared.found = 0x7fffffff;
  shared.last = -1;
  shared.best = best;
  return {best.logit, best.id, best.logit, sum};
}

/// The id in [begin, end) where `left` of the mass is behind, by all threads, each with some
/// neighbouring ids; what rounding leaves over goes to the last id with mass.
__device__ __forceinline__ void find_in_part(const float* from, int begin, int end, float factor,
                                             DrawShared& shared) {
  const int each = (end - begin + kThreads - 1) / kThreads, lane = threadIdx.x % 32;
  const int mine = min(begin + static_cast<int>(threadIdx.x) * each, end);
  const int stop = min(mine + each, end);
  float own = 0;
  for (int i = mine; i < stop; ++i) {
    const float mass = mass_of(__ldcg(from + i), shared.best.logit, factor);
    own += mass;
    if (mass > 0) atomicMax(&shared.last, i);
  }
  float before = own;  // an inclusive sum of the warp
  for (int step = 1; step < 32; step *= 2) {
    const float other = __shfl_up_sync(~0u, before, step);
    if (lane >= step) before += other;
  }
  if (lane == 31) shared.sums[threadIdx.x / 32] = before;
  __syncthreads();
  before -= own;
  for (int w = 0; w < static_cast<int>(threadIdx.x / 32); ++w) before += shared.sums[w];
  float left = shared.left - before;
  if (left >= 0 && left < own) {
    int found = -1;
    for (int i = mine; i < stop; ++i) {
      const float mass = mass_of(__ldcg(from + i), shared.best.logit, factor);
      if (mass == 0) continue;
      found = i;
      left -= mass;
      if (left < 0) break;
    }
    // Two threads may both think so where their sums are rounded.
    atomicMin(&shared.found, found);
  }
  __syncthreads();
}

/// Grid: [kSummaryBlocks, rows]. The block of a row that ends last draws.
__global__ void __launch_bounds__(kThreads) summarize(SummarizeArgs a) {
  __shared__ DrawShared shared;
  let_successor_start();
  wait_for_predecessor();
  const int row = blockIdx.y, each = (a.count + kSummaryBlocks - 1) / kSummaryBlocks;
  const float* from = a.logits + static_cast<u64>(row) * a.count;
  const DrawArgs draw = a.draws[row];
  const auto begin = [&](int part) { return min(part * each, a.count); };
  const SummaryPart mine = summarize_part(from, begin(blockIdx.x), begin(blockIdx.x + 1),
                                          draw.inverse_temperature, shared);
  SummaryPart* parts = a.parts + row * kSummaryBlocks;
  if (threadIdx.x == 0) {
    __stcg(reinterpret_cast<float4*>(parts) + blockIdx.x,
           float4{mine.best, __int_as_float(mine.id), mine.sum, mine.mass});
    __threadfence();
    shared.is_last = atomicAdd(a.arrived + row, 1) == kSummaryBlocks - 1;
    __threadfence();
  }
  __syncthreads();
  if (!shared.is_last) return;
  __shared__ SummaryPart all[kSummaryBlocks];
  if (threadIdx.x < kSummaryBlocks) {
    const float4 part = __ldcg(reinterpret_cast<const float4*>(parts) + threadIdx.x);
    all[threadIdx.x] = {part.x, __float_as_int(part.y), part.z, part.w};
  }
  __syncthreads();
  Summary out = {};
  if (threadIdx.x == 0) {
    a.arrived[row] = 0;
    out = join_parts(all, draw, shared);
  }
  __syncthreads();
  if (draw.inverse_temperature > 0 && shared.part >= 0) {
    find_in_part(from, begin(shared.part), begin(shared.part + 1), draw.inverse_temperature,
                 shared);
    if (threadIdx.x == 0) {
      out.id = shared.found != 0x7fffffff ? shared.found : shared.last;
      out.logit = __ldcg(from + out.id);
    }
  }
  if (threadIdx.x == 0) a.out[row] = out;
}

}  // namespace tandem::cuda
