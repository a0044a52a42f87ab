#pragma once
// y = x W^T for 1 to 64 rows of x (tokens) and weights of 4 bits in groups of 64, as MLX stores
// them.
//
// Weights are the MMA's 16 rows, tokens its 8 columns, so one token costs what 8 cost. Operands are
// exact (128 + q in bf16), a group's product is summed apart in float32, then
//   y += scale * sum((128 + q) x) + (bias - 128 scale) * sum(x).
// K is split over the 16 warps of a block by ranges that depend on K alone, and their sums are
// added in the order of the ranges, so that a row's bits do not depend on the rows beside it. Each
// warp fills a ring of its own; it is full before the block waits for its predecessor.

#include "rows.cuh"

namespace tandem::cuda {

/// Where two sums lie: rows row and row + 8 * per of the weights, of one token. block is tile /
/// per, pair counts the pairs of rows in it.
struct Place {
  int block, pair, row, token;
  __device__ Place(const Weights& w, int tile, int g, int token)
      : block(w.per == 1         ? tile
              : w.per == w.tiles ? 0
                                 : tile / w.per),  // divisions are slow
        pair((tile - block * w.per) * 8 + g),
        row(block * 16 * w.per + pair),
        token(token) {}
};

/// A stage to shared memory; both pointers with 16 bytes a lane added.
__device__ __forceinline__ void copy_stage(u32 to, const unsigned char* from) {
  copy_async(to, from);
  copy_async(to + 512, from + 512);
  if ((threadIdx.x & 31) < 8) copy_async(to + 1024, from + 1024);
}

/// One warp's ring: fill() runs kDepth stages ahead of the reader.
template <int kMT, int kDepth>
struct Ring {
  static constexpr int kBytes = kDepth * kMT * kStageBytes;
  const unsigned char* from;
  u32 to;
  int begin, end, stage, unit, units, stages;

  __device__ void start(const Weights& w, u32 shared, int warp, int lane) {
    stages = w.groups / kStageGroups;
    begin = warp * stages / kWarps;
    end = (warp + 1) * stages / kWarps;
    units = begin < end ? (w.tiles + kMT - 1) / kMT : 0;
    unit = static_cast<int>(blockIdx.x);
    stage = begin;
    to = shared + lane * 16;
    from = w.packed + lane * 16;
  }
  __device__ void fill(const Weights& w, int slot) {
    if (unit < units) {
#pragma unroll
      for (int m = 0; m < kMT; ++m) {
        const int tile = kMT == 1 ? unit : min(unit * kMT + m, w.tiles - 1);
        copy_stage(to + (slot * kMT + m) * kStageBytes,
                   from + (static_cast<u64>(tile) * stages + stage) * kStageBytes);
      }
      if (++stage == end) {
        stage = begin;
        unit += gridDim.x;
      }
    }
    commit_copies();
  }
};

/// A group of 64 of kMT x 16 rows with kChunk x 8 tokens, from column tile kFirst of kNT on.
template <int kFirst, int kChunk, int kNT, int kMT>
__device__ __forceinline__ void multiply_group(const unsigned char* stage, int k,
                                               const uint4 (&x)[kChunk][2],
                                               const float2 (&sums)[kChunk], int g, int t,
                                               float (&acc)[kMT][kNT][4]) {
#pragma unroll
  for (int m = 0; m < kMT; ++m) {
    const unsigned char* at = stage + m * kStageBytes + k * 512;
    const int offset = (g * 32 + t * 8) ^ (k * 64);
    const uint2 wa = *reinterpret_cast<const uint2*>(at + offset);
    const uint2 wb = *reinterpret_cast<const uint2*>(at + 256 + offset);
    const uint2 scales =
        reinterpret_cast<const uint2*>(stage + m * kStageBytes + kStageWeights)[g * 2 + k];
    const u32 sa = scales.x, sb = scales.y;
    const float s0 = low(sa), s1 = low(sb);
    const float c0 = fmaf(-128.0f, s0, high(sa)), c1 = fmaf(-128.0f, s1, high(sb));
#pragma unroll
    for (int n = 0; n < kChunk; ++n) {
      float part[4];
      multiply_first(part, nibbles<0>(wa.x), nibbles<0>(wb.x), nibbles<0>(wa.y), nibbles<0>(wb.y),
                     x[n][0].x, x[n][0].y);
      multiply(part, nibbles<1>(wa.x), nibbles<1>(wb.x), nibbles<1>(wa.y), nibbles<1>(wb.y),
               x[n][0].z, x[n][0].w);
      multiply(part, nibbles<2>(wa.x), nibbles<2>(wb.x), nibbles<2>(wa.y), nibbles<2>(wb.y),
               x[n][1].x, x[n][1].y);
      multiply(part, nibbles<3>(wa.x), nibbles<3>(wb.x), nibbles<3>(wa.y), nibbles<3>(wb.y),
               x[n][1].z, x[n][1].w);
      float(&to)[4] = acc[m][kFirst + n];
      to[0] = fmaf(s0, part[0], fmaf(c0, sums[n].x, to[0]));
      to[1] = fmaf(s0, part[1], fmaf(c0, sums[n].y, to[1]));
      to[2] = fmaf(s1, part[2], fmaf(c1, sums[n].x, to[2]));
      to[3] = fmaf(s1, part[3], fmaf(c1, sums[n].y, to[3]));
    }
  }
}

/// The same with tokens in device memory, two column tiles at a time so that registers suffice.
template <int kFirst, int kNT, int kMT>
__device__ __forceinline__ void multiply_prepared(const Tokens& tokens, int groups, int group,
                                                  const unsigned char* stage, int k,
                                                  float (&acc)[kMT][kNT][4]) {
  constexpr int kChunk = kNT < 2 ? kNT : 2;
  if (kFirst * 8 >= tokens.count) return;
  const int lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  uint4 x[kChunk][2];
  float2 sums[kChunk];
#pragma unroll
  for (int n = 0; n < kChunk; ++n) {
    const int tile = min(kFirst + n, (tokens.count - 1) / 8) * groups + group;
    x[n][0] = tokens.prepared[tile * 64 + lane];
    x[n][1] = tokens.prepared[tile * 64 + lane + 32];
    sums[n] = reinterpret_cast<const float2*>(tokens.sums)[tile * 4 + t];
  }
  multiply_group<kFirst, kChunk, kNT, kMT>(stage, k, x, sums, g, t, acc);
  if constexpr (kFirst + kChunk < kNT) {
    multiply_prepared<kFirst + kChunk, kNT, kMT>(tokens, groups, group, stage, k, acc);
  }
}

/// kHeld > 0: the block prepares up to kHeld tokens in shared memory, else they come prepared.
template <int kNT, int kMT, int kDepth, int kHeld, bool kNorm, class Epilogue>
__global__ void __launch_bounds__(kThreads, kNT* kMT == 1 ? 2 : 1)
    product(Weights w, Tokens tokens, Epilogue epilogue) {
  static_assert(kHeld == 0 || kNT == 1);
  extern __shared__ __align__(128) unsigned char shared[];
  const int warp = threadIdx.x / 32, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  let_successor_start();
  Ring<kMT, kDepth> ring;
  constexpr int kRing = Ring<kMT, kDepth>::kBytes;
  const unsigned char* mine = shared + warp * kRing;
  ring.start(w, shared_address(mine), warp, lane);
#pragma unroll
  for (int d = 0; d < kDepth; ++d) ring.fill(w, d);

  constexpr int kColumns = kHeld == 1 ? 1 : 8;
  float* partials = reinterpret_cast<float*>(shared + kWarps * kRing);
  float* held_sums = partials + 2 * partials_of(kColumns);
  uint4* held = reinterpret_cast<uint4*>(held_sums + w.groups * 8);
  wait_for_predecessor();
  const int count = kHeld == 1 ? 1 : tokens.count;
  if constexpr (kHeld > 0) {
    prepare_rows<kHeld, kNorm>(tokens.rows, count, 0, count, held, held_sums, partials);
    __syncthreads();
  }
  const int token = kHeld > 0 && g >= count ? 0 : g;
  int slot = 0, flip = 0;
  const int units = (w.tiles + kMT - 1) / kMT;
  const int column = (threadIdx.x & 63) / 8, row = threadIdx.x & 7;  // of a thread that adds up
  for (int unit = blockIdx.x; unit < units; unit += gridDim.x) {
    // Two warps add up a tile's sums, others each time; what they need besides is on its way.
    typename Epilogue::Ready ready{};
    if (kNT * kMT == 1 && (warp & ~1) == flip * 2 % kWarps && column < count) {
      ready = epilogue.prepare(w, Place(w, unit, row, column));
    }
    float acc[kMT][kNT][4] = {};
    for (int stage = ring.begin; stage < ring.end; ++stage) {
      wait_for_copies<kDepth - 1>();
      __syncwarp();
      const unsigned char* at = mine + slot * kMT * kStageBytes;
      // More in flight than one group would spill registers where there are many columns.
#pragma unroll(kNT >= 4 ? 1 : kStageGroups)
      for (int k = 0; k < kStageGroups; ++k) {
        const int group = stage * kStageGroups + k;
        if constexpr (kHeld > 0) {
          const uint4 x[1][2] = {{held[(group * 2 * count + token) * 4 + t],
                                  held[((group * 2 + 1) * count + token) * 4 + t]}};
          const float2 sums[1] = {*reinterpret_cast<const float2*>(held_sums + group * 8 + t * 2)};
          multiply_group<0, 1, 1, kMT>(at, k, x, sums, g, t, acc);
        } else {
          multiply_prepared<0, kNT, kMT>(tokens, w.groups, group, at, k, acc);
        }
      }
      __syncwarp();
      ring.fill(w, slot);
      slot = slot + 1 == kDepth ? 0 : slot + 1;
    }
#pragma unroll
    for (int m = 0; m < kMT; ++m) {
#pragma unroll
      for (int n = 0; n < kNT; ++n, ++flip) {
        float* part = partials + (flip & 1) * partials_of(kColumns);
        const int here = count - n * 8;  // tokens of these 8 columns that there are
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          if (2 * t + c < here) {
            float* to = part + (warp * kColumns + 2 * t + c) * kPartialStride + g;
            to[0] = acc[m][n][c];
            to[8] = acc[m][n][c + 2];
          }
        }
        __syncthreads();
        const int tile = unit * kMT + m;
        if ((warp & ~1) == flip * 2 % kWarps && column < here && (kMT == 1 || tile < w.tiles)) {
          float a = 0, b = 0;
#pragma unroll
          for (int s = 0; s < kWarps; ++s) {
            a += part[(s * kColumns + column) * kPartialStride + row];
            b += part[(s * kColumns + column) * kPartialStride + row + 8];
          }
          if (kNT * kMT != 1) ready = epilogue.prepare(w, Place(w, tile, row, n * 8 + column));
          epilogue.store(w, a, b, ready);
        }
      }
    }
  }
}

}  // namespace tandem::cuda
