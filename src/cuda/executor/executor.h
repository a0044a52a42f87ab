#pragma once
// Runs a range of a model's layers on a GPU: weights and KV are there, rows and logits come
// and go.
//
// A step of one sequence through the whole model is one kernel (kernels/decode.cuh). Any other step
// goes through the layers up to 1,024 rows at a time, a kernel after the other, each starting
// before its predecessor ends: products of up to 64 rows as in product.cuh, of more as in wide.cuh.
// The bits of a row depend on its sequence only, not on the rows beside it, how a prompt was cut,
// or which of these ways it went.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "cuda/driver/memory.h"
#include "cuda/executor/kernels.h"
#include "cuda/executor/loader.h"
#include "cuda/executor/shape.h"
#include "tandem/error.h"

namespace tandem::cuda {

/// New tokens of one sequence. `blocks`: numbers of its KV blocks, of 64 positions each, for all
/// positions up to the last of these.
struct BatchRows {
  std::uint32_t position = 0;
  std::span<const std::int32_t> ids;  // as many as there are rows, on stages without embedding too
  std::span<const int> blocks;
};

/// Block `to` begins as a copy of `from`.
struct BlockCopy {
  int from = 0;
  int to = 0;
};

/// A layer of the range, as the checkpoint has it. Experts' matrices lie one after the other.
struct LayerSource {
  std::vector<StoredRows> qkv;  // one part or three
  StoredRows out;
  std::vector<StoredRows> gate_up;  // one part or, of experts always, two
  StoredRows down;
  std::vector<float> router;  // [experts][hidden]
  std::vector<float> input_norm;
  std::vector<float> mlp_norm;
  std::vector<float> q_norm;  // where heads are normalized
  std::vector<float> k_norm;
};

/// One thread at a time uses it. After an error of a computation it is of no more use.
class Executor {
 public:
  /// A GPU that can run the program, else kUnavailable and why.
  static Result<std::unique_ptr<Device>> usable_device();
  /// `kv_bytes_most`: of blocks of KV in use at once.
  static Result<std::unique_ptr<Executor>> create(std::unique_ptr<Device> device,
                                                  const ModelShape& shape,
                                                  std::uint64_t kv_bytes_most);
  ~Executor();

  /// Layers in order, and what belongs to the range's ends; then finish_loading().
  Status add_layer(const LayerSource& layer);
  Status set_embedding(const StoredRows& table);
  /// `head` is null where the embedding is the head.
  Status set_head(const StoredRows* head, std::span<const float> final_norm);
  Status finish_loading();
  std::uint64_t weight_bytes() const { return weight_bytes_; }
  /// Read for one token.
  std::uint64_t token_bytes() const;

  /// Bytes of a block of KV, in all layers of the range.
  std::size_t block_bytes() const {
    return shape_.page_bytes() * static_cast<std::size_t>(shape_.layers);
  }
  Status copy_blocks(std::span<const BlockCopy> copies);

  /// Queues a step. `hidden`: bf16 [rows][hidden], where the range has no embedding.
  Status forward(std::span<const BatchRows> batch, std::span<const std::byte> hidden);
  /// Logits of the last step's rows `rows` (at most kRowsMost) on the device, and a summary of each
  /// with the token that `draws` draws; both stay until the next call. Waits.
  Result<std::span<const Summary>> head(std::span<const std::int32_t> rows,
                                        std::span<const DrawArgs> draws);
  /// Of head()'s rows [first, first + count), float32 [count][vocabulary]. Waits.
  Result<std::span<float>> logits(std::size_t first, std::size_t count);
  /// All rows of the last step, bf16 [rows][hidden]. Waits.
  Status hidden(std::span<std::byte> to);

 private:
  struct Layer {
    PackedMatrix qkv, out, gate_up, down;
  };
  /// Room for what a step of up to kManyMost rows writes on its way.
  struct Room {
    Memory q, mixed, inner, turns, slots, prepared, sums, partial, weights, arrived, logits, picked;
    Memory choices, barrier, draws, summaries, summary_parts;
    // Of experts; y: what each of a token's gives.
    Memory router_logits, expert_ids, expert_weights, y, pairs, expert_tiles, tile_count;
    HostMemory host_logits, host_summaries;
  };
  /// What a step brings: ids, positions and the page table of all its rows.
  struct Inputs {
    int rows = 0;
    int stride = 0;  // of the table
    Memory device;
    HostMemory host;
    int* ids() const { return device.as<int>(); }
    int* positions() const { return ids() + rows; }
    int* table() const { return positions() + rows; }
  };
  /// Rows that attention takes at once: of prompts, or of sequences that have few in this step.
  struct Segment {
    int first = 0;
    int count = 0;
    bool many = false;
  };
  Executor(std::unique_ptr<Device> device, const ModelShape& shape);
  Status make_room();
  Status make_decode_lists();
  /// Of a layer whose matrices are packed as if all experts were one.
  void take_experts(std::span<const float> router, Layer& layer);
  Result<PackedMatrix> pack(std::span<const StoredRows> parts, int cols, TileOrder order);
  Status upload(std::span<const BatchRows> batch, std::span<const std::byte> hidden);
  std::vector<Segment> segments(int first, int count) const;
  Status through_layers(int first, int count, int splits);
  Status one_layer(int index, const StepArgs& step, int count, int splits);
  Status attend(int index, const StepArgs& step, int count, int splits);
  Status attend_segment(const AttentionArgs& of_all, const Segment& segment, int splits);
  Status dense_mlp(int index, const StepArgs& step, int count);
  Status experts(int index, const StepArgs& step, int count);
  Status few_experts(const Layer& layer, int count);
  ExpertTokens expert_tokens(int first, int count) const;
  Status many_experts(const Layer& layer, int count);
  Status decode();
  StepArgs step_args(int first) const;
  AttentionArgs attention_args(const StepArgs& step) const;
  int splits_of(int positions) const;
  int rows_at_once(int splits) const;
  int decode_shared_bytes() const;
  const uint4* router(int layer) const;
  u16* pages(int layer) const;
  const u16* norm(int index) const;
  Prepared prepared() const { return {room_.prepared.as<uint4>(), room_.sums.as<float>()}; }

  std::unique_ptr<Device> device_;  // before all that lies on it
  ModelShape shape_;
  Kernels kernels_;
  std::unique_ptr<Loader> loader_;  // until all is loaded
  std::vector<Layer> layers_;
  PackedMatrix embedding_;
  PackedMatrix head_;
  Weights head_weights_;                    // of the head, or of the embedding that is the head
  std::vector<std::uint16_t> norm_values_;  // before attention and MLP of each layer, then the last
  std::vector<std::uint16_t> head_norm_values_;  // of q and k of each layer
  std::vector<std::uint16_t> router_values_;
  Memory norms_;
  Memory head_norms_;
  Memory routers_;  // in the order of prepared rows
  Memory frequency_;
  Memory matrices_;  // for decode(), see DecodeArgs
  Memory decode_layers_;
  GrowingMemory kv_;
  Room room_;
  Inputs inputs_;
  std::vector<int> entry_rows_;    // of each sequence of the step
  std::vector<Segment> segments_;  // of the rows that are on their way through the layers
  Memory x_;                       // bf16 [rows of the step][hidden]
  std::uint64_t weight_bytes_ = 0;
  std::uint64_t expert_bytes_ = 0;  // of these
  int context_splits_ = 0;          // of the longest sequence of the step
  bool can_decode_ = false;
  bool decoded_ = false;  // the last step's logits are there already
};

}  // namespace tandem::cuda
