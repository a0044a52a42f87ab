#include "models/model_bytes.h"

#include <algorithm>
#include <cstddef>
#include <utility>
#include <variant>

#include "base/pages.h"
#include "kernels/cpu/tiles.h"
#include "models/architecture.h"
#include "models/decoder.h"
#include "models/layer.h"
#include "models/loading/model_plan.h"

namespace tandem::models {
namespace {

using Bytes = std::uint64_t;

Bytes elements(const MatrixPlan& plan) {
  return static_cast<Bytes>(plan.count) * static_cast<Bytes>(plan.rows) *
         static_cast<Bytes>(plan.cols);
}

bool quantized(const MatrixPlan& plan) {
  return plan.sources.front().format.kind == Format::Kind::kQuantized;
}

/// The type of a matrix that comes out dense.
DType dense_dtype(const MatrixPlan& plan, kernels::Activations activations) {
  const Format& format = plan.sources.front().format;
  if (format.kind == Format::Kind::kFp8) return DType::kBF16;
  if (format.kind == Format::Kind::kDense) return format.dtype;
  return activations == kernels::Activations::kF32 ? DType::kF32 : DType::kBF16;
}

/// In tiles, or as MLX multiplies with it.
Bytes held_bytes(const MatrixPlan& plan, const ComputeKind& kind) {
  const bool dense = !quantized(plan) || plan.transposed;
  if (!kind.tiles) {
    return dense ? elements(plan) * size_of(dense_dtype(plan, kind.activations))
                 : stored_bytes(plan);
  }
  kernels::TileMatrix shape;
  shape.rows = plan.rows;
  shape.cols = plan.cols;
  const Format& format = plan.sources.front().format;
  shape.format =
      kernels::element_format(dense ? nullptr : &format.quantization,
                              dense ? dense_dtype(plan, kind.activations) : format.dtype);
  const Bytes bytes = static_cast<Bytes>(plan.count) *
                      static_cast<Bytes>(kernels::tile_count(plan.rows)) *
                      kernels::tile_bytes(shape);
  // Pages are huge where they can be, and then the last one is whole.
  const Bytes page = bytes < kHugePage ? 4096 : kHugePage;
  return (bytes + page - 1) / page * page;
}

bool one_tensor(const MatrixPlan& plan) {
  if (plan.sources.size() != 1 || plan.pieces.size() != 1) return false;
  const Source& source = plan.sources.front();
  return plan.pieces.front().rows == source.count * source.rows;
}

/// The most that gather() holds on top of the folder's own pages, which the system takes back at
/// will: copies of pieces, and the steps from a quantized matrix to a turned dense one.
Bytes loading_bytes(const MatrixPlan& plan, const ComputeKind& kind) {
  const bool fp8 = plan.sources.front().format.kind == Format::Kind::kFp8;
  const Bytes dense = elements(plan) * size_of(dense_dtype(plan, kind.activations));
  Bytes bytes = one_tensor(plan) && !fp8 ? 0 : stored_bytes(plan) * (fp8 ? 2 : 1);
  if (plan.transposed && quantized(plan)) {
    // The dense bytes grow by doubling, next to one matrix in float32.
    bytes += std::max(3 * dense + 4 * elements(plan) / static_cast<Bytes>(plan.count), 2 * dense);
  } else if (plan.transposed) {
    bytes += dense;
  }
  // Without a unified memory MLX copies what it is given.
  if (!kind.tiles) bytes += held_bytes(plan, kind);
  return bytes;
}

void add(PartBytes& part, const MatrixPlan& plan, const ComputeKind& kind) {
  part.held += held_bytes(plan, kind);
  part.loading = std::max(part.loading, loading_bytes(plan, kind));
}

DType activation_type(const ComputeKind& kind) {
  return kind.activations == kernels::Activations::kBF16 ? DType::kBF16 : DType::kF32;
}

/// Of a layer with attention.
kernels::KvSpec kv_spec(const Architecture& model, DType type) {
  if (const auto* spec = std::get_if<GroupedAttention>(&model.attention)) {
    return {spec->kv_heads, spec->head_dim, spec->head_dim, false, type};
  }
  const auto& latent = std::get<LatentAttention>(model.attention);
  return {1, latent.kv_rank + latent.rope_dim, latent.kv_rank, true, type};
}

/// Elements between operations that a gated delta net has at once, for a row: queries, keys and
/// values before and after the convolution, z, what the rule makes and what its norm does.
Bytes delta_row(const Architecture& model) {
  if (!model.delta) return 0;
  const GatedDelta& spec = *model.delta;
  const auto values = static_cast<Bytes>(spec.heads * spec.value_dim);
  return 4 * static_cast<Bytes>(spec.key_heads * spec.key_dim) + 5 * values +
         4 * static_cast<Bytes>(spec.heads);
}

/// The same of attention.
Bytes attention_row(const Architecture& model) {
  if (const auto* spec = std::get_if<GroupedAttention>(&model.attention)) {
    const auto q = static_cast<Bytes>(spec->heads * spec->head_dim);
    const auto kv = static_cast<Bytes>(spec->kv_heads * spec->head_dim);
    return (spec->gated ? 6 : 3) * q + 4 * kv;
  }
  const auto& spec = std::get<LatentAttention>(model.attention);
  const int latent = spec.heads * (2 * spec.kv_rank + spec.rope_dim);
  const int query = 2 * spec.heads * (spec.nope_dim + spec.rope_dim) + spec.q_rank;
  const int value = spec.heads * spec.value_dim;
  return static_cast<Bytes>(latent + query + value + 2 * (spec.kv_rank + spec.rope_dim));
}

/// The same of a feed-forward part.
Bytes feed_forward_row(const Architecture& model) {
  const auto dense = 3 * static_cast<Bytes>(model.mlp.width);
  if (!model.moe) return dense;
  const MoeSpec& moe = *model.moe;
  const auto routed =
      static_cast<Bytes>(moe.router.top_k) * static_cast<Bytes>(3 * moe.width + 2 * model.hidden);
  const auto shared = static_cast<Bytes>(3 * moe.shared_width + 2 * moe.router.experts);
  return std::max(dense, routed + shared);
}

/// Attention's products of queries, keys and values, a row and token that it sees.
double depth_flops(const Architecture& model) {
  if (const auto* spec = std::get_if<GroupedAttention>(&model.attention)) {
    return 4.0 * spec->heads * spec->head_dim;
  }
  const auto& spec = std::get<LatentAttention>(model.attention);
  return 2.0 * spec.heads * (2 * spec.kv_rank + spec.rope_dim);
}

/// Of a row: the convolution; decay, S k, S + u k^T and S q of each matrix.
double delta_flops(const GatedDelta& spec) {
  const double channels = 2.0 * spec.key_heads * spec.key_dim + 1.0 * spec.heads * spec.value_dim;
  return 2 * spec.taps * channels + 7.0 * spec.heads * spec.key_dim * spec.value_dim;
}

double flops(const MatrixPlan& plan) { return 2.0 * static_cast<double>(elements(plan)); }

LayerWork work_of(const LayerPlan& layer, const LayerSpec& spec, const Architecture& model,
                  const ComputeKind& kind) {
  LayerWork work;
  each_matrix(layer, [&](const MatrixPlan& matrix) {
    work.read += held_bytes(matrix, kind);
    work.flops += flops(matrix);
  });
  if (spec.recurrent) {
    work.flops += delta_flops(*model.delta);
  } else {
    work.depth_flops = depth_flops(model);
  }
  if (kind.tiles && !spec.recurrent) {
    work.window = static_cast<std::uint32_t>(spec.window);
    work.kv_page_8bit = kernels::kv_page_bytes(kv_spec(model, DType::kI8));
  }
  const auto* routed = std::get_if<MoeBlock::Plan>(&layer.mlp);
  if (routed == nullptr || !model.moe) return work;
  work.experts = model.moe->router.experts;
  work.chosen = model.moe->router.top_k;
  for (const MatrixPlan* stack : {&routed->gate, &routed->up, &routed->down}) {
    const Bytes bytes = held_bytes(*stack, kind);
    work.expert += bytes / static_cast<Bytes>(work.experts);
    work.read -= bytes;
    work.flops -= flops(*stack) * (1 - static_cast<double>(work.chosen) / work.experts);
  }
  return work;
}

ModelBytes bytes_of(const Architecture& model, const ModelPlan& plan, const ComputeKind& kind) {
  const auto kv_type =
      kind.kv_type.value_or(usual_kv_type(kind.activations, plan.attention_type()));
  ModelBytes out;
  for (std::size_t i = 0; i < plan.layers.size(); ++i) {
    const LayerPlan& layer = plan.layers[i];
    PartBytes part;
    each_matrix(layer, [&](const MatrixPlan& matrix) { add(part, matrix, kind); });
    out.layers.push_back(part);
    const bool recurrent = model.layers[i].recurrent;
    out.kv_page.push_back(recurrent ? 0 : kernels::kv_page_bytes(kv_spec(model, kv_type)));
    out.state.push_back(
        recurrent ? kernels::page_bytes(state_of(*model.delta, activation_type(kind))) : 0);
    out.work.push_back(work_of(layer, model.layers[i], model, kind));
  }
  add(out.embedding, plan.embedding, kind);
  out.tied = !plan.head;
  if (plan.head) {
    add(out.head, plan.head->matrix, kind);
  } else {
    out.head = out.embedding;
  }
  out.head_flops = flops(plan.embedding);  // of the same shape
  const Bytes element = size_of(activation_type(kind));
  const auto hidden = static_cast<Bytes>(model.hidden);
  // The residual, its norm, their successors, and a frame's copies where there are further ranks.
  out.step_row =
      element *
      (8 * hidden + std::max({attention_row(model), delta_row(model), feed_forward_row(model)}));
  out.logits_row = 4 * static_cast<Bytes>(model.vocabulary);
  out.hidden_row = element * hidden;
  return out;
}

}  // namespace

MemoryNeeds needs_of(const ModelBytes& model, LayerRange range, std::uint64_t rows) {
  MemoryNeeds needs;
  const auto add_part = [&](const PartBytes& part) {
    needs.weights += part.held;
    needs.loading = std::max(needs.loading, part.loading);
  };
  for (int i = range.first; i < range.last; ++i) {
    add_part(model.layers[static_cast<std::size_t>(i)]);
    needs.kv_page += model.kv_page[static_cast<std::size_t>(i)];
    needs.state += model.state[static_cast<std::size_t>(i)];
  }
  const bool first = range.first == 0;
  const bool last = range.last == static_cast<int>(model.layers.size());
  if (first && !(last && model.tied)) add_part(model.embedding);
  if (last) add_part(model.head);
  needs.step = rows * model.step_row;
  // The logits of some rows at once, thrice while the head makes them (150 scored rows of 16,000
  // words were measured to take 28 MB), and the sampler's copies of one row.
  if (last) {
    needs.step +=
        std::max(model.logits_row, 3 * std::min(kLogitsBytesMax, rows * model.logits_row));
    needs.step += 4 * model.logits_row;
  }
  return needs;
}

Result<ModelBytes> model_bytes(const config::ModelConfig& config, weights::WeightFolder& folder,
                               const ComputeKind& kind) {
  const auto model = architecture_of(config);
  if (!model) return model.error();
  auto plan = plan_model(config, folder, *model);
  if (!plan) return plan.error();
  if (Status status = drop_equal_head(*plan, folder); !status.ok()) return status.error();
  return bytes_of(*model, *plan, kind);
}

Result<ModelBytes> model_bytes(const config::ModelConfig& config, const ComputeKind& kind) {
  const auto model = architecture_of(config);
  if (!model) return model.error();
  const auto plan = plan_model(config, *model);
  if (!plan) return plan.error();
  return bytes_of(*model, *plan, kind);
}

}  // namespace tandem::models
