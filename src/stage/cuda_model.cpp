#include "stage/cuda_model.h"

#include <algorithm>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "models/loading/gather.h"

namespace tandem::stage {
namespace {

using models::MatrixPlan;

bool fits(const MatrixPlan& plan) {
  return !plan.transposed &&
         std::all_of(plan.sources.begin(), plan.sources.end(), [](const models::Source& source) {
           return source.format.kind == models::Format::Kind::kQuantized &&
                  source.format.quantization == Quantization{4, 64} &&
                  source.format.dtype == DType::kBF16;
         });
}

std::string why_not_format(const models::ModelPlan& plan, LayerRange range, bool head) {
  const std::string reason = "its matrices are not all in 4 bits and groups of 64 with bf16 scales";
  bool all = fits(plan.embedding) && (!head || !plan.head || fits(plan.head->matrix));
  for (int i = range.first; i < range.last; ++i) {
    const models::LayerPlan& layer = plan.layers[static_cast<std::size_t>(i)];
    const auto* experts = std::get_if<models::MoeBlock::Plan>(&layer.mlp);
    models::each_matrix(layer, [&](const MatrixPlan& matrix) {
      const bool router = experts != nullptr && &matrix == &experts->router.matrix;
      all = all && (router || fits(matrix));  // the router becomes bf16
    });
  }
  return all ? std::string() : reason;
}

bool has_experts(const models::Architecture& model, LayerRange range) {
  return model.moe && model.layers[static_cast<std::size_t>(range.first)].moe;
}

std::string why_not_experts(const models::MoeSpec& spec) {
  using Score = kernels::RouterSpec::Score;
  const kernels::RouterSpec& router = spec.router;
  if (spec.act != kernels::GatedActivation::kSwiGlu) return "its experts are no SwiGLU";
  if (spec.shared_width != 0) return "it has an expert that every token takes";
  if (spec.correction || router.score != Score::kSoftmax || router.groups != 1 ||
      router.scale != 1 || router.normalize_epsilon != 0 ||
      !(router.normalize || router.softmax_after_top_k)) {
    return "its router does not weigh the chosen experts by their softmax";
  }
  return {};
}

/// Of the wiring, as far as it is no number of a shape.
std::string why_not_wiring(const models::Architecture& model, LayerRange range) {
  const auto* attention = std::get_if<models::GroupedAttention>(&model.attention);
  if (attention == nullptr) return "its attention is latent";
  if (model.delta || attention->gated) return "it has recurrent layers or gates of attention";
  if (attention->qkv_bias || attention->out_bias || model.mlp.bias) return "it has biases";
  if (attention->softcap != 0 || model.logit_softcap != 0) return "it caps scores or logits";
  if (model.sandwich_norms || model.embedding_scale != 1) return "it is wired as Gemma is";
  const bool experts = has_experts(model, range);
  if (experts) {
    if (std::string reason = why_not_experts(*model.moe); !reason.empty()) return reason;
  } else if (model.mlp.act != kernels::GatedActivation::kSwiGlu) {
    return "its MLP is no SwiGLU";
  }
  for (int i = range.first; i < range.last; ++i) {
    const models::LayerSpec& layer = model.layers[static_cast<std::size_t>(i)];
    if (layer.moe != model.layers[static_cast<std::size_t>(range.first)].moe) {
      return "some of its layers are mixtures of experts and some are not";
    }
    if (layer.window != 0) return "its layers have windows";
    if (layer.rope != model.layers[static_cast<std::size_t>(range.first)].rope) {
      return "its layers turn at different speeds";
    }
  }
  const kernels::RopeSpec& rope = model.ropes[static_cast<std::size_t>(
      model.layers[static_cast<std::size_t>(range.first)].rope)];
  if (rope.begin != 0 || rope.interleaved || rope.magnitude != 1)
    return "its rope is of another kind";
  return {};
}

/// Matrices of one input, mapped until they are on the GPU.
class Gathered {
 public:
  Status add(weights::WeightFolder& folder, const MatrixPlan& plan) {
    auto data = models::gather(folder, plan, DType::kBF16);
    if (!data.ok()) return data.error();
    rows_.push_back({plan.count * plan.rows, data->weight, data->scales, data->biases});
    data_.push_back(*std::move(data));
    return {};
  }
  const std::vector<cuda::StoredRows>& rows() const { return rows_; }

 private:
  std::vector<kernels::MatrixData> data_;
  std::vector<cuda::StoredRows> rows_;
};

Status gather_norm(weights::WeightFolder& folder, const models::VectorPlan& plan,
                   std::vector<float>& to) {
  auto values = models::gather_vector(folder, plan);
  if (!values.ok()) return values.error();
  to = *std::move(values);
  return {};
}

/// Gate and up, then down, of an MLP or of all experts one after the other.
Status add_mlp(weights::WeightFolder& folder, const models::LayerPlan& plan, Gathered& gate_up,
               Gathered& down) {
  std::vector<const MatrixPlan*> wanted;
  const MatrixPlan* last = nullptr;
  if (const auto* experts = std::get_if<models::MoeBlock::Plan>(&plan.mlp)) {
    wanted = {&experts->gate, &experts->up};
    last = &experts->down;
  } else {
    const auto& mlp = std::get<models::MlpBlock::Plan>(plan.mlp);
    if (mlp.gate_up) {
      wanted = {&mlp.gate_up->matrix};
    } else {
      wanted = {&mlp.gate->matrix, &mlp.up->matrix};
    }
    last = &mlp.down.matrix;
  }
  for (const MatrixPlan* each : wanted) {
    if (Status status = gate_up.add(folder, *each); !status.ok()) return status;
  }
  return down.add(folder, *last);
}

Status load_layer(cuda::Executor& executor, weights::WeightFolder& folder,
                  const models::LayerPlan& plan) {
  const auto& attention = std::get<models::GroupedAttentionBlock::Plan>(plan.attention);
  Gathered qkv, out, gate_up, down;
  std::vector<std::pair<Gathered*, const MatrixPlan*>> wanted;
  for (const models::LinearPlan& each : attention.qkv) wanted.emplace_back(&qkv, &each.matrix);
  wanted.emplace_back(&out, &attention.out.matrix);
  for (const auto& [to, matrix] : wanted) {
    if (Status status = to->add(folder, *matrix); !status.ok()) return status;
  }
  if (Status status = add_mlp(folder, plan, gate_up, down); !status.ok()) return status;
  cuda::LayerSource source;
  if (const auto* experts = std::get_if<models::MoeBlock::Plan>(&plan.mlp)) {
    auto router = models::gather_floats(folder, experts->router.matrix);
    if (!router.ok()) return router.error();
    source.router = *std::move(router);
  }
  source.qkv = qkv.rows();
  source.out = out.rows().front();
  source.gate_up = gate_up.rows();
  source.down = down.rows().front();
  std::vector<std::pair<const models::VectorPlan*, std::vector<float>*>> norms = {
      {&plan.input_norm, &source.input_norm}, {&plan.mlp_norm, &source.mlp_norm}};
  if (attention.q_norm) norms.emplace_back(&*attention.q_norm, &source.q_norm);
  if (attention.k_norm) norms.emplace_back(&*attention.k_norm, &source.k_norm);
  for (const auto& [from, to] : norms) {
    if (Status status = gather_norm(folder, *from, *to); !status.ok()) return status;
  }
  return executor.add_layer(source);
}

Status load_head(cuda::Executor& executor, weights::WeightFolder& folder,
                 const models::ModelPlan& plan, bool has_embedding) {
  std::vector<float> norm;
  if (Status status = gather_norm(folder, plan.final_norm, norm); !status.ok()) return status;
  if (!plan.head && has_embedding) return executor.set_head(nullptr, norm);
  Gathered head;
  Status status = head.add(folder, plan.head ? plan.head->matrix : plan.embedding);
  return status.ok() ? executor.set_head(&head.rows().front(), norm) : status;
}

std::uint64_t stored_bytes_of(const models::ModelPlan& plan, LayerRange range,
                              const cuda::ModelShape& shape) {
  std::uint64_t bytes = shape.first ? models::stored_bytes(plan.embedding) : 0;
  for (int i = range.first; i < range.last; ++i) {
    bytes += models::stored_bytes(plan.layers[static_cast<std::size_t>(i)]);
  }
  if (!shape.last) return bytes;
  if (plan.head) return bytes + models::stored_bytes(plan.head->matrix);
  return bytes + (shape.first ? 0 : models::stored_bytes(plan.embedding));
}

}  // namespace

Result<cuda::ModelShape> cuda_shape(const models::Architecture& model,
                                    const models::ModelPlan& plan, LayerRange range) {
  std::string reason = why_not_wiring(model, range);
  const bool last = range.last == model.layer_count;
  if (reason.empty()) reason = why_not_format(plan, range, last);
  if (!reason.empty()) return invalid(std::move(reason));
  const auto& attention = std::get<models::GroupedAttention>(model.attention);
  cuda::ModelShape shape;
  shape.layers = range.last - range.first;
  shape.hidden = model.hidden;
  shape.inner = model.mlp.width;
  if (has_experts(model, range)) {
    shape.inner = model.moe->width;
    shape.experts = model.moe->router.experts;
    shape.top_k = model.moe->router.top_k;
  }
  shape.heads = attention.heads;
  shape.kv_heads = attention.kv_heads;
  shape.head_dim = attention.head_dim;
  shape.vocabulary = model.vocabulary;
  shape.head_norms = attention.head_norms;
  shape.first = range.first == 0;
  shape.last = last;
  shape.epsilon = model.norm_epsilon;
  shape.scale = attention.scale;
  const auto rope = model.layers[static_cast<std::size_t>(range.first)].rope;
  shape.frequency = model.ropes[static_cast<std::size_t>(rope)].inverse_frequency;
  reason = cuda::why_not(shape);
  if (!reason.empty()) return invalid(std::move(reason));
  return shape;
}

Status load_weights(cuda::Executor& executor, weights::WeightFolder& folder,
                    const models::ModelPlan& plan, LayerRange range, const cuda::ModelShape& shape,
                    const models::LoadProgress& progress) {
  const std::uint64_t total = stored_bytes_of(plan, range, shape);
  std::uint64_t done = 0;
  const auto advance = [&](std::uint64_t bytes) {
    done = std::min(total, done + bytes);
    if (progress) progress(done, total);
  };
  if (shape.first) {
    Gathered table;
    Status status = table.add(folder, plan.embedding);
    if (status.ok()) status = executor.set_embedding(table.rows().front());
    if (!status.ok()) return status;
    advance(models::stored_bytes(plan.embedding));
  }
  for (int i = range.first; i < range.last; ++i) {
    const models::LayerPlan& layer = plan.layers[static_cast<std::size_t>(i)];
    if (Status status = load_layer(executor, folder, layer); !status.ok()) return status;
    advance(models::stored_bytes(layer));
  }
  if (shape.last) {
    Status status = load_head(executor, folder, plan, shape.first);
    if (!status.ok()) return status;
  }
  advance(total);
  return executor.finish_loading();
}

}  // namespace tandem::stage
