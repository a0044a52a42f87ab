#pragma once
// Routing of one token, in plain C++: it is a few thousand operations next to millions.

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/moe.h"

namespace tandem::kernels {

/// Room that route_token() works in; one a thread.
struct RouteScratch {
  std::vector<float> scores;
  std::vector<float> choice;
  std::vector<float> group_scores;
  std::vector<std::int32_t> groups;
};

/// Chooses spec.top_k experts from `logits` (spec.experts of them). `correction` may be empty.
/// Whatever the logits (NaN too), ids are distinct and in range.
void route_token(const RouterSpec& spec, std::span<const float> logits,
                 std::span<const float> correction, RouteScratch& scratch,
                 std::span<std::int32_t> ids, std::span<float> weights);

}  // namespace tandem::kernels
