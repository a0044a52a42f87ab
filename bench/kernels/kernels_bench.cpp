// Speed of the matrix products of one model step, with random weights.
//
//   kernels_bench [--threads N] [--isa NAME] [--bits B] [--repeats R] [--layers L] [--rows 1,8,512]
//
// The shape is Llama-3.2-1B's (hidden 2048, 32 heads of 64, 8 KV heads, inner 8192, vocabulary
// 128256, tied), groups of 64, bf16 scales. Prints medians of R runs: milliseconds and tokens a
// second of the products alone, and the bytes of weights read a second, next to what a plain read
// of the same weights reaches.
#include <fmt/format.h>
#include <mlx/mlx.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/memory_bandwidth.h"
#include "base/thread_pool.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/isa.h"

namespace tandem::kernels {
namespace {

constexpr int kHidden = 2048;
constexpr int kKv = 512;
constexpr int kInner = 8192;
constexpr int kVocabulary = 128256;
constexpr int kGroup = 64;

struct Options {
  int threads = 1;
  int bits = 4;
  int repeats = 5;
  int layers = 16;
  std::string isa = "best";
  std::vector<int> rows = {1, 8, 512};
};

struct Layer {
  Matrix q, k, v, o, gate, up, down;
};

struct Model {
  std::vector<Layer> layers;
  Matrix head;
  std::size_t bytes = 0;
  double pack_seconds = 0;
};

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// A random matrix; the bytes are the same for every one of them.
Matrix random_matrix(const Ops& ops, int rows, int cols, int bits, double& seconds) {
  std::mt19937_64 random(1);
  const auto elements = static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols);
  auto weight =
      std::make_shared<std::vector<std::uint64_t>>(elements * static_cast<std::size_t>(bits) / 64);
  for (std::uint64_t& word : *weight) word = random();
  auto scales = std::make_shared<std::vector<std::uint16_t>>(elements / kGroup, 0x3C00);  // 2^-7
  auto biases = std::make_shared<std::vector<std::uint16_t>>(elements / kGroup, 0xBD80);  // -2^-4
  MatrixData data;
  data.rows = rows;
  data.cols = cols;
  data.quantization = Quantization{bits, kGroup};
  data.dtype = DType::kBF16;
  data.weight = std::as_bytes(std::span(*weight));
  data.scales = std::as_bytes(std::span(*scales));
  data.biases = std::as_bytes(std::span(*biases));
  std::optional<Matrix> matrix;
  seconds += seconds_of([&] { matrix = ops.prepare(std::move(data)).value(); });
  return *matrix;
}

Model random_model(const Ops& ops, const Options& options) {
  double seconds = 0;
  const auto make = [&](int rows, int cols) {
    return random_matrix(ops, rows, cols, options.bits, seconds);
  };
  Model model{{}, make(kVocabulary, kHidden)};
  for (int i = 0; i < options.layers; ++i) {
    model.layers.push_back({make(kHidden, kHidden), make(kKv, kHidden), make(kKv, kHidden),
                            make(kHidden, kHidden), make(kInner, kHidden), make(kInner, kHidden),
                            make(kHidden, kInner)});
    const Layer& l = model.layers.back();
    for (const Matrix* w : {&l.q, &l.k, &l.v, &l.o, &l.gate, &l.up, &l.down}) {
      model.bytes += w->bytes();
    }
  }
  model.bytes += model.head.bytes();
  model.pack_seconds = seconds;
  return model;
}

/// The products of a step for `x`; the head sees the last row, or all when they are few.
mx::array step(const Ops& ops, const Model& model, mx::array x, bool all_logits) {
  for (const Layer& l : model.layers) {
    const std::vector<mx::array> qkv = ops.linear_many(x, {{l.q, {}}, {l.k, {}}, {l.v, {}}});
    x = ops.linear(qkv[0], l.o);
    x = ops.gated_mlp(x, {l.gate, l.up, l.down, GatedActivation::kSwiGlu});
  }
  if (!all_logits) x = mx::slice(x, {x.shape(0) - 1, 0}, {x.shape(0), kHidden}, mx::Device::cpu);
  return ops.linear(x, model.head);
}

int run(const Options& options) {
  const std::optional<Isa> wanted = isa_from_name(options.isa);
  const Result<Isa> isa = wanted ? resolve_isa(*wanted) : invalid("--isa: unknown name");
  if (!isa) {
    fmt::print(stderr, "{}\n", isa.error().message);
    return 2;
  }
  ThreadPool pool(options.threads);
  const CpuOps ops(Activations::kInt8, *isa, &pool, mx::default_stream(mx::Device::cpu));
  const Model model = random_model(ops, options);
  fmt::print("{} threads, {}, {} bits, {} layers, {:.0f} MB of weights packed in {:.2f} s\n",
             options.threads, isa_name(*isa), options.bits, options.layers,
             static_cast<double>(model.bytes) / 1e6, model.pack_seconds);
  const auto rates = measure_read_bandwidth(std::size_t{1} << 29, options.threads, options.repeats);
  if (!rates) {
    fmt::print(stderr, "{}\n", rates.error().message);
    return 1;
  }
  fmt::print("plain read: {:.2f} GB/s\n", median(*rates) / 1e9);
  for (const int rows : options.rows) {
    const mx::array x =
        mx::random::normal({rows, kHidden}, mx::float32, std::nullopt, mx::Device::cpu);
    mx::eval(x);
    std::vector<double> times;
    const std::clock_t cpu = std::clock();
    for (int i = 0; i <= options.repeats; ++i) {
      const double s = seconds_of([&] { step(ops, model, x, rows <= 16).eval(); });
      if (i > 0) times.push_back(s);  // the first one warms up
    }
    const double s = median(times);
    const double cpu_s =
        static_cast<double>(std::clock() - cpu) / CLOCKS_PER_SEC / (options.repeats + 1);
    fmt::print("rows {:4}: {:8.2f} ms  {:8.1f} tok/s  {:6.2f} GB/s of weights  {:8.2f} ms of CPU\n",
               rows, s * 1e3, rows / s, static_cast<double>(model.bytes) / s / 1e9, cpu_s * 1e3);
  }
  return 0;
}

}  // namespace
}  // namespace tandem::kernels

int main(int argc, char** argv) {
  CLI::App app("Speed of the matrix products of one model step");
  tandem::kernels::Options options;
  app.add_option("--threads", options.threads)->check(CLI::Range(1, 256));
  app.add_option("--isa", options.isa);
  app.add_option("--bits", options.bits)->check(CLI::IsMember({2, 3, 4, 5, 6, 8}));
  app.add_option("--repeats", options.repeats)->check(CLI::Range(1, 1000));
  app.add_option("--layers", options.layers)->check(CLI::Range(1, 100));
  app.add_option("--rows", options.rows)->delimiter(',');
  CLI11_PARSE(app, argc, argv);
  return tandem::kernels::run(options);
}
