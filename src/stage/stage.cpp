#include "stage/stage.h"

#include <fmt/format.h>
#include <mlx/mlx.h>

#include <algorithm>
#include <exception>
#include <limits>
#include <optional>
#include <utility>

#include "base/platform.h"
#include "base/thread_pool.h"
#include "config/message.h"
#include "kernels/isa.h"
#include "models/architecture.h"
#include "models/weight_store.h"
#include "stage/decoder_stage.h"
#include "stage/hidden.h"
#include "stage/kv_budget.h"
#include "weights/weight_folder.h"

namespace tandem::stage {
namespace {

constexpr int kMaxThreads = 1024;

/// {0, 0} stands for all layers.
Result<LayerRange> resolve_range(LayerRange range, int layer_count) {
  if (range == LayerRange{}) return LayerRange{0, layer_count};
  if (range.first < 0 || range.first >= range.last || range.last > layer_count) {
    return invalid(fmt::format("layers [{}, {}) are not a range of the model's {} layers",
                               range.first, range.last, layer_count));
  }
  return range;
}

/// Nothing: the usual one.
Result<std::optional<kernels::KvType>> wanted_kv_type(const StageOptions& options) {
  if (options.kv_bits == 0) return std::optional<kernels::KvType>{};
  if (options.kv_bits != 8) {
    return invalid(
        fmt::format("kv bits: must be 8, or 0 for the usual ones, not {}", options.kv_bits));
  }
  if (options.gpu || options.mlx_kernels) {
    return invalid(
        "kv bits: only the CPU's own kernels keep KV in 8 bits, MLX's operations do not");
  }
  return std::optional(kernels::KvType::kInt8);
}

Result<kernels::Context> make_context(const StageOptions& options, ThreadPool& pool,
                                      models::WeightStore& store) {
  const auto device = options.gpu ? mx::Device::gpu : mx::Device::cpu;
  if (!mx::is_available(mx::Device(device))) {
    return invalid("device gpu: this build of MLX has no GPU, or the machine has none");
  }
  const auto isa = kernels::resolve_isa(options.isa);
  if (!isa.ok()) return isa.error();
  const bool mlx = options.gpu || options.mlx_kernels;
  return kernels::Context{mlx ? kernels::Backend::kMlx : kernels::Backend::kCpu,
                          options.activations, *isa, &pool, store.stream(device)};
}

Result<std::unique_ptr<Stage>> load_stage(const StageOptions& options,
                                          const models::LoadProgress& progress,
                                          models::WeightStore& store) {
  if (options.threads < 0 || options.threads > kMaxThreads) {
    return invalid(
        fmt::format("threads: must be in [0, {}], not {}", kMaxThreads, options.threads));
  }
  const auto kv_type = wanted_kv_type(options);
  if (!kv_type.ok()) return kv_type.error();
  const auto config = config::ModelConfig::load(options.folder);
  if (!config.ok()) return config.error();
  const auto model = models::architecture_of(*config);
  if (!model.ok()) return model.error();
  const auto range = resolve_range(options.layers, model->layer_count);
  if (!range.ok()) return range.error();
  // Our own kernels read weights byte by byte into their layout; MLX's use them where they lie.
  const bool mlx = options.gpu || options.mlx_kernels;
  auto weights = weights::WeightFolder::open(
      options.folder, mlx ? weights::Alignment::kDtype : weights::Alignment::kAny);
  if (!weights.ok()) return weights.error();

  // Before the weights: mapped ones still count as free afterwards.
  const std::uint64_t memory = options.memory_bytes != 0
                                   ? options.memory_bytes
                                   : platform::free_memory_bytes() + store.bytes();
  auto pool = std::make_unique<ThreadPool>(options.threads != 0 ? options.threads
                                                                : platform::physical_cores());
  const auto context = make_context(options, *pool, store);
  if (!context.ok()) return context.error();
  auto decoder =
      models::load_decoder(*config, *weights, *range, *context, progress, *kv_type, &store);
  if (!decoder.ok()) return decoder.error();

  StageInfo info;
  info.layers = *range;
  info.layer_count = model->layer_count;
  info.hidden_size = model->hidden;
  info.vocabulary = model->vocabulary;
  info.context_max = model->context_max;
  info.hidden_dtype = hidden_dtype(*context);
  info.weight_bytes = (*decoder)->weight_bytes();
  info.weight_bytes_per_token = (*decoder)->weight_bytes_per_token();
  info.kv_bytes_max = options.kv_bytes_max != 0 ? options.kv_bytes_max
                                                : default_kv_bytes(memory, info.weight_bytes);
  auto stage = std::make_unique<DecoderStage>(
      StageParts{info, std::move(pool), *context, std::move(*decoder)});
  const StageInfo& made = stage->info();
  if (made.kv_bytes_max / kPageTokens < made.kv_bytes_per_token) {
    return Error{ErrorCode::kResourceLimit,
                 fmt::format("KV memory: {} bytes hold not even {} tokens of {} bytes",
                             made.kv_bytes_max, kPageTokens, made.kv_bytes_per_token)};
  }
  return std::unique_ptr<Stage>(std::move(stage));
}

}  // namespace

Result<std::unique_ptr<Stage>> Stage::load(const StageOptions& options,
                                           const models::LoadProgress& progress,
                                           models::WeightStore* store) {
  models::WeightStore own;
  try {
    return load_stage(options, progress, store != nullptr ? *store : own);
  } catch (const std::exception& failure) {
    return Error{ErrorCode::kInternal,
                 config::one_line(fmt::format("{}: loading failed: {}", options.folder.string(),
                                              failure.what()))};
  }
}

}  // namespace tandem::stage
