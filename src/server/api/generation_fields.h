#pragma once
// The fields that chats and completions share.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/api/fields.h"
#include "server/api/request_rules.h"
#include "tandem/tick.h"

namespace tandem::server {

/// How a request's tokens are drawn and where they end.
struct GenerationOptions {
  SamplingParams sampling;            // seed is 0 when the request gave none
  std::optional<std::uint64_t> seed;  // of the first choice; the next ones count on
  std::optional<int> max_tokens;
  int n = 1;
  std::vector<std::string> stop;
  bool ignore_eos = false;
  bool stream = false;
  bool include_usage = false;  // a last chunk with the usage
  int priority = 0;            // lower is served first, as vLLM says it
};

/// "model" absent, or one of the names; else 404 model_not_found.
void read_model(Fields& fields, const RequestRules& rules);
/// Whether a value is the id of a token; 1.0 is none.
bool is_token_id(const Json& value, std::int32_t vocabulary);
/// Everything of GenerationOptions. max_tokens is at least `tokens_min`.
GenerationOptions read_generation(Fields& fields, const RequestRules& rules, int tokens_min);

}  // namespace tandem::server
