#include "cuda/executor/executor.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"
#include "cuda/program.h"

namespace tandem::cuda {
namespace {

/// Of the sums that attention over long contexts leaves to be joined.
constexpr std::size_t kPartialBytes = std::size_t{256} << 20;

/// Where element i of a row lies in a prepared one: see rows.cuh.
std::size_t prepared_place(std::size_t i) {
  const std::size_t half = i % 4 / 2;
  const std::size_t pair = i % 2;
  const std::size_t in_pair = i % 16 / 8 * 2 + i % 8 / 4;
  return ((i / 64 * 2 + half) * 4 + i % 64 / 16) * 8 + pair * 4 + in_pair;
}

Status allocate(const Device& device, std::size_t bytes, Memory& to) {
  auto memory = Memory::allocate(device, bytes);
  if (!memory.ok()) return memory.error();
  to = *std::move(memory);
  return {};
}

template <class T>
Status upload_values(const Device& device, std::span<const T> values, Memory& to) {
  if (Status status = allocate(device, values.size_bytes(), to); !status.ok()) return status;
  Status status = device.copy_to_device(to.address(), std::as_bytes(values));
  return status.ok() ? device.wait() : status;
}

}  // namespace

Result<std::unique_ptr<Device>> Executor::usable_device() {
  auto device = Device::open();
  if (!device.ok()) return device;
  if ((*device)->capability() / 10 * 10 != kProgramCapability) {
    return Error{ErrorCode::kUnavailable,
                 fmt::format("GPU: the kernels are for compute capability 9, {} has {}",
                             (*device)->name(), (*device)->capability() / 10)};
  }
  if (program().cubin.empty()) {
    return Error{ErrorCode::kUnavailable,
                 "GPU: this binary was built without the kernels for it (tools/setup/setup.sh "
                 "brings their compiler)"};
  }
  return device;
}

Executor::Executor(std::unique_ptr<Device> device, const ModelShape& shape)
    : device_(std::move(device)), shape_(shape) {}

Executor::~Executor() {
  // Whatever thread this is, memory is freed on the device. There is nobody to tell of a failure.
  if (device_->use().ok()) static_cast<void>(device_->wait().ok());
}

Result<std::unique_ptr<Executor>> Executor::create(std::unique_ptr<Device> device,
                                                   const ModelShape& shape,
                                                   std::uint64_t kv_bytes_most) {
  if (const std::string reason = why_not(shape); !reason.empty()) return invalid("GPU: " + reason);
  std::unique_ptr<Executor> executor(new Executor(std::move(device), shape));
  const Device& on = *executor->device_;
  auto kernels = Kernels::load(on, shape);
  if (!kernels.ok()) return kernels.error();
  executor->kernels_ = *std::move(kernels);
  executor->loader_ = std::make_unique<Loader>(on, executor->kernels_.repack);
  // A tick that frees blocks and takes others has both for a moment.
  auto kv = GrowingMemory::reserve(on, 2 * kv_bytes_most + executor->block_bytes());
  if (!kv.ok()) return kv.error();
  executor->kv_ = *std::move(kv);
  if (Status status = executor->make_room(); !status.ok()) return status.error();
  return executor;
}

Status Executor::make_room() {
  constexpr std::size_t kRows = kManyMost;
  const auto hidden = static_cast<std::size_t>(shape_.hidden);
  const auto inner = static_cast<std::size_t>(shape_.inner);
  const auto width = static_cast<std::size_t>(shape_.attention_width());
  const auto widest = static_cast<std::size_t>(shape_.widest());
  const auto experts = static_cast<std::size_t>(shape_.experts);
  const std::size_t pairs = experts > 0 ? kRows * static_cast<std::size_t>(shape_.top_k) : 0;
  const auto vocabulary = static_cast<std::size_t>(shape_.last ? shape_.vocabulary : 1);
  const std::pair<Memory*, std::size_t> wanted[] = {
      {&room_.q, kRows * width * sizeof(u16)},
      {&room_.mixed, kRows * width * sizeof(u16)},
      {&room_.inner, std::max(kRows, pairs) * inner * sizeof(u16)},
      {&room_.picked, kRowsMost * hidden * sizeof(u16)},
      {&room_.turns, kRows * kHeadDim / 2 * 2 * sizeof(float)},
      {&room_.slots, kRows * sizeof(int)},
      {&room_.prepared, kRows * widest * sizeof(u16)},
      {&room_.sums, kRows * widest / 64 * sizeof(float)},
      {&room_.partial, kPartialBytes},
      {&room_.weights, kPartialBytes / kHeadDim * 2},
      {&room_.arrived, kRows * static_cast<std::size_t>(shape_.kv_heads) * sizeof(int)},
      {&room_.logits, kRowsMost * vocabulary * sizeof(float)},
      {&room_.choices, static_cast<std::size_t>(device_->multiprocessors()) * sizeof(Choice)},
      {&room_.draws, kRowsMost * sizeof(DrawArgs)},
      {&room_.summaries, kRowsMost * sizeof(Summary)},
      {&room_.summary_parts, kRowsMost * kSummaryBlocks * sizeof(SummaryPart)},
      {&room_.barrier, sizeof(u64)},
      {&room_.router_logits, kRows * experts * sizeof(float)},
      {&room_.expert_ids, pairs * sizeof(int)},
      {&room_.expert_weights, pairs * sizeof(float)},
      {&room_.y, pairs * hidden * sizeof(float)},
      {&room_.pairs, pairs * sizeof(int)},
      {&room_.expert_tiles,
       static_cast<std::size_t>(tiles_most(static_cast<int>(pairs), shape_.experts)) *
           sizeof(ExpertTile)},
      {&room_.tile_count, sizeof(int)}};
  for (const auto& [memory, bytes] : wanted) {
    if (Status status = allocate(*device_, bytes, *memory); !status.ok()) return status;
  }
  auto logits = HostMemory::allocate(*device_, kRowsMost * vocabulary * sizeof(float));
  if (!logits.ok()) return logits.error();
  room_.host_logits = *std::move(logits);
  auto summaries = HostMemory::allocate(*device_, kRowsMost * sizeof(Summary));
  if (!summaries.ok()) return summaries.error();
  room_.host_summaries = *std::move(summaries);
  for (const Memory* counter : {&room_.arrived, &room_.barrier}) {
    Status status = device_->fill(counter->address(), 0, counter->bytes());
    if (!status.ok()) return status;
  }
  return upload_values(*device_, std::span<const float>(shape_.frequency), frequency_);
}

Result<PackedMatrix> Executor::pack(std::span<const StoredRows> parts, int cols, TileOrder order) {
  auto packed = loader_->pack(parts, cols, order);
  if (packed.ok()) weight_bytes_ += packed->memory.bytes();
  return packed;
}

Status Executor::add_layer(const LayerSource& source) {
  Layer layer;
  struct Part {
    std::span<const StoredRows> rows;
    int cols;
    TileOrder order;
    PackedMatrix* to;
  };
  const Part parts[] = {{source.qkv, shape_.hidden, TileOrder::kHalvesOfHeads, &layer.qkv},
                        {{&source.out, 1}, shape_.attention_width(), TileOrder::kRun, &layer.out},
                        {source.gate_up, shape_.hidden, TileOrder::kGateAndUp, &layer.gate_up},
                        {{&source.down, 1}, shape_.inner, TileOrder::kRun, &layer.down}};
  for (const Part& part : parts) {
    auto packed = pack(part.rows, part.cols, part.order);
    if (!packed.ok()) return packed.error();
    *part.to = *std::move(packed);
  }
  if (shape_.experts > 0) take_experts(source.router, layer);
  const auto append = [](std::vector<std::uint16_t>& to, std::span<const float> values) {
    const auto rounded = to_bf16(values);
    to.insert(to.end(), rounded.begin(), rounded.end());
  };
  append(norm_values_, source.input_norm);
  append(norm_values_, source.mlp_norm);
  append(head_norm_values_, source.q_norm);
  append(head_norm_values_, source.k_norm);
  layers_.push_back(std::move(layer));
  return {};
}

void Executor::take_experts(std::span<const float> router, Layer& layer) {
  expert_bytes_ += layer.gate_up.memory.bytes() + layer.down.memory.bytes();
  for (Weights* of_one : {&layer.gate_up.weights, &layer.down.weights}) {
    of_one->tiles /= shape_.experts;
  }
  layer.gate_up.weights.per = layer.gate_up.weights.tiles;
  const auto hidden = static_cast<std::size_t>(shape_.hidden);
  check(router.size() == hidden * static_cast<std::size_t>(shape_.experts),
        "a router has a row for each expert");
  const auto values = to_bf16(router);
  const std::size_t before = router_values_.size();
  router_values_.resize(before + values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    router_values_[before + i / hidden * hidden + prepared_place(i % hidden)] = values[i];
  }
}

Status Executor::set_embedding(const StoredRows& table) {
  auto packed = pack({&table, 1}, shape_.hidden, TileOrder::kRun);
  if (!packed.ok()) return packed.error();
  embedding_ = *std::move(packed);
  return {};
}

Status Executor::set_head(const StoredRows* head, std::span<const float> final_norm) {
  check(layers_.size() == static_cast<std::size_t>(shape_.layers),
        "the head comes after all layers");
  const auto rounded = to_bf16(final_norm);
  norm_values_.insert(norm_values_.end(), rounded.begin(), rounded.end());
  head_weights_ = embedding_.weights;
  if (head == nullptr) return {};
  auto packed = pack({head, 1}, shape_.hidden, TileOrder::kRun);
  if (!packed.ok()) return packed.error();
  head_ = *std::move(packed);
  head_weights_ = head_.weights;
  return {};
}

Status Executor::finish_loading() {
  loader_.reset();
  Status status = upload_values(*device_, std::span<const std::uint16_t>(norm_values_), norms_);
  if (status.ok() && shape_.head_norms) {
    status =
        upload_values(*device_, std::span<const std::uint16_t>(head_norm_values_), head_norms_);
  }
  if (status.ok() && shape_.experts > 0) {
    status = upload_values(*device_, std::span<const std::uint16_t>(router_values_), routers_);
  }
  if (!status.ok()) return status;
  weight_bytes_ += norms_.bytes() + head_norms_.bytes() + routers_.bytes();
  norm_values_ = {};
  router_values_ = {};
  head_norm_values_ = {};
  return make_decode_lists();
}

Status Executor::make_decode_lists() {
  can_decode_ =
      shape_.first && shape_.last &&
      decode_shared_bytes() + kernels_.decode_static_bytes <= device_->shared_bytes_most();
  if (!can_decode_) return {};
  std::vector<Weights> matrices;
  std::vector<DecodeLayer> layers;
  for (int i = 0; i < shape_.layers; ++i) {
    const Layer& layer = layers_[static_cast<std::size_t>(i)];
    for (const PackedMatrix* each : {&layer.qkv, &layer.out, &layer.gate_up, &layer.down}) {
      matrices.push_back(each->weights);
    }
    layers.push_back({{norm(2 * i), norm(2 * i + 1)}, pages(i)});
  }
  matrices.push_back(head_weights_);
  const u16* last = norm(2 * shape_.layers);
  layers.push_back({{last, last}, nullptr});
  Status status = upload_values(*device_, std::span<const Weights>(matrices), matrices_);
  if (!status.ok()) return status;
  return upload_values(*device_, std::span<const DecodeLayer>(layers), decode_layers_);
}

std::uint64_t Executor::token_bytes() const {
  std::uint64_t bytes = weight_bytes_;
  if (shape_.experts > 0) {
    bytes -= expert_bytes_ / static_cast<std::uint64_t>(shape_.experts) *
             static_cast<std::uint64_t>(shape_.experts - shape_.top_k);
  }
  if (!shape_.first || head_weights_.packed == embedding_.weights.packed) return bytes;
  return bytes - embedding_.memory.bytes();
}

int Executor::decode_shared_bytes() const {
  return decode_shared(shape_.layers, shape_.hidden / 64, shape_.widest() / 64,
                       shape_.heads / shape_.kv_heads);
}

const uint4* Executor::router(int layer) const {
  const std::size_t bytes =
      static_cast<std::size_t>(shape_.experts) * shape_.hidden * sizeof(std::uint16_t);
  return reinterpret_cast<const uint4*>(routers_.address() +
                                        static_cast<std::size_t>(layer) * bytes);
}

u16* Executor::pages(int layer) const {
  return reinterpret_cast<u16*>(kv_.address() +
                                static_cast<std::size_t>(layer) * shape_.page_bytes());
}

const u16* Executor::norm(int index) const {
  return norms_.as<const u16>() + static_cast<std::size_t>(index) * shape_.hidden;
}

int Executor::splits_of(int positions) const { return (positions + kSplit - 1) / kSplit; }

int Executor::rows_at_once(int splits) const {
  const std::size_t row =
      static_cast<std::size_t>(splits) * shape_.attention_width() * sizeof(float);
  const int most = static_cast<int>(std::clamp<std::size_t>(kPartialBytes / row, 1, kManyMost));
  return most < kWideColumns ? most : most / kWideColumns * kWideColumns;
}

}  // namespace tandem::cuda
