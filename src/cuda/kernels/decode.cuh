#pragma once
// A whole decode step of one sequence as one kernel: a block on each multiprocessor, a barrier over
// the grid between the parts of a layer.
//
// The barriers do not stop the weights: each warp's ring runs on through the list of matrices, up
// to kDepth stages ahead of what is multiplied, while the block waits, normalizes or attends. A
// tile is computed as product() computes it, so its bits are the same.
//
// Experts are not known before the router's barrier: there the rings stop, and are filled again as
// soon as the block has chosen. Gate and up of the token's experts are one matrix of top_k times
// the tiles; down is one matrix whose K are the experts' inner rows one after the other, so that
// the experts are added up where the warps are.

#include "attention.cuh"
#include "epilogues.cuh"
#include "moe.cuh"
#include "step.cuh"
#include "supply.cuh"

namespace tandem::cuda {

template <bool kMoe>
struct RoutingShared {};
template <>
struct RoutingShared<true> {
  Chosen chosen[kWarps];  // each warp chooses for itself
};

template <bool kMoe>
struct DecodeShared : RoutingShared<kMoe> {
  AttentionShared attention[2];
  Choice scratch[kWarps];
  u64 target;  // of arrivals at the barrier; thread 0's
  alignas(16) float2 turns[kHeadDim / 2];
  int slot;
};

/// kMoe: the MLPs are mixtures of experts; kHeadNorm: heads of q and k are normalized.
template <bool kMoe, bool kHeadNorm>
class Decoder {
 public:
  __device__ Decoder(const DecodeArgs& args, const Weights* list, const DecodeLayer* layers,
                     unsigned char* dynamic, DecodeShared<kMoe>& shared, int held_groups,
                     uint4* residual)
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
    if constexpr (kMoe) {
      supply_.ids = shared.chosen[threadIdx.x / 32].ids;
      supply_.top_k = a_.top_k;
    }
    supply_.start(list, count_, args.steps, shared_address(ring_));
#pragma unroll 1
    for (int d = 0; d < kDecodeDepth; ++d) supply_.fill(d);
    const int barriers = (kMoe ? 6 : 5) * args.layer_count + 2;
    const u64 each = static_cast<u64>(gridDim.x) * args.steps * barriers;
    if (threadIdx.x == 0) shared_.target = __ldcg(a_.barrier) / each * each;
  }

  __device__ void run() {
    for (int step = 0; step < a_.steps; ++step) {
      if (blockIdx.x == 0) {
        if (step > 0) choose();
        embed_row(a_.step, a_.embedding, 0, __ldcg(a_.step.ids), __ldcg(a_.step.positions));
      }
      meet_all();
      begin_step();
      for (int i = 0; i < count_; ++i) {
        const Part part = part_of(i, count_);
        const DecodeLayer& layer = layers_[i / 4];
        if (part == Part::kOut) attend(layer);
        if (part == Part::kQkv) look_ahead(layer, i / 4);
        const bool wide = part == Part::kDown;
        const bool norm = part != Part::kOut && !wide;
        const u16* x = norm ? a_.step.x : wide ? a_.inner : a_.mixed;
        const int groups = list_[i].groups * (kMoe && wide ? a_.top_k : 1);
        prepare(groups, x, norm ? layer.norm[part != Part::kQkv] : nullptr);
        if constexpr (kMoe) {
          if (part == Part::kGateUp) route(i / 4);
        }
        multiply(list_[i], part, layer);
        meet_all();
      }
    }
    if (blockIdx.x == 0) choose();
  }

 private:
  /// The best of the blocks' choices becomes the next id, and the position moves on.
  __device__ void choose() {
    Choice best = {-infinity(), 0x7fffffff};
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
    halves_ = a_.attention.group > kHeadsOfHalf ? 1 : 2;
    const int thread = threadIdx.x % kAttentionThreads;
    const int i = blockIdx.x + threadIdx.x / kAttentionThreads * gridDim.x;
    const int first = i % splits_ * kSplit + thread / 32 * kWarpPositions;
    offset_ = -1;
    if (threadIdx.x / kAttentionThreads < halves_ && i < splits_ * a_.attention.kv_heads &&
        first <= position_) {
      const long long page = a_.attention.table[first / kPagePositions];
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
  __device__ void look_ahead(const DecodeLayer& layer, int number) {
    prefetch_page(first_page(layer), threadIdx.x);
    const int at = threadIdx.x * 64;
    if (blockIdx.x == gridDim.x - 1 && at < list_[0].groups * 64) {
      prefetch_to_l2(layer.norm[1] + at);
      prefetch_to_l2((&layer)[1].norm[0] + at);
    }
    if (kHeadNorm && blockIdx.x == gridDim.x - 2 && threadIdx.x < 4) {
      prefetch_to_l2(a_.attention.norms + number * 2 * kHeadDim + threadIdx.x * 64);
    }
    if (kMoe && blockIdx.x < a_.experts && threadIdx.x < list_[0].groups) {
      prefetch_to_l2(router_row(number, blockIdx.x) + threadIdx.x * 8);
    }
  }
  __device__ __forceinline__ const uint4* router_row(int layer, int expert) const {
    return a_.router + (static_cast<u64>(layer) * a_.experts + expert) * list_[0].groups * 8;
  }
  /// The router's logits, an expert a block, and the token's experts by each block for itself.
  __device__ __forceinline__ void route(int layer) {
    for (int e = blockIdx.x; threadIdx.x < 32 && e < a_.experts; e += gridDim.x) {
      const float logit = router_logit(router_row(layer, e), held_, list_[0].groups * 8);
      if (threadIdx.x == 0) __stcg(a_.router_logits + e, logit);
    }
    meet_all();
    const int lane = threadIdx.x & 31;
    float4 logits = {0, 0, 0, 0};
    if (lane * 4 < a_.experts) {
      logits = __ldcg(reinterpret_cast<const float4*>(a_.router_logits) + lane);
    }
    choose_experts(logits, a_.experts, a_.top_k, shared_.chosen[threadIdx.x / 32]);
    supply_.resume();
    int slot = slot_;
#pragma unroll 1
    for (int d = 0; d < kDecodeDepth; ++d, slot = next_slot(slot)) supply_.fill(slot);
  }
  /// A half of a block has each second item of the block's, where there is room for both.
  __device__ void attend(const DecodeLayer& layer) {
    AttentionArgs a = a_.attention;
    a.pages = layer.pages;
    if (kHeadNorm) a.norms += static_cast<int>(&layer - layers_) * 2 * kHeadDim;
    const int thread = threadIdx.x % kAttentionThreads, half = threadIdx.x / kAttentionThreads;
    float* sums = sums_ + half * (kAttentionThreads / 32) * a.group * kHeadDim;
    const int first = blockIdx.x + half * gridDim.x;
#pragma unroll 1
    for (int i = first; half < halves_ && i < splits_ * a.kv_heads; i += halves_ * gridDim.x) {
      const AttentionItem item = {0, i / splits_, i % splits_, a_.splits, position_};
      const Page page = i == first ? first_page(layer) : item.page(a, thread);
      attend_item<kHeadNorm>(a, item, shared_.turns, page, thread, 1 + half, sums,
                             shared_.attention[half]);
      meet(1 + half);
    }
    meet_all();
  }

  __device__ __forceinline__ void prepare(int groups, const u16* x, const u16* norm) {
    const Rows rows{x, norm, a_.epsilon, groups};
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
      const RopeToPages rope{a_.q,
                             {layer.pages, nullptr, nullptr},
                             kv_heads * a_.attention.group,
                             kv_heads,
                             !kHeadNorm};
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
    Choice best = {-infinity(), 0x7fffffff};
    int flip = 0;
    const bool experts = kMoe && (part == Part::kGateUp || part == Part::kDown);
    const int tiles = w.tiles * (experts && part == Part::kGateUp ? a_.top_k : 1);
    for (int first = blockIdx.x; first < tiles; first += gridDim.x * kBatch, flip ^= 1) {
      float* part_sums = partials_ + flip * kBatch * kTilePartials;
      const int mine = first + static_cast<int>(threadIdx.x / 8 * gridDim.x);
      const bool adds = threadIdx.x < kBatch * 8 && mine < tiles;
      const bool down = experts && part == Part::kDown;
      if (!down && w.groups == kWarps * 2 * kStageGroups) {
        short_rows<2>(tiles, first, part_sums);
      } else if (kMoe && !down && w.groups == kWarps * kStageGroups) {
        short_rows<1>(tiles, first, part_sums);
      } else {
        long_rows(w, down, tiles, first, part_sums);
      }
      __syncthreads();
      if (adds) {
        const float* from = part_sums + threadIdx.x / 8 * kTilePartials + (threadIdx.x & 7);
        float a = 0, b = 0;
        if (down) {
          add_experts(from, a, b);
        } else {
#pragma unroll
          for (int s = 0; s < kWarps; ++s) {
            a += from[s * 16];
            b += from[s * 16 + 8];
          }
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

  __device__ __forceinline__ void add_experts(const float* from, float& a, float& b) const {
    if constexpr (kMoe) {
      const int warps = kWarps / a_.top_k;
      const Chosen& chosen = shared_.chosen[threadIdx.x / 32];
      float y = 0, z = 0;
      int left = warps, expert = 0;
#pragma unroll 4
      for (int s = 0; s < kWarps; ++s) {
        y += from[s * 16];
        z += from[s * 16 + 8];
        if (--left > 0) continue;
        a = fmaf(chosen.weights[expert], y, a);
        b = fmaf(chosen.weights[expert], z, b);
        y = z = 0;
        left = warps;
        ++expert;
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

  /// Up to kBatch tiles where each warp has one or two stages of a tile: x stays in registers.
  template <int kStages>
  __device__ __forceinline__ void short_rows(int tiles, int first, float* to) {
    const int lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
    constexpr int kGroups = kStages * kStageGroups;
    const int group = threadIdx.x / 32 * kGroups;
    uint4 x[kGroups][1][2];
    float2 sums[kGroups][1];
#pragma unroll
    for (int k = 0; k < kGroups; ++k) {
      x[k][0][0] = held_[(group + k) * 8 + t];
      x[k][0][1] = held_[(group + k) * 8 + 4 + t];
      sums[k][0].x = sums[k][0].y = sums_[(group + k) * 8];
    }
    for (int u = 0, tile = first; u < kBatch && tile < tiles; ++u, tile += gridDim.x) {
      float acc[1][1][4] = {};
      const int second = next_slot(slot_);
      wait_for_copies<kDecodeDepth - kStages>();
      __syncwarp();
#pragma unroll
      for (int k = 0; k < kGroups; ++k) {
        const unsigned char* at = ring_ + (k < kStageGroups ? slot_ : second) * kStageBytes;
        multiply_group<0, 1, 1, 1>(at, k % kStageGroups, x[k], sums[k], g, t, acc);
      }
      __syncwarp();
      supply_.fill(slot_);
      if (kStages == 2) supply_.fill(second);
      slot_ = kStages == 2 ? next_slot(second) : second;
      keep(acc[0][0], to + u * kTilePartials);
    }
  }

  /// The same for any K, with x from shared memory.
  __device__ __forceinline__ void long_rows(const Weights& w, bool down, int tiles, int first,
                                            float* to) {
    const int lane = threadIdx.x & 31, warp = threadIdx.x / 32, g = lane >> 2, t = lane & 3;
    const int all = w.groups / kStageGroups, warps = down ? kWarps / a_.top_k : kWarps;
    const StageRange range = stages_of(all, down ? warp % warps : warp, warps);
    const int before = down ? warp / warps * all : 0;  // stages of the experts before this warp's
    const int begin = before + range.begin, end = before + range.end;
    uint4 x[kStageGroups][1][2] = {};
    for (int u = 0, tile = first; u < kBatch && tile < tiles; ++u, tile += gridDim.x) {
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
  DecodeShared<kMoe>& shared_;
  int count_;
  unsigned char* ring_;
  float* partials_;
  float* sums_;
  uint4* held_;
  uint4* residual_;  // x as the last norm read it
  Supply<kMoe> supply_;
  int slot_ = 0;
  int position_ = -1;
  int splits_ = 0;
  int halves_ = 2;         // of a block that attend
  long long offset_ = -1;  // of the page of this thread's first item, in elements
};

/// Grid: at most one block a multiprocessor, all of them at once (a cooperative launch).
template <bool kMoe, bool kHeadNorm>
__global__ void __launch_bounds__(kThreads, 1) decode(const __grid_constant__ DecodeArgs args) {
  extern __shared__ __align__(128) unsigned char dynamic[];
  __shared__ DecodeShared<kMoe> shared;
  Weights* list = reinterpret_cast<Weights*>(dynamic);
  const int count = args.layer_count * 4 + 1;
  DecodeLayer* layers = reinterpret_cast<DecodeLayer*>(list + count);
  for (int i = threadIdx.x; i < count; i += kThreads) list[i] = args.matrices[i];
  for (int i = threadIdx.x; i <= args.layer_count; i += kThreads) layers[i] = args.layers[i];
  __syncthreads();
  int held_groups = 0;
  for (int i = 0; i < min(count, 4); ++i)
    held_groups = max(held_groups, list[i].groups * (kMoe && i == 3 ? args.top_k : 1));
  unsigned char* after = dynamic + lists_bytes(args.layer_count);
  uint4* residual = reinterpret_cast<uint4*>(after);
  after += list[0].groups * 128;
  Decoder<kMoe, kHeadNorm>(args, list, layers, after, shared, held_groups, residual).run();
}

}  // namespace tandem::cuda
