#pragma once
// Whether the machines' memory takes a model at all, and what is missing. Pure.

#include <cstddef>
#include <cstdint>

#include "planner/prediction.h"

namespace tandem::planner {

/// Whether one of the pipelines holds all layers. Links do not matter, so the farthest layer that a
/// set of machines can reach decides: quick.
bool any_fits(const Setting& setting, const Pipelines& pipelines);

struct Missing {
  std::size_t machine = 0;
  std::uint64_t bytes = 0;
};
/// The machine that lacks least until something fits, and how much, to 1 MB. Nothing fits now.
Missing missing_memory(const Setting& setting, const Pipelines& pipelines);

/// The longest context with which something fits; 0: none does.
std::uint32_t fitting_context(const Setting& setting, const Pipelines& pipelines);

/// The model with KV in 8 bits where that can be had.
Model with_8bit_kv(Model model);

}  // namespace tandem::planner
