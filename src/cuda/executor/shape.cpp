#include "cuda/executor/shape.h"

#include <fmt/format.h>

#include "cuda/kernels/args.h"

namespace tandem::cuda {
namespace {

/// Columns that a product reads come in stages.
constexpr int kColumnUnit = kStageGroups * 64;
constexpr int kTileRows = 16;

}  // namespace

std::size_t ModelShape::page_bytes() const {
  return std::size_t{2} * kv_heads * kPagePositions * head_dim * sizeof(u16);
}

std::string why_not(const ModelShape& shape) {
  if (shape.head_dim != kHeadDim) {
    return fmt::format("its heads have {} elements, not {}", shape.head_dim, kHeadDim);
  }
  if (shape.heads > kHeadsMost * shape.kv_heads) {
    return fmt::format("more than {} query heads share a KV head", kHeadsMost);
  }
  if (shape.hidden % kColumnUnit != 0 || shape.inner % kColumnUnit != 0) {
    return fmt::format("its widths {} and {} are no multiples of {}", shape.hidden, shape.inner,
                       kColumnUnit);
  }
  if (shape.experts > kExpertsMost || shape.experts % 4 != 0) {
    return fmt::format("{} experts, not a multiple of 4 of at most {}", shape.experts,
                       kExpertsMost);
  }
  if (shape.experts > 0 && (shape.top_k > kTopMost || kWarps % shape.top_k != 0)) {
    return fmt::format("a token takes {} experts, which does not divide {}", shape.top_k, kWarps);
  }
  if (shape.experts > 0 && shape.hidden % (kTileRows * shape.top_k) != 0) {
    return fmt::format("its width {} is no multiple of {} times {} experts", shape.hidden,
                       kTileRows, shape.top_k);
  }
  if (shape.vocabulary % kTileRows != 0) {
    return fmt::format("its vocabulary of {} is no multiple of {}", shape.vocabulary, kTileRows);
  }
  if (shape.frequency.size() != kHeadDim / 2) return "rope turns only a part of its heads";
  return {};
}

}  // namespace tandem::cuda
