#pragma once
// POST /tokenize and /detokenize, with llama-server's and vLLM's fields.

#include <cstdint>
#include <string>
#include <vector>

#include "server/api/api_error.h"
#include "server/api/fields.h"
#include "server/api/request_rules.h"

namespace tandem::server {

struct TokenizeRequest {
  std::string text;          // "content" or "prompt"
  bool add_special = false;  // what the tokenizer puts around a text (bos)
  bool with_pieces = false;  // [{"id", "piece"}] instead of ids
};
ApiResult<TokenizeRequest> parse_tokenize(const Json& body, const RequestRules& rules);

struct DetokenizeRequest {
  std::vector<std::int32_t> tokens;
};
ApiResult<DetokenizeRequest> parse_detokenize(const Json& body, const RequestRules& rules);

}  // namespace tandem::server
