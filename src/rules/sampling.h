#pragma once
// What a request may ask of the sampler. The API reads fields by these ranges, the engine checks a
// request before it is taken and a stage each tick on arrival: what one accepts, all accept.

#include <cstdint>
#include <span>
#include <string_view>

#include "tandem/error.h"
#include "tandem/tick.h"

namespace tandem::rules {

/// Both ends included.
struct Range {
  float min = 0;
  float max = 0;
};

inline constexpr Range kTemperature{0, 100};
inline constexpr Range kTopP{0, 1};  // but above 0
inline constexpr Range kMinP{0, 1};  // but below 1
inline constexpr Range kXtcProbability{0, 1};
inline constexpr Range kXtcThreshold{0, 0.5F};
/// 0 is mlx-lm's word for off. However small, any other divides and multiplies logits as it says,
/// as in vLLM and transformers.
inline constexpr Range kRepetitionPenalty{0, 100};
inline constexpr Range kPresencePenalty{-100, 100};
inline constexpr Range kFrequencyPenalty{-100, 100};
inline constexpr Range kLogitBias{-100, 100};  // OpenAI's

/// Every number finite and in its range, lists of at most kMaxSamplingIds ids, those of logit_bias
/// in [0, vocabulary). Those of xtc_special_tokens are only compared with, and a tokenizer may know
/// more than the model: not negative. The message begins with the field.
Status check_sampling(const SamplingParams& params, std::int32_t vocabulary);

/// Every id in [0, vocabulary). The message names `field`, the first bad id and its index.
Status check_ids(std::string_view field, std::span<const std::int32_t> ids,
                 std::int32_t vocabulary);
/// No id negative: for those that are only compared with.
Status check_not_negative(std::string_view field, std::span<const std::int32_t> ids);

}  // namespace tandem::rules
