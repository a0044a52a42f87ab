#include "cuda/executor/loader.h"

#include <bit>

#include "base/check.h"

namespace tandem::cuda {
namespace {

constexpr int kGroup = 64;
constexpr int kTileRows = 16;

int per_of(TileOrder order, int tiles) {
  switch (order) {
    case TileOrder::kRun:
      return 1;
    case TileOrder::kHalvesOfHeads:
      return kHeadDim / kTileRows;
    case TileOrder::kGateAndUp:
      break;
  }
  return tiles;
}

}  // namespace

Status Loader::ensure(Memory& buffer, std::size_t bytes) const {
  if (buffer.bytes() >= bytes) return {};
  auto larger = Memory::allocate(device_, bytes);
  if (!larger.ok()) return larger.error();
  buffer = *std::move(larger);
  return {};
}

Status Loader::upload(Address to, std::size_t row_bytes, std::span<const StoredRows> parts,
                      std::span<const std::byte> StoredRows::* field) const {
  for (const StoredRows& part : parts) {
    const auto bytes = part.*field;
    check(bytes.size() == row_bytes * static_cast<std::size_t>(part.rows),
          "a stored matrix has the bytes of its rows");
    if (Status status = device_.copy_to_device(to, bytes); !status.ok()) return status;
    to += bytes.size();
  }
  return {};
}

Result<PackedMatrix> Loader::pack(std::span<const StoredRows> parts, int cols, TileOrder order) {
  int rows = 0;
  for (const StoredRows& part : parts) rows += part.rows;
  check(rows % kTileRows == 0 && cols % kGroup == 0, "a packed matrix is made of tiles");
  PackedMatrix packed;
  packed.weights.groups = cols / kGroup;
  packed.weights.tiles = rows / kTileRows;
  packed.weights.per = per_of(order, packed.weights.tiles);
  auto memory = Memory::allocate(device_, packed.weights.stage_at(packed.weights.tiles, 0));
  if (!memory.ok()) return memory.error();
  packed.memory = *std::move(memory);
  packed.weights.packed = packed.memory.as<const unsigned char>();

  const std::size_t word_bytes = static_cast<std::size_t>(cols) / 2;
  const std::size_t scale_bytes = static_cast<std::size_t>(cols) / kGroup * sizeof(u16);
  const auto count = static_cast<std::size_t>(rows);
  for (const auto& [buffer, bytes] :
       {std::pair{&words_, word_bytes}, std::pair{&scales_, scale_bytes},
        std::pair{&biases_, scale_bytes}}) {
    if (Status status = ensure(*buffer, bytes * count); !status.ok()) return status.error();
  }
  Status status = upload(words_.address(), word_bytes, parts, &StoredRows::words);
  if (status.ok()) status = upload(scales_.address(), scale_bytes, parts, &StoredRows::scales);
  if (status.ok()) status = upload(biases_.address(), scale_bytes, parts, &StoredRows::biases);
  if (status.ok()) {
    const StoredMatrix stored{words_.as<const u32>(), scales_.as<const u16>(),
                              biases_.as<const u16>()};
    status = repack_(Grid{.x = packed.weights.tiles, .threads = kThreads}, Order::kAfter, stored,
                     packed.weights, packed.memory.as<unsigned char>());
  }
  if (status.ok()) status = device_.wait();
  if (!status.ok()) return status.error();
  return packed;
}

std::vector<std::uint16_t> to_bf16(std::span<const float> values) {
  std::vector<std::uint16_t> out;
  out.reserve(values.size());
  for (const float value : values) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const bool is_nan = (bits & 0x7fffffffU) > 0x7f800000U;
    out.push_back(static_cast<std::uint16_t>(
        is_nan ? (bits >> 16) | 0x40U : (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16));
  }
  return out;
}

}  // namespace tandem::cuda
