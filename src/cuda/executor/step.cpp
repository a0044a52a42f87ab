// A step on the GPU: see executor.h.
#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "cuda/executor/executor.h"

namespace tandem::cuda {
namespace {

constexpr float kLog2E = 1.4426950408889634F;

/// A buffer for at least `bytes`, twice what there was where it has to grow.
template <class M>
Status ensure(const Device& device, M& buffer, std::size_t there, std::size_t bytes) {
  if (there >= bytes) return {};
  auto larger = M::allocate(device, std::max(bytes, 2 * there));
  if (!larger.ok()) return larger.error();
  buffer = *std::move(larger);
  return {};
}

}  // namespace

Status Executor::copy_blocks(std::span<const BlockCopy> copies) {
  if (copies.empty()) return {};
  if (Status status = device_->use(); !status.ok()) return status;
  const std::size_t bytes = block_bytes();
  for (const BlockCopy& each : copies) {
    const auto last = static_cast<std::size_t>(std::max(each.from, each.to)) + 1;
    if (Status status = kv_.grow_to(last * bytes); !status.ok()) return status;
    Status status =
        device_->copy(kv_.address() + static_cast<std::size_t>(each.to) * bytes,
                      kv_.address() + static_cast<std::size_t>(each.from) * bytes, bytes);
    if (!status.ok()) return status;
  }
  return {};
}

Status Executor::upload(std::span<const BatchRows> batch, std::span<const std::byte> hidden) {
  std::size_t rows = 0;
  std::size_t stride = 1;
  int block = 0;
  context_splits_ = 1;
  entry_rows_.clear();
  for (const BatchRows& each : batch) {
    rows += each.ids.size();
    entry_rows_.push_back(static_cast<int>(each.ids.size()));
    stride = std::max(stride, each.blocks.size());
    for (const int number : each.blocks) block = std::max(block, number);
    context_splits_ =
        std::max(context_splits_, splits_of(static_cast<int>(each.position + each.ids.size())));
  }
  if (Status status = kv_.grow_to((static_cast<std::size_t>(block) + 1) * block_bytes());
      !status.ok()) {
    return status;
  }
  const std::size_t row_bytes = static_cast<std::size_t>(shape_.hidden) * sizeof(u16);
  const std::size_t bytes = rows * (2 + stride) * sizeof(int);
  // The last step's inputs may be on their way still.
  Status status = device_->wait();
  if (status.ok()) status = ensure(*device_, x_, x_.bytes(), rows * row_bytes);
  if (status.ok()) status = ensure(*device_, inputs_.device, inputs_.device.bytes(), bytes);
  if (status.ok()) status = ensure(*device_, inputs_.host, inputs_.host.bytes().size(), bytes);
  if (!status.ok()) return status;
  inputs_.rows = static_cast<int>(rows);
  inputs_.stride = static_cast<int>(stride);
  int* id = inputs_.host.as<int>();
  int* position = id + rows;
  int* table = position + rows;
  for (const BatchRows& each : batch) {
    for (std::size_t i = 0; i < each.ids.size(); ++i, table += stride) {
      *id++ = each.ids[i];
      *position++ = static_cast<int>(each.position + i);
      for (std::size_t page = 0; page < stride; ++page) {
        table[page] = page < each.blocks.size() ? each.blocks[page] * shape_.layers : 0;
      }
    }
  }
  status = device_->copy_to_device(inputs_.device.address(), inputs_.host.bytes().first(bytes));
  if (!status.ok() || hidden.empty()) return status;
  check(hidden.size() == rows * row_bytes, "hidden states have a row for each row of the step");
  return device_->copy_to_device(x_.address(), hidden);
}

Status Executor::forward(std::span<const BatchRows> batch, std::span<const std::byte> hidden) {
  check(shape_.first == hidden.empty(), "a range without embedding takes hidden states");
  if (Status status = device_->use(); !status.ok()) return status;
  if (Status status = upload(batch, hidden); !status.ok()) return status;
  decoded_ = inputs_.rows == 1 && can_decode_;
  if (decoded_) return decode();
  const int at_once = rows_at_once(context_splits_);
  for (int first = 0; first < inputs_.rows; first += at_once) {
    const int count = std::min(at_once, inputs_.rows - first);
    const int* positions = inputs_.host.as<int>() + inputs_.rows + first;
    const int splits = splits_of(*std::max_element(positions, positions + count) + 1);
    if (Status status = through_layers(first, count, splits); !status.ok()) return status;
  }
  return {};
}

StepArgs Executor::step_args(int first) const {
  StepArgs step{};
  step.ids = inputs_.ids() + first;
  step.positions = inputs_.positions() + first;
  step.table = inputs_.table() + static_cast<std::size_t>(first) * inputs_.stride;
  step.frequency = frequency_.as<const float>();
  step.x = x_.as<u16>() + static_cast<std::size_t>(first) * shape_.hidden;
  step.turns = room_.turns.as<float2>();
  step.slots = room_.slots.as<int>();
  step.table_stride = inputs_.stride;
  step.half = kHeadDim / 2;
  return step;
}

AttentionArgs Executor::attention_args(const StepArgs& step) const {
  AttentionArgs args{};
  args.q = room_.q.as<const u16>();
  args.table = step.table;
  args.positions = step.positions;
  args.out = room_.mixed.as<u16>();
  args.partial = room_.partial.as<float>();
  args.weights = room_.weights.as<float2>();
  args.arrived = room_.arrived.as<int>();
  args.table_stride = step.table_stride;
  args.kv_heads = shape_.kv_heads;
  args.group = shape_.heads / shape_.kv_heads;
  args.scale = shape_.scale * kLog2E;
  args.turns = step.turns;
  args.norms = head_norms_.as<const u16>();
  args.epsilon = shape_.epsilon;
  return args;
}

std::vector<Executor::Segment> Executor::segments(int first, int count) const {
  constexpr int kMany = 16;
  std::vector<Segment> found;
  int at = -first;  // relative to the rows that are asked for
  for (const int rows : entry_rows_) {
    const int begin = std::max(at, 0);
    const int end = std::min(at + rows, count);
    at += rows;
    if (begin >= end) continue;
    const bool many = end - begin >= kMany;
    if (found.empty() || found.back().many != many) found.push_back({begin, 0, many});
    found.back().count += end - begin;
  }
  return found;
}

Status Executor::through_layers(int first, int count, int splits) {
  segments_ = segments(first, count);
  const StepArgs step = step_args(first);
  const Grid grid{.x = count, .threads = kThreads};
  Status status = shape_.first ? kernels_.embed(grid, Order::kDependent, step, embedding_.weights)
                               : kernels_.place(grid, Order::kDependent, step);
  for (int i = 0; i < shape_.layers && status.ok(); ++i) status = one_layer(i, step, count, splits);
  return status;
}

Status Executor::one_layer(int index, const StepArgs& step, int count, int splits) {
  Status status = attend(index, step, count, splits);
  if (!status.ok()) return status;
  return shape_.experts > 0 ? experts(index, step, count) : dense_mlp(index, step, count);
}

Status Executor::decode() {
  DecodeArgs args{};
  args.matrices = matrices_.as<const Weights>();
  args.layers = decode_layers_.as<const DecodeLayer>();
  args.layer_count = shape_.layers;
  args.steps = 1;
  args.epsilon = shape_.epsilon;
  args.embedding = embedding_.weights;
  args.step = step_args(0);
  args.attention = attention_args(args.step);
  args.splits = context_splits_;
  args.q = room_.q.as<u16>();
  args.mixed = room_.mixed.as<u16>();
  args.inner = room_.inner.as<u16>();
  args.logits = room_.logits.as<float>();
  args.choices = room_.choices.as<Choice>();
  args.barrier = room_.barrier.as<u64>();
  if (shape_.experts > 0) {
    args.router = router(0);
    args.router_logits = room_.router_logits.as<float>();
    args.experts = shape_.experts;
    args.top_k = shape_.top_k;
  }
  return kernels_.decode(Grid{.x = device_->multiprocessors(),
                              .threads = kThreads,
                              .shared_bytes = decode_shared_bytes()},
                         Order::kCooperative, args);
}

Result<std::span<const Summary>> Executor::head(std::span<const std::int32_t> rows,
                                                std::span<const DrawArgs> draws) {
  check(shape_.last && rows.size() <= kRowsMost, "the last range has logits, of so many rows");
  check(draws.size() == rows.size(), "each row has its draw");
  if (Status status = device_->use(); !status.ok()) return status.error();
  const int count = static_cast<int>(rows.size());
  Status status;
  const std::size_t row_bytes = static_cast<std::size_t>(shape_.hidden) * sizeof(u16);
  for (std::size_t i = 0; i < rows.size() && !decoded_ && status.ok(); ++i) {
    status = device_->copy(room_.picked.address() + i * row_bytes,
                           x_.address() + static_cast<std::size_t>(rows[i]) * row_bytes, row_bytes);
  }
  if (status.ok() && !decoded_) {
    const Rows picked{room_.picked.as<const u16>(), norm(2 * shape_.layers), shape_.epsilon,
                      shape_.hidden / 64};
    status = multiply(*device_, kernels_, Product::kHead, head_weights_, picked, count, prepared(),
                      StoreFloatArgs{room_.logits.as<float>(), shape_.vocabulary});
  }
  if (status.ok()) status = device_->copy_to_device(room_.draws.address(), std::as_bytes(draws));
  if (status.ok()) {
    const SummarizeArgs args{room_.logits.as<const float>(),
                             room_.draws.as<const DrawArgs>(),
                             shape_.vocabulary,
                             room_.summary_parts.as<SummaryPart>(),
                             room_.arrived.as<int>(),
                             room_.summaries.as<Summary>()};
    status = kernels_.summarize(Grid{.x = kSummaryBlocks, .y = count, .threads = kThreads},
                                Order::kDependent, args);
  }
  const std::size_t bytes = rows.size() * sizeof(Summary);
  if (status.ok()) {
    status =
        device_->copy_to_host(room_.host_summaries.bytes().first(bytes), room_.summaries.address());
  }
  if (status.ok()) status = device_->wait();
  if (!status.ok()) return status.error();
  return std::span<const Summary>(room_.host_summaries.as<const Summary>(), rows.size());
}

Result<std::span<float>> Executor::logits(std::size_t first, std::size_t count) {
  const std::size_t row_bytes = static_cast<std::size_t>(shape_.vocabulary) * sizeof(float);
  const auto to = room_.host_logits.bytes().subspan(first * row_bytes, count * row_bytes);
  Status status = device_->copy_to_host(to, room_.logits.address() + first * row_bytes);
  if (status.ok()) status = device_->wait();
  if (!status.ok()) return status.error();
  return std::span<float>(reinterpret_cast<float*>(to.data()),
                          count * static_cast<std::size_t>(shape_.vocabulary));
}

Status Executor::hidden(std::span<std::byte> to) {
  if (Status status = device_->use(); !status.ok()) return status;
  if (Status status = device_->copy_to_host(to, x_.address()); !status.ok()) return status;
  return device_->wait();
}

}  // namespace tandem::cuda
