#pragma once
// The program's kernels on a GPU, and which instance of a product serves how many rows.

#include <array>
#include <cstddef>

#include "cuda/driver/module.h"
#include "cuda/kernels/args.h"
#include "tandem/error.h"

namespace tandem::cuda {

/// Most rows of one product.
inline constexpr int kRowsMost = 64;

/// What becomes of a product's sums: RopeToPages, AddResidual, SwiGlu, StoreFloat.
enum class Product { kQkv, kResidual, kGateUp, kHead };
inline constexpr std::size_t kProducts = 4;

/// An instance: rows that the block prepares itself, or columns of rows that come prepared.
enum class Variant { kOne, kHeld, k8, k16, k32, k64 };
inline constexpr std::size_t kVariants = 6;

/// Move-only. The device outlives it.
struct Kernels {
  Module module;
  Kernel decode;  // with or without norms of heads
  Kernel embed, place, repack, turn_heads, attention, summarize, prepare, prepare_norm;
  std::array<std::array<Kernel, kVariants>, kProducts> products;
  int decode_static_bytes = 0;  // of shared memory

  static Result<Kernels> load(const Device& device, bool head_norms);
};

/// Room for rows that a product takes prepared.
struct Prepared {
  uint4* rows = nullptr;
  float* sums = nullptr;
};

/// y = W x of `count` rows (1 to kRowsMost) of `rows`, or of their rms_norm where it has a weight.
/// The bits of a row depend on neither `count` nor the variant. Epilogue: the args of `product`.
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
  const int blocks = units < device.multiprocessors() ? units : device.multiprocessors();
  const Kernel& kernel =
      kernels.products[static_cast<std::size_t>(product)][static_cast<std::size_t>(chosen.variant)];
  return kernel(Grid{.x = blocks, .threads = kThreads, .shared_bytes = chosen.shared_bytes},
                Order::kDependent, w, tokens, epilogue);
}

}  // namespace tandem::cuda
