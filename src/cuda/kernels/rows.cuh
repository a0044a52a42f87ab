#pragma once
// Activations in the order in which a product reads them.
//
// A product takes its tokens as columns of 8. Of group k (64 elements of K), lane 4 g + t of a warp
// needs the elements 16 t ... 16 t + 15 of token g, in the pairs (i, i + 4) in which nibbles come
// out of a word. Prepared rows hold them as two runs of 16 bytes, at
//   ((2 k + half) * stride + token) * 4 + t      (in units of 16 bytes; stride: tokens held)
// beside the sum of each group in float32, at 8 k + token.

#include "primitives.cuh"

namespace tandem::cuda {

__device__ __forceinline__ uint4 load_chunk(const u16* x, int chunk) {
  return __ldcg(reinterpret_cast<const uint4*>(x) + chunk);
}
__device__ __forceinline__ float sum_of_squares(uint4 v) {
  float sum = 0;
  for (u32 pair : {v.x, v.y, v.z, v.w}) {
    sum = fmaf(low(pair), low(pair), sum);
    sum = fmaf(high(pair), high(pair), sum);
  }
  return sum;
}
__device__ __forceinline__ uint4 normalize(uint4 v, uint4 w, float inverse) {
  const auto one = [inverse](u32 x, u32 y) {
    return narrow(low(x) * inverse * low(y), high(x) * inverse * high(y));
  };
  return {one(v.x, w.x), one(v.y, w.y), one(v.z, w.z), one(v.w, w.w)};
}

/// The words of four lanes, `distance` lanes apart, as the columns of what were rows.
__device__ __forceinline__ uint4 transpose(uint4 v, int lane, int distance) {
  const auto exchange = [](u32& low, u32& high, bool is_high, int mask) {
    const u32 other = __shfl_xor_sync(~0u, is_high ? low : high, mask);
    (is_high ? low : high) = other;
  };
  exchange(v.x, v.y, lane & distance, distance);
  exchange(v.z, v.w, lane & distance, distance);
  exchange(v.x, v.z, lane & 2 * distance, 2 * distance);
  exchange(v.y, v.w, lane & 2 * distance, 2 * distance);
  return v;
}

/// Stores 8 elements and, with the 7 lanes beside this one, the sum of their group.
template <bool kMany = false>
__device__ __forceinline__ void store_chunk(uint4 v, int chunk, int token, int stride, uint4* to,
                                            float* sums, bool inside) {
  float sum = low(v.x) + high(v.x);
  sum += low(v.y) + high(v.y);
  sum += low(v.z) + high(v.z);
  sum += low(v.w) + high(v.w);
  for (int lane = 1; lane < 8; lane *= 2) sum += __shfl_xor_sync(~0u, sum, lane);
  // The lane beside this one has the group's other pairs of these 16 elements.
  const u32 pairs[4] = {__byte_perm(v.x, v.z, 0x5410), __byte_perm(v.x, v.z, 0x7632),
                        __byte_perm(v.y, v.w, 0x5410), __byte_perm(v.y, v.w, 0x7632)};
  const bool odd = chunk & 1;
  const u32 first = __shfl_xor_sync(~0u, odd ? pairs[0] : pairs[2], 1);
  const u32 second = __shfl_xor_sync(~0u, odd ? pairs[1] : pairs[3], 1);
  uint4 out =
      odd ? uint4{first, pairs[2], second, pairs[3]} : uint4{pairs[0], first, pairs[1], second};
  if (kMany) out = transpose(out, chunk, 2);
  if (!inside) return;
  const int group = chunk >> 3, half = chunk & 1, place = (chunk & 7) >> 1;
  const int at = kMany ? (group * stride + token) * 8 + ((half * 4 + place) ^ (token & 7))
                       : ((group * 2 + half) * stride + token) * 4 + place;
  to[at] = out;
  if ((chunk & 7) == 0) sums[group * (kMany ? stride : 8) + token] = sum;
}

/// `rows` <= kHeld rows from rows.x on, by all threads of a block; `scratch`: kHeld * kWarps floats
/// in shared memory; `copy`: where x itself goes besides, in a norm. A row's values do not depend
/// on how many rows there are.
template <int kHeld, bool kNorm, bool kMany = false>
__device__ void prepare_rows(const Rows& in, int rows, int token, int stride, uint4* to,
                             float* sums, float* scratch, uint4* copy = nullptr) {
  const int chunks = in.groups * 8;
  const int width = in.groups * 64;
  const int thread = threadIdx.x;
  const int padded = (chunks + 31) / 32 * 32;  // whole warps take part in the sums
  const uint4 zero = {0, 0, 0, 0};
  if constexpr (!kNorm) {
    for (int r = 0; r < rows; ++r) {
#pragma unroll 4
      for (int c = thread; c < padded; c += kThreads) {
        const uint4 v = c < chunks ? load_chunk(in.x + r * width, c) : zero;
        store_chunk<kMany>(v, c, token + r, stride, to, sums, c < chunks);
      }
    }
  } else {
    uint4 held[kHeld];
#pragma unroll
    for (int r = 0; r < kHeld; ++r) {
      held[r] = r < rows && thread < chunks ? load_chunk(in.x + r * width, thread) : zero;
    }
    const uint4 weight = thread < chunks ? load_chunk(in.weight, thread) : zero;
#pragma unroll
    for (int r = 0; r < kHeld; ++r) {
      if (r >= rows) break;
      float sum = sum_of_squares(held[r]);
      for (int c = thread + kThreads; c < chunks; c += kThreads) {
        sum += sum_of_squares(load_chunk(in.x + r * width, c));
      }
      for (int lane = 16; lane > 0; lane /= 2) sum += __shfl_xor_sync(~0u, sum, lane);
      if ((thread & 31) == 0) scratch[r * kWarps + thread / 32] = sum;
    }
    __syncthreads();
#pragma unroll
    for (int r = 0; r < kHeld; ++r) {
      if (r >= rows) break;
      float sum = 0;
#pragma unroll
      for (int w = 0; w < kWarps; ++w) sum += scratch[r * kWarps + w];
      const float inverse = rsqrtf(sum / static_cast<float>(width) + in.epsilon);
      for (int c = thread; c < padded; c += kThreads) {
        const bool first = c == thread;
        const bool inside = c < chunks;
        const uint4 v = first ? held[r] : inside ? load_chunk(in.x + r * width, c) : zero;
        const uint4 w = first ? weight : inside ? load_chunk(in.weight, c) : zero;
        if (copy != nullptr && inside) copy[r * chunks + c] = v;
        store_chunk<kMany>(normalize(v, w, inverse), c, token + r, stride, to, sums, inside);
      }
    }
  }
}

/// Rows in device memory for a product of more tokens than a block holds: a block a row.
/// to: [rows / 8][groups][2][8][4] x 16 bytes; sums: [rows / 8][groups][8].
template <bool kNorm>
__global__ void __launch_bounds__(kThreads) prepare(Rows in, uint4* to, float* sums) {
  __shared__ float scratch[kWarps];
  let_successor_start();
  wait_for_predecessor();
  const int row = blockIdx.x;
  in.x += row * in.groups * 64;
  prepare_rows<1, kNorm>(in, 1, row % 8, 8, to + row / 8 * in.groups * 64,
                         sums + row / 8 * in.groups * 8, scratch);
}

/// The same for products of many rows, in tiles of `tile_rows` (1, or a multiple of 8): in each run
/// of 64 bytes the words of a lane lie 16 bytes apart, and the 16-byte chunks of a row's group are
/// exchanged by its place among 8 rows, as a warpgroup's MMA reads them.
/// to: [rows / tile_rows][groups][tile_rows][8] x 16 bytes; sums: [rows / tile_rows][groups]
/// [tile_rows].
template <bool kNorm>
__global__ void __launch_bounds__(kThreads)
    prepare_many(Rows in, uint4* to, float* sums, int tile_rows) {
  __shared__ float scratch[kWarps];
  let_successor_start();
  wait_for_predecessor();
  const int row = blockIdx.x, token = row % tile_rows;
  const u64 before = static_cast<u64>(row - token) * in.groups;
  in.x += static_cast<u64>(row) * in.groups * 64;
  prepare_rows<1, kNorm, true>(in, 1, token, tile_rows, to + before * 8, sums + before, scratch);
}

}  // namespace tandem::cuda
