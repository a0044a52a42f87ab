#pragma once
// POST /v1/completions -> a typed request.

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "server/api/api_error.h"
#include "server/api/generation_fields.h"

namespace tandem::server {

/// Text, or token ids within the vocabulary; neither is empty.
using Prompt = std::variant<std::string, std::vector<std::int32_t>>;

/// Tokens of a completion that says nothing, as OpenAI has it.
inline constexpr int kCompletionTokensDefault = 16;

struct CompletionRequest {
  GenerationOptions options;
  std::vector<Prompt> prompts;
  bool echo = false;
  /// Candidates with each token; nullopt: no log-probabilities.
  std::optional<int> logprobs;
};

ApiResult<CompletionRequest> parse_completion(const Json& body, const RequestRules& rules);

}  // namespace tandem::server
