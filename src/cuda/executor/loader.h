#pragma once
// Weights on their way to the GPU.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cuda/driver/memory.h"
#include "cuda/driver/module.h"
#include "cuda/kernels/args.h"
#include "tandem/error.h"

namespace tandem::cuda {

/// Rows of a matrix as MLX stores it, in 4 bits and groups of 64 with bf16 scales and biases.
struct StoredRows {
  int rows = 0;
  std::span<const std::byte> words;
  std::span<const std::byte> scales;
  std::span<const std::byte> biases;
};

/// How the two halves of a tile's rows lie in the matrix: see Weights.
enum class TileOrder { kRun, kHalvesOfHeads, kGateAndUp };

struct PackedMatrix {
  Memory memory;
  Weights weights;
};

/// Repacks matrices on the device, through buffers as large as the largest of them.
class Loader {
 public:
  /// `repack` is the kernel. Both outlive the loader.
  Loader(const Device& device, const Kernel& repack) : device_(device), repack_(repack) {}

  /// The rows of all parts, `cols` wide; returns when the host's bytes were read.
  Result<PackedMatrix> pack(std::span<const StoredRows> parts, int cols, TileOrder order);

 private:
  Status ensure(Memory& buffer, std::size_t bytes) const;
  Status upload(Address to, std::size_t row_bytes, std::span<const StoredRows> parts,
                std::span<const std::byte> StoredRows::* field) const;

  const Device& device_;
  const Kernel& repack_;
  Memory words_;
  Memory scales_;
  Memory biases_;
};

/// float32 values as bf16, to nearest even.
std::vector<std::uint16_t> to_bf16(std::span<const float> values);

}  // namespace tandem::cuda
