#include "scheduler/request_check.h"

#include <fmt/format.h>

#include <cmath>
#include <cstddef>
#include <string_view>
#include <utility>
#include <vector>

#include "tandem/limits.h"

namespace tandem::scheduler {
namespace {

struct Range {
  std::string_view name;
  float value;
  float min;
  float max;
};

Status check_range(const Range& range) {
  if (std::isfinite(range.value) && range.value >= range.min && range.value <= range.max) return {};
  return invalid(
      fmt::format("{} must be in [{}, {}], not {}", range.name, range.min, range.max, range.value));
}

Status check_ids(std::string_view name, const std::vector<std::int32_t>& ids,
                 std::int32_t vocabulary) {
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0 && ids[i] < vocabulary) continue;
    return invalid(fmt::format("{}: token id {} at index {} is outside the vocabulary [0, {})",
                               name, ids[i], i, vocabulary));
  }
  return {};
}

/// For ids that are only compared with.
Status check_not_negative(std::string_view name, const std::vector<std::int32_t>& ids) {
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0) continue;
    return invalid(fmt::format("{}: token id {} at index {} is negative", name, ids[i], i));
  }
  return {};
}

Status check_contexts(const SamplingParams& sampling) {
  const std::pair<std::string_view, std::int32_t> contexts[] = {
      {"repetition_context", sampling.repetition_context},
      {"presence_context", sampling.presence_context},
      {"frequency_context", sampling.frequency_context},
  };
  for (const auto& [name, value] : contexts) {
    if (value < 0) return invalid(fmt::format("{} must be 0 or more, not {}", name, value));
  }
  return {};
}

Status check_sampling(const SamplingParams& sampling, std::int32_t vocabulary) {
  const Range ranges[] = {
      {"temperature", sampling.temperature, 0, 100},
      {"top_p", sampling.top_p, 0, 1},
      {"min_p", sampling.min_p, 0, 1},
      {"xtc_probability", sampling.xtc_probability, 0, 1},
      {"xtc_threshold", sampling.xtc_threshold, 0, 0.5F},
      {"repetition_penalty", sampling.repetition_penalty, 0, 100},
      {"presence_penalty", sampling.presence_penalty, -100, 100},
      {"frequency_penalty", sampling.frequency_penalty, -100, 100},
  };
  for (const Range& range : ranges) {
    if (auto status = check_range(range); !status.ok()) return status;
  }
  if (sampling.top_p == 0) return invalid("top_p must be above 0");
  if (sampling.min_p == 1) return invalid("min_p must be below 1");
  if (sampling.top_k < 0)
    return invalid(fmt::format("top_k must be 0 or more, not {}", sampling.top_k));
  if (sampling.min_tokens_to_keep < 1) {
    return invalid(
        fmt::format("min_tokens_to_keep must be 1 or more, not {}", sampling.min_tokens_to_keep));
  }
  if (auto status = check_contexts(sampling); !status.ok()) return status;
  if (sampling.logit_bias.size() > kMaxSamplingIds ||
      sampling.xtc_special_tokens.size() > kMaxSamplingIds) {
    return invalid(
        fmt::format("logit_bias and xtc_special_tokens hold at most {} ids", kMaxSamplingIds));
  }
  auto special = check_not_negative("xtc_special_tokens", sampling.xtc_special_tokens);
  if (!special.ok()) return special;
  std::vector<std::int32_t> biased;
  for (const auto& [id, bias] : sampling.logit_bias) {
    if (!std::isfinite(bias)) return invalid(fmt::format("logit_bias of id {} is not finite", id));
    biased.push_back(id);
  }
  return check_ids("logit_bias", biased, vocabulary);
}

}  // namespace

Status check_request(const Request& request, std::int32_t vocabulary, int context_max) {
  if (request.prompt.empty()) return invalid("the prompt is empty");
  if (auto status = check_ids("prompt", request.prompt, vocabulary); !status.ok()) return status;
  // A generation needs room for one token; scoring does not.
  const std::size_t room = request.max_tokens > 0 ? 1 : 0;
  if (request.prompt.size() + room > static_cast<std::size_t>(context_max)) {
    return invalid(
        fmt::format("the prompt of {} tokens is longer than the context of {} tokens allows",
                    request.prompt.size(), context_max));
  }
  if (request.max_tokens < 0) {
    return invalid(fmt::format("max_tokens must be 0 or more, not {}", request.max_tokens));
  }
  if (request.stop_ids.size() > kMaxSamplingIds) {
    return invalid(fmt::format("stop_ids holds at most {} ids", kMaxSamplingIds));
  }
  if (auto status = check_not_negative("stop_ids", request.stop_ids); !status.ok()) return status;
  if (request.top_logprobs > kMaxTopLogprobs) {
    return invalid(fmt::format("top_logprobs must be at most {}, not {}", kMaxTopLogprobs,
                               request.top_logprobs));
  }
  return check_sampling(request.sampling, vocabulary);
}

}  // namespace tandem::scheduler
