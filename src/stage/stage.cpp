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
#include "kernels/cpu/cpu_ops.h"
#include "kernels/isa.h"
#include "kernels/mlx/mlx_ops.h"
#include "models/architecture.h"
#include "models/model_bytes.h"
#include "models/weight_store.h"
#include "stage/budget.h"
#include "stage/cuda_stage.h"
#include "stage/decoder_stage.h"
#include "stage/devices.h"
#include "stage/hidden.h"
#include "stage/layer_range.h"
#include "stage/memory_fit.h"
#include "tandem/limits.h"
#include "weights/weight_folder.h"

namespace tandem::stage {
namespace {

/// Nothing: the usual one.
Result<std::optional<DType>> wanted_kv_type(const StageOptions& options) {
  if (options.kv_bits == 0) return std::optional<DType>{};
  if (options.kv_bits != 8) {
    return invalid(
        fmt::format("kv bits: must be 8, or 0 for the usual ones, not {}", options.kv_bits));
  }
  if (options.gpu || options.mlx_kernels) {
    return invalid(
        "kv bits: only the CPU's own kernels keep KV in 8 bits, MLX's operations do not");
  }
  return std::optional(DType::kI8);
}

models::ComputeKind kind_of(const StageOptions& options, std::optional<DType> kv_type) {
  return {!options.gpu && !options.mlx_kernels, options.activations, kv_type};
}

Result<std::unique_ptr<kernels::Ops>> make_ops(const StageOptions& options, ThreadPool& pool,
                                               models::WeightStore& store) {
  const auto device = options.gpu ? mx::Device::gpu : mx::Device::cpu;
  if (!mx::is_available(mx::Device(device))) {
    return invalid("device gpu: this build of MLX has no GPU, or the machine has none");
  }
  const auto isa = kernels::resolve_isa(options.isa);
  if (!isa.ok()) return isa.error();
  const mx::Stream stream = store.stream(device);
  std::unique_ptr<kernels::Ops> ops;
  if (options.gpu || options.mlx_kernels) {
    ops = std::make_unique<kernels::MlxOps>(options.activations, stream);
  } else {
    ops = std::make_unique<kernels::CpuOps>(options.activations, *isa, &pool, stream);
  }
  return ops;
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
  auto pool = std::make_unique<ThreadPool>(options.threads != 0 ? options.threads
                                                                : platform::physical_cores());
  auto ops = make_ops(options, *pool, store);
  if (!ops.ok()) return ops.error();
  auto weights = weights::WeightFolder::open(options.folder, (*ops)->borrows_weights()
                                                                 ? weights::Alignment::kDtype
                                                                 : weights::Alignment::kAny);
  if (!weights.ok()) return weights.error();

  // Before anything is loaded: what does not fit is refused with a line, not by the kernel.
  const std::uint64_t memory =
      options.memory_bytes != 0 ? options.memory_bytes : memory_for(options, store.bytes());
  const auto bytes = models::model_bytes(*config, *weights, kind_of(options, *kv_type));
  if (!bytes.ok()) return bytes.error();
  // Whoever gives a share of the memory sends steps that fit it.
  const std::uint32_t rows =
      options.memory_bytes == 0
          ? kStepRows
          : fitting_rows(*bytes, *range, memory, options.kv_bytes_max, kStepRows);
  const auto kv_bytes = kv_budget(*bytes, *range, memory, options.kv_bytes_max, rows);
  if (!kv_bytes.ok()) return kv_bytes.error();

  auto decoder = models::load_decoder(*config, *weights, *range, **ops, progress, *kv_type, &store);
  if (!decoder.ok()) return decoder.error();

  StageInfo info;
  info.layers = *range;
  info.layer_count = model->layer_count;
  info.hidden_size = model->hidden;
  info.vocabulary = model->vocabulary;
  info.context_max = model->context_max;
  info.hidden_dtype = (*ops)->dtype();
  info.weight_bytes = (*decoder)->weight_bytes();
  info.weight_bytes_per_token = (*decoder)->weight_bytes_per_token();
  info.kv_bytes_max = *kv_bytes;
  info.pages_shared = (*ops)->keeps_pages();
  return std::unique_ptr<Stage>(std::make_unique<DecoderStage>(
      StageParts{info, std::move(pool), std::move(*ops), std::move(*decoder)}));
}

}  // namespace

// What MLX computes with on the CPU are pages of the files, which count as free.
std::uint64_t memory_for(const StageOptions& options, std::uint64_t held) {
  const bool mapped = options.mlx_kernels && !options.gpu;
  return free_memory(options.gpu) + (mapped ? 0 : held);
}

Result<models::ModelBytes> model_bytes_of(const StageOptions& options) {
  const auto kv_type = wanted_kv_type(options);
  if (!kv_type.ok()) return kv_type.error();
  const auto config = config::ModelConfig::load(options.folder);
  if (!config.ok()) return config.error();
  auto weights = weights::WeightFolder::open(options.folder);
  if (!weights.ok()) return weights.error();
  return models::model_bytes(*config, *weights, kind_of(options, *kv_type));
}

std::uint32_t fitting_step(const StageOptions& options, int stages, std::uint32_t rows) {
  const auto bytes = model_bytes_of(options);
  if (!bytes.ok()) return rows;
  const LayerRange all{0, static_cast<int>(bytes->layers.size())};
  const auto count = static_cast<std::uint32_t>(std::max(1, stages));
  const std::uint32_t all_rows =
      fitting_rows(*bytes, all, free_memory(options.gpu), options.kv_bytes_max, rows * count);
  return std::max<std::uint32_t>(1, all_rows / count);
}

Result<std::unique_ptr<Stage>> Stage::load(const StageOptions& options,
                                           const models::LoadProgress& progress,
                                           models::WeightStore* store) {
  models::WeightStore own;
  try {
    if (options.gpu) {
      auto ours = load_cuda_stage(options, progress);
      if (ours.ok() || ours.error().code != ErrorCode::kUnavailable) return ours;
      if (!mx::is_available(mx::Device(mx::Device::gpu))) {
        return invalid(
            fmt::format("device gpu: MLX has none here, and our own kernels do not run: {}",
                        ours.error().message));
      }
    }
    return load_stage(options, progress, store != nullptr ? *store : own);
  } catch (const std::exception& failure) {
    return Error{ErrorCode::kInternal,
                 config::one_line(fmt::format("{}: loading failed: {}", options.folder.string(),
                                              failure.what()))};
  }
}

}  // namespace tandem::stage
