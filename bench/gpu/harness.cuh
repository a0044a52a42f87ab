#pragma once
// What the programs of this folder share: memory, launches, timing, weights that a hash makes on
// the device and on the host alike, and which instance of a product serves how many rows.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "decode.cuh"

namespace bench {

using namespace tandem::cuda;

inline void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::printf("%s: %s\n", what, cudaGetErrorString(error));
  std::exit(1);
}

template <class T>
T* device(size_t count) {
  void* p = nullptr;
  check(cudaMalloc(&p, std::max<size_t>(count, 1) * sizeof(T)), "cudaMalloc");
  check(cudaMemset(p, 0xff, count * sizeof(T)), "cudaMemset");  // NaN, -1
  return static_cast<T*>(p);
}
template <class T>
T* device(const std::vector<T>& from) {
  T* p = device<T>(from.size());
  check(cudaMemcpy(p, from.data(), from.size() * sizeof(T), cudaMemcpyHostToDevice), "to device");
  return p;
}
template <class T>
std::vector<T> host(const T* p, size_t count) {
  std::vector<T> to(count);
  check(cudaDeviceSynchronize(), "kernels");
  check(cudaMemcpy(to.data(), p, count * sizeof(T), cudaMemcpyDeviceToHost), "to host");
  return to;
}

struct Stream {
  cudaStream_t stream = nullptr;
  bool dependent = false;  // programmatic dependent launch
  Stream() { check(cudaStreamCreate(&stream), "cudaStreamCreate"); }
};

template <class... Args>
void launch(const Stream& s, void (*kernel)(Args...), dim3 grid, int threads, int shared,
            std::type_identity_t<Args>... args) {
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared),
        "shared memory");
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = threads;
  config.dynamicSmemBytes = shared;
  config.stream = s.stream;
  cudaLaunchAttribute attribute;
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  config.attrs = &attribute;
  config.numAttrs = s.dependent ? 1 : 0;
  check(cudaLaunchKernelEx(&config, kernel, args...), "launch");
}

/// A captured run of `body`, which launches on the stream.
class Graph {
 public:
  template <class Body>
  Graph(const Stream& s, Body body) : stream_(s.stream) {
    cudaGraph_t graph;
    check(cudaStreamBeginCapture(s.stream, cudaStreamCaptureModeGlobal), "capture");
    body();
    check(cudaStreamEndCapture(s.stream, &graph), "end of capture");
    check(cudaGraphInstantiate(&exec_, graph, 0), "graph");
    cudaGraphDestroy(graph);
  }
  ~Graph() { cudaGraphExecDestroy(exec_); }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  void run() const { check(cudaGraphLaunch(exec_, stream_), "graph launch"); }
  /// Median milliseconds of a launch among `rounds` rounds of `each` launches.
  float time(int rounds = 7, int each = 10) const {
    cudaEvent_t begin, end;
    cudaEventCreate(&begin);
    cudaEventCreate(&end);
    std::vector<float> times;
    for (int i = 0; i < 3; ++i) run();
    for (int r = 0; r < rounds; ++r) {
      cudaEventRecord(begin, stream_);
      for (int i = 0; i < each; ++i) run();
      cudaEventRecord(end, stream_);
      check(cudaStreamSynchronize(stream_), "graph");
      float ms;
      cudaEventElapsedTime(&ms, begin, end);
      times.push_back(ms / each);
    }
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
  }

 private:
  cudaStream_t stream_;
  cudaGraphExec_t exec_;
};

__host__ __device__ inline u32 hash(u32 seed, u64 index) {
  u64 x = (index + 1) * 0x9e3779b97f4a7c15ull + (u64{seed} << 32 | seed) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ x >> 31) * 0x94d049bb133111ebull;
  x = (x ^ x >> 29) * 0xbf58476d1ce4e5b9ull;
  return static_cast<u32>(x >> 32);
}
__host__ __device__ inline float uniform(u32 seed, u64 index) {  // [-1, 1)
  return static_cast<float>(hash(seed, index) >> 8) * (2.0f / 16777216.0f) - 1.0f;
}
inline float from_bf16(u16 x) {
  const u32 bits = u32{x} << 16;
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}
__host__ __device__ inline u16 to_bf16(float f) {
  u32 bits;
  memcpy(&bits, &f, 4);
  return static_cast<u16>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
/// Scale and bias of a group: values of variance 1 / K, a little off centre.
__host__ __device__ inline u32 scale_of(u32 seed, int row, int group, int groups) {
  const u64 at = static_cast<u64>(row) * groups + group;
  const float s = (1.0f + 0.3f * uniform(seed + 1, at)) / (4.6f * sqrtf(groups * 64.0f));
  const float b = -7.5f * s * (1.0f + 0.05f * uniform(seed + 2, at));
  return u32{to_bf16(b)} << 16 | to_bf16(s);
}
static __global__ void fill_weights(unsigned char* packed, Weights w, u32 seed) {
  const u64 stride = static_cast<u64>(gridDim.x) * blockDim.x;
  const u64 start = blockIdx.x * static_cast<u64>(blockDim.x) + threadIdx.x;
  for (u64 i = start; i < static_cast<u64>(w.tiles) * w.groups * 16; i += stride) {
    const int tile = static_cast<int>(i / 16 / w.groups), r = static_cast<int>(i % 16);
    const int group = static_cast<int>(i / 16 % w.groups);
    const int row = w.first_row(tile) + r % 8 + r / 8 * 8 * w.per;
    *reinterpret_cast<u32*>(packed + w.scale_at(tile, group, r)) =
        scale_of(seed, row, group, w.groups);
    for (int j = 0; j < 8; ++j) {
      *reinterpret_cast<u32*>(packed + w.word_at(tile, group, r, j)) =
          hash(seed, static_cast<u64>(row) * w.groups * 8 + group * 8 + j);
    }
  }
}
inline Weights random_weights(int rows, int k, int per, u32 seed) {
  Weights w;
  w.groups = k / 64;
  w.tiles = rows / 16;
  w.per = per;
  unsigned char* packed = device<unsigned char>(w.stage_at(w.tiles, 0));
  fill_weights<<<1024, 256>>>(packed, w, seed);
  check(cudaGetLastError(), "fill_weights");
  w.packed = packed;
  return w;
}
inline double bytes_of(const Weights& w) {
  return static_cast<double>(w.tiles) * 16 * w.groups * (32 + 4);
}

constexpr int kSharedMost = 227 * 1024;
constexpr int kBlocks = 132;

/// Room for prepared rows.
struct Prepared {
  uint4* x;
  float* sums;
  Prepared(int rows, int k)
      : x(device<uint4>(static_cast<size_t>((rows + 7) / 8) * k)),
        sums(device<float>(static_cast<size_t>((rows + 7) / 8) * k / 8)) {}
};

template <int kNT, int kMT, int kDepth, int kHeld, bool kNorm, class Epilogue>
void launch_product(const Stream& s, const Weights& w, const Tokens& tokens, const Epilogue& e,
                    int held) {
  const int units = (w.tiles + kMT - 1) / kMT;
  launch(s, product<kNT, kMT, kDepth, kHeld, kNorm, Epilogue>, std::min(units, kBlocks), kThreads,
         product_shared(kMT, kDepth, w.groups, held), w, tokens, e);
}

/// y of `count` rows of x; with kNorm, of rms_norm(x).
template <bool kNorm, class Epilogue>
void multiply_rows(const Stream& s, const Weights& w, const Rows& rows, int count,
                   const Prepared& room, const Epilogue& e) {
  Tokens tokens;
  tokens.rows = rows;
  tokens.count = count;
  if (count == 1) {
    if (product_shared(1, 5, w.groups, 1) <= 112 * 1024) {
      return launch_product<1, 1, 5, 1, kNorm>(s, w, tokens, e, 1);
    }
    return launch_product<1, 1, 4, 1, kNorm>(s, w, tokens, e, 1);
  }
  if (count <= 8 && product_shared(1, 4, w.groups, count) <= kSharedMost) {
    return launch_product<1, 1, 4, 8, kNorm>(s, w, tokens, e, count);
  }
  launch(s, prepare<kNorm>, count, kThreads, 0, rows, room.x, room.sums);
  tokens.prepared = room.x;
  tokens.sums = room.sums;
  if (count <= 8) return launch_product<1, 2, 3, 0, false>(s, w, tokens, e, 0);
  if (count <= 16) return launch_product<2, 2, 3, 0, false>(s, w, tokens, e, 0);
  if (count <= 32) return launch_product<4, 2, 3, 0, false>(s, w, tokens, e, 0);
  return launch_product<8, 2, 3, 0, false>(s, w, tokens, e, 0);
}

}  // namespace bench
