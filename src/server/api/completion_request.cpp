#include "server/api/completion_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace tandem::server {
namespace {

constexpr const char* kPrompt = "prompt";
constexpr const char* kWanted = "a string, an array of strings, or an array of token ids";

/// A prompt of text or ids; nothing after a failure.
std::optional<Prompt> read_one(Fields& fields, const Json& value, const RequestRules& rules) {
  const auto empty = [&] {
    fields.fail({.message = "Invalid 'prompt': a prompt must not be empty.",
                 .param = kPrompt,
                 .code = "empty_prompt"});
    return std::nullopt;
  };
  if (value.is_string()) {
    if (value.get_ref<const std::string&>().empty()) return empty();
    return value.get<std::string>();
  }
  if (!value.is_array()) {
    fields.wrong_type(kPrompt, kWanted);
    return std::nullopt;
  }
  if (value.empty()) return empty();
  std::vector<std::int32_t> ids;
  ids.reserve(value.size());
  for (const Json& id : value) {
    if (!is_token_id(id, rules.vocabulary)) {
      fields.fail(invalid_value(
          kPrompt, fmt::format("Invalid 'prompt': token ids are whole numbers in [0, {}).",
                               rules.vocabulary)));
      return std::nullopt;
    }
    ids.push_back(id.get<std::int32_t>());
  }
  return ids;
}

std::vector<Prompt> read_prompts(Fields& fields, const RequestRules& rules, int n) {
  std::vector<Prompt> prompts;
  fields.require(kPrompt);
  const Json* value = fields.value(kPrompt);
  if (value == nullptr) return prompts;
  const bool many = value->is_array() && !value->empty() && !value->front().is_number();
  if (!many) {
    if (auto prompt = read_one(fields, *value, rules)) prompts.push_back(std::move(*prompt));
    return prompts;
  }
  const auto limit = static_cast<std::size_t>(rules.limits.choices_max);
  if (value->size() * static_cast<std::size_t>(n) > limit) {
    fields.fail(invalid_value(
        kPrompt,
        fmt::format("Invalid 'prompt': {} prompts with n = {} are more than the {} choices "
                    "that a request may have.",
                    value->size(), n, limit)));
    return prompts;
  }
  for (const Json& one : *value) {
    auto prompt = read_one(fields, one, rules);
    if (!prompt) break;
    prompts.push_back(std::move(*prompt));
  }
  return prompts;
}

/// OpenAI's number of candidates, or mlx-lm's boolean with top_logprobs.
std::optional<int> read_logprobs(Fields& fields, const RequestRules& rules) {
  const int max = rules.limits.top_logprobs_max;
  const auto top = fields.integer("top_logprobs", 0, max);
  const Json* value = fields.value("logprobs");
  if (value != nullptr && value->is_boolean()) {
    if (value->get<bool>()) return static_cast<int>(top.value_or(0));
  } else if (const auto count = fields.integer("logprobs", 0, max)) {
    return static_cast<int>(top.value_or(*count));
  }
  if (top.value_or(0) > 0) {
    fields.fail(invalid_value("top_logprobs",
                              "The 'top_logprobs' parameter is only allowed when "
                              "'logprobs' is enabled."));
  }
  return std::nullopt;
}

}  // namespace

ApiResult<CompletionRequest> parse_completion(const Json& body, const RequestRules& rules) {
  Fields fields(body);
  CompletionRequest request;
  request.options = read_generation(fields, rules, 0);
  request.prompts = read_prompts(fields, rules, request.options.n);
  request.echo = fields.boolean("echo").value_or(false);
  request.logprobs = read_logprobs(fields, rules);
  const auto best_of = fields.integer("best_of", 1, rules.limits.choices_max);
  if (best_of && *best_of != request.options.n) {
    fields.refuse("best_of", "only as many completions as n are made.");
  }
  if (!fields.string("suffix").value_or("").empty()) {
    fields.refuse("suffix", "this server does not fill in the middle.");
  }
  if (request.options.max_tokens == 0 && !request.echo) {
    fields.fail(invalid_value("max_tokens", "Invalid 'max_tokens': 0 needs 'echo'."));
  }
  fields.finish();
  if (fields.failed()) return fields.error();
  return request;
}

}  // namespace tandem::server
