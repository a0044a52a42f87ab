#include "server/serving/text_routes.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "server/api/chat_request.h"
#include "server/api/text_requests.h"

namespace tandem::server {
namespace {

/// Longest text that /tokenize takes: this, or so many bytes for each token of the context. Making
/// tokens takes some two hundred times the text's memory.
constexpr std::size_t kTextBytes = 1U << 20;
constexpr std::size_t kTokenBytes = 16;

void send(RecordedAnswer& answer, const Json& json) {
  HttpResponse response;
  response.body = dump(json);
  answer.send(std::move(response));
}

}  // namespace

void answer_tokenize(const Service& service, const std::string& body, int,
                     std::shared_ptr<RecordedAnswer> answer) {
  auto json = parse_body(body);
  if (!json) return answer->fail(json.error());
  auto request = parse_tokenize(*json, service.rules);
  if (!request) return answer->fail(request.error());
  const auto context = static_cast<std::size_t>(service.loop.view().context_max);
  if (request->text.size() > std::max(kTextBytes, context * kTokenBytes)) {
    return answer->fail(invalid_value(
        "content",
        fmt::format("Invalid 'content': has {} bytes, and this server makes tokens of at "
                    "most {}.",
                    request->text.size(), std::max(kTextBytes, context * kTokenBytes))));
  }
  auto ids = service.text.tokenizer().encode(request->text, request->add_special);
  if (!ids) return answer->fail(from_error(ids.error(), "content"));
  Json tokens = Json::array();
  for (const std::int32_t id : *ids) {
    if (request->with_pieces) {
      tokens.push_back({{"id", id}, {"piece", service.text.token_text(id)}});
    } else {
      tokens.push_back(id);
    }
  }
  const std::size_t count = ids->size();
  Json out = {{"tokens", std::move(tokens)}, {"count", count}};
  if (context > 0) out["max_model_len"] = context;
  send(*answer, out);
}

void answer_detokenize(const Service& service, const std::string& body, int,
                       std::shared_ptr<RecordedAnswer> answer) {
  auto json = parse_body(body);
  if (!json) return answer->fail(json.error());
  auto request = parse_detokenize(*json, service.rules);
  if (!request) return answer->fail(request.error());
  auto text = service.text.tokenizer().decode(request->tokens, false);
  if (!text) return answer->fail(from_error(text.error(), "tokens"));
  send(*answer, {{"content", *text}, {"prompt", *text}});
}

void answer_apply_template(const Service& service, const std::string& body, int,
                           std::shared_ptr<RecordedAnswer> answer) {
  auto json = parse_body(body);
  if (!json) return answer->fail(json.error());
  auto prompt = parse_apply_template(*json, service.rules);
  if (!prompt) return answer->fail(prompt.error());
  auto text = service.text.render(*prompt, service.now());
  if (!text) return answer->fail(from_error(text.error(), "messages"));
  send(*answer, {{"prompt", *text}});
}

}  // namespace tandem::server
