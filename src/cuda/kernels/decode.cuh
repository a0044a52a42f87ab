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
  const u16* norm_attention;
  const u16* norm_mlp;
  u16* pages;
};

struct DecodeArgs {
  const Weights* matrices;  // qkv, o, gate and up, down of each layer, then the head
  const DecodeLayer* layers;
  const u16* norm_head;
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
  const unsigned char* weights;
  const unsigned char* scales;
  u64 second;  // bytes from a tile's first half to its second
  u32 base, to, scales_to;
  int count, left, matrix, tile, block, rest, stage, begin, end, warp, lane;

  __device__ void start(const Weights* matrices, int matrix_count, int steps, u32 ring) {
    warp = threadIdx.x / 32;
    lane = threadIdx.x & 31;
    const int half = (lane & 3) >> 1;
    base = half * 512 + (((lane >> 2) * 32 + (lane & 1) * 16) ^ (half * 64));
    to = ring + base;
    scales_to = ring + kStageWeights + lane * 16;
    list = matrices;
    count = matrix_count;
    left = matrix_count * steps;
    matrix = -1;
    next_matrix();
  }
  __device__ void next_matrix() {
    for (; left > 0; --left) {
      if (++matrix == count) matrix = 0;
      const Weights& w = list[matrix];
      const int stages = w.groups / kStageGroups;
      begin = warp * stages / kWarps;
      end = (warp + 1) * stages / kWarps;
      tile = blockIdx.x;
      if (begin == end || tile >= w.tiles) continue;
      --left;
      block = tile / w.per;
      rest = tile - block * w.per;
      second = static_cast<u64>(w.groups * 32) * (8 * w.per);
      point(w);
      return;
    }
    left = -1;
  }
  __device__ void point(const Weights& w) {
    stage = begin;
    const int row = block * 16 * w.per + rest * 8 + (lane >> 2);
    weights = reinterpret_cast<const unsigned char*>(w.q) +
              static_cast<u64>(row) * static_cast<u32>(w.groups * 32) + begin * 64 +
              (lane & 3) * 16;
    scales = reinterpret_cast<const unsigned char*>(w.scales) +
             static_cast<u64>(tile) * static_cast<u32>(w.groups * 64) + begin * 128 + lane * 16;
  }
  __device__ void next_tile() {
    const Weights& w = list[matrix];
    tile += gridDim.x;
    if (tile >= w.tiles) return next_matrix();
    rest += gridDim.x;
    while (rest >= w.per) {
      if (w.per == 1) {
        block += rest;
        rest = 0;
        break;
      }
      rest -= w.per;
      ++block;
    }
    point(w);
  }
  __device__ __forceinline__ void fill(int slot) {
    if (left >= 0) {
      const u32 at = slot * kStageBytes;
      copy_async(to + at, weights);
      copy_async(to + at + 256, weights + second);
      if (lane < 8) copy_async(scales_to + at, scales);
      weights += 64;
      scales += 128;
      if (++stage == end) next_tile();
    }
    commit_copies();
  }
};

struct DecodeShared {
  AttentionShared attention[2];
  Choice scratch[kWarps];
  int next_id;
};

class Decoder {
 public:
  __device__ Decoder(const DecodeArgs& args, const Weights* list, unsigned char* dynamic,
                     DecodeShared& shared, int held_groups)
      : a_(args), list_(list), shared_(shared), count_(args.layer_count * 4 + 1) {
    ring_ = dynamic + (threadIdx.x / 32) * kDecodeDepth * kStageBytes;
    partials_ = reinterpret_cast<float*>(dynamic + kWarps * kDecodeDepth * kStageBytes);
    sums_ = partials_ + 2 * kBatch * kTilePartials;
    held_ = reinterpret_cast<uint4*>(sums_ + held_groups * 8);
    supply_.start(list, count_, args.steps, shared_address(ring_));
    for (int d = 0; d < kDecodeDepth; ++d) supply_.fill(d);
    const u64 each = static_cast<u64>(gridDim.x) * args.steps * (5 * args.layer_count + 2);
    if (threadIdx.x == 0) target_ = __ldcg(a_.barrier) / each * each;
  }

  __device__ void run() {
    for (int step = 0; step < a_.steps; ++step) {
      if (blockIdx.x == 0) {
        const int id = next_id(step);  // moves the position on
        embed_row(a_.step, list_[count_ - 1], 0, id, position());
      }
      meet_all();
      for (int layer = 0; layer < a_.layer_count; ++layer) run_layer(layer);
      head();
    }
    finish();
  }

 private:
  __device__ int position() const { return __ldcg(a_.step.positions); }
  /// The id that goes in: of the first step what the caller set, later the best of the last step.
  __device__ int next_id(int step) {
    if (step == 0) return a_.step.ids[0];
    choose();
    return shared_.next_id;
  }
  __device__ void choose() {
    Choice best = {-INFINITY, 0x7fffffff};
    if (threadIdx.x < gridDim.x) {
      const float2 bits = __ldcg(reinterpret_cast<const float2*>(a_.choices) + threadIdx.x);
      best = {bits.x, __float_as_int(bits.y)};
    }
    best = best_of_block(best, shared_.scratch);
    if (threadIdx.x == 0) {
      shared_.next_id = best.id;
      a_.step.ids[0] = best.id;
      if (a_.step.positions[0] >= 0) ++a_.step.positions[0];
      __threadfence();
    }
    __syncthreads();
  }
  __device__ void finish() {
    if (blockIdx.x == 0) choose();
  }

  __device__ void run_layer(int layer) {
    const DecodeLayer& l = a_.layers[layer];
    const Weights* w = list_ + layer * 4;
    AttentionArgs attention = a_.attention;
    attention.pages = l.pages;
    each_item(
        [&](const AttentionItem& item, int) { prefetch_item(attention, item, threadIdx.x & 255); });
    prepare<true>(w[0], a_.step.x, l.norm_attention);
    RopeToPages rope{a_.q,
                     {l.pages, a_.step.slots, a_.step.turns},
                     attention.kv_heads * attention.group,
                     attention.kv_heads};
    multiply(w[0], rope);
    meet_all();
    each_item([&](const AttentionItem& item, int half) {
      float* sums = sums_ + half * (kAttentionThreads / 32) * attention.group * kHeadDim;
      attend_item(attention, item, threadIdx.x & 255, 1 + half, sums, shared_.attention[half]);
      meet(1 + half);
    });
    meet_all();
    AddResidual add{a_.step.x, w[1].tiles * 16};
    prepare<false>(w[1], a_.mixed, nullptr);
    multiply(w[1], add);
    meet_all();
    SwiGlu gate{a_.inner};
    prepare<true>(w[2], a_.step.x, l.norm_mlp);
    multiply(w[2], gate);
    meet_all();
    prepare<false>(w[3], a_.inner, nullptr);
    multiply(w[3], add);
    meet_all();
  }

  struct StoreLogits {
    using Ready = int;
    float* y;
    Choice best{-INFINITY, 0x7fffffff};
    __device__ Ready prepare(const Weights&, const Place& at) const { return at.row; }
    __device__ void store(const Weights&, float a, float b, Ready at) {
      y[at] = a;
      y[at + 8] = b;
      best = better(better(best, {a, at}), {b, at + 8});
    }
  };
  __device__ void head() {
    const Weights& w = list_[count_ - 1];
    prepare<true>(w, a_.step.x, a_.norm_head);
    StoreLogits store{a_.logits};
    multiply(w, store);
    const Choice best = best_of_block(store.best, shared_.scratch);
    if (threadIdx.x == 0) {
      __stcg(reinterpret_cast<float2*>(a_.choices) + blockIdx.x,
             float2{best.logit, __int_as_float(best.id)});
    }
    meet_all();
  }

  template <class Do>
  __device__ void each_item(Do work) {
    const int splits = position() / kSplit + 1, half = threadIdx.x / kAttentionThreads;
    const int items = splits * a_.attention.kv_heads;
    for (int i = blockIdx.x + half * gridDim.x; i < items; i += 2 * gridDim.x) {
      work(AttentionItem{0, i / splits, i % splits, a_.splits}, half);
    }
  }

  template <bool kNorm>
  __device__ void prepare(const Weights& w, const u16* x, const u16* norm) {
    prepare_rows<1, kNorm>(Rows{x, norm, a_.epsilon, w.groups}, 1, 0, 1, held_, sums_, partials_);
    __syncthreads();
  }

  template <class Epilogue>
  __device__ void multiply(const Weights& w, Epilogue& epilogue) {
    const int lane = threadIdx.x & 31, warp = threadIdx.x / 32, g = lane >> 2, t = lane & 3;
    const int stages = w.groups / kStageGroups;
    const int begin = warp * stages / kWarps, end = (warp + 1) * stages / kWarps;
    const int tiles = w.tiles;
    int flip = 0;
    for (int first = blockIdx.x; first < tiles; first += gridDim.x * kBatch, flip ^= 1) {
      float* part = partials_ + flip * kBatch * kTilePartials;
      const int mine = first + static_cast<int>(threadIdx.x / 8 * gridDim.x);
      const bool adds = threadIdx.x < kBatch * 8 && mine < tiles;
      typename Epilogue::Ready ready{};
      if (adds) ready = epilogue.prepare(w, Place(w, mine, threadIdx.x & 7, 0));
      for (int u = 0, tile = first; u < kBatch && tile < tiles; ++u, tile += gridDim.x) {
        float acc[1][1][4] = {};
        for (int stage = begin; stage < end; ++stage) {
          wait_for_copies<kDecodeDepth - 1>();
          __syncwarp();
          const unsigned char* at = ring_ + slot_ * kStageBytes;
#pragma unroll
          for (int k = 0; k < kStageGroups; ++k) {
            const int group = stage * kStageGroups + k;
            const uint4 x[1][2] = {{held_[group * 8 + t], held_[group * 8 + 4 + t]}};
            const float sum = sums_[group * 8];
            const float2 both[1] = {{sum, sum}};
            multiply_group<0, 1, 1, 1>(at, k, x, both, g, t, acc);
          }
          __syncwarp();
          supply_.fill(slot_);
          slot_ = slot_ + 1 == kDecodeDepth ? 0 : slot_ + 1;
        }
        if (t == 0) {
          part[u * kTilePartials + warp * 16 + g] = acc[0][0][0];
          part[u * kTilePartials + warp * 16 + g + 8] = acc[0][0][2];
        }
      }
      __syncthreads();
      if (adds) {
        const float* from = part + threadIdx.x / 8 * kTilePartials + (threadIdx.x & 7);
        float a = 0, b = 0;
#pragma unroll
        for (int s = 0; s < kWarps; ++s) {
          a += from[s * 16];
          b += from[s * 16 + 8];
        }
        epilogue.store(w, a, b, ready);
      }
    }
  }

  /// Every block arrives; what each wrote before is visible to all after.
  __device__ void meet_all() {
    __syncthreads();
    if (threadIdx.x == 0) {
      target_ += gridDim.x;
      __threadfence();
      atomicAdd(a_.barrier, 1ull);
      u64 now;
      do {
        asm volatile("ld.acquire.gpu.u64 %0, [%1];" : "=l"(now) : "l"(a_.barrier) : "memory");
      } while (now < target_);
    }
    __syncthreads();
  }

  const DecodeArgs& a_;
  const Weights* list_;
  DecodeShared& shared_;
  int count_;
  unsigned char* ring_;
  float* partials_;
  float* sums_;
  uint4* held_;
  Supply supply_;
  u64 target_ = 0;  // of thread 0
  int slot_ = 0;
};

/// Grid: at most one block a multiprocessor, all of them at once (a cooperative launch).
__global__ void __launch_bounds__(kThreads, 1) decode(const __grid_constant__ DecodeArgs args) {
  extern __shared__ __align__(128) unsigned char dynamic[];
  __shared__ DecodeShared shared;
  // The list of matrices lies before the ring, rounded up to 128 bytes.
  Weights* list = reinterpret_cast<Weights*>(dynamic);
  const int count = args.layer_count * 4 + 1;
  int held_groups = 0;
  for (int i = threadIdx.x; i < count; i += kThreads) list[i] = args.matrices[i];
  __syncthreads();
  for (int i = 0; i < count; ++i) held_groups = max(held_groups, list[i].groups);
  const int list_bytes = (count * static_cast<int>(sizeof(Weights)) + 127) / 128 * 128;
  Decoder(args, list, dynamic + list_bytes, shared, held_groups).run();
}

/// Bytes of shared memory of decode() for so many matrices, the greatest K / 64 among them, and so
/// many query heads a KV head.
inline int decode_shared(int matrices, int groups, int heads) {
  const int rows = groups * (32 + 128), sums = kThreads / 32 * heads * kHeadDim * 4;
  return (matrices * static_cast<int>(sizeof(Weights)) + 127) / 128 * 128 +
         kWarps * kDecodeDepth * kStageBytes + 2 * kBatch * kTilePartials * 4 +
         (rows > sums ? rows : sums);
}

}  // namespace tandem::cuda
