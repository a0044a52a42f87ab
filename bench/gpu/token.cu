// A token of an 8B model with random weights of 4 bits: all kernels of all layers in one graph.
//
//     token [LAYERS]

#include <cmath>

#include "harness.cuh"

namespace bench {
namespace {

constexpr int kHidden = 4096, kHeads = 32, kKvHeads = 8, kInner = 14336, kVocab = 128256;
constexpr int kArgmaxBlocks = 64;

struct Layer {
  Weights qkv, o, gate_up, down;
  u16 *pages, *norm1, *norm2;
};
struct Model {
  std::vector<Layer> layers;
  Weights head;
  u16* norm;
  double bytes = 0;
};

u16* random_norm(u32 seed) {
  std::vector<u16> x(kHidden);
  for (int i = 0; i < kHidden; ++i) x[i] = to_bf16(1 + 0.2f * uniform(seed, i));
  return device(x);
}
__global__ void fill_pages(u16* p, size_t n, u32 seed) {
  for (size_t i = blockIdx.x * static_cast<size_t>(blockDim.x) + threadIdx.x; i < n;
       i += static_cast<size_t>(gridDim.x) * blockDim.x) {
    p[i] = to_bf16(uniform(seed, i));
  }
}
Model random_model(int layers, int pages) {
  Model m;
  const size_t page_elements = static_cast<size_t>(pages) * 2 * kKvHeads * 64 * kHeadDim;
  for (int l = 0; l < layers; ++l) {
    const u32 seed = 1000 + l * 10;
    Layer layer{random_weights((kHeads + 2 * kKvHeads) * kHeadDim, kHidden, kHeadDim / 16, seed),
                random_weights(kHidden, kHidden, 1, seed + 1),
                random_weights(2 * kInner, kHidden, kInner / 8, seed + 2),
                random_weights(kHidden, kInner, 1, seed + 3),
                device<u16>(page_elements),
                random_norm(seed + 4),
                random_norm(seed + 5)};
    fill_pages<<<1024, 256>>>(layer.pages, page_elements, seed);
    for (const Weights* w : {&layer.qkv, &layer.o, &layer.gate_up, &layer.down})
      m.bytes += bytes_of(*w);
    m.layers.push_back(layer);
  }
  m.head = random_weights(kVocab, kHidden, 1, 99);
  m.bytes += bytes_of(m.head);
  m.norm = random_norm(98);
  return m;
}

/// What a step writes and reads beside the weights.
struct Room {
  StepArgs step;
  AttentionArgs attention;
  u16 *q, *mixed, *inner;
  float* logits;
  Choice* choices;
  int* arrived;
  Prepared narrow, wide;
  int splits;
  Room(int rows, int context, int stride)
      : narrow(rows, kHidden), wide(rows, kInner), splits((context + 16384) / kSplit + 1) {
    std::vector<int> table(rows * stride);
    for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<int>(i);
    std::vector<float> frequency(64);
    for (int i = 0; i < 64; ++i) frequency[i] = std::pow(500000.0f, -i / 64.0f);
    const int* pages = device(table);
    step = {device(std::vector<int>(rows, 1)),
            device(std::vector<int>(rows, context)),
            pages,
            device(frequency),
            device<u16>(rows * kHidden),
            device<float2>(rows * 64),
            device<int>(rows),
            stride,
            64};
    q = device<u16>(rows * kHeads * kHeadDim);
    mixed = device<u16>(rows * kHeads * kHeadDim);
    inner = device<u16>(rows * kInner);
    logits = device<float>(static_cast<size_t>(rows) * kVocab);
    choices = device<Choice>(rows * kArgmaxBlocks);
    arrived = device(std::vector<int>(rows));
    splits = stride / 4;
    const size_t cells = static_cast<size_t>(rows) * kHeads * splits;
    attention = {q,
                 nullptr,
                 pages,
                 step.positions,
                 mixed,
                 device<float>(cells * kHeadDim),
                 device<float2>(cells),
                 device(std::vector<int>(rows * kKvHeads)),
                 stride,
                 kKvHeads,
                 kHeads / kKvHeads,
                 1.4426950408889634f / std::sqrt(128.0f)};
  }
};

enum Part {
  kQkv = 1,
  kAttention = 2,
  kO = 4,
  kGateUp = 8,
  kDown = 16,
  kHead = 32,
  kEnds = 64,
  kAll = 127
};

/// One token of each row; `parts` leaves kernels out, to see what each costs.
void forward(const Stream& s, const Model& m, const Room& r, int rows, int splits, int parts) {
  const auto norm = [&](const u16* weight) { return Rows{r.step.x, weight, 1e-5f, kHidden / 64}; };
  if (parts & kEnds) launch(s, embed, rows, kThreads, 0, r.step, m.head);
  for (const Layer& l : m.layers) {
    if (parts & kQkv) {
      multiply_rows<true>(
          s, l.qkv, norm(l.norm1), rows, r.narrow,
          RopeToPages{r.q, {l.pages, r.step.slots, r.step.turns}, kHeads, kKvHeads});
    }
    if (parts & kAttention) {
      AttentionArgs a = r.attention;
      a.pages = l.pages;
      launch(s, attention<false>, dim3(splits, kKvHeads, rows), kAttentionThreads,
             8 * a.group * kHeadDim * 4, a);
    }
    if (parts & kO) {
      multiply_rows<false>(s, l.o, Rows{r.mixed, nullptr, 0, kHidden / 64}, rows, r.narrow,
                           AddResidual{r.step.x, kHidden});
    }
    if (parts & kGateUp) {
      multiply_rows<true>(s, l.gate_up, norm(l.norm2), rows, r.narrow, SwiGlu{r.inner});
    }
    if (parts & kDown) {
      multiply_rows<false>(s, l.down, Rows{r.inner, nullptr, 0, kInner / 64}, rows, r.wide,
                           AddResidual{r.step.x, kHidden});
    }
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
             1e-5f,
             m.head,
             r.step,
             r.attention,
             r.splits,
             r.q,
             r.mixed,
             r.inner,
             r.logits,
             device<Choice>(kBlocks),
             device(std::vector<u64>(1))};
    shared_ = decode_shared(count, kHidden / 64, kInner / 64, kHeads / kKvHeads);
    check(cudaFuncSetAttribute(decode<false, false>, cudaFuncAttributeMaxDynamicSharedMemorySize,
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
    check(cudaLaunchKernelEx(&config, decode<false, false>, args_), "decode");
  }

 private:
  DecodeArgs args_;
  int shared_;
};

void compare_one_kernel(const Stream& s, const Model& m) {
  for (int context : {5, 300, 2000}) {
    const Room many(1, context, 148), one(1, context, 148);
    for (int step = 0; step < 5; ++step) forward(s, m, many, 1, context / kSplit + 2, kAll);
    OneKernel(m, one, 3).launch_on(s);
    OneKernel(m, one, 1).launch_on(s);
    OneKernel(m, one, 1).launch_on(s);
    const auto want = host(many.logits, kVocab), got = host(one.logits, kVocab);
    std::printf("%s 5 steps by one kernel from position %d: tokens %d and %d\n",
                std::memcmp(want.data(), got.data(), kVocab * 4) == 0 ? "ok    " : "FAILED",
                context, host(many.step.ids, 1)[0], host(one.step.ids, 1)[0]);
  }
}

void run(int layers) {
  constexpr int kPages = 32 * 148;  // 32 rows of 9,472 positions
  const Model m = random_model(layers, kPages);
  check(cudaDeviceSynchronize(), "model");
  std::printf("%d layers, %.3f GB of weights a token\n", layers, m.bytes / 1e9);
  Stream s;
  compare_one_kernel(s, m);
  for (int context : {128, 1024, 8192}) {
    for (int steps : {1, 8}) {
      const Room room(1, context, 148);
      const OneKernel one(m, room, steps);
      const float ms = Graph(s, [&] { one.launch_on(s); }).time(7, 10) / steps;
      std::printf(" 1 row, context %4d, one kernel for %d steps: %.3f ms = %.0f tok/s\n", context,
                  steps, ms, 1e3 / ms);
    }
  }
  for (int rows : {1, 8, 32}) {
    for (int context : {128, 1024, 8192}) {
      const int stride = 148;
      float ms[2];
      std::vector<int> ids[2];
      for (bool dependent : {false, true}) {
        s.dependent = dependent;
        const Room room(rows, context, stride);
        const int splits = (context + 600) / kSplit + 1;
        const Graph graph(s, [&] { forward(s, m, room, rows, splits, kAll); });
        ms[dependent] = graph.time(7, 10);
        ids[dependent] = host(room.step.ids, rows);
      }
      const double kv = static_cast<double>(rows) * context * layers * kKvHeads * 2 * kHeadDim * 2;
      std::printf(
          "%2d rows, context %4d: plain %.3f ms, dependent %.3f ms = %.0f tok/s, %.0f GB/s%s\n",
          rows, context, ms[0], ms[1], rows / ms[1] * 1e3, (m.bytes + kv) / ms[1] / 1e6,
          ids[0] == ids[1] ? "" : "; OTHER TOKENS with dependent launch");
    }
  }
  s.dependent = true;
  for (int rows : {1, 8, 32}) {
    const Room room(rows, 128, 148);
    std::printf("%2d rows, context 128, without", rows);
    const char* names[] = {"qkv", "attention", "o", "gate-up", "down", "head", "ends"};
    const auto time = [&](int parts) {
      return Graph(s, [&] { forward(s, m, room, rows, 3, parts); }).time(5, 5);
    };
    const float all = time(kAll);
    for (int i = 0; i < 7; ++i) std::printf(" %s %.3f", names[i], all - time(kAll & ~(1 << i)));
    std::printf(" ms less of %.3f; products alone %.3f\n", all,
                time(kQkv | kO | kGateUp | kDown | kHead));
  }
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  bench::run(argc > 1 ? std::atoi(argv[1]) : 32);
  return 0;
}
