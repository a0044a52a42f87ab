#pragma once
// A draw with its penalties, as the last stage makes it.

#include <cstdint>
#include <span>

#include "stage/penalties.h"
#include "stage/sampler.h"

namespace tandem::stage {

inline void penalize(std::span<float> logits, const SamplingParams& params,
                     std::span<const std::int32_t> text, std::size_t prompt = 0) {
  Penalties().apply(logits, params, text, prompt);
}

inline Result<TokenResult> sample_after(std::span<float> logits, const SamplingParams& params,
                                        std::span<const std::int32_t> text, std::uint64_t position,
                                        std::uint32_t top,
                                        std::span<const std::uint32_t> allowed = {}) {
  penalize(logits, params, text);
  return sample(logits, params, position, top, allowed);
}

}  // namespace tandem::stage
