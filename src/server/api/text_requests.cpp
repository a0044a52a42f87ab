#include "server/api/text_requests.h"

#include <fmt/format.h>

#include <limits>

#include "server/api/generation_fields.h"

namespace tandem::server {

ApiResult<TokenizeRequest> parse_tokenize(const Json& body, const RequestRules& rules) {
  Fields fields(body);
  TokenizeRequest request;
  read_model(fields, rules);
  const auto content = fields.string("content");
  const auto prompt = fields.string("prompt");
  if (content && prompt) {
    fields.fail(invalid_value("prompt", "'prompt' cannot be used with 'content'."));
  } else if (!content && !prompt) {
    fields.require("content");
  } else {
    request.text = content ? *content : *prompt;
  }
  const auto add_special = fields.boolean("add_special");
  request.add_special = fields.boolean("add_special_tokens").value_or(add_special.value_or(false));
  request.with_pieces = fields.boolean("with_pieces").value_or(false);
  fields.finish();
  if (fields.failed()) return fields.error();
  return request;
}

ApiResult<DetokenizeRequest> parse_detokenize(const Json& body, const RequestRules& rules) {
  Fields fields(body);
  DetokenizeRequest request;
  read_model(fields, rules);
  fields.require("tokens");
  const Json* tokens = fields.array("tokens", std::numeric_limits<std::size_t>::max());
  for (std::size_t i = 0; tokens != nullptr && i < tokens->size(); ++i) {
    const Json& id = (*tokens)[i];
    if (!is_token_id(id, rules.vocabulary)) {
      fields.fail(invalid_value(
          "tokens", fmt::format("Invalid 'tokens': token ids are whole numbers in [0, {}).",
                                rules.vocabulary)));
      break;
    }
    request.tokens.push_back(id.get<std::int32_t>());
  }
  fields.finish();
  if (fields.failed()) return fields.error();
  return request;
}

}  // namespace tandem::server
