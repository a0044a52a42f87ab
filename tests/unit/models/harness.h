#pragma once
// Runs decoders of a folder on sequences, the way a stage does.

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/thread_pool.h"
#include "config/model_config.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/isa.h"
#include "models/architecture.h"
#include "models/decoder.h"
#include "weights/weight_folder.h"

namespace tandem::models::testing {

/// Operations with their own pool.
struct Machine {
  explicit Machine(kernels::Activations activations, int threads = 1)
      : pool(threads),
        ops(activations, kernels::available_isas().front(), &pool,
            mx::default_stream(mx::Device::cpu)) {}
  ThreadPool pool;
  kernels::CpuOps ops;
};

inline Result<std::unique_ptr<Decoder>> load(const std::filesystem::path& path, LayerRange range,
                                             const kernels::Ops& ops,
                                             const LoadProgress& progress = nullptr) {
  auto config = config::ModelConfig::load(path);
  if (!config.ok()) return config.error();
  auto folder = weights::WeightFolder::open(path);
  if (!folder.ok()) return folder.error();
  return load_decoder(*config, *folder, range, ops, progress);
}

/// What every layer of a range keeps of one sequence.
class SequenceCache {
 public:
  SequenceCache(const std::vector<kernels::LayerKept>& kept, int tokens) : layers_(kept.size()) {
    for (std::size_t i = 0; i < kept.size(); ++i) {
      for (int page = 0; page * kPageTokens < tokens; ++page) {
        const std::size_t bytes = kernels::page_bytes(kept[i]);
        pages_.push_back(std::make_unique<Block[]>((bytes + sizeof(Block) - 1) / sizeof(Block)));
        layers_[i].pages.push_back(pages_.back()[0].bytes);
      }
    }
  }
  std::span<kernels::KvSequence> layers() { return layers_; }

 private:
  struct alignas(64) Block {
    std::byte bytes[64];
  };
  std::vector<kernels::KvSequence> layers_;
  std::vector<std::unique_ptr<Block[]>> pages_;
};

/// New tokens of one sequence in a batch.
struct Chunk {
  int sequence = 0;
  int position = 0;
  std::vector<int> ids;
};

/// A model cut into ranges, with caches for `sequences` sequences.
class Runner {
 public:
  Runner(const std::filesystem::path& path, const std::vector<int>& cuts, Machine& machine,
         int sequences, int tokens)
      : machine_(machine) {
    for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
      auto decoder = load(path, {cuts[i], cuts[i + 1]}, machine.ops);
      EXPECT_TRUE(decoder.ok()) << (decoder.ok() ? "" : decoder.error().message);
      std::vector<SequenceCache> caches;
      for (int s = 0; s < sequences; ++s) caches.emplace_back((*decoder)->kept(), tokens);
      parts_.push_back({*std::move(decoder), std::move(caches)});
    }
  }

  /// Logits of every row of the batch, one vector a row.
  std::vector<std::vector<float>> run(const std::vector<Chunk>& batch) {
    std::vector<int> ids;
    std::vector<int> positions;
    for (const Chunk& chunk : batch) {
      for (std::size_t i = 0; i < chunk.ids.size(); ++i) {
        ids.push_back(chunk.ids[i]);
        positions.push_back(chunk.position + static_cast<int>(i));
      }
    }
    const int count = static_cast<int>(ids.size());
    mx::array hidden = parts_.front().decoder->embed(machine_.ops.upload(ids));
    for (Part& part : parts_) {
      std::vector<kernels::SequenceRows> sequences;
      int row = 0;
      for (const Chunk& chunk : batch) {
        const int length = static_cast<int>(chunk.ids.size());
        auto& cache = part.caches[static_cast<std::size_t>(chunk.sequence)];
        sequences.push_back({row, length, chunk.position, cache.layers()});
        row += length;
      }
      hidden = part.decoder->forward(hidden, {machine_.ops.upload(positions), sequences});
    }
    const mx::array logits = machine_.ops.ready(parts_.back().decoder->head(hidden));
    std::vector<std::vector<float>> out;
    for (int i = 0; i < count; ++i) {
      const float* row = logits.data<float>() + i * logits.shape(1);
      out.emplace_back(row, row + logits.shape(1));
    }
    return out;
  }

 private:
  struct Part {
    std::unique_ptr<Decoder> decoder;
    std::vector<SequenceCache> caches;
  };
  Machine& machine_;
  std::vector<Part> parts_;
};

}  // namespace tandem::models::testing
