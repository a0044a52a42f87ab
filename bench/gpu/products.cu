// Microseconds of a product at the shapes of an 8B model, rows 1 to 64, in a graph of as many
// matrices as a model has, with and without programmatic dependent launch.

#include "harness.cuh"

namespace bench {
namespace {

constexpr int kMatrices = 32;

__global__ void read_all(const uint4* p, size_t n, unsigned* out) {
  unsigned a = 0;
  const size_t stride = static_cast<size_t>(gridDim.x) * blockDim.x;
  for (size_t i = blockIdx.x * static_cast<size_t>(blockDim.x) + threadIdx.x; i < n;
       i += stride * 4) {
    uint4 v[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) v[j] = i + j * stride < n ? __ldcs(p + i + j * stride) : uint4{};
#pragma unroll
    for (int j = 0; j < 4; ++j) a ^= v[j].x ^ v[j].y ^ v[j].z ^ v[j].w;
  }
  if (a == 0x12345) *out = a;
}
double read_bandwidth(const Stream& s) {
  const size_t bytes = size_t{4} << 30;
  uint4* p = device<uint4>(bytes / 16);
  unsigned* out = device<unsigned>(1);
  const Graph graph(s, [&] { read_all<<<132 * 8, 256, 0, s.stream>>>(p, bytes / 16, out); });
  const double rate = bytes / graph.time(5, 2) / 1e6;
  cudaFree(p);
  return rate;
}

template <bool kNorm, class Make>
void table(const char* name, int n, int k, int per, int matrices, Make epilogue) {
  Stream s;
  std::vector<Weights> all;
  for (int i = 0; i < matrices; ++i) all.push_back(random_weights(n, k, per, 100 + i));
  std::vector<u16> x(static_cast<size_t>(64) * k);
  for (size_t i = 0; i < x.size(); ++i) x[i] = to_bf16(uniform(7, i));
  const Rows rows{device(x), device(x), 1e-5f, k / 64};
  const Prepared room(64, k);
  std::printf("%-22s", name);
  for (int count : {1, 2, 4, 8, 16, 32, 64}) {
    float us[2];
    for (bool dependent : {false, true}) {
      s.dependent = dependent;
      const Graph graph(s, [&] {
        for (const Weights& w : all) multiply_rows<kNorm>(s, w, rows, count, room, epilogue());
      });
      us[dependent] = graph.time(5, 4) / matrices * 1000;
    }
    std::printf(" | %6.2f %6.2f", us[0], us[1]);
    if (count == 1) std::printf(" (%4.0f GB/s)", bytes_of(all[0]) / us[1] / 1e3);
  }
  std::printf("\n");
  for (const Weights& w : all) {
    cudaFree(const_cast<unsigned char*>(w.packed));
  }
}

}  // namespace
}  // namespace bench

int main() {
  using namespace bench;
  Stream s;
  std::printf("reads: %.0f GB/s\n", read_bandwidth(s));
  std::printf("us, plain and dependent launch, for 1, 2, 4, 8, 16, 32, 64 rows\n");
  u16* y = device<u16>(64 * 28672);
  float* logits = device<float>(static_cast<size_t>(64) * 128256);
  const int half = 64;
  const KvWrite kv{device<u16>(static_cast<size_t>(2) * 8 * 64 * 128), device(std::vector<int>(64)),
                   device(std::vector<float2>(64 * half, float2{1, 0}))};
  table<true>("qkv 6144 x 4096", 6144, 4096, 8, kMatrices,
              [&] { return RopeToPages{y, kv, 32, 8}; });
  table<false>("o 4096 x 4096", 4096, 4096, 1, kMatrices, [&] { return AddResidual{y, 4096}; });
  table<true>("gate-up 28672 x 4096", 28672, 4096, 1792, kMatrices, [&] { return SwiGlu{y}; });
  table<false>("down 4096 x 14336", 4096, 14336, 1, kMatrices,
               [&] { return AddResidual{y, 4096}; });
  table<true>("head 128256 x 4096", 128256, 4096, 1, 2, [&] { return StoreFloat{logits, 128256}; });
  return 0;
}
