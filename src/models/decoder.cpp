#include "models/decoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "base/check.h"
#include "models/architecture.h"
#include "models/layer.h"
#include "models/loading/model_plan.h"
#include "models/model_bytes.h"

namespace tandem::models {
namespace {

class ArchitectureDecoder final : public Decoder {
 public:
  ArchitectureDecoder(const Architecture& model, LayerRange range, const kernels::Ops& ops)
      : model_(model), range_(range), ops_(ops) {}

  Status load(weights::WeightFolder& folder, const ModelPlan& plan, DType kv_type,
              const LoadProgress& progress) {
    WeightReader reader(ops_, folder, progress, plan.range_bytes(range_));
    if (range_.first == 0) embedding_ = reader.table(plan.embedding);
    for (int i = range_.first; i < range_.last && reader.status().ok(); ++i) {
      layers_.emplace_back(reader, plan.layers[static_cast<std::size_t>(i)], model_, i, kv_type);
    }
    if (range_.last == model_.layer_count && reader.status().ok()) load_head(reader, plan);
    footprint_ = reader.footprint();
    return reader.status();
  }

  std::vector<kernels::KvSpec> kv_specs() const override {
    std::vector<kernels::KvSpec> specs;
    specs.reserve(layers_.size());
    for (const Layer& layer : layers_) specs.push_back(layer.kv());
    return specs;
  }
  std::vector<int> windows() const override {
    std::vector<int> windows;
    for (int i = range_.first; i < range_.last; ++i) {
      windows.push_back(model_.layers[static_cast<std::size_t>(i)].window);
    }
    return windows;
  }
  std::uint64_t weight_bytes() const override { return footprint_.held; }
  std::uint64_t weight_bytes_per_token() const override { return footprint_.per_token; }

  mx::array embed(const mx::array& ids) const override {
    check(range_.first == 0, "only the first stage embeds");
    mx::array rows = ops_.embed(ids, embedding_.matrix());
    if (model_.embedding_scale == 1) return rows;
    return ops_.scale(rows, model_.embedding_scale);
  }

  mx::array forward(mx::array hidden, const kernels::Batch& batch) const override {
    mx::array normed = ops_.rms_norm(hidden, layers_.front().input_norm(), model_.norm_epsilon);
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      const Layer& layer = layers_[i];
      const mx::array mixed = layer.attend(ops_, normed, batch, i);
      kernels::Residual middle =
          ops_.add_rms_norm(hidden, mixed, layer.mlp_norm(), model_.norm_epsilon);
      const mx::array delta = layer.transform(ops_, middle.normed);
      if (i + 1 == layers_.size()) return ops_.add(middle.sum, delta);
      kernels::Residual next =
          ops_.add_rms_norm(middle.sum, delta, layers_[i + 1].input_norm(), model_.norm_epsilon);
      hidden = std::move(next.sum);
      normed = std::move(next.normed);
    }
    return hidden;
  }

  mx::array head(const mx::array& hidden) const override {
    check(range_.last == model_.layer_count, "only the last stage has the head");
    const mx::array normed = ops_.rms_norm(hidden, final_norm_, model_.norm_epsilon);
    const mx::array logits = ops_.softcap(head_(ops_, normed), model_.logit_softcap);
    return ops_.cast(logits, DType::kF32);
  }

 private:
  void load_head(WeightReader& reader, const ModelPlan& plan) {
    final_norm_ = reader.norm(plan.final_norm);
    if (plan.head) {
      head_ = reader.linear(*plan.head);
    } else if (range_.first == 0) {
      head_ = embedding_;
      reader.count_as_head(embedding_);
    } else {
      head_ = reader.linear({plan.embedding, std::nullopt});
    }
  }

  const Architecture model_;
  const LayerRange range_;
  const kernels::Ops& ops_;
  Footprint footprint_;
  Linear embedding_;
  std::vector<Layer> layers_;
  mx::array final_norm_ = mx::array(0.0F);  // on the last stage
  Linear head_;
};

}  // namespace

DType usual_kv_type(kernels::Activations activations, DType stored) {
  switch (activations) {
    case kernels::Activations::kF32:
      return DType::kF32;
    case kernels::Activations::kBF16:
      return DType::kBF16;
    case kernels::Activations::kInt8:
      break;
  }
  return stored == DType::kF32 ? DType::kF32 : DType::kBF16;
}

Result<std::unique_ptr<Decoder>> load_decoder(const config::ModelConfig& config,
                                              weights::WeightFolder& weights, LayerRange range,
                                              const kernels::Ops& ops, const LoadProgress& progress,
                                              std::optional<DType> kv_type) {
  auto architecture = architecture_of(config);
  if (!architecture.ok()) return architecture.error();
  if (range.first < 0 || range.first >= range.last || range.last > architecture->layer_count) {
    return invalid(fmt::format("layers [{}, {}) are not a range of the model's {} layers",
                               range.first, range.last, architecture->layer_count));
  }
  auto plan = plan_model(config, weights, *architecture);
  if (!plan.ok()) return plan.error();
  if (range.last == architecture->layer_count) {
    if (Status status = drop_equal_head(*plan, weights); !status.ok()) return status.error();
  }
  auto decoder = std::make_unique<ArchitectureDecoder>(*architecture, range, ops);
  Status loaded = decoder->load(
      weights, *plan, kv_type.value_or(usual_kv_type(ops.activations(), plan->attention_type())),
      progress);
  if (!loaded.ok()) return loaded.error();
  return std::unique_ptr<Decoder>(std::move(decoder));
}

}  // namespace tandem::models
