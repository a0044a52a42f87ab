#pragma once
// A model of the shapes of Qwen3-30B-A3B with random weights of 4 bits, and its step as a graph and
// as one kernel.

#include <cmath>

#include "harness.cuh"

namespace bench {
namespace {

constexpr int kHidden = 2048, kHeads = 32, kKvHeads = 4, kInner = 768, kVocab = 151936;
constexpr int kExperts = 128, kTop = 8, kParts = kWarps / kTop, kArgmaxBlocks = 64;
constexpr int kChunks = kHidden / 8, kStride = 148;  // pages a row: 9,472 positions
constexpr float kEpsilon = 1e-6f;

struct Layer {
  Weights qkv, o, gate_up, down;  // the last two of expert 0
  const u16 *norm1, *norm2, *head_norms;
  const uint4* router;
  u16* pages;
};
struct Model {
  std::vector<Layer> layers;
  Weights head;
  const u16 *norm, *head_norms;
  const uint4* router;
  double bytes = 0;  // a token's
};

__global__ void fill(u16* p, size_t n, u32 seed, float scale, float offset) {
  for (size_t i = blockIdx.x * static_cast<size_t>(blockDim.x) + threadIdx.x; i < n;
       i += static_cast<size_t>(gridDim.x) * blockDim.x) {
    p[i] = to_bf16(offset + scale * uniform(seed, i));
  }
}
u16* random_bf16(size_t n, u32 seed, float scale, float offset = 0) {
  u16* p = device<u16>(n);
  fill<<<1024, 256>>>(p, n, seed, scale, offset);
  check(cudaGetLastError(), "fill");
  return p;
}
Weights random_experts(int rows, int k, bool gated, u32 seed) {
  Weights w = random_weights(kExperts * rows, k, gated ? kExperts * rows / 16 : 1, seed);
  w.tiles /= kExperts;
  if (gated) w.per = w.tiles;
  return w;
}
Model random_model(int layers, int pages) {
  Model m;
  u16* router = random_bf16(static_cast<size_t>(layers) * kExperts * kHidden, 7, 0.08f);
  u16* head_norms = random_bf16(static_cast<size_t>(layers) * 2 * kHeadDim, 8, 0.2f, 1);
  m.router = reinterpret_cast<uint4*>(router);
  m.head_norms = head_norms;
  for (int l = 0; l < layers; ++l) {
    const u32 seed = 1000 + l * 10;
    Layer layer{random_weights((kHeads + 2 * kKvHeads) * kHeadDim, kHidden, kHeadDim / 16, seed),
                random_weights(kHidden, kHeads * kHeadDim, 1, seed + 1),
                random_experts(2 * kInner, kHidden, true, seed + 2),
                random_experts(kHidden, kInner, false, seed + 3),
                random_bf16(kHidden, seed + 4, 0.2f, 1),
                random_bf16(kHidden, seed + 5, 0.2f, 1),
                head_norms + l * 2 * kHeadDim,
                m.router + static_cast<size_t>(l) * kExperts * kChunks,
                random_bf16(static_cast<size_t>(pages) * 2 * kKvHeads * 64 * kHeadDim, seed, 1)};
    m.bytes += bytes_of(layer.qkv) + bytes_of(layer.o) + kExperts * kHidden * 2.0 +
               kTop * (bytes_of(layer.gate_up) + bytes_of(layer.down));
    m.layers.push_back(layer);
  }
  m.head = random_weights(kVocab, kHidden, 1, 99);
  m.bytes += bytes_of(m.head);
  m.norm = random_bf16(kHidden, 98, 0.2f, 1);
  return m;
}

/// What a step writes and reads beside the weights.
struct Room {
  StepArgs step;
  AttentionArgs attention;
  u16 *q, *mixed, *inner;
  float *logits, *router_logits, *weights, *y;
  int *ids, *arrived;
  Choice* choices;
  Prepared narrow, wide, pairs;
  Room(int rows, int context, int first_id = 1)
      : narrow(rows, kHidden), wide(rows, kHeads * kHeadDim), pairs(rows * kTop, kInner) {
    std::vector<int> table(rows * kStride), ids_of(rows);
    for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<int>(i);
    for (int i = 0; i < rows; ++i) ids_of[i] = first_id + 997 * i;
    std::vector<float> frequency(64);
    for (int i = 0; i < 64; ++i) frequency[i] = std::pow(1000000.0f, -i / 64.0f);
    const int* pages = device(table);
    step = {device(ids_of),
            device(std::vector<int>(rows, context)),
            pages,
            device(frequency),
            device<u16>(rows * kHidden),
            device<float2>(rows * 64),
            device<int>(rows),
            kStride,
            64};
    q = device<u16>(rows * kHeads * kHeadDim);
    mixed = device<u16>(rows * kHeads * kHeadDim);
    inner = device<u16>(rows * kTop * kInner);
    logits = device<float>(static_cast<size_t>(rows) * kVocab);
    router_logits = device<float>(rows * kExperts);
    weights = device<float>(rows * kTop);
    y = device<float>(static_cast<size_t>(rows) * kTop * kHidden);
    ids = device<int>(rows * kTop);
    choices = device<Choice>(rows * kArgmaxBlocks);
    arrived = device(std::vector<int>(rows));
    const size_t cells = static_cast<size_t>(rows) * kHeads * (kStride / 4);
    attention = {q,
                 nullptr,
                 pages,
                 step.positions,
                 mixed,
                 device<float>(cells * kHeadDim),
                 device<float2>(cells),
                 device(std::vector<int>(rows * kKvHeads)),
                 kStride,
                 kKvHeads,
                 kHeads / kKvHeads,
                 1.4426950408889634f / std::sqrt(128.0f),
                 nullptr,
                 step.turns,
                 kEpsilon};
  }
};

enum Part {
  kQkv = 1,
  kAttention = 2,
  kO = 4,
  kRoute = 8,
  kGateUp = 16,
  kDown = 32,
  kCombine = 64,
  kHead = 128,
  kEnds = 256,
  kAll = 511
};

void mixture(const Stream& s, const Layer& l, const Room& r, int rows, int parts = kAll) {
  const int pairs = rows * kTop;
  if (parts & kRoute) {
    launch(s, route, dim3(kExperts / kWarps, rows), kThreads, router_shared(kHidden / 64),
           {{r.step.x, l.norm2, kEpsilon, kHidden / 64},
            l.router,
            kExperts,
            r.narrow.x,
            r.narrow.sums,
            r.router_logits});
  }
  if (parts & kGateUp) {
    launch(
        s, experts<kWarps, kHidden / 64 / kWarps / kStageGroups, SwiGlu>, kBlocks, kThreads,
        experts_shared(), l.gate_up,
        {r.narrow.x, r.narrow.sums, rows, kTop, false, kExperts, r.router_logits, r.ids, r.weights},
        kWarps, SwiGlu{r.inner});
  }
  if (parts & kDown) {
    launch(s, prepare<false>, pairs, kThreads, 0, {r.inner, nullptr, 0, kInner / 64}, r.pairs.x,
           r.pairs.sums);
    launch(s, experts<kParts, kInner / 64 / kParts / kStageGroups, StoreFloat>, kBlocks,
           kThreads, experts_shared(), l.down,
           {r.pairs.x, r.pairs.sums, rows, kTop, true, kExperts, nullptr, r.ids}, kParts,
           StoreFloat{r.y, kHidden});
  }
  if (parts & kCombine) {
    launch(s, combine, rows, kThreads, 0, r.y, r.weights, kTop, kHidden, r.step.x);
  }
}

/// One token of each row; `parts` leaves kernels out, to see what each costs.
void forward(const Stream& s, const Model& m, const Room& r, int rows, int splits, int parts) {
  const auto norm = [&](const u16* weight) {
    return Rows{r.step.x, weight, kEpsilon, kHidden / 64};
  };
  if (parts & kEnds) launch(s, embed, rows, kThreads, 0, r.step, m.head);
  for (const Layer& l : m.layers) {
    if (parts & kQkv) {
      multiply_rows<true>(
          s, l.qkv, norm(l.norm1), rows, r.narrow,
          RopeToPages{r.q, {l.pages, r.step.slots, r.step.turns}, kHeads, kKvHeads, false});
    }
    if (parts & kAttention) {
      AttentionArgs a = r.attention;
      a.pages = l.pages;
      a.norms = l.head_norms;
      launch(s, attention<true>, dim3(splits, kKvHeads, rows), kAttentionThreads,
             8 * a.group * kHeadDim * 4, a);
    }
    if (parts & kO) {
      multiply_rows<false>(s, l.o, Rows{r.mixed, nullptr, 0, kHeads * kHeadDim / 64}, rows, r.wide,
                           AddResidual{r.step.x, kHidden});
    }
    mixture(s, l, r, rows, parts);
  }
  if (parts & kHead) {
    multiply_rows<true>(s, m.head, norm(m.norm), rows, r.narrow, StoreFloat{r.logits, kVocab});
  }
  if (parts & kEnds) {
    launch(s, argmax, dim3(kArgmaxBlocks, rows), kThreads, 0, r.logits, kVocab, r.choices,
           r.arrived, r.step);
  }
}

/// The same by one kernel, for one row.
class OneKernel {
 public:
  OneKernel(const Model& m, const Room& r, int steps) {
    std::vector<Weights> matrices;
    std::vector<DecodeLayer> layers;
    for (const Layer& l : m.layers) {
      for (const Weights& w : {l.qkv, l.o, l.gate_up, l.down}) matrices.push_back(w);
      layers.push_back({{l.norm1, l.norm2}, l.pages});
    }
    matrices.push_back(m.head);
    layers.push_back({{m.norm, m.norm}, nullptr});
    const int count = static_cast<int>(m.layers.size());
    args_ = {device(matrices),
             device(layers),
             count,
             steps,
             kEpsilon,
             m.head,
             r.step,
             r.attention,
             kStride / 4,
             r.q,
             r.mixed,
             r.inner,
             r.logits,
             device<Choice>(kBlocks),
             device(std::vector<u64>(1)),
             m.router,
             r.router_logits,
             kExperts,
             kTop};
    args_.attention.norms = m.head_norms;
    shared_ = decode_shared(count, kHidden / 64, kTop * kInner / 64, kHeads / kKvHeads);
    check(cudaFuncSetAttribute(decode<true, true>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               shared_),
          "shared memory of decode");
  }
  void launch_on(const Stream& s) const {
    cudaLaunchConfig_t config = {};
    config.gridDim = kBlocks;
    config.blockDim = kThreads;
    config.dynamicSmemBytes = shared_;
    config.stream = s.stream;
    cudaLaunchAttribute attribute;
    attribute.id = cudaLaunchAttributeCooperative;
    attribute.val.cooperative = 1;
    config.attrs = &attribute;
    config.numAttrs = 1;
    check(cudaLaunchKernelEx(&config, decode<true, true>, args_), "decode");
  }

 private:
  DecodeArgs args_;
  int shared_;
};

}  // namespace
}  // namespace bench
