#pragma once
// y = x W^T for many rows of x: prompts, and the tokens that come together at an expert.
//
// A block has 128 rows of weights and 128 tokens (of an expert 64), and its 8 warps share a ring
// that brings both. A warp has 16 rows of the results and goes along all of K, a group of 64 by
// warpgroup MMAs: it closes its sums where product() passes from a warp's range of K to the next
// one's, and adds them in that order. Four warpgroup MMAs of 16 in a chain have the bits of four
// MMAs of a warp, so every result has the bits that product() gives it.
//
// Weights are the MMA's A, from registers; tokens its B, from shared memory, where a token's group
// is 128 bytes, in 16-byte chunks that are exchanged within 8 tokens (the swizzle of 128 bytes).

#include "product.cuh"

namespace tandem::cuda {

/// 4 bytes, as copy_async().
__device__ __forceinline__ void copy_word_async(u32 to, const void* from) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(to), "l"(from) : "memory");
}

// mbarriers of shared memory, by address. A phase ends when all have arrived and all bytes are
// there.
__device__ __forceinline__ void init_barrier(u32 barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
__device__ __forceinline__ void arrive(u32 barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
__device__ __forceinline__ void arrive_and_expect(u32 barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
}
__device__ __forceinline__ void wait_for_phase(u32 barrier, int parity) {
  u32 done = 0;
  while (done == 0) {
    asm volatile(
        "{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
        "selp.u32 %0, 1, 0, p;\n}"
        : "=r"(done)
        : "r"(barrier), "r"(parity)
        : "memory");
  }
}
/// A run of bytes (a multiple of 16) from device memory, which `barrier` waits for.
__device__ __forceinline__ void copy_bulk(u32 to, const void* from, int bytes, u32 barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
          "r"(to),
      "l"(from), "r"(bytes), "r"(barrier)
      : "memory");
}

/// What was written to shared memory is there for warpgroup MMAs.
__device__ __forceinline__ void show_to_wgmma() { asm volatile("fence.proxy.async;" ::: "memory"); }
__device__ __forceinline__ void begin_wgmma() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void commit_wgmma() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int kPending>
__device__ __forceinline__ void wait_for_wgmma() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}
/// 64 x 64 (+)= 64 x 16 times 16 x 64, of a warp 16 rows: as multiply(), of 8 columns d[4 n ...].
/// b: the address in shared memory of 64 rows of 128 bytes, and of a run of 32 bytes of them.
__device__ __forceinline__ void wgmma(float (&d)[32], const u32 (&a)[4], u32 b, bool add) {
  const u64 description =
      u64{(b & 0x3ffff) >> 4} | u64{1} << 16 | u64{1024 >> 4} << 32 | u64{1} << 62;
  asm volatile(
      "{\n.reg .pred add;\nsetp.ne.b32 add, %37, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 "
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,"
      "%24,%25,%26,%27,%28,%29,%30,%31},{%32,%33,%34,%35},%36,add,1,1,0;\n}"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]),
        "+f"(d[7]), "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]),
        "+f"(d[14]), "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]),
        "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]),
        "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(description), "r"(static_cast<int>(add)));
}

/// Which tokens a block has with which rows of weights, one unit after the other.
template <int kColumns, bool kExperts>
struct WideUnits {
  const ManyTokens& tokens;
  int row_blocks, units;
  __device__ WideUnits(const Weights& w, const ManyTokens& tokens)
      : tokens(tokens), row_blocks(w.tiles / kWideTiles) {
    const int items =
        kExperts ? __ldcg(tokens.tile_count) : (tokens.rows + kColumns - 1) / kColumns;
    units = items * row_blocks;
  }
  struct Unit {
    int first_tile;  // of weights, in those of its expert
    int expert;
    int first, count;  // of tokens, or of the sorted pairs
  };
  __device__ __forceinline__ Unit at(int unit) const {
    if constexpr (kExperts) {
      const int* tile = reinterpret_cast<const int*>(tokens.tiles + unit / row_blocks);
      return {unit % row_blocks * kWideTiles, __ldcg(tile), __ldcg(tile + 1), __ldcg(tile + 2)};
    } else {
      // Blocks side by side have the same weights.
      const int items = units / row_blocks, first = unit % items * kColumns;
      return {unit / items * kWideTiles, 0, first, min(kColumns, tokens.rows - first)};
    }
  }
  /// The token, or pair, of a unit's column.
  __device__ __forceinline__ int token_of(const Unit& unit, int column) const {
    const int at = unit.first + min(column, unit.count - 1);
    return kExperts ? __ldcg(tokens.pairs + at) : at;
  }
};

/// Brings the stages of all of a block's units. Of experts: tokens come from anywhere, and all
/// threads copy them, kWideDepth - 1 stages ahead.
template <int kColumns, bool kExperts>
struct WideRing {
  static constexpr int kStage = wide_stage(kColumns);
  static constexpr int kWeightBytes = kWideTiles * kStageBytes;
  static constexpr int kRows = kColumns * 16 / kWideThreads;  // of tokens, a thread
  const Weights& w;
  const WideUnits<kColumns, kExperts>& units;
  u32 ring;
  int unit, stage = 0, stages;
  const unsigned char* weights;
  u32 rows[kRows];  // of the prepared tokens
  u32 sum_row;
  int slot = 0;

  __device__ WideRing(const Weights& w, const WideUnits<kColumns, kExperts>& units, u32 ring)
      : w(w), units(units), ring(ring), unit(blockIdx.x), stages(w.groups / kStageGroups) {
    begin_unit();
    for (int d = 0; d < kWideDepth - 1; ++d) fill(d);
  }
  /// The next stage is in the slot.
  __device__ __forceinline__ void wait() {
    wait_for_copies<kWideDepth - 2>();
    show_to_wgmma();
    __syncthreads();
    fill(slot == 0 ? kWideDepth - 1 : slot - 1);  // which all have read
  }
  /// And has been read.
  __device__ __forceinline__ void pass() { slot = slot + 1 == kWideDepth ? 0 : slot + 1; }

  __device__ __forceinline__ void begin_unit() {
    if (unit >= units.units) return;
    const auto now = units.at(unit);
    weights =
        w.packed + static_cast<u64>(now.expert * w.tiles + now.first_tile) * stages * kStageBytes;
    const auto row_of = [&](int column) {
      return static_cast<u32>(units.token_of(now, column) / units.tokens.pairs_a_row);
    };
#pragma unroll
    for (int j = 0; j < kRows; ++j) {
      rows[j] = row_of(static_cast<int>(threadIdx.x) / 16 + j * (kWideThreads / 16));
    }
    sum_row = row_of(static_cast<int>(threadIdx.x) % kColumns);
  }
  __device__ __forceinline__ void fill(int slot) {
    if (unit < units.units) {
      const u32 to = ring + slot * kStage;
      constexpr int kTileChunks = kStageBytes / 16;
#pragma unroll
      for (int i = threadIdx.x; i < kWideTiles * kTileChunks; i += kWideThreads) {
        const int tile = i / kTileChunks;
        copy_async(to + i * 16, weights + static_cast<u64>(tile * stages + stage) * kStageBytes +
                                    (i - tile * kTileChunks) * 16);
      }
      const int chunk = threadIdx.x % 16;
#pragma unroll
      for (int j = 0; j < kRows; ++j) {
        const int token = static_cast<int>(threadIdx.x) / 16 + j * (kWideThreads / 16);
        copy_async(
            to + kWeightBytes + (chunk / 8 * kColumns + token) * 128 + ((chunk ^ token) & 7) * 16,
            units.tokens.prepared + static_cast<u64>(rows[j]) * w.groups * 8 + stage * 16 + chunk);
      }
      // Of each of the stage's groups, the sums of all columns.
      const u32 sums = to + kWeightBytes + kColumns * 256;
      const int half = static_cast<int>(threadIdx.x) / kColumns;
      if (half < kStageGroups) {
        copy_word_async(
            sums + threadIdx.x * 4,
            units.tokens.sums + static_cast<u64>(sum_row) * w.groups + stage * kStageGroups + half);
      }
      if (++stage == stages) {
        stage = 0;
        unit += gridDim.x;
        begin_unit();
      }
    }
    commit_copies();
  }
};

/// Of a dense matrix, where all of a stage's tokens lie in one run: thread 0 asks for a stage once
/// all warps have read the one that was in its place, and the two warpgroups need not keep step.
template <int kColumns>
struct WideRing<kColumns, false> {
  static constexpr int kStage = wide_stage(kColumns);
  static constexpr int kWeightBytes = kWideTiles * kStageBytes;
  const Weights& w;
  const WideUnits<kColumns, false>& units;
  u32 ring, barriers;  // of each slot: it is full; then of each: it is empty
  int unit, stage = 0, stages;
  int slot = 0, parity = 0;
  int fill_slot = 0, fill_parity = 1;
  bool first = true;

  __device__ WideRing(const Weights& w, const WideUnits<kColumns, false>& units, u32 ring)
      : w(w), units(units), ring(ring), unit(blockIdx.x), stages(w.groups / kStageGroups) {
    __shared__ u64 shared_barriers[2 * kWideDepth];
    barriers = shared_address(shared_barriers);
    if (threadIdx.x == 0) {
      for (int d = 0; d < kWideDepth; ++d) {
        init_barrier(full(d), 1);
        init_barrier(empty(d), kWideThreads / 32);
      }
      asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
      show_to_wgmma();
      for (int d = 0; d < kWideDepth; ++d) fill(d);
    }
    __syncthreads();
  }
  __device__ __forceinline__ u32 full(int at) const { return barriers + at * 8; }
  __device__ __forceinline__ u32 empty(int at) const { return barriers + (kWideDepth + at) * 8; }

  __device__ __forceinline__ void wait() { wait_for_phase(full(slot), parity); }
  __device__ __forceinline__ void pass() {
    __syncwarp();
    if (threadIdx.x % 32 == 0) arrive(empty(slot));
    // The stage before this one: the other warpgroup may still be at this one.
    if (threadIdx.x == 0 && !first && unit < units.units) {
      if (fill_slot == 0) fill_parity ^= 1;
      wait_for_phase(empty(fill_slot), fill_parity);
      fill(fill_slot);
      fill_slot = fill_slot + 1 == kWideDepth ? 0 : fill_slot + 1;
    }
    first = false;
    if (++slot == kWideDepth) {
      slot = 0;
      parity ^= 1;
    }
  }
  __device__ __forceinline__ void fill(int at) {
    if (unit >= units.units) return;
    const auto now = units.at(unit);
    const u32 to = ring + at * kStage;
    arrive_and_expect(full(at), kStage);
#pragma unroll 1
    for (int i = 0; i < kWideTiles; ++i) {
      copy_bulk(to + i * kStageBytes,
                w.packed + static_cast<u64>((now.first_tile + i) * stages + stage) * kStageBytes,
                kStageBytes, full(at));
    }
    const u64 run =
        (static_cast<u64>(now.first) / kColumns * stages + stage) * kStageGroups * kColumns;
    copy_bulk(to + kWeightBytes, units.tokens.prepared + run * 8, kStageGroups * kColumns * 128,
              full(at));
    copy_bulk(to + kWeightBytes + kStageGroups * kColumns * 128, units.tokens.sums + run,
              kStageGroups * kColumns * 4, full(at));
    if (++stage == stages) {
      stage = 0;
      unit += gridDim.x;
    }
  }
};

/// A stage of this warp's 16 rows of weights with all tokens.
template <int kColumns>
__device__ __forceinline__ void multiply_wide(const unsigned char* stage,
                                              float (&acc)[kColumns / 64][32]) {
  constexpr int kHalves = kColumns / 64;
  const int warp = threadIdx.x / 32, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  const unsigned char* weights = stage + warp * kStageBytes;
  const u32 tokens = shared_address(stage) + kWideTiles * kStageBytes;
  const float* sums =
      reinterpret_cast<const float*>(stage + kWideTiles * kStageBytes + kColumns * 256);
#pragma unroll
  for (int k = 0; k < kStageGroups; ++k) {
    const int at = k * 512 + ((g * 32 + t * 8) ^ (k * 64));
    const uint2 wa = *reinterpret_cast<const uint2*>(weights + at);
    const uint2 wb = *reinterpret_cast<const uint2*>(weights + at + 256);
    const uint2 scales = reinterpret_cast<const uint2*>(weights + kStageWeights)[g * 2 + k];
    const float s0 = low(scales.x), s1 = low(scales.y);
    const float c0 = fmaf(-128.0f, s0, high(scales.x)), c1 = fmaf(-128.0f, s1, high(scales.y));
    const u32 a[4][4] = {{nibbles<0>(wa.x), nibbles<0>(wb.x), nibbles<0>(wa.y), nibbles<0>(wb.y)},
                         {nibbles<1>(wa.x), nibbles<1>(wb.x), nibbles<1>(wa.y), nibbles<1>(wb.y)},
                         {nibbles<2>(wa.x), nibbles<2>(wb.x), nibbles<2>(wa.y), nibbles<2>(wb.y)},
                         {nibbles<3>(wa.x), nibbles<3>(wb.x), nibbles<3>(wa.y), nibbles<3>(wb.y)}};
    float part[kHalves][32];
    begin_wgmma();
#pragma unroll
    for (int h = 0; h < kHalves; ++h) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        wgmma(part[h], a[i], tokens + (k * kColumns + h * 64) * 128 + i * 32, i > 0);
      }
      commit_wgmma();
    }
#pragma unroll
    for (int h = 0; h < kHalves; ++h) {
      if (h + 1 < kHalves) {
        wait_for_wgmma<1>();
      } else {
        wait_for_wgmma<0>();
      }
#pragma unroll
      for (int n = 0; n < 8; ++n) {
        const float2 sum =
            *reinterpret_cast<const float2*>(sums + k * kColumns + h * 64 + n * 8 + 2 * t);
        float* to = acc[h] + n * 4;
        const float* from = part[h] + n * 4;
        to[0] = fmaf(s0, from[0], fmaf(c0, sum.x, to[0]));
        to[1] = fmaf(s0, from[1], fmaf(c0, sum.y, to[1]));
        to[2] = fmaf(s1, from[2], fmaf(c1, sum.x, to[2]));
        to[3] = fmaf(s1, from[3], fmaf(c1, sum.y, to[3]));
      }
    }
  }
}

/// The results of this warp's 16 rows with 64 tokens from `column` on. What the epilogue loads for
/// them is on its way at once.
template <class Units, class Epilogue>
__device__ __forceinline__ void finish_half(const Weights& w, const typename Units::Unit& now,
                                            const Units& units, const Epilogue& epilogue,
                                            int column, const float (&total)[32]) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  constexpr int kAtOnce = 8;  // more would be spilled
#pragma unroll
  for (int begin = 0; begin < 16; begin += kAtOnce) {
    const auto column_of = [&](int i) {
      return column + (begin + i) / 2 * 8 + 2 * t + (begin + i) % 2;
    };
    typename Epilogue::Ready ready[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int token = units.token_of(now, column_of(i));  // one that there is
      ready[i] = epilogue.prepare(w, Place(w, now.first_tile + warp, g, token));
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      if (column_of(i) >= now.count) continue;
      const float* sum = total + (begin + i) / 2 * 4 + i % 2;
      epilogue.store(w, sum[0], sum[2], ready[i]);
    }
  }
}

/// w: of experts, of the first; the others follow. Its tiles are a multiple of kWideTiles.
template <int kColumns, bool kExperts, class Epilogue>
__global__ void __launch_bounds__(kWideThreads, 1)
    wide(Weights w, ManyTokens tokens, Epilogue epilogue) {
  constexpr int kHalves = kColumns / 64;
  extern __shared__ __align__(1024) unsigned char stages_of_ring[];
  let_successor_start();
  wait_for_predecessor();
  const WideUnits<kColumns, kExperts> units(w, tokens);
  WideRing<kColumns, kExperts> ring(w, units, shared_address(stages_of_ring));
  const int stages = w.groups / kStageGroups;
  for (int unit = blockIdx.x; unit < units.units; unit += gridDim.x) {
    float total[kHalves][32] = {}, acc[kHalves][32] = {};
    int part = 0, close = 0;  // the stage where the range of K ends
    for (int stage = 0; stage < stages; ++stage) {
      if (stage == close) {
        while (close == stage) close = ++part * stages / tokens.parts;
      }
      ring.wait();
      multiply_wide<kColumns>(stages_of_ring + ring.slot * ring.kStage, acc);
      ring.pass();
      if (stage + 1 < close) continue;
#pragma unroll
      for (int i = 0; i < kHalves * 32; ++i) {
        total[i / 32][i % 32] += acc[i / 32][i % 32];
        acc[i / 32][i % 32] = 0;
      }
    }
    const auto now = units.at(unit);
#pragma unroll
    for (int h = 0; h < kHalves; ++h) finish_half(w, now, units, epilogue, h * 64, total[h]);
  }
}

}  // namespace tandem::cuda
