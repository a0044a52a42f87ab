#include "rules/sampling.h"

#include <fmt/format.h>

#include <cstddef>
#include <utility>
#include <vector>

#include "tandem/limits.h"

namespace tandem::rules {
namespace {

struct Number {
  std::string_view field;
  float value;
  Range range;
};

Status check_range(const Number& number) {
  const auto& [min, max] = number.range;
  if (number.value >= min && number.value <= max) return {};  // false for NaN
  return invalid(
      fmt::format("{} must be in [{:g}, {:g}], not {:g}", number.field, min, max, number.value));
}

Status check_numbers(const SamplingParams& params) {
  const Number numbers[] = {
      {"temperature", params.temperature, kTemperature},
      {"top_p", params.top_p, kTopP},
      {"min_p", params.min_p, kMinP},
      {"xtc_probability", params.xtc_probability, kXtcProbability},
      {"xtc_threshold", params.xtc_threshold, kXtcThreshold},
      {"repetition_penalty", params.repetition_penalty, kRepetitionPenalty},
      {"presence_penalty", params.presence_penalty, kPresencePenalty},
      {"frequency_penalty", params.frequency_penalty, kFrequencyPenalty},
  };
  for (const Number& number : numbers) {
    if (auto status = check_range(number); !status.ok()) return status;
  }
  if (params.top_p == kTopP.min) return invalid("top_p must be above 0");
  if (params.min_p == kMinP.max) return invalid("min_p must be below 1");
  return {};
}

Status check_counts(const SamplingParams& params) {
  const std::pair<std::string_view, std::int32_t> counts[] = {
      {"top_k", params.top_k},
      {"repetition_context", params.repetition_context},
      {"presence_context", params.presence_context},
      {"frequency_context", params.frequency_context},
  };
  for (const auto& [field, value] : counts) {
    if (value < 0) return invalid(fmt::format("{} must be 0 or more, not {}", field, value));
  }
  if (params.min_tokens_to_keep >= 1) return {};
  return invalid(
      fmt::format("min_tokens_to_keep must be 1 or more, not {}", params.min_tokens_to_keep));
}

Status check_count(std::string_view field, std::size_t count) {
  if (count <= kMaxSamplingIds) return {};
  return invalid(fmt::format("{} has {} ids, at most {}", field, count, kMaxSamplingIds));
}

Status check_bias(const SamplingParams& params, std::int32_t vocabulary) {
  if (auto status = check_count("logit_bias", params.logit_bias.size()); !status.ok()) {
    return status;
  }
  std::vector<std::int32_t> ids;
  for (const auto& [id, bias] : params.logit_bias) {
    auto status = check_range({"logit_bias", bias, kLogitBias});
    if (!status.ok()) {
      return invalid(fmt::format("{} (token id {})", status.error().message, id));
    }
    ids.push_back(id);
  }
  return check_ids("logit_bias", ids, vocabulary);
}

}  // namespace

Status check_ids(std::string_view field, std::span<const std::int32_t> ids,
                 std::int32_t vocabulary) {
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0 && ids[i] < vocabulary) continue;
    return invalid(fmt::format("{}: token id {} at index {} is outside the vocabulary [0, {})",
                               field, ids[i], i, vocabulary));
  }
  return {};
}

Status check_not_negative(std::string_view field, std::span<const std::int32_t> ids) {
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0) continue;
    return invalid(fmt::format("{}: token id {} at index {} is negative", field, ids[i], i));
  }
  return {};
}

Status check_sampling(const SamplingParams& params, std::int32_t vocabulary) {
  if (auto status = check_numbers(params); !status.ok()) return status;
  if (auto status = check_counts(params); !status.ok()) return status;
  const auto& special = params.xtc_special_tokens;
  if (auto status = check_count("xtc_special_tokens", special.size()); !status.ok()) return status;
  if (auto status = check_not_negative("xtc_special_tokens", special); !status.ok()) return status;
  return check_bias(params, vocabulary);
}

}  // namespace tandem::rules
