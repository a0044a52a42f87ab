#pragma once
// A whole decode step of one sequence as one kernel: a block on each multiprocessor, a barrier over
// the grid between the parts of a layer.
//
// The barriers do not stop the weights: each warp's ring runs on through the list of matrices, up
// to kDepth stages ahead of what is multiplied, while the block waits, normalizes or attends. A
// tile is computed as product() computes it, so its bits are the same.

#include "attention.cuh"
#include "step.cuh"

namespace tandem::cuda {

constexpr int kDecodeDepth = 9;  // stages of a warp's ring
constexpr int kBatch = 7;        // tiles whose sums are added up at once
constexpr int kTilePartials = kWarps * 16 + 8;

struct DecodeLayer {
  const u16* norm[2];  // before attention and before the MLP
  u16* pages;
};

struct DecodeArgs {
  const Weights* matrices;    // qkv, o, gate and up, down of each layer, then the head
  const DecodeLayer* layers;  // and one more, whose norms are the head's
  int layer_count, steps;
  float epsilon;
  StepArgs step;
  AttentionArgs attention;
  int splits;      // room for
  u16 *q, *mixed;  // see RopeToPages, AttentionArgs::out
  u16* inner;      // what SwiGlu gives
  float* logits;
  Choice* choices;  // [blocks]
  u64* barrier;     // counts arrivals; a launch adds a multiple of (blocks * barriers)
};

/// One warp's ring over all matrices of the launch.
struct Supply {
  const Weights* list;
  const unsigned char* from;
  u64 step;  // from the end of this warp's part of a tile to its part of the next
  u32 to;
  int count, left, matrix, tile, tiles, stage, stages;

  __device__ void start(const Weights* matrices, int matrix_count, int steps, u32 ring) {
    to = ring + (threadIdx.x & 31) * 16;
    list = matrices;
    count = matrix_count;
    left = matrix_count * steps;
    matrix = -1;
    next_matrix();
  }
  __device__ void next_matrix() {
    const int warp = threadIdx.x / 32;
    for (; left > 0; --left) {
      if (++matrix == count) matrix = 0;
      const Weights& w = list[matrix];
      const int all = w.groups / kStageGroups, begin = warp * all / kWarps;
      stages = (warp + 1) * all / kWarps - begin;
      stage = 0;
      tiles = w.tiles;
      tile = blockIdx.x;
      if (stages == 0 || tile >= tiles) continue;
      --left;
      from =
          w.packed + (static_cast<u64>(tile) * all + begin) * kStageBytes + (threadIdx.x & 31) * 16;
      step = (static_cast<u64>(gridDim.x) * all - stages) * kStageBytes;
      return;
    }
    left = -1;
  }
  __device__ __forceinline__ void fill(int slot) {
    if (left >= 0) {
      copy_stage(to + slot * kStageBytes, from);
      from += kStageBytes;
      if (++stage == stages) {
        stage = 0;
        from += step;
        tile += gridDim.x;
        if (tile >= tiles) next_matrix();
      }
    }
    commit_copies();
  }
};

enum class Part { kQkv, kOut, kGateUp, kDown, kHead };

struct DecodeShared {
  AttentionShared attention[2];
  Choice scratch[kWarps];
  u64 target;  // of arrivals at the barrier; thread 0's
  float2 turns[kHeadDim / 2];
  int slot;
};

class Decoder {
 public:
  __device__ Decoder(const DecodeArgs& args, const Weights* list, const DecodeLayer* layers,
                     unsigned char* dynamic, DecodeShared& shared, int held_groups, uint4* residual)
      : a_(args),
        list_(list),
        layers_(layers),
        shared_(shared),
        count_(args.layer_count * 4 + 1),
        ring_(dynamic + (threadIdx.x / 32) * kDecodeDepth * kStageBytes),
        partials_(reinterpret_cast<float*>(dynamic + kWarps * kDecodeDepth * kStageBytes)),
        sums_(partials_ + 2 * kBatch * kTilePartials),
        held_(reinterpret_cast<uint4*>(sums_ + held_groups * 8)),
        residual_(residual) {
    supply_.start(list, count_, args.steps, shared_address(ring_));
#pragma unroll 1
    for (int d = 0; d < kDecodeDepth; ++d) supply_.fill(d);
    const u64 each = static_cast<u64>(gridDim.x) * args.steps * (5 * args.layer_count + 2);
    if (threadIdx.x == 0) shared_.target = __ldcg(a_.barrier) / each * each;
  }

  __device__ void run() {
    for (int step = 0; step < a_.steps; ++step) {
      if (blockIdx.x == 0) {
        if (step > 0) choose();
        embed_row(a_.step, list_[count_ - 1], 0, __ldcg(a_.step.ids), __ldcg(a_.step.positions));
      }
      meet_all();
      begin_step();
      for (int i = 0; i < count_; ++i) {
        const Part part = i + 1 == count_ ? Part::kHead : static_cast<Part>(i & 3);
        const DecodeLayer& layer = layers_[i / 4];
        if (part == Part::kOut) attend(layer);
        if (part == Part::kQkv) look_ahead(layer);
        const bool wide = part == Part::kDown;
        const bool norm = part != Part::kOut && !wide;
        const u16* x = norm ? a_.step.x : wide ? a_.inner : a_.mixed;
        prepare(list_[i], x, norm ? layer.norm[part != Part::kQkv] : nullptr);
        multiply(list_[i], part, layer);
        meet_all();
      }
    }
    if (blockIdx.x == 0) choose();
  }

 private:
  /// The best of the blocks' choices becomes the next id, and the position moves on.
  __device__ void choose() {
    Choice best = {-INFINITY, 0x7fffffff};
    if (threadIdx.x < gridDim.x) {
      const float2 bits = __ldcg(reinterpret_cast<const float2*>(a_.choices) + threadIdx.x);
      best = {bits.x, __float_as_int(bits.y)};
    }
    best = best_of_block(best, shared_.scratch);
    if (threadIdx.x == 0) {
      __stcg(a_.step.ids, best.id);
      if (position_ >= 0) __stcg(a_.step.positions, position_ + 1);
      __threadfence();
    }
    __syncthreads();
  }

  /// What all layers of a step have in common.
  __device__ void begin_step() {
    position_ = __ldcg(a_.step.positions);
    splits_ = position_ / kSplit + 1;
    const int thread = threadIdx.x % kAttentionThreads;
    const int i = blockIdx.x + threadIdx.x / kAttentionThreads * gridDim.x;
    const int first = i % splits_ * kSplit + thread / 32 * kWarpPositions;
    offset_ = -1;
    if (i < splits_ * a_.attention.kv_heads && first <= position_) {
      const long long page = a_.attention.table[first / kPageTokens];
      offset_ = (page * 2 * a_.attention.kv_heads + i / splits_) * 64 * kHeadDim;
    }
    if (threadIdx.x < kHeadDim / 2) {
      shared_.turns[threadIdx.x] = __ldcg(a_.step.turns + threadIdx.x);
    }
    if (threadIdx.x == 0) shared_.slot = __ldcg(a_.step.slots);
  }
  /// Of this thread's first item.
  __device__ __forceinline__ Page first_page(const DecodeLayer& layer) const {
    if (offset_ < 0) return {};
    const u16* k = layer.pages + offset_;
    return {k, k + static_cast<u64>(a_.attention.kv_heads) * 64 * kHeadDim};
  }
  /// What the layer will read that no ring brings: KV pages of a first item, and the norms.
  __device__ void look_ahead(const DecodeLayer& layer) {
    prefetch_page(first_page(layer), threadIdx.x);
    const int at = threadIdx.x * 64;
    if (blockIdx.x == gridDim.x - 1 && at < list_[0].groups * 64) {
      prefetch_to_l2(layer.norm[1] + at);
      prefetch_to_l2((&layer)[1].norm[0] + at);
    }
  }
  /// A half of a block has each second item of the block's.
  __device__ void attend(const DecodeLayer& layer) {
    AttentionArgs a = a_.attention;
    a.pages = layer.pages;
    const int thread = threadIdx.x % kAttentionThreads, half = threadIdx.x / kAttentionThreads;
    float* sums = sums_ + half * (kAttentionThreads / 32) * a.group * kHeadDim;
    const int first = blockIdx.x + half * gridDim.x;
#pragma unroll 1
    for (int i = first; i < splits_ * a.kv_heads; i += 2 * gridDim.x) {
      const AttentionItem item = {0, i / splits_, i % splits_, a_.splits, position_};
      const Page page = i == first ? first_page(layer) : item.page(a, thread);
      attend_item(a, item, page, thread, 1 + half, sums, shared_.attention[half]);
      meet(1 + half);
    }
    meet_all();
  }

  __device__ __forceinline__ void prepare(const Weights& w, const u16* x, const u16* norm) {
    const Rows rows{x, norm, a_.epsilon, w.groups};
    if (norm != nullptr) {
      prepare_rows<1, true>(rows, 1, 0, 1, held_, sums_, partials_, residual_);
    } else {
      prepare_rows<1, false>(rows, 1, 0, 1, held_, sums_, partials_);
    }
    __syncthreads();
  }

  /// See epilogues.cuh, whose work this does for one token with what the block has in shared
  /// memory.
  __device__ __forceinline__ void store(const Weights& w, Part part, const DecodeLayer& layer,
                                        const Place& at, float a, float b, Choice& best) const {
    if (part == Part::kQkv) {
      const int kv_heads = a_.attention.kv_heads;
      const RopeToPages rope{
          a_.q, {layer.pages, nullptr, nullptr}, kv_heads * a_.attention.group, kv_heads};
      rope.store(w, a, b, {shared_.turns[at.pair], shared_.slot, at.block, at.pair, 0});
    } else if (part == Part::kGateUp) {
      SwiGlu{a_.inner}.store(w, a, b, at.row);
    } else if (part == Part::kHead) {
      a_.logits[at.row] = a;
      a_.logits[at.row + 8] = b;
      best = better(better(best, {a, at.row}), {b, at.row + 8});
    } else {
      const u16* x = reinterpret_cast<const u16*>(residual_) + at.row;
      AddResidual{}.store(w, a, b, {a_.step.x + at.row, x[0], x[8]});
    }
  }

  __device__ void multiply(const Weights& w, Part part, const DecodeLayer& layer) {
    Choice best = {-INFINITY, 0x7fffffff};
    int flip = 0;
    for (int first = blockIdx.x; first < w.tiles; first += gridDim.x * kBatch, flip ^= 1) {
      float* part_sums = partials_ + flip * kBatch * kTilePartials;
      const int mine = first + static_cast<int>(threadIdx.x / 8 * gridDim.x);
      const bool adds = threadIdx.x < kBatch * 8 && mine < w.tiles;
      if (w.groups == kWarps * 2 * kStageGroups) {
        short_rows(w, first, part_sums);
      } else {
        long_rows(w, first, part_sums);
      }
      __syncthreads();
      if (adds) {
        const float* from = part_sums + threadIdx.x / 8 * kTilePartials + (threadIdx.x & 7);
        float a = 0, b = 0;
#pragma unroll
        for (int s = 0; s < kWarps; ++s) {
          a += from[s * 16];
          b += from[s * 16 + 8];
        }
        store(w, part, layer, Place(w, mine, threadIdx.x & 7, 0), a, b, best);
      }
    }
    if (part == Part::kHead) {
      best = best_of_block(best, shared_.scratch);
      if (threadIdx.x == 0) {
        __stcg(reinterpret_cast<float2*>(a_.choices) + blockIdx.x,
               float2{best.logit, __int_as_float(best.id)});
      }
    }
  }

  __device__ __forceinline__ void keep(const float (&acc)[4], float* to) const {
    const int lane = threadIdx.x & 31;
    if ((lane & 3) != 0) return;
    to += threadIdx.x / 32 * 16 + (lane >> 2);
    to[0] = acc[0];
    to[8] = acc[2];
  }
  __device__ __forceinline__ int next_slot(int slot) const {
    return slot + 1 == kDecodeDepth ? 0 : slot + 1;
  }

  /// Up to kBatch tiles where each warp has two stages of a tile: x stays in registers.
  __device__ __forceinline__ void short_rows(const Weights& w, int first, float* to) {
    const int lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
    constexpr int kGroups = 2 * kStageGroups;
    const int group = threadIdx.x / 32 * kGroups;
    uint4 x[kGroups][1][2];
    float2 sums[kGroups][1];
#pragma unroll
    for (int k = 0; k < kGroups; ++k) {
      x[k][0][0] = held_[(group + k) * 8 + t];
      x[k][0][1] = held_[(group + k) * 8 + 4 + t];
      sums[k][0].x = sums[k][0].y = sums_[(group + k) * 8];
    }
    for (int u = 0, tile = first; u < kBatch && tile < w.tiles; ++u, tile += gridDim.x) {
      float acc[1][1][4] = {};
      const int second = next_slot(slot_);
      wait_for_copies<kDecodeDepth - 2>();
      __syncwarp();
#pragma unroll
      for (int k = 0; k < kGroups; ++k) {
        const unsigned char* at = ring_ + (k < kStageGroups ? slot_ : second) * kStageBytes;
        multiply_group<0, 1, 1, 1>(at, k % kStageGroups, x[k], sums[k], g, t, acc);
      }
      __syncwarp();
      supply_.fill(slot_);
      supply_.fill(second);
      slot_ = next_slot(second);
      keep(acc[0][0], to + u * kTilePartials);
    }
  }

  /// The same for any K, with x from shared memory.
  __device__ __forceinline__ void long_rows(const Weights& w, int first, float* to) {
    const int lane = threadIdx.x & 31, warp = threadIdx.x / 32, g = lane >> 2, t = lane & 3;
    const int stages = w.groups / kStageGroups;
    const int begin = warp * stages / kWarps, end = (warp + 1) * stages / kWarps;
    uint4 x[kStageGroups][1][2] = {};
    for (int u = 0, tile = first; u < kBatch && tile < w.tiles; ++u, tile += gridDim.x) {
      float acc[1][1][4] = {};
#pragma unroll 1
      for (int stage = begin; stage < end; ++stage) {
        wait_for_copies<kDecodeDepth - 1>();
        __syncwarp();
        const int group = stage * kStageGroups;
        if (g == 0) {  // the other columns stay zero
#pragma unroll
          for (int k = 0; k < kStageGroups; ++k) {
            x[k][0][0] = held_[(group + k) * 8 + t];
            x[k][0][1] = held_[(group + k) * 8 + 4 + t];
          }
        }
#pragma unroll
        for (int k = 0; k < kStageGroups; ++k) {
          const float sum = sums_[(group + k) * 8];
          const float2 both[1] = {{sum, sum}};
          multiply_group<0, 1, 1, 1>(ring_ + slot_ * kStageBytes, k, x[k], both, g, t, acc);
        }
        __syncwarp();
        supply_.fill(slot_);
        slot_ = next_slot(slot_);
      }
      keep(acc[0][0], to + u * kTilePartials);
    }
  }

  /// Every block arrives; what each wrote before is visible to all after.
  __device__ void meet_all() {
    __syncthreads();
    if (threadIdx.x == 0) {
      const u64 target = shared_.target += gridDim.x;
      asm volatile("red.release.gpu.global.add.u64 [%0], 1;" ::"l"(a_.barrier) : "memory");
      u64 now;
      do {
        asm volatile("ld.acquire.gpu.u64 %0, [%1];" : "=l"(now) : "l"(a_.barrier) : "memory");
      } while (now < target);
    }
    __syncthreads();
  }

  const DecodeArgs& a_;
  const Weights* list_;
  const DecodeLayer* layers_;
  DecodeShared& shared_;
  int count_;
  unsigned char* ring_;
  float* partials_;
  float* sums_;
  uint4* held_;
  uint4* residual_;  // x as the last norm read it
  Supply supply_;
  int slot_ = 0;
  int position_ = -1;
  int splits_ = 0;
  long long offset_ = -1;  // of the page of this thread's first item, in elements
};

/// Bytes of the lists of matrices and layers, which a block holds before its ring.
__host__ __device__ constexpr int lists_bytes(int layers) {
  return (static_cast<int>((layers * 4 + 1) * sizeof(Weights)) +
          static_cast<int>((layers + 1) * sizeof(DecodeLayer)) + 127) /
         128 * 128;
}

/// Grid: at most one block a multiprocessor, all of them at once (a cooperative launch).
__global__ void __launch_bounds__(kThreads, 1) decode(const __grid_constant__ DecodeArgs args) {
  extern __shared__ __align__(128) unsigned char dynamic[];
  __shared__ DecodeShared shared;
  Weights* list = reinterpret_cast<Weights*>(dynamic);
  const int count = args.layer_count * 4 + 1;
  DecodeLayer* layers = reinterpret_cast<DecodeLayer*>(list + count);
  for (int i = threadIdx.x; i < count; i += kThreads) list[i] = args.matrices[i];
  for (int i = threadIdx.x; i <= args.layer_count; i += kThreads) layers[i] = args.layers[i];
  __syncthreads();
  int held_groups = 0;
  for (int i = 0; i < min(count, 4); ++i) held_groups = max(held_groups, list[i].groups);
  unsigned char* after = dynamic + lists_bytes(args.layer_count);
  uint4* residual = reinterpret_cast<uint4*>(after);
  after += list[0].groups * 128;
  Decoder(args, list, layers, after, shared, held_groups, residual).run();
}

/// Bytes of shared memory of decode(): the hidden size / 64, the greatest K / 64 of
/// its matrices, query heads a KV head.
inline int decode_shared(int layers, int hidden_groups, int groups, int heads) {
  const int rows = groups * (32 + 128), sums = kThreads / 32 * heads * kHeadDim * 4;
  return lists_bytes(layers) + hidden_groups * 128 + kWarps * kDecodeDepth * kStageBytes +
         2 * kBatch * kTilePartials * 4 + (rows > sums ? rows : sums);
}

}  // namespace tandem::cuda
