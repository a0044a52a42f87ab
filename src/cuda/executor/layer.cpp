// A layer of a step of several rows: see executor.h.
#include <algorithm>

#include "cuda/executor/executor.h"

namespace tandem::cuda {

Status Executor::attend(int index, const StepArgs& step, int count, int splits) {
  const Layer& layer = layers_[static_cast<std::size_t>(index)];
  const KvWrite kv{pages(index), step.slots, step.turns};
  const RopeToPagesArgs rope{room_.q.as<u16>(), kv, shape_.heads, shape_.kv_heads,
                             !shape_.head_norms};
  Status status = multiply(*device_, kernels_, Product::kQkv, layer.qkv.weights,
                           {step.x, norm(2 * index), shape_.epsilon, shape_.hidden / 64}, count,
                           prepared(), rope);
  if (status.ok() && shape_.head_norms) {
    const u16* norms = head_norms_.as<const u16>() + static_cast<std::size_t>(index) * 2 * kHeadDim;
    const TurnHeadsArgs args{room_.q.as<u16>(), kv, norms, count, shape_.heads, shape_.kv_heads,
                             shape_.epsilon};
    constexpr int kHeadsOfBlock = kWarps * 8;
    const int items = count * (shape_.heads + shape_.kv_heads);
    status = kernels_.turn_heads(
        Grid{.x = (items + kHeadsOfBlock - 1) / kHeadsOfBlock, .threads = kThreads},
        Order::kDependent, args);
  }
  if (!status.ok()) return status;
  AttentionArgs attention = attention_args(step);
  attention.pages = pages(index);
  for (const Segment& segment : segments_) {
    if (status.ok()) status = attend_segment(attention, segment, splits);
  }
  if (!status.ok()) return status;
  return multiply(*device_, kernels_, Product::kResidual, layer.out.weights,
                  {room_.mixed.as<const u16>(), nullptr, 0, shape_.attention_width() / 64}, count,
                  prepared(), AddResidualArgs{step.x, shape_.hidden});
}

Status Executor::attend_segment(const AttentionArgs& of_all, const Segment& segment, int splits) {
  AttentionArgs args = of_all;
  const auto first = static_cast<std::size_t>(segment.first);
  args.q += first * shape_.attention_width();
  args.out += first * shape_.attention_width();
  args.table += first * args.table_stride;
  args.positions += segment.first;
  args.turns =
      reinterpret_cast<const float2*>(room_.turns.address() + first * kHeadDim * sizeof(float));
  if (!segment.many) {
    return kernels_.attention(Grid{.x = splits,
                                   .y = shape_.kv_heads,
                                   .z = segment.count,
                                   .threads = kAttentionThreads,
                                   .shared_bytes = kAttentionThreads / 32 * args.group * kHeadDim *
                                                   static_cast<int>(sizeof(float))},
                              Order::kDependent, args);
  }
  const int rows_of_block = kManyAttentionThreads / 32 * (16 / args.group);
  Status status =
      kernels_.attention_many(Grid{.x = splits,
                                   .y = shape_.kv_heads,
                                   .z = (segment.count + rows_of_block - 1) / rows_of_block,
                                   .threads = kManyAttentionThreads,
                                   .shared_bytes = kManyAttentionShared},
                              Order::kDependent, args, segment.count);
  if (!status.ok() || splits == 1) return status;
  return kernels_.join_many(Grid{.x = segment.count, .y = shape_.kv_heads, .threads = kJoinThreads},
                            Order::kDependent, args, splits);
}

Status Executor::dense_mlp(int index, const StepArgs& step, int count) {
  const Layer& layer = layers_[static_cast<std::size_t>(index)];
  u16* inner = room_.inner.as<u16>();
  Status status = multiply(*device_, kernels_, Product::kGateUp, layer.gate_up.weights,
                           {step.x, norm(2 * index + 1), shape_.epsilon, shape_.hidden / 64}, count,
                           prepared(), SwiGluArgs{inner});
  if (!status.ok()) return status;
  return multiply(*device_, kernels_, Product::kResidual, layer.down.weights,
                  {inner, nullptr, 0, shape_.inner / 64}, count, prepared(),
                  AddResidualArgs{step.x, shape_.hidden});
}

Status Executor::experts(int index, const StepArgs& step, int count) {
  const Layer& layer = layers_[static_cast<std::size_t>(index)];
  const bool many = count > kRowsMost;
  const RouterArgs route{{step.x, norm(2 * index + 1), shape_.epsilon, shape_.hidden / 64},
                         router(index),
                         shape_.experts,
                         room_.prepared.as<uint4>(),
                         room_.sums.as<float>(),
                         room_.router_logits.as<float>(),
                         many};
  Status status = kernels_.experts.route(Grid{.x = (shape_.experts + kWarps - 1) / kWarps,
                                              .y = count,
                                              .threads = kThreads,
                                              .shared_bytes = router_shared(shape_.hidden / 64)},
                                         Order::kDependent, route);
  if (status.ok()) status = many ? many_experts(layer, count) : few_experts(layer, count);
  if (!status.ok()) return status;
  return kernels_.experts.combine(Grid{.x = count, .threads = kThreads}, Order::kDependent,
                                  room_.y.as<const float>(), room_.expert_weights.as<const float>(),
                                  shape_.top_k, shape_.hidden, step.x);
}

/// Of rows [first, first + count), first a multiple of 8, which come prepared.
ExpertTokens Executor::expert_tokens(int first, int count) const {
  const int pairs = first * shape_.top_k;
  ExpertTokens tokens;
  tokens.rows = count;
  tokens.top_k = shape_.top_k;
  tokens.experts = shape_.experts;
  tokens.prepared = reinterpret_cast<const uint4*>(
      room_.prepared.address() + static_cast<std::size_t>(first) * shape_.hidden * sizeof(u16));
  tokens.sums = room_.sums.as<const float>() + static_cast<std::size_t>(first) * shape_.hidden / 64;
  tokens.logits = room_.router_logits.as<const float>() + first * shape_.experts;
  tokens.ids = room_.expert_ids.as<int>() + pairs;
  tokens.weights = room_.expert_weights.as<float>() + pairs;
  return tokens;
}

Status Executor::few_experts(const Layer& layer, int count) {
  const Grid grid{
      .x = device_->multiprocessors(), .threads = kThreads, .shared_bytes = experts_shared()};
  const auto inner = static_cast<std::size_t>(shape_.inner);
  Status status;
  for (int first = 0; first < count && status.ok(); first += kExpertTokens) {
    const auto pairs = static_cast<std::size_t>(first * shape_.top_k);
    status = kernels_.experts.gate_up(grid, Order::kDependent, layer.gate_up.weights,
                                      expert_tokens(first, std::min(kExpertTokens, count - first)),
                                      kWarps, SwiGluArgs{room_.inner.as<u16>() + pairs * inner});
  }
  const Rows rows{room_.inner.as<const u16>(), nullptr, 0, shape_.inner / 64};
  if (status.ok()) {
    status =
        kernels_.prepare(Grid{.x = count * shape_.top_k, .threads = kThreads}, Order::kDependent,
                         rows, room_.prepared.as<uint4>(), room_.sums.as<float>());
  }
  for (int first = 0; first < count && status.ok(); first += kExpertTokens) {
    const auto pairs = static_cast<std::size_t>(first * shape_.top_k);
    ExpertTokens tokens = expert_tokens(first, std::min(kExpertTokens, count - first));
    tokens.by_pair = true;
    tokens.prepared =
        reinterpret_cast<const uint4*>(room_.prepared.address() + pairs * inner * sizeof(u16));
    tokens.sums = room_.sums.as<const float>() + pairs * inner / 64;
    tokens.logits = nullptr;
    float* y = room_.y.as<float>() + pairs * static_cast<std::size_t>(shape_.hidden);
    status = kernels_.experts.down(grid, Order::kDependent, layer.down.weights, tokens,
                                   kWarps / shape_.top_k, StoreFloatArgs{y, shape_.hidden});
  }
  return status;
}

Status Executor::many_experts(const Layer& layer, int count) {
  const int pairs = count * shape_.top_k;
  Status status = kernels_.experts.choose(
      Grid{.x = (count + kWarps - 1) / kWarps, .threads = kThreads}, Order::kDependent,
      room_.router_logits.as<const float>(), count, shape_.experts, shape_.top_k,
      room_.expert_ids.as<int>(), room_.expert_weights.as<float>());
  if (status.ok()) {
    const ListPairsArgs list{room_.expert_ids.as<const int>(),
                             pairs,
                             shape_.experts,
                             room_.pairs.as<int>(),
                             room_.expert_tiles.as<ExpertTile>(),
                             room_.tile_count.as<int>()};
    status = kernels_.experts.list_pairs(Grid{.threads = kThreads}, Order::kDependent, list);
  }
  if (!status.ok()) return status;
  const Grid grid{.x = device_->multiprocessors(),
                  .threads = kWideThreads,
                  .shared_bytes = wide_shared(kWideExpertColumns)};
  ManyTokens tokens{.prepared = room_.prepared.as<const uint4>(),
                    .sums = room_.sums.as<const float>(),
                    .rows = count,
                    .parts = kWarps,
                    .tiles = room_.expert_tiles.as<const ExpertTile>(),
                    .tile_count = room_.tile_count.as<const int>(),
                    .pairs = room_.pairs.as<const int>(),
                    .pairs_a_row = shape_.top_k};
  status = kernels_.experts.gate_up_many(grid, Order::kDependent, layer.gate_up.weights, tokens,
                                         SwiGluArgs{room_.inner.as<u16>()});
  const Rows inner{room_.inner.as<const u16>(), nullptr, 0, shape_.inner / 64};
  if (status.ok()) {
    status = kernels_.prepare_many(Grid{.x = pairs, .threads = kThreads}, Order::kDependent, inner,
                                   room_.prepared.as<uint4>(), room_.sums.as<float>(), 1);
  }
  if (!status.ok()) return status;
  tokens.parts = kWarps / shape_.top_k;
  tokens.pairs_a_row = 1;
  return kernels_.experts.down_many(grid, Order::kDependent, layer.down.weights, tokens,
                                    StoreFloatArgs{room_.y.as<float>(), shape_.hidden});
}

}  // namespace tandem::cuda
