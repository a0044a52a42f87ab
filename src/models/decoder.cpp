#include "models/decoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "base/check.h"
#include "kernels/activation.h"
#include "kernels/linear.h"
#include "kernels/norm.h"
#include "models/architecture.h"
#include "models/layer.h"
#include "models/loading/model_plan.h"
#include "models/model_bytes.h"

namespace tandem::models {
namespace {

class ArchitectureDecoder final : public Decoder {
 public:
  ArchitectureDecoder(const Architecture& model, LayerRange range, const kernels::Context& context)
      : model_(model), range_(range), context_(context) {}

  Status load(weights::WeightFolder& folder, const ModelPlan& plan, kernels::KvType kv_type,
              const LoadProgress& progress) {
    WeightReader reader(context_, folder, progress, plan.range_bytes(range_));
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
  std::uint64_t weight_bytes() const override { return footprint_.held; }
  std::uint64_t weight_bytes_per_token() const override { return footprint_.per_token; }

  mx::array embed(const mx::array& ids) const override {
    check(range_.first == 0, "only the first stage embeds");
    mx::array rows = kernels::embed(context_, ids, embedding_.matrix());
    if (model_.embedding_scale == 1) return rows;
    return kernels::scale(context_, rows, model_.embedding_scale);
  }

  mx::array forward(mx::array hidden, const BatchInputs& inputs) const override {
    check(inputs.rows.size() == layers_.size(), "a batch has rows for every layer of the range");
    mx::array normed =
        kernels::rms_norm(context_, hidden, layers_.front().input_norm(), model_.norm_epsilon);
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      const Layer& layer = layers_[i];
      const mx::array mixed = layer.attend(context_, normed, inputs.positions, inputs.rows[i]);
      kernels::Residual middle =
          kernels::add_rms_norm(context_, hidden, mixed, layer.mlp_norm(), model_.norm_epsilon);
      const mx::array delta = layer.transform(context_, middle.normed);
      if (i + 1 == layers_.size()) return kernels::add(context_, middle.sum, delta);
      kernels::Residual next = kernels::add_rms_norm(
          context_, middle.sum, delta, layers_[i + 1].input_norm(), model_.norm_epsilon);
      hidden = std::move(next.sum);
      normed = std::move(next.normed);
    }
    return hidden;
  }

  mx::array head(const mx::array& hidden) const override {
    check(range_.last == model_.layer_count, "only the last stage has the head");
    const mx::array normed = kernels::rms_norm(context_, hidden, final_norm_, model_.norm_epsilon);
    const mx::array logits =
        kernels::softcap(context_, head_(context_, normed), model_.logit_softcap);
    return mx::astype(logits, mx::float32, context_.stream);
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
  const kernels::Context context_;
  Footprint footprint_;
  Linear embedding_;
  std::vector<Layer> layers_;
  mx::array final_norm_ = mx::array(0.0F);  // on the last stage
  Linear head_;
};

}  // namespace

kernels::KvType usual_kv_type(kernels::Activations activations, DType checkpoint) {
  switch (activations) {
    case kernels::Activations::kF32:
      return kernels::KvType::kF32;
    case kernels::Activations::kBF16:
      return kernels::KvType::kBF16;
    case kernels::Activations::kInt8:
      break;
  }
  return checkpoint == DType::kF32 ? kernels::KvType::kF32 : kernels::KvType::kBF16;
}

Result<std::unique_ptr<Decoder>> load_decoder(const config::ModelConfig& config,
                                              weights::WeightFolder& weights, LayerRange range,
                                              const kernels::Context& context,
                                              const LoadProgress& progress,
                                              std::optional<kernels::KvType> kv_type) {
  auto architecture = architecture_of(config);
  if (!architecture.ok()) return architecture.error();
  if (range.first < 0 || range.first >= range.last || range.last > architecture->layer_count) {
    return invalid(fmt::format("layers [{}, {}) are not a range of the model's {} layers",
                               range.first, range.last, architecture->layer_count));
  }
  auto plan = plan_model(config, weights, *architecture);
  if (!plan.ok()) return plan.error();
  auto decoder = std::make_unique<ArchitectureDecoder>(*architecture, range, context);
  Status loaded = decoder->load(
      weights, *plan, kv_type.value_or(usual_kv_type(context.activations, config.dtype)), progress);
  if (!loaded.ok()) return loaded.error();
  return std::unique_ptr<Decoder>(std::move(decoder));
}

}  // namespace tandem::models
