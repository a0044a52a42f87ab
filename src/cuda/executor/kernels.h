#pragma once
// The program's kernels on a GPU, and which instance of a product serves how many rows.

#include <array>
#include <cstddef>

#include "cuda/driver/module.h"
#include "cuda/executor/shape.h"
#include "cuda/kernels/args.h"
#include "tandem/error.h"

namespace tandem::cuda {

/// Most rows of a product that a block has the columns of, and of one over many rows.
inline constexpr int kRowsMost = 64;
inline constexpr int kManyMost = 1024;

/// What becomes of a product's sums: RopeToPages, AddResidual, SwiGlu, StoreFloat.
enum class Product { kQkv, kResidual, kGateUp, kHead };
inline constexpr std::size_t kProducts = 4;

/// An instance: rows that the block prepares itself, or columns of rows that come prepared.
enum class Variant { kOne, kHeld, k8, k16, k32, k64 };
inline constexpr std::size_t kVariants = 6;

/// Of a mixture of experts: for up to kExpertTokens rows, and for many.
struct ExpertKernels {
  Kernel route, gate_up, down, combine;
  Kernel choose, list_pairs, gate_up_many, down_many;
};

/// Move-only. The device outlives it.
struct Kernels {
  Module module;
  Kernel decode;  // of the shape's kind
  Kernel embed, place, repack, turn_heads, attention, attention_many, join_many, summarize;
  Kernel prepare, prepare_norm, prepare_many, prepare_many_norm;
  std::array<std::array<Kernel, kVariants>, kProducts> products;
  std::array<Kernel, kProducts> many;  // but of the head
  ExpertKernels experts;
  int decode_static_bytes = 0;  // of shared memory

  static Result<Kernels> load(const Device& device, const ModelShape& shape);
};

/// Room for rows that a product takes prepared.
struct Prepared {
  uint4* rows = nullptr;
  float* sums = nullptr;
};

/// Blocks for so many units of work.
int blocks_for(const Device& device, int units);

/// y = W x of `count` rows (1 to kRowsMost, but for the head to kManyMost) of `rows`, or of their
/// rms_norm where it has a weight. The bits of a row depend on neither `count` nor the variant.
/// Epilogue: the args of `product`.
template <class Epilogue>
Status multiply(const Device& device, const Kernels& kernels, Product product, const Weights& w,
                const Rows& rows, int count, const Prepared& room, const Epilogue& epilogue);

/// The variant, and bytes of shared memory of a block.
struct Choosing {
  Variant variant;
  int shared_bytes;
  int tiles;  // of a block at a time
};
Choosing choose_variant(int groups, int count, int shared_bytes_most);

template <class Epilogue>
Status multiply(const Device& device, const Kernels& kernels, Product product, const Weights& w,
                const Rows& rows, int count, const Prepared& room, const Epilogue& epilogue) {
  if (count > kRowsMost) {
    const Kernel& prepare =
        rows.weight != nullptr ? kernels.prepare_many_norm : kernels.prepare_many;
    Status status = prepare(Grid{.x = count, .threads = kThreads}, Order::kDependent, rows,
                            room.rows, room.sums, kWideColumns);
    if (!status.ok()) return status;
    const ManyTokens tokens{.prepared = room.rows, .sums = room.sums, .rows = count};
    const int units = (count + kWideColumns - 1) / kWideColumns * (w.tiles / kWideTiles);
    return kernels.many[static_cast<std::size_t>(product)](
        Grid{.x = blocks_for(device, units),
             .threads = kWideThreads,
             .shared_bytes = wide_shared(kWideColumns)},
        Order::kDependent, w, tokens, epilogue);
  }
  const Choosing chosen = choose_variant(w.groups, count, device.shared_bytes_most());
  Tokens tokens;
  tokens.rows = rows;
  tokens.count = count;
  if (chosen.variant != Variant::kOne && chosen.variant != Variant::kHeld) {
    const Kernel& prepare = rows.weight != nullptr ? kernels.prepare_norm : kernels.prepare;
    Status status = prepare(Grid{.x = count, .threads = kThreads}, Order::kDependent, rows,
                            room.rows, room.sums);
    if (!status.ok()) return status;
    tokens.prepared = room.rows;
    tokens.sums = room.sums;
  }
  const int units = (w.tiles + chosen.tiles - 1) / chosen.tiles;
  const Kernel& kernel =
      kernels.products[static_cast<std::size_t>(product)][static_cast<std::size_t>(chosen.variant)];
  return kernel(
      Grid{
          .x = blocks_for(device, units), .threads = kThreads, .shared_bytes = chosen.shared_bytes},
      Order::kDependent, w, tokens, epilogue);
}

}  // namespace tandem::cuda
