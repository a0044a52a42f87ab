#pragma once
// Attention of one token a sequence over KV in pages of 64 tokens, heads of 128.
//
// A block has one sequence, one KV head and one split of 256 positions that begins at a multiple of
// 256; each of its 8 warps has 32 of them. Softmax of a warp's positions, then the warps' in order,
// then, by the block that ends last, the splits' in order: the bits depend on the position alone.
// Up to 8 query heads of a KV head are the MMA's rows; K and V come from device memory as the MMA
// wants them: for scores, lane 4 g + t has the dims 32 j + 8 t ... + 7 of key g and of query head g
// (the order of dims in a sum is free); for values, pairs of tokens are made by byte permutes.
//
// Where a model normalizes each head before rope, Q and the K of the row's own position come as the
// product gave them; the warp that has that position writes K back as later steps want it.

#include "rows.cuh"

namespace tandem::cuda {

struct Page {
  const u16* k;
  const u16* v;
};

__device__ __forceinline__ Page page_of(const AttentionArgs& a, int row, int head, int position) {
  const int page = a.table[row * a.table_stride + position / kPagePositions];
  const u16* k = a.pages + (static_cast<u64>(page) * 2 * a.kv_heads + head) * 64 * kHeadDim;
  return {k, k + static_cast<u64>(a.kv_heads) * 64 * kHeadDim};
}

/// rms_norm, then rope, of a head whose dims 32 j + 8 t ... + 7 lane 4 g + t has.
__device__ __forceinline__ void turn_head(uint4 (&v)[4], const u16* norm, const float2* turns,
                                          float epsilon) {
  const int t = threadIdx.x & 3;
  float sum = 0;
#pragma unroll
  for (int j = 0; j < 4; ++j) sum += sum_of_squares(v[j]);
  for (int i = 1; i < 4; i *= 2) sum += __shfl_xor_sync(~0u, sum, i);
  const float inverse = rsqrtf(sum / kHeadDim + epsilon);
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    v[j] = normalize(v[j], __ldg(reinterpret_cast<const uint4*>(norm) + j * 4 + t), inverse);
  }
#pragma unroll
  for (int j = 0; j < 2; ++j) {
    const float4* turn = reinterpret_cast<const float4*>(turns + j * 32 + t * 8);
    const auto pair = [](u32& first, u32& second, float4 turn) {
      const float a = low(first), b = low(second), c = high(first), d = high(second);
      first =
          narrow(fmaf(a, turn.x, -__fmul_rn(b, turn.y)), fmaf(c, turn.z, -__fmul_rn(d, turn.w)));
      second = narrow(fmaf(b, turn.x, __fmul_rn(a, turn.y)), fmaf(d, turn.z, __fmul_rn(c, turn.w)));
    };
    pair(v[j].x, v[j + 2].x, turn[0]);
    pair(v[j].y, v[j + 2].y, turn[1]);
    pair(v[j].z, v[j + 2].z, turn[2]);
    pair(v[j].w, v[j + 2].w, turn[3]);
  }
}

/// Norm and rope of the heads of q and, where they lie in their pages, of k: for steps in which a
/// row attends to rows beside it, whose keys attention<true> would read half done. A warp has 8
/// heads. Grid: enough for rows * (heads + kv_heads) of them.
__global__ void __launch_bounds__(kThreads) turn_heads(TurnHeadsArgs a) {
  let_successor_start();
  wait_for_predecessor();
  const int lane = threadIdx.x & 31, each = a.heads + a.kv_heads;
  const int item = (blockIdx.x * kWarps + threadIdx.x / 32) * 8 + (lane >> 2);
  const int row = min(item / each, a.rows - 1), head = item % each;
  const int slot = __ldcg(a.kv.slots + row);
  u16* at = a.q + (static_cast<u64>(row) * a.heads + head) * kHeadDim;
  if (head >= a.heads) {
    const u64 page = static_cast<u64>(max(slot, 0) >> 6) * 2 * a.kv_heads + (head - a.heads);
    at = a.kv.pages + (page * 64 + (slot & 63)) * kHeadDim;
  }
  uint4* to = reinterpret_cast<uint4*>(at) + (lane & 3);
  uint4 v[4];
#pragma unroll
  for (int j = 0; j < 4; ++j) v[j] = __ldcg(to + j * 4);
  turn_head(v, a.norms + (head < a.heads ? 0 : kHeadDim), a.kv.turns + row * (kHeadDim / 2),
            a.epsilon);
  if (item >= a.rows * each || (slot < 0 && head >= a.heads)) return;
#pragma unroll
  for (int j = 0; j < 4; ++j) __stcg(to + j * 4, v[j]);
}

/// Weighted values of a warp's 32 positions for up to 8 heads, into shared memory.
template <bool kNorm>
__device__ __forceinline__ void attend(const AttentionArgs& a, const u16* q, const float2* turns,
                                       Page page, int first, int last, float* to, float2* weight) {
  const int lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  uint4 query[4];
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    query[j] =
        __ldcg(reinterpret_cast<const uint4*>(q + min(g, a.group - 1) * kHeadDim) + j * 4 + t);
  }
  uint4 own[4];
  if constexpr (kNorm) {
    uint4* key =
        reinterpret_cast<uint4*>(const_cast<u16*>(page.k) + last % kPagePositions * kHeadDim) + t;
    const bool has_own = last < first + kWarpPositions;
    if (has_own) {
#pragma unroll
      for (int j = 0; j < 4; ++j) own[j] = __ldcg(key + j * 4);
    }
    turn_head(query, a.norms, turns, a.epsilon);
    if (has_own) {
      turn_head(own, a.norms + kHeadDim, turns, a.epsilon);
      if (g == 0) {
#pragma unroll
        for (int j = 0; j < 4; ++j) __stcg(key + j * 4, own[j]);
      }
    }
  }
  float score[4][4];
#pragma unroll
  for (int n = 0; n < 4; ++n) {
    const int place = min(first + n * 8 + g, last) % kPagePositions;
    const uint4* key = reinterpret_cast<const uint4*>(page.k + place * kHeadDim) + t;
    uint4 k[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) k[j] = __ldcg(key + j * 4);
    if constexpr (kNorm) {
      if (first + n * 8 + g == last) {
#pragma unroll
        for (int j = 0; j < 4; ++j) k[j] = own[j];
      }
    }
    multiply_first(score[n], query[0].x, 0, query[0].y, 0, k[0].x, k[0].y);
    multiply(score[n], query[0].z, 0, query[0].w, 0, k[0].z, k[0].w);
#pragma unroll
    for (int j = 1; j < 4; ++j) {
      multiply(score[n], query[j].x, 0, query[j].y, 0, k[j].x, k[j].y);
      multiply(score[n], query[j].z, 0, query[j].w, 0, k[j].z, k[j].w);
    }
  }
  float most = -infinity();
#pragma unroll
  for (int n = 0; n < 4; ++n) {
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      const bool seen = first + n * 8 + 2 * t + c <= last;
      score[n][c] = seen ? __fmul_rn(score[n][c], a.scale) : -infinity();
      most = fmaxf(most, score[n][c]);
    }
  }
  for (int i = 1; i < 4; i *= 2) most = fmaxf(most, __shfl_xor_sync(~0u, most, i));
  float sum = 0;
#pragma unroll
  for (int n = 0; n < 4; ++n) {
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      score[n][c] = exp2_fast(score[n][c] - most);
      sum += score[n][c];
    }
  }
  for (int i = 1; i < 4; i *= 2) sum += __shfl_xor_sync(~0u, sum, i);
  float out[16][4] = {};
#pragma unroll
  for (int step = 0; step < 2; ++step) {
    const u32 a0 = narrow(score[2 * step][0], score[2 * step][1]);
    const u32 a2 = narrow(score[2 * step + 1][0], score[2 * step + 1][1]);
    uint4 v[2][4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int token = first + step * 16 + i / 2 * 8 + 2 * t + i % 2;
      const int place = min(token, last) % kPagePositions;
      const uint4* value = reinterpret_cast<const uint4*>(page.v + place * kHeadDim) + g;
      v[0][i] = __ldcg(value);
      v[1][i] = __ldcg(value + 8);
    }
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const auto pair = [&](int n, u32 x0, u32 x1, u32 x2, u32 x3) {
        multiply(out[h * 8 + n], a0, 0, a2, 0, __byte_perm(x0, x1, 0x5410),
                 __byte_perm(x2, x3, 0x5410));
        multiply(out[h * 8 + n + 1], a0, 0, a2, 0, __byte_perm(x0, x1, 0x7632),
                 __byte_perm(x2, x3, 0x7632));
      };
      pair(0, v[h][0].x, v[h][1].x, v[h][2].x, v[h][3].x);
      pair(2, v[h][0].y, v[h][1].y, v[h][2].y, v[h][3].y);
      pair(4, v[h][0].z, v[h][1].z, v[h][2].z, v[h][3].z);
      pair(6, v[h][0].w, v[h][1].w, v[h][2].w, v[h][3].w);
    }
  }
  if (g >= a.group) return;
  if (t == 0) weight[g] = {most, sum};
  float4* row = reinterpret_cast<float4*>(to + g * kHeadDim);
#pragma unroll
  for (int h = 0; h < 2; ++h) {
#pragma unroll
    for (int c = 0; c < 2; ++c) {
#pragma unroll
      for (int n = 0; n < 8; n += 4) {
        const int i = h * 8 + n;
        row[h * 16 + t * 4 + c * 2 + n / 4] = {out[i][c], out[i + 1][c], out[i + 2][c],
                                               out[i + 3][c]};
      }
    }
  }
}

/// Adds `count` weighted sums in order: {sum of 4 dims, weight}, relative to the joint maximum.
struct Joined {
  float4 sum = {0, 0, 0, 0};
  float2 weight = {-infinity(), 0};
};
template <int kUnroll, class Values, class WeightOf>
__device__ __forceinline__ Joined join(int count, Values values, WeightOf weight_of) {
  Joined all;
#pragma unroll(kUnroll)
  for (int i = 0; i < count; ++i) all.weight.x = fmaxf(all.weight.x, weight_of(i).x);
#pragma unroll(kUnroll)
  for (int i = 0; i < count; ++i) {
    const float2 w = weight_of(i);
    const float4 v = values(i);
    const float factor = exp2_fast(w.x - all.weight.x);
    all.weight.y = fmaf(factor, w.y, all.weight.y);
    all.sum.x = fmaf(factor, v.x, all.sum.x);
    all.sum.y = fmaf(factor, v.y, all.sum.y);
    all.sum.z = fmaf(factor, v.z, all.sum.z);
    all.sum.w = fmaf(factor, v.w, all.sum.w);
  }
  return all;
}

__device__ __forceinline__ void finish(const AttentionArgs& a, u64 head, int quad,
                                       const Joined& all) {
  const float inverse = 1.0f / all.weight.y;
  const uint2 bits = {narrow(all.sum.x * inverse, all.sum.y * inverse),
                      narrow(all.sum.z * inverse, all.sum.w * inverse)};
  *reinterpret_cast<uint2*>(a.out + head * kHeadDim + quad * 4) = bits;
}

/// The 256 threads of `barrier` (a number of bar.sync) meet.
__device__ __forceinline__ void meet(int barrier) {
  asm volatile("bar.sync %0, %1;" ::"r"(barrier), "n"(kAttentionThreads) : "memory");
}

/// What the 256 threads of an item share.
struct AttentionShared {
  float2 weights[kAttentionThreads / 32][kHeadsMost];
  int is_last;
};

/// One sequence, KV head and split; `splits`: that there is room for in a.partial.
struct AttentionItem {
  int row, kv_head, split, splits;
  int last;  // the row's position
  /// Of the positions of this thread's warp, where there are any.
  __device__ Page page(const AttentionArgs& a, int thread) const {
    const int first = split * kSplit + thread / 32 * kWarpPositions;
    return first <= last ? page_of(a, row, kv_head, first) : Page{};
  }
};

__device__ __forceinline__ void prefetch_page(Page page, int position) {
  if (page.k == nullptr) return;
  const int place = position % kPagePositions;
  prefetch_to_l2(page.k + place * kHeadDim);
  prefetch_to_l2(page.k + place * kHeadDim + 64);
  prefetch_to_l2(page.v + place * kHeadDim);
  prefetch_to_l2(page.v + place * kHeadDim + 64);
}

/// By 256 threads; turns: the row's, where kNorm; sums: [8 warps][group][128] floats of shared
/// memory.
template <bool kNorm>
__device__ __forceinline__ void attend_item(const AttentionArgs& a, const AttentionItem& item,
                                            const float2* turns, Page page, int thread, int barrier,
                                            float* sums, AttentionShared& shared) {
  const int last = item.last, start = item.split * kSplit;
  if (start > last) return;
  const int warp = thread / 32, first = start + warp * kWarpPositions;
  const int here = min(kAttentionThreads / 32, (last - start) / kWarpPositions + 1);
  const u64 cell = static_cast<u64>(item.row) * a.kv_heads + item.kv_head;
  const u64 head = cell * a.group;
  if (first <= last) {
    attend<kNorm>(a, a.q + head * kHeadDim, turns, page, first, last,
                  sums + warp * a.group * kHeadDim, shared.weights[warp]);
  }
  meet(barrier);
  const int splits = last / kSplit + 1;
  const int quads = a.group * (kHeadDim / 4);
  float4* partial = reinterpret_cast<float4*>(a.partial) + cell * item.splits * quads;
  float2* weights = a.weights + cell * item.splits * a.group;
  for (int i = thread; i < quads; i += kAttentionThreads) {
    const int h = i / (kHeadDim / 4), quad = i % (kHeadDim / 4);
    const Joined all = join<kNorm ? 2 : 8>(
        here, [&](int w) { return reinterpret_cast<const float4*>(sums)[w * quads + i]; },
        [&](int w) { return shared.weights[w][h]; });
    if (splits == 1) {
      finish(a, head + h, quad, all);
    } else {
      __stcg(partial + item.split * quads + i, all.sum);
      if (quad == 0) __stcg(weights + item.split * a.group + h, all.weight);
    }
  }
  if (splits == 1) return;
  __threadfence();
  meet(barrier);
  if (thread == 0) {
    shared.is_last = atomicAdd(a.arrived + cell, 1) == splits - 1;
    if (shared.is_last) a.arrived[cell] = 0;
    __threadfence();
  }
  meet(barrier);
  if (!shared.is_last) return;
  for (int i = thread; i < quads; i += kAttentionThreads) {
    const int h = i / (kHeadDim / 4);
    finish(a, head + h, i % (kHeadDim / 4),
           join<8>(
               splits, [&](int s) { return __ldcg(partial + s * quads + i); },
               [&](int s) { return __ldcg(weights + s * a.group + h); }));
  }
}

/// Grid: [splits, kv_heads, rows]; splits that begin after the position end at once.
template <bool kNorm>
__global__ void __launch_bounds__(kAttentionThreads, 2) attention(AttentionArgs a) {
  extern __shared__ __align__(16) float sums[];  // [8 warps][group][128]
  __shared__ AttentionShared shared;
  let_successor_start();
  // Positions and page tables were written before the step began.
  const int row = blockIdx.z, split = blockIdx.x, thread = threadIdx.x;
  const AttentionItem item = {row, static_cast<int>(blockIdx.y), split, static_cast<int>(gridDim.x),
                              a.positions[row]};
  const Page page = item.page(a, thread);
  prefetch_page(page, split * kSplit + thread);
  wait_for_predecessor();
  attend_item<kNorm>(a, item, a.turns + row * (kHeadDim / 2), page, thread, 1, sums, shared);
}

}  // namespace tandem::cuda
