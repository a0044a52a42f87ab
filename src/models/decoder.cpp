#include "models/decoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/check.h"
#include "models/architecture.h"
#include "models/layer.h"
#include "models/loading/model_plan.h"
#include "models/model_bytes.h"
#include "models/weight_store.h"

namespace tandem::models {
namespace {

class ArchitectureDecoder final : public Decoder {
 public:
  ArchitectureDecoder(const Architecture& model, LayerRange range, const kernels::Ops& ops)
      : model_(model), range_(range), ops_(ops) {}

  Status load(weights::WeightFolder& folder, const ModelPlan& plan, DType kv_type,
              const LoadProgress& progress, WeightStore& store) {
    const std::map<std::string, std::uint64_t> wanted = stored_parts(plan);
    store.keep(settings(kv_type), wanted);
    std::uint64_t missing = 0;
    for (const auto& [name, bytes] : wanted) missing += store.find(name) ? 0 : bytes;
    WeightReader reader(ops_, folder, progress, missing);
    if (range_.first == 0) embedding_ = matrix(reader, store, kEmbedding, plan.embedding);
    for (int i = range_.first; i < range_.last && reader.status().ok(); ++i) {
      const LayerPlan& layer = plan.layers[static_cast<std::size_t>(i)];
      const HeldPart part = held(reader, store, layer_name(i), stored_bytes(layer),
                                 [&] { return Layer(reader, layer, model_, i, kv_type); });
      if (part) layers_.push_back(&std::get<Layer>(part->weights));
    }
    if (range_.last == model_.layer_count && reader.status().ok()) load_head(reader, store, plan);
    if (reader.status().ok()) count();
    return reader.status();
  }

  std::vector<kernels::LayerKept> kept() const override {
    std::vector<kernels::LayerKept> kept;
    kept.reserve(layers_.size());
    for (const Layer* layer : layers_) kept.push_back(layer->kept());
    return kept;
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
    mx::array rows = ops_.embed(ids, embedding_->matrix());
    if (model_.embedding_scale == 1) return rows;
    return ops_.scale(rows, model_.embedding_scale);
  }

  mx::array forward(mx::array hidden, const kernels::Batch& batch) const override {
    mx::array normed = ops_.rms_norm(hidden, layers_.front()->input_norm(), model_.norm_epsilon);
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      const Layer& layer = *layers_[i];
      const mx::array mixed = layer.attend(ops_, normed, batch, i);
      kernels::Residual middle =
          ops_.add_rms_norm(hidden, mixed, layer.mlp_norm(), model_.norm_epsilon);
      const mx::array delta = layer.transform(ops_, middle.normed);
      if (i + 1 == layers_.size()) return ops_.add(middle.sum, delta);
      kernels::Residual next =
          ops_.add_rms_norm(middle.sum, delta, layers_[i + 1]->input_norm(), model_.norm_epsilon);
      hidden = std::move(next.sum);
      normed = std::move(next.normed);
    }
    return hidden;
  }

  mx::array head(const mx::array& hidden) const override {
    check(range_.last == model_.layer_count, "only the last stage has the head");
    const mx::array normed = ops_.rms_norm(hidden, final_norm_, model_.norm_epsilon);
    const mx::array logits = ops_.softcap((*head_)(ops_, normed), model_.logit_softcap);
    return ops_.cast(logits, DType::kF32);
  }

 private:
  static constexpr const char* kEmbedding = "embedding";
  static constexpr const char* kHead = "head";
  static constexpr const char* kFinalNorm = "final norm";
  static std::string layer_name(int layer) { return fmt::format("layer {}", layer); }

  /// What the form of loaded weights depends on besides the model.
  std::string settings(DType kv_type) const {
    return fmt::format("{} {} {}", ops_.weight_form(), static_cast<int>(ops_.activations()),
                       static_cast<int>(kv_type));
  }

  /// The parts that the range needs, and their bytes in the folder.
  std::map<std::string, std::uint64_t> stored_parts(const ModelPlan& plan) const {
    std::map<std::string, std::uint64_t> parts;
    const bool last = range_.last == model_.layer_count;
    if (range_.first == 0 || (last && !plan.head)) parts[kEmbedding] = stored_bytes(plan.embedding);
    for (int i = range_.first; i < range_.last; ++i) {
      parts[layer_name(i)] = stored_bytes(plan.layers[static_cast<std::size_t>(i)]);
    }
    if (last) parts[kFinalNorm] = 0;
    if (last && plan.head) parts[kHead] = stored_bytes(plan.head->matrix);
    return parts;
  }

  /// The part from the store, or made and put there; null when the reader failed.
  template <class Make>
  HeldPart held(WeightReader& reader, WeightStore& store, const std::string& name,
                std::uint64_t stored, const Make& make) {
    HeldPart part = store.find(name);
    if (!part) {
      const Footprint before = reader.footprint();
      ModelPart made{make(), {}};
      if (!reader.status().ok()) return nullptr;
      made.footprint = reader.footprint() - before;
      part = std::make_shared<const ModelPart>(std::move(made));
      store.put(name, part, stored);
    }
    parts_.insert(part);
    return part;
  }

  const Linear* matrix(WeightReader& reader, WeightStore& store, const char* name,
                       const MatrixPlan& plan) {
    const HeldPart part =
        held(reader, store, name, stored_bytes(plan), [&] { return reader.table(plan); });
    return part ? &std::get<Linear>(part->weights) : nullptr;
  }

  void load_head(WeightReader& reader, WeightStore& store, const ModelPlan& plan) {
    const HeldPart norm =
        held(reader, store, kFinalNorm, 0, [&] { return reader.norm(plan.final_norm); });
    if (norm) final_norm_ = std::get<mx::array>(norm->weights);
    head_ = plan.head ? matrix(reader, store, kHead, plan.head->matrix)
                      : matrix(reader, store, kEmbedding, plan.embedding);
  }

  /// Every token reads one row of the embedding and the whole head, which may be the same matrix.
  void count() {
    for (const HeldPart& part : parts_) {
      footprint_ += part->footprint;
      if (head_ != nullptr && std::get_if<Linear>(&part->weights) == head_) {
        footprint_.per_token += head_->matrix().bytes() - part->footprint.per_token;
      }
    }
  }

  const Architecture model_;
  const LayerRange range_;
  const kernels::Ops& ops_;
  Footprint footprint_;
  std::set<HeldPart> parts_;  // what the pointers below point into
  const Linear* embedding_ = nullptr;
  std::vector<const Layer*> layers_;
  mx::array final_norm_ = mx::array(0.0F);  // on the last stage
  const Linear* head_ = nullptr;
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
                                              std::optional<DType> kv_type, WeightStore* store) {
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
  WeightStore own;
  Status loaded = decoder->load(
      weights, *plan, kv_type.value_or(usual_kv_type(ops.activations(), plan->attention_type())),
      progress, store != nullptr ? *store : own);
  if (!loaded.ok()) return loaded.error();
  return std::unique_ptr<Decoder>(std::move(decoder));
}

}  // namespace tandem::models
