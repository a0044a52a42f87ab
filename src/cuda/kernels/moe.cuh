#pragma once
// A mixture of experts: which experts a token takes, and their gated MLPs, for 1 to 32 tokens.
//
// Equal logits go to the lower id, and a token's experts stand in the order of their ids. A product
// has the tokens of one expert as its columns, 8 at a time; a column's bits do not depend on the
// columns beside it. K is split by ranges that depend on the shape alone: gate and up over all 16
// warps of a block, down over the warps that an expert has when a token's experts are spread over a
// block. A token's experts are added up in float32 in the order of their ids.

#include "epilogues.cuh"

namespace tandem::cuda {

/// A token's experts, ids ascending, and their softmax over the chosen logits (which is the
/// softmax over all, divided by the sum of what was chosen).
struct Chosen {
  int ids[kTopMost];
  float weights[kTopMost];
};

/// By a warp, whose lane i has the logits of experts 4 i ... 4 i + 3 of `experts`, a multiple of 4;
/// `to` in shared memory. What is not a number counts as least.
__device__ __forceinline__ void choose_experts(float4 of_lane, int experts, int top_k, Chosen& to) {
  const int lane = threadIdx.x & 31;
  const float logits[4] = {of_lane.x, of_lane.y, of_lane.z, of_lane.w};
  u32 keys[4];  // in the order of the logits; 0: none, or taken
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    const u32 bits = __float_as_uint(logits[j] + 0.0f);  // -0 is 0
    const u32 key = bits ^ ((bits >> 31) != 0 ? 0xffffffffu : 0x80000000u);
    keys[j] = lane * 4 >= experts ? 0 : logits[j] == logits[j] ? key : 1;
  }
  u32 taken = 0;
#pragma unroll 1
  for (int k = 0; k < top_k; ++k) {
    const u32 most = __reduce_max_sync(~0u, max(max(keys[0], keys[1]), max(keys[2], keys[3])));
    u32 mine = kExpertsMost;
#pragma unroll
    for (int j = 3; j >= 0; --j) mine = keys[j] == most ? lane * 4 + j : mine;
    const u32 id = __reduce_min_sync(~0u, mine);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (id != lane * 4 + j) continue;
      keys[j] = 0;
      taken |= 1u << j;
    }
  }
  int place = 0;
  const u32 before = (1u << lane) - 1;
#pragma unroll
  for (int j = 0; j < 4; ++j) place += __popc(__ballot_sync(~0u, taken >> j & 1) & before);
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    if ((taken >> j & 1) == 0) continue;
    to.ids[place] = lane * 4 + j;
    to.weights[place++] = logits[j];
  }
  __syncwarp();
  const float logit = lane < top_k ? to.weights[lane] : -infinity();
  float most = logit;
#pragma unroll 1
  for (int i = 1; i < kTopMost; i *= 2) most = fmaxf(most, __shfl_xor_sync(~0u, most, i));
  const float power = exp2_fast(__fmul_rn(logit - most, 1.4426950408889634f));
  float sum = power;
#pragma unroll 1
  for (int i = 1; i < kTopMost; i *= 2) sum += __shfl_xor_sync(~0u, sum, i);
  if (lane < top_k) to.weights[lane] = __fdividef(power, sum);
  __syncwarp();
}

/// The product of a row of the router with a prepared row, both [8 * groups] x 16 bytes; by a warp.
__device__ __forceinline__ float router_logit(const uint4* router, const uint4* x, int chunks) {
  float even = 0, odd = 0;
#pragma unroll 1
  for (int first = threadIdx.x & 31; first < chunks; first += 4 * 32) {
    uint4 w[4];
#pragma unroll
    for (int u = 0; u < 4; ++u) {
      w[u] = first + u * 32 < chunks ? __ldg(router + first + u * 32) : uint4{};
    }
#pragma unroll
    for (int u = 0; u < 4; ++u) {
      const uint4 v = x[min(first + u * 32, chunks - 1)];
      even = fmaf(low(w[u].x), low(v.x), even);
      odd = fmaf(high(w[u].x), high(v.x), odd);
      even = fmaf(low(w[u].y), low(v.y), even);
      odd = fmaf(high(w[u].y), high(v.y), odd);
      even = fmaf(low(w[u].z), low(v.z), even);
      odd = fmaf(high(w[u].z), high(v.z), odd);
      even = fmaf(low(w[u].w), low(v.w), even);
      odd = fmaf(high(w[u].w), high(v.w), odd);
    }
  }
  float sum = even + odd;
  for (int lane = 16; lane > 0; lane /= 2) sum += __shfl_xor_sync(~0u, sum, lane);
  return sum;
}

/// Grid: [experts / kWarps, rows]. An expert a warp; the first block of a row also prepares it for
/// the products.
__global__ void __launch_bounds__(kThreads) route(RouterArgs a) {
  extern __shared__ __align__(128) unsigned char shared[];
  __shared__ float scratch[kWarps];
  const int row = blockIdx.y, groups = a.rows.groups;
  const int expert = blockIdx.x * kWarps + threadIdx.x / 32;
  const uint4* router = a.router + static_cast<u64>(min(expert, a.experts - 1)) * groups * 8;
  let_successor_start();
  for (int i = threadIdx.x & 31; i < groups; i += 32) prefetch_to_l2(router + i * 8);
  wait_for_predecessor();
  uint4* x = reinterpret_cast<uint4*>(shared);
  float* sums = reinterpret_cast<float*>(x + groups * 8);
  Rows rows = a.rows;
  rows.x += row * groups * 64;
  prepare_rows<1, true>(rows, 1, 0, 1, x, sums, scratch);
  __syncthreads();
  if (blockIdx.x == 0 && a.many) {
    for (int i = threadIdx.x; i < groups * 8; i += kThreads) {
      const u32* words = reinterpret_cast<const u32*>(x + (i & ~3)) + i % 4;
      a.prepared[static_cast<u64>(row) * groups * 8 + i] = {words[0], words[4], words[8],
                                                            words[12]};
    }
    for (int i = threadIdx.x; i < groups; i += kThreads) a.sums[row * groups + i] = sums[i * 8];
  } else if (blockIdx.x == 0) {
    for (int i = threadIdx.x; i < groups * 8; i += kThreads) {
      a.prepared[(row / 8 * groups * 2 + i / 4) * 32 + row % 8 * 4 + i % 4] = x[i];
    }
    for (int i = threadIdx.x; i < groups; i += kThreads) {
      a.sums[(row / 8 * groups + i) * 8 + row % 8] = sums[i * 8];
    }
  }
  if (expert >= a.experts) return;
  const float logit = router_logit(router, x, groups * 8);
  if (threadIdx.x % 32 == 0) a.logits[row * a.experts + expert] = logit;
}

/// Up to 8 pairs (token * top_k + place among its experts) of one expert.
struct ExpertItem {
  short expert, first, count;
};
struct ExpertWork {
  static constexpr int kPairsMost = kExpertTokens * kTopMost;
  ExpertItem items[kPairsMost];
  short pairs[kPairsMost];   // by expert, then by token
  u32 tokens[kExpertsMost];  // bit i: token i
  int first[kExpertsMost];   // of `pairs`
  int warps[kExpertsMost / 32][2];
  int count;
  int ids[kPairsMost];
  Chosen chosen[kWarps];
};

/// The experts of all tokens, to work.ids; the first block leaves its choice in device memory.
__device__ __forceinline__ void choose_all(ExpertWork& work, const ExpertTokens& tokens) {
  const int lane = threadIdx.x & 31, warp = threadIdx.x / 32, top_k = tokens.top_k;
  Chosen& chosen = work.chosen[warp];
  for (int row = warp; tokens.logits != nullptr && row < tokens.rows; row += kWarps) {
    float4 logits = {0, 0, 0, 0};
    const float* from = tokens.logits + row * tokens.experts;
    if (lane * 4 < tokens.experts) logits = __ldcg(reinterpret_cast<const float4*>(from) + lane);
    choose_experts(logits, tokens.experts, top_k, chosen);
    if (lane < top_k) {
      work.ids[row * top_k + lane] = chosen.ids[lane];
      if (blockIdx.x == 0) {
        tokens.ids[row * top_k + lane] = chosen.ids[lane];
        tokens.weights[row * top_k + lane] = chosen.weights[lane];
      }
    }
    __syncwarp();
  }
  if (tokens.logits == nullptr && threadIdx.x < tokens.rows * top_k) {
    work.ids[threadIdx.x] = __ldcg(tokens.ids + threadIdx.x);
  }
  __syncthreads();
}

/// Which tokens each expert has, by all threads of a block. Ends with a barrier.
__device__ __forceinline__ void list_work(ExpertWork& work, int pairs, int top_k) {
  const int expert = threadIdx.x, lane = threadIdx.x & 31, warp = threadIdx.x / 32;
  const bool is_expert = expert < kExpertsMost, is_pair = static_cast<int>(threadIdx.x) < pairs;
  const int mine = is_pair ? work.ids[threadIdx.x] : 0;
  const u32 bit = 1u << threadIdx.x / top_k % 32;
  if (is_expert) work.tokens[expert] = 0;
  __syncthreads();
  if (is_pair) atomicOr(work.tokens + mine, bit);  // the same in any order
  __syncthreads();
  const int count = is_expert ? __popc(work.tokens[expert]) : 0;
  int pair = count, item = (count + 7) / 8;  // sums over the experts up to this one
  for (int d = 1; d < 32; d *= 2) {
    const int p = __shfl_up_sync(~0u, pair, d), n = __shfl_up_sync(~0u, item, d);
    if (lane >= d) pair += p, item += n;
  }
  if (is_expert && lane == 31) work.warps[warp][0] = pair, work.warps[warp][1] = item;
  __syncthreads();
  if (is_expert) {
    for (int w = 0; w < warp; ++w) pair += work.warps[w][0], item += work.warps[w][1];
    if (expert == kExpertsMost - 1) work.count = item;
    pair -= count;
    item -= (count + 7) / 8;
    work.first[expert] = pair;
    for (int at = 0; at < count; at += 8, ++item) {
      work.items[item] = {static_cast<short>(expert), static_cast<short>(pair + at),
                          static_cast<short>(min(8, count - at))};
    }
  }
  __syncthreads();
  if (is_pair) {
    work.pairs[work.first[mine] + __popc(work.tokens[mine] & (bit - 1))] =
        static_cast<short>(threadIdx.x);
  }
  __syncthreads();
}

/// w: of expert 0, the others follow. Parts of a block's warps share the K of a tile, and the block
/// has kWarps / parts tiles at a time. kParts, kStages: of a shape for which x stays in registers,
/// with kStages stages a part; 0: of any other.
template <int kParts, int kStages, class Epilogue>
__global__ void __launch_bounds__(kThreads, 1)
    experts(Weights w, ExpertTokens tokens, int parts_of_tile, Epilogue epilogue) {
  constexpr int kDepth = kExpertDepth;
  constexpr int kGroups = (kStages > 0 ? kStages : 1) * kStageGroups;
  extern __shared__ __align__(128) unsigned char shared[];
  __shared__ ExpertWork work;
  const int warp = threadIdx.x / 32, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  let_successor_start();
  wait_for_predecessor();
  choose_all(work, tokens);
  list_work(work, tokens.rows * tokens.top_k, tokens.top_k);
  const int parts = kParts > 0 ? kParts : parts_of_tile, at_once = kWarps / parts;
  const int all = w.groups / kStageGroups, part_number = warp % parts;
  const int begin_stage = part_number * all / parts;
  const int stages = kStages > 0 ? kStages : (part_number + 1) * all / parts - begin_stage;
  // A run of units for each block, so that an expert's columns change seldom.
  const int each = w.tiles / at_once, units = work.count * each;
  const int begin = static_cast<int>(static_cast<u64>(units) * blockIdx.x / gridDim.x);
  const int end = static_cast<int>(static_cast<u64>(units) * (blockIdx.x + 1) / gridDim.x);
  const unsigned char* mine = shared + warp * kDepth * kStageBytes;
  const u32 to = shared_address(mine) + lane * 16;
  int left = (end - begin) * stages, next_item = begin / each, next_place = begin % each;
  int next_stage = 0;
  const auto fill = [&](int slot) {
    if (left > 0) {
      const int tile = work.items[next_item].expert * w.tiles + next_place * at_once + warp / parts;
      copy_stage(to + slot * kStageBytes, w.packed + lane * 16 + w.stage_at(tile, 0) +
                                              (begin_stage + next_stage) * kStageBytes);
      --left;
      if (++next_stage == stages) {
        next_stage = 0;
        if (++next_place == each) next_place = 0, ++next_item;
      }
    }
    commit_copies();
  };
  for (int d = 0; d < kDepth; ++d) fill(d);

  float* partials = reinterpret_cast<float*>(shared + kWarps * kDepth * kStageBytes);
  uint4 x[kGroups][1][2];
  float2 sums[kGroups][1];
  int slot = 0, flip = 0, item = begin / each, place = begin % each;
  bool fresh = true;
  for (int unit = begin; unit < end; ++unit, flip ^= 1) {
    const ExpertItem now = work.items[item];
    const auto row_of = [&](int column) {
      const int pair = work.pairs[now.first + min(column, now.count - 1)];
      return tokens.by_pair ? pair : pair / tokens.top_k;
    };
    const auto load = [&](int stage) {
      const int row = row_of(g), even = row_of(2 * t), odd = row_of(2 * t + 1);
#pragma unroll
      for (int k = 0; k < kGroups; ++k) {
        const int group = stage * kStageGroups + k;
        const auto at = [&](int r) { return static_cast<u64>(r / 8 * w.groups + group); };
        x[k][0][0] = tokens.prepared[at(row) * 64 + row % 8 * 4 + t];
        x[k][0][1] = tokens.prepared[at(row) * 64 + 32 + row % 8 * 4 + t];
        sums[k][0] = {tokens.sums[at(even) * 8 + even % 8], tokens.sums[at(odd) * 8 + odd % 8]};
      }
    };
    if (kStages > 0 && fresh) load(begin_stage);
    float acc[1][1][4] = {};
#pragma unroll(kStages > 0 ? kStages : 1)
    for (int s = 0; s < stages; ++s) {
      if (kStages == 0) load(begin_stage + s);
      wait_for_copies<kDepth - 1>();
      __syncwarp();
#pragma unroll
      for (int k = 0; k < kStageGroups; ++k) {
        const int i = (kStages > 0 ? s * kStageGroups : 0) + k;
        multiply_group<0, 1, 1, 1>(mine + slot * kStageBytes, k, x[i], sums[i], g, t, acc);
      }
      __syncwarp();
      fill(slot);
      slot = slot + 1 == kDepth ? 0 : slot + 1;
    }
    float* part = partials + flip * partials_of(8);
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      float* at = part + (warp * 8 + 2 * t + c) * kPartialStride + g;
      at[0] = acc[0][0][c];
      at[8] = acc[0][0][c + 2];
    }
    __syncthreads();
    // Two warps add up a tile's sums: others each time where there is one tile.
    const int adder = (warp + kWarps - (at_once == 1 ? unit * 2 % kWarps : 0)) % kWarps;
    const int column = (adder & 1) * 4 + lane / 8, lane_row = lane & 7;
    if (adder / 2 < at_once && column < now.count) {
      float a = 0, b = 0;
#pragma unroll(kParts > 0 ? kParts : 1)
      for (int s = 0; s < parts; ++s) {
        const float* from =
            part + ((adder / 2 * parts + s) * 8 + column) * kPartialStride + lane_row;
        a += from[0];
        b += from[8];
      }
      const Place at(w, place * at_once + adder / 2, lane_row, work.pairs[now.first + column]);
      epilogue.store(w, a, b, epilogue.prepare(w, at));
    }
    fresh = ++place == each;
    if (fresh) place = 0, ++item;
  }
}

/// x += the sum of a token's experts, y float32 [rows * top_k][width]. Grid: rows.
__global__ void __launch_bounds__(kThreads)
    combine(const float* y, const float* weights, int top_k, int width, u16* x) {
  let_successor_start();
  wait_for_predecessor();
  const int row = blockIdx.x;
  for (int i = threadIdx.x; i < width; i += kThreads) {
    float sum = 0;
    for (int k = 0; k < top_k; ++k) {
      const int pair = row * top_k + k;
      sum = fmaf(__ldcg(weights + pair), __ldcg(y + static_cast<u64>(pair) * width + i), sum);
    }
    u16* to = x + row * width + i;
    *to = narrow(widen(__ldcg(to)) + sum);
  }
}

/// The experts of rows of which there are too many for experts(), a row a warp.
__global__ void __launch_bounds__(kThreads)
    choose(const float* logits, int rows, int experts, int top_k, int* ids, float* weights) {
  __shared__ Chosen all[kWarps];
  let_successor_start();
  wait_for_predecessor();
  const int lane = threadIdx.x & 31, warp = threadIdx.x / 32, row = blockIdx.x * kWarps + warp;
  if (row >= rows) return;
  Chosen& chosen = all[warp];
  float4 of_lane = {0, 0, 0, 0};
  const float* from = logits + row * experts;
  if (lane * 4 < experts) of_lane = __ldcg(reinterpret_cast<const float4*>(from) + lane);
  choose_experts(of_lane, experts, top_k, chosen);
  if (lane >= top_k) return;
  ids[row * top_k + lane] = chosen.ids[lane];
  weights[row * top_k + lane] = chosen.weights[lane];
}

/// Sorts pairs by their experts, one block. The order of an expert's pairs is any: no result
/// depends on it.
__global__ void __launch_bounds__(kThreads) list_pairs(ListPairsArgs a) {
  __shared__ int counts[kExpertsMost], next[kExpertsMost];
  let_successor_start();
  wait_for_predecessor();
  const int thread = threadIdx.x;
  if (thread < kExpertsMost) counts[thread] = 0;
  __syncthreads();
  for (int i = thread; i < a.pairs; i += kThreads) atomicAdd(counts + __ldcg(a.ids + i), 1);
  __syncthreads();
  if (thread < 32) {
    int count = 0, tiles = 0;  // of this lane's experts, then of all up to them
    for (int e = thread * 4; e < thread * 4 + 4; ++e) {
      count += counts[e];
      tiles += (counts[e] + kWideExpertColumns - 1) / kWideExpertColumns;
    }
    const int own = count, own_tiles = tiles;
    for (int d = 1; d < 32; d *= 2) {
      const int c = __shfl_up_sync(~0u, count, d), n = __shfl_up_sync(~0u, tiles, d);
      if (thread >= d) count += c, tiles += n;
    }
    if (thread == 31) *a.tile_count = tiles;
    int first = count - own, tile = tiles - own_tiles;
    for (int e = thread * 4; e < thread * 4 + 4; ++e) {
      next[e] = first;
      for (int at = 0; at < counts[e]; at += kWideExpertColumns, ++tile) {
        a.tiles[tile] = {e, first + at, min(kWideExpertColumns, counts[e] - at)};
      }
      first += counts[e];
    }
  }
  __syncthreads();
  for (int i = thread; i < a.pairs; i += kThreads) {
    a.sorted[atomicAdd(next + __ldcg(a.ids + i), 1)] = i;
  }
}

}  // namespace tandem::cuda
