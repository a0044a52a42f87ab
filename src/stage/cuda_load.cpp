// Loading of the stage in cuda_stage.h.
#include <utility>

#include "base/platform.h"
#include "config/model_config.h"
#include "models/model_bytes.h"
#include "stage/budget.h"
#include "stage/cuda_model.h"
#include "stage/cuda_stage.h"
#include "stage/devices.h"
#include "stage/layer_range.h"
#include "stage/memory_fit.h"

namespace tandem::stage {
namespace {

/// A model's folder, read as far as planning goes.
struct Planned {
  models::Architecture model;
  LayerRange range;
  weights::WeightFolder folder;
  models::ModelPlan plan;
};

Result<Planned> plan_folder(const StageOptions& options) {
  const auto config = config::ModelConfig::load(options.folder);
  if (!config.ok()) return config.error();
  auto model = models::architecture_of(*config);
  if (!model.ok()) return model.error();
  const auto range = resolve_range(options.layers, model->layer_count);
  if (!range.ok()) return range.error();
  auto folder = weights::WeightFolder::open(options.folder, weights::Alignment::kAny);
  if (!folder.ok()) return folder.error();
  auto plan = models::plan_model(*config, *folder, *model);
  if (!plan.ok()) return plan.error();
  return Planned{*std::move(model), *range, *std::move(folder), *std::move(plan)};
}

/// What is asked of the stage beside its model.
std::string why_not_options(const StageOptions& options) {
  if (options.mlx_kernels) return "MLX's operations are asked for";
  if (options.activations == kernels::Activations::kF32) return "float32 activations are asked for";
  if (options.kv_bits != 0) return "KV of another precision is asked for";
  return {};
}

/// Bytes of KV that are left of the GPU's memory.
Result<std::uint64_t> kv_bytes_of(const StageOptions& options, LayerRange range) {
  const std::uint64_t memory = options.memory_bytes != 0 ? options.memory_bytes : free_memory(true);
  const auto bytes = model_bytes_of(options);
  if (!bytes.ok()) return bytes.error();
  const std::uint32_t rows =
      options.memory_bytes == 0
          ? kStepRows
          : fitting_rows(*bytes, range, memory, options.kv_bytes_max, kStepRows);
  return kv_budget(*bytes, range, memory, options.kv_bytes_max, rows);
}

StageInfo info_of(const StageOptions& options, const Planned& planned, std::uint64_t kv_bytes,
                  const cuda::Executor& executor) {
  StageInfo info;
  info.layers = planned.range;
  info.layer_count = planned.model.layer_count;
  info.hidden_size = planned.model.hidden;
  info.vocabulary = planned.model.vocabulary;
  info.context_max = planned.model.context_max;
  // A rank beside this one may compute on a CPU, whose int8 activations are float32 between stages.
  info.hidden_dtype =
      options.activations == kernels::Activations::kBF16 ? DType::kBF16 : DType::kF32;
  info.weight_bytes = executor.weight_bytes();
  info.weight_bytes_per_token = executor.token_bytes();
  info.kv_bytes_max = kv_bytes;
  return info;
}

}  // namespace

std::string why_no_cuda_stage(const StageOptions& options) {
  if (std::string reason = why_not_options(options); !reason.empty()) return reason;
  if (auto device = cuda::Executor::usable_device(); !device.ok()) return device.error().message;
  const auto planned = plan_folder(options);
  if (!planned.ok()) return planned.error().message;
  const auto shape = cuda_shape(planned->model, planned->plan, planned->range);
  return shape.ok() ? std::string() : shape.error().message;
}

Result<std::unique_ptr<Stage>> load_cuda_stage(const StageOptions& options,
                                               const models::LoadProgress& progress) {
  if (const std::string reason = why_not_options(options); !reason.empty()) {
    return Error{ErrorCode::kUnavailable, reason};
  }
  auto device = cuda::Executor::usable_device();
  if (!device.ok()) return device.error();
  auto planned = plan_folder(options);
  if (!planned.ok()) return planned.error();
  const auto shape = cuda_shape(planned->model, planned->plan, planned->range);
  if (!shape.ok()) return Error{ErrorCode::kUnavailable, shape.error().message};
  if (shape->last) {
    Status status = models::drop_equal_head(planned->plan, planned->folder);
    if (!status.ok()) return status.error();
  }
  const auto kv_bytes = kv_bytes_of(options, planned->range);
  if (!kv_bytes.ok()) return kv_bytes.error();
  auto executor = cuda::Executor::create(*std::move(device), *shape, *kv_bytes);
  if (!executor.ok()) return executor.error();
  Status loaded =
      load_weights(**executor, planned->folder, planned->plan, planned->range, *shape, progress);
  if (!loaded.ok()) return loaded.error();
  const int threads = options.threads != 0 ? options.threads : platform::physical_cores();
  const StageInfo info = info_of(options, *planned, *kv_bytes, **executor);
  const cache::LayerKv kv{
      kernels::KvSpec{shape->kv_heads, shape->head_dim, shape->head_dim, false, DType::kBF16}, 0};
  return std::unique_ptr<Stage>(std::make_unique<CudaStage>(
      CudaStage::Parts{info, kv, std::make_unique<ThreadPool>(threads), *std::move(executor)}));
}

}  // namespace tandem::stage
