// Prints what a decoder computes, without pipeline, scheduler or sampler: the logits of every
// position, and a greedy continuation. For tests/oracle and for hunting a wrong layer.
//   decoder_probe MODEL IDS.json OUT.f32 [--activations f32|bf16|int8] [--chunk N] [--cut LAYER]
//                 [--greedy N] [--threads N] [--mlx-kernels]
// IDS.json is a list of token ids. OUT gets float32 [tokens, vocabulary], row-major. The
// continuation is printed as a JSON list. --cut runs the layers as two ranges.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "config/model_config.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/isa.h"
#include "kernels/mlx/mlx_ops.h"
#include "models/architecture.h"
#include "models/decoder.h"
#include "weights/weight_folder.h"

namespace tandem {
namespace {

namespace mx = mlx::core;

struct Options {
  std::string model, ids, out;
  std::string activations = "f32";
  int chunk = 1 << 20;
  int cut = 0;
  int greedy = 0;
  int threads = 1;
  bool mlx_kernels = false;
};

template <class T>
T must(Result<T> result) {
  if (result.ok()) return *std::move(result);
  std::cerr << result.error().message << "\n";
  std::exit(result.error().code == ErrorCode::kInvalidArgument ? 2 : 1);
}

/// One range of layers with the KV of one sequence.
struct Part {
  std::unique_ptr<models::Decoder> decoder;
  std::vector<kernels::KvSequence> kv;  // one a layer
  std::vector<std::unique_ptr<std::byte[]>> pages;

  /// A layer's KV, with the pages that positions up to `tokens` need.
  void add_kv(const kernels::LayerKept& kept, int tokens) {
    kv.emplace_back();
    for (int page = 0; page * kPageTokens < tokens; ++page) {
      const std::size_t bytes = kernels::page_bytes(kept) + 64;
      pages.push_back(std::make_unique<std::byte[]>(bytes));
      const auto at = reinterpret_cast<std::uintptr_t>(pages.back().get());
      kv.back().pages.push_back(reinterpret_cast<std::byte*>((at + 63) / 64 * 64));
    }
  }
};

mx::array run(std::vector<Part>& parts, const std::vector<int>& ids, int position,
              const kernels::Ops& ops) {
  const int count = static_cast<int>(ids.size());
  std::vector<std::int32_t> positions(ids.size());
  for (int i = 0; i < count; ++i) positions[static_cast<std::size_t>(i)] = position + i;
  mx::array hidden = parts.front().decoder->embed(ops.upload(ids));
  for (Part& part : parts) {
    const kernels::Batch batch{ops.upload(positions), {{0, count, position, part.kv}}};
    hidden = ops.ready(part.decoder->forward(hidden, batch));
  }
  return ops.ready(parts.back().decoder->head(hidden));
}

kernels::Activations activations(const std::string& name) {
  if (name == "bf16") return kernels::Activations::kBF16;
  return name == "int8" ? kernels::Activations::kInt8 : kernels::Activations::kF32;
}

Options parse(int argc, char** argv) {
  if (argc < 4) {
    std::cerr << "usage: decoder_probe MODEL IDS.json OUT.f32 [options]\n";
    std::exit(2);
  }
  Options options{argv[1], argv[2], argv[3]};
  for (int i = 4; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--mlx-kernels") {
      options.mlx_kernels = true;
      continue;
    }
    const std::string value = i + 1 < argc ? argv[++i] : "";
    if (flag == "--activations") options.activations = value;
    if (flag == "--chunk") options.chunk = std::atoi(value.c_str());
    if (flag == "--cut") options.cut = std::atoi(value.c_str());
    if (flag == "--greedy") options.greedy = std::atoi(value.c_str());
    if (flag == "--threads") options.threads = std::atoi(value.c_str());
  }
  return options;
}

int probe(const Options& options) {
  std::ifstream file(options.ids);
  std::vector<int> ids = nlohmann::json::parse(file).get<std::vector<int>>();
  ThreadPool pool(options.threads);
  const mx::Stream stream = mx::default_stream(mx::Device::cpu);
  const kernels::Activations precision = activations(options.activations);
  std::unique_ptr<kernels::Ops> ops;
  if (options.mlx_kernels) {
    ops = std::make_unique<kernels::MlxOps>(precision, stream);
  } else {
    const kernels::Isa isa = must(kernels::resolve_isa(kernels::Isa::kBest));
    ops = std::make_unique<kernels::CpuOps>(precision, isa, &pool, stream);
  }
  mx::set_default_device(mx::Device::cpu);
  const auto config = must(config::ModelConfig::load(options.model));
  const int layers = must(models::architecture_of(config)).layer_count;
  std::vector<LayerRange> ranges{{0, layers}};
  if (options.cut > 0) ranges = {{0, options.cut}, {options.cut, layers}};

  const int prompt = static_cast<int>(ids.size());
  std::vector<Part> parts;
  for (const LayerRange range : ranges) {
    auto folder = must(weights::WeightFolder::open(options.model));
    Part part;
    part.decoder = must(models::load_decoder(config, folder, range, *ops, nullptr));
    for (const kernels::LayerKept& kept : part.decoder->kept()) {
      part.add_kv(kept, prompt + options.greedy);
    }
    std::cerr << "layers [" << range.first << ", " << range.last
              << "): " << part.decoder->weight_bytes() << " bytes, "
              << part.decoder->weight_bytes_per_token() << " a token\n";
    parts.push_back(std::move(part));
  }
  std::ofstream out(options.out, std::ios::binary);
  int next = 0;
  const auto feed = [&](const std::vector<int>& tokens, int position) {
    const mx::array logits = run(parts, tokens, position, *ops);
    const auto vocabulary = static_cast<std::size_t>(logits.shape(1));
    const float* data = logits.data<float>();
    const float* last = data + (tokens.size() - 1) * vocabulary;
    next = static_cast<int>(std::max_element(last, last + vocabulary) - last);
    if (position < prompt) {
      out.write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(logits.nbytes()));
    }
  };
  for (int at = 0; at < prompt; at += options.chunk) {
    const int end = std::min(prompt, at + options.chunk);
    feed({ids.begin() + at, ids.begin() + end}, at);
  }
  std::vector<int> continuation;
  for (int i = 0; i < options.greedy; ++i) {
    continuation.push_back(next);
    if (i + 1 < options.greedy) feed({next}, prompt + i);
  }
  std::cout << nlohmann::json(continuation).dump() << "\n";
  return 0;
}

}  // namespace
}  // namespace tandem

int main(int argc, char** argv) { return tandem::probe(tandem::parse(argc, argv)); }
