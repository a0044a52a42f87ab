#include "server/serving/service.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>
#include <variant>

#include "config/json.h"
#include "server/api/chat_request.h"
#include "server/api/completion_request.h"
#include "server/output/markers.h"
#include "server/output/tool_grammar.h"
#include "server/serving/constraints.h"
#include "server/serving/reply.h"

namespace tandem::server {
namespace {

/// Most members, lists and objects of a request's body: a long conversation has some ten thousand.
constexpr std::size_t kBodyPartsMax = 1U << 18;

/// A prompt ready for the engine.
struct Encoded {
  std::string text;  // for echo and logs
  std::vector<std::int32_t> ids;
};

std::string random_id(const Service& service, std::string_view prefix) {
  constexpr std::string_view kLetters =
      "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  std::string id(prefix);
  std::uint64_t bits = 0;
  for (int i = 0; i < 24; ++i) {
    if (i % 10 == 0) bits = service.random();
    id += kLetters[bits % kLetters.size()];
    bits /= kLetters.size();
  }
  return id;
}

ReplyHead make_head(const Service& service, std::string_view prefix) {
  return {random_id(service, prefix), static_cast<std::int64_t>(service.now()),
          service.rules.model_names.front(), service.fingerprint};
}

/// Why a prompt of so many tokens cannot be taken, if it cannot.
std::optional<ApiError> check_length(const Service& service, std::size_t tokens,
                                     const std::string& param, int room) {
  const auto context = static_cast<std::size_t>(service.loop.view().context_max);
  const int limit = service.rules.limits.prompt_tokens_max;
  if (limit > 0 && tokens > static_cast<std::size_t>(limit)) {
    return context_exceeded(
        param,
        fmt::format("This server takes prompts of up to {} tokens. However, your {} resulted "
                    "in {} tokens.",
                    limit, param, tokens));
  }
  if (tokens + static_cast<std::size_t>(room) <= context) return std::nullopt;
  return context_exceeded(
      param, fmt::format("This model's maximum context length is {} tokens. However, your {} "
                         "resulted in {} tokens. Please reduce the length of the {}.",
                         context, param, tokens, param));
}

/// Why a text cannot be taken, as far as that shows without making tokens of all of it: more bytes
/// than the context's tokens can stand for, or a beginning with too many tokens.
std::optional<ApiError> check_text(const Service& service, std::string_view text,
                                   const std::string& param) {
  const int context = service.loop.view().context_max;
  const int prompt = service.rules.limits.prompt_tokens_max;
  const auto limit = static_cast<std::size_t>(prompt > 0 ? std::min(prompt, context) : context);
  const std::size_t longest = service.text.longest_token();
  if (longest > 0 && text.size() / longest > limit) {
    return context_exceeded(
        param, fmt::format("This model's maximum context length is {} tokens of at most {} bytes. "
                           "However, your {} have {} bytes. Please reduce their length.",
                           limit, longest, param, text.size()));
  }
  const auto tokens = service.text.tokens_beyond(text, limit);
  if (!tokens) return std::nullopt;
  return context_exceeded(
      param, fmt::format("This model's maximum context length is {} tokens. However, your {} "
                         "resulted in more than {} tokens. Please reduce the length of the {}.",
                         limit, param, *tokens, param));
}

ApiError submit_error(const Error& error) {
  if (error.code == ErrorCode::kResourceLimit) return too_many(error.message, 1);
  return unavailable(error.message, 5);
}

/// XTC spares line ends and the ids that end an answer, as mlx-lm has it.
Status complete_xtc(const Service& service, SamplingParams& params) {
  if (params.xtc_probability <= 0) return {};
  auto line_end = service.text.tokenizer().encode("\n", true);
  if (!line_end) return line_end.error();
  params.xtc_special_tokens = *line_end;
  std::ranges::copy(service.text.tokenizer().eos_ids(),
                    std::back_inserter(params.xtc_special_tokens));
  return {};
}

/// The engine's requests: n of each prompt, seeded one after another.
std::vector<scheduler::Request> engine_requests(const Service& service,
                                                const GenerationOptions& options,
                                                const ReplyOptions& reply,
                                                std::vector<Encoded> prompts, int key) {
  const int context = service.loop.view().context_max;
  const std::uint64_t seed = options.seed.value_or(service.random());
  std::vector<scheduler::Request> requests;
  for (Encoded& prompt : prompts) {
    scheduler::Request request;
    const int room = context - static_cast<int>(prompt.ids.size());
    request.prompt = std::move(prompt.ids);
    request.max_tokens = std::min(options.max_tokens.value_or(room), std::max(room, 0));
    request.stop_ids = reply.stop_ids;
    request.sampling = options.sampling;
    request.score = reply.logprobs && !reply.echo.empty();
    request.top_logprobs = static_cast<std::uint32_t>(reply.logprobs.value_or(0));
    request.priority = options.priority;
    request.cache_salt = static_cast<std::uint64_t>(key + 1);
    for (int i = 0; i < options.n; ++i) {
      request.sampling.seed = seed + static_cast<std::uint64_t>(i);
      requests.push_back(request);
    }
  }
  return requests;
}

ReplyOptions reply_options(const Service& service, const GenerationOptions& options,
                           const std::vector<Encoded>& prompts) {
  ReplyOptions reply;
  reply.stream = options.stream;
  reply.include_usage = options.include_usage;
  reply.stop = options.stop;
  if (!options.ignore_eos) reply.stop_ids = service.text.tokenizer().eos_ids();
  reply.n = options.n;
  for (const Encoded& prompt : prompts) reply.prompt_tokens.push_back(prompt.ids.size());
  return reply;
}

void note_request(const Service& service, const GenerationOptions& options,
                  const std::vector<Encoded>& prompts, RecordedAnswer& answer) {
  RequestRecord& record = answer.record();
  record.stream = options.stream;
  for (const Encoded& prompt : prompts) {
    record.prompt_tokens += prompt.ids.size();
    if (service.log_prompts) record.prompt += prompt.text;
  }
}

void submit(const Service& service, std::vector<scheduler::Request> requests,
            std::shared_ptr<Reply> reply, RecordedAnswer& answer) {
  const Status status = service.loop.submit({std::move(requests), std::move(reply)});
  if (!status.ok()) answer.fail(submit_error(status.error()));
}

/// Text and ids of a prompt; the text of ids is needed only where it is shown.
Result<Encoded> encode(const Service& service, const Prompt& prompt, bool text) {
  auto ids = service.text.encode(prompt);
  if (!ids) return ids.error();
  Encoded out{{}, std::move(*ids)};
  if (const auto* given = std::get_if<std::string>(&prompt)) {
    out.text = *given;
  } else if (text) {
    auto decoded = service.text.tokenizer().decode(out.ids, false);
    if (!decoded) return decoded.error();
    out.text = std::move(*decoded);
  }
  return out;
}

/// Whether ids hold more than special tokens.
bool has_text(const Service& service, const std::vector<std::int32_t>& ids) {
  return std::ranges::any_of(
      ids, [&](std::int32_t id) { return service.text.tokenizer().is_text(id, true); });
}

/// What the last message, which the output continues, leaves open.
struct Prefill {
  bool in_reasoning = false;
  std::string begun_call;  // from its marker on
};

Prefill find_prefill(const OutputFormat& format, const std::string& messages) {
  Prefill out;
  const Json last = Json::parse(messages).back();
  const std::string text = last["content"].is_string() ? last["content"].get<std::string>() : "";
  const auto [open, close] = reasoning_markers(format.reasoning);
  if (!open.empty()) {
    const std::size_t opened = text.rfind(open);
    const std::size_t closed = text.rfind(close);
    out.in_reasoning =
        opened != std::string::npos && (closed == std::string::npos || closed < opened);
    if (out.in_reasoning) return out;
  }
  for (const std::string_view opener : tool_openers(format.tools)) {
    const std::size_t at = text.rfind(opener);
    if (at == std::string::npos || text.size() - at <= out.begun_call.size()) continue;
    out.begun_call = text.substr(at);
  }
  if (block_end(format.tools).empty() || out.begun_call.empty()) return out;
  if (out.begun_call.find(block_end(format.tools)) != std::string::npos) out.begun_call.clear();
  return out;
}

/// How the output is read.
void set_parser(const Service& service, ChatRequest& request, bool in_reasoning,
                ReplyOptions& reply) {
  using Choice = ToolRequest::Choice;
  const Choice choice = request.tools.choice;
  const bool forced = choice == Choice::kRequired || choice == Choice::kNamed;
  reply.output_format = service.text.format();
  if (forced) reply.output_format = required_tool_format(std::move(reply.output_format));
  reply.parallel_calls = request.tools.parallel;
  reply.parser = OutputOptions{.tools = {},
                               .starts_in_reasoning = in_reasoning,
                               .split_reasoning = request.split_reasoning,
                               .stream_arguments = request.options.stream,
                               .random = service.random};
  if (choice != Choice::kNone) reply.parser->tools = std::move(request.tools.tools);
}

/// Every sequence follows the grammar on its own.
Status constrain(const NamedGrammar& grammar, std::vector<scheduler::Request>& requests) {
  if (!grammar.grammar) return {};
  for (scheduler::Request& request : requests) {
    auto matcher = text::GrammarMatcher::start(*grammar.grammar);
    if (!matcher) return matcher.error();
    request.constraint = std::make_shared<GrammarConstraint>(std::move(*matcher));
  }
  return {};
}

/// Members, lists and objects of a JSON text. Each costs a hundred bytes of memory, however short.
std::size_t json_parts(std::string_view text) {
  std::size_t parts = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') {
      quoted = !quoted;
    } else if (quoted) {
      if (c == '\\') ++i;
    } else if (c == ':' || c == '[' || c == '{') {
      ++parts;
    }
  }
  return parts;
}

}  // namespace

ApiResult<Json> parse_body(const std::string& body) {
  if (const std::size_t parts = json_parts(body); parts > kBodyPartsMax) {
    return ApiError{.message =
                        fmt::format("The JSON body of your request has {} members, lists and "
                                    "objects; this server takes up to {}.",
                                    parts, kBodyPartsMax)};
  }
  auto json = config::parse_ordered_json(body, "the request body");
  if (json.ok()) return std::move(*json);
  return ApiError{.message =
                      "We could not parse the JSON body of your request: " + json.error().message};
}

void answer_chat(const Service& service, const std::string& body, int key,
                 std::shared_ptr<RecordedAnswer> answer) {
  auto json = parse_body(body);
  if (!json) return answer->fail(json.error());
  auto request = parse_chat(*json, service.rules);
  if (!request) return answer->fail(request.error());
  constexpr const char* kParam = "messages";
  auto rendered = service.text.render(request->prompt, service.now());
  if (!rendered) return answer->fail(from_error(rendered.error(), kParam));
  if (const auto refused = check_text(service, *rendered, kParam)) return answer->fail(*refused);
  auto ids = service.text.encode_rendered(*rendered);
  if (!ids) return answer->fail(from_error(ids.error(), kParam));
  if (ids->empty()) return answer->fail(invalid_value(kParam, "Invalid 'messages': no tokens."));
  const auto too_long = check_length(service, ids->size(), kParam, 1);
  if (too_long) return answer->fail(*too_long);
  GenerationOptions& options = request->options;
  if (!options.max_tokens && service.rules.chat_max_tokens > 0) {
    options.max_tokens = service.rules.chat_max_tokens;
  }
  if (auto status = complete_xtc(service, options.sampling); !status.ok()) {
    return answer->fail(from_error(status.error(), "xtc_probability"));
  }
  const Prefill prefill = request->prompt.continue_final_message
                              ? find_prefill(service.text.format(), request->prompt.messages_json)
                              : Prefill();
  const bool in_reasoning =
      prefill.in_reasoning || prompt_opens_reasoning(service.text.format().reasoning, *rendered);
  const NamedGrammar grammar = chat_grammar(service.text, *request, in_reasoning);
  if (!grammar.status.ok()) return answer->fail(from_error(grammar.status.error(), grammar.param));
  std::vector<Encoded> prompts;
  prompts.push_back({std::move(*rendered), std::move(*ids)});
  note_request(service, options, prompts, *answer);
  ReplyOptions reply = reply_options(service, options, prompts);
  reply.logprobs = request->logprobs;
  reply.param = kParam;
  reply.begun_call = prefill.begun_call;
  // What a grammar allows is exact: no space of it is a decoder's to strip.
  const bool exact = request->grammar.kind != OutputGrammar::Kind::kNone;
  reply.continues = {request->prompt.continue_final_message || exact};
  set_parser(service, *request, in_reasoning, reply);
  auto requests = engine_requests(service, options, reply, std::move(prompts), key);
  if (auto status = constrain(grammar, requests); !status.ok()) {
    return answer->fail(from_error(status.error(), grammar.param));
  }
  auto format = chat_format(reply.logprobs, options.include_usage);
  auto listener =
      std::make_shared<Reply>(answer, service.text, service.metrics,
                              make_head(service, "chatcmpl-"), std::move(format), std::move(reply));
  submit(service, std::move(requests), std::move(listener), *answer);
}

void answer_completion(const Service& service, const std::string& body, int key,
                       std::shared_ptr<RecordedAnswer> answer) {
  auto json = parse_body(body);
  if (!json) return answer->fail(json.error());
  auto request = parse_completion(*json, service.rules);
  if (!request) return answer->fail(request.error());
  constexpr const char* kParam = "prompt";
  GenerationOptions& options = request->options;
  options.max_tokens = options.max_tokens.value_or(kCompletionTokensDefault);
  std::vector<Encoded> prompts;
  for (const Prompt& prompt : request->prompts) {
    if (const auto* text = std::get_if<std::string>(&prompt)) {
      if (const auto refused = check_text(service, *text, kParam)) return answer->fail(*refused);
    }
    auto encoded = encode(service, prompt, request->echo || service.log_prompts);
    if (!encoded) return answer->fail(from_error(encoded.error(), kParam));
    if (encoded->ids.empty())
      return answer->fail(invalid_value(kParam, "Invalid 'prompt': no tokens."));
    const int room = *options.max_tokens > 0 ? 1 : 0;
    const auto too_long = check_length(service, encoded->ids.size(), kParam, room);
    if (too_long) return answer->fail(*too_long);
    prompts.push_back(std::move(*encoded));
  }
  if (auto status = complete_xtc(service, options.sampling); !status.ok()) {
    return answer->fail(from_error(status.error(), "xtc_probability"));
  }
  note_request(service, options, prompts, *answer);
  ReplyOptions reply = reply_options(service, options, prompts);
  reply.logprobs = request->logprobs;
  reply.param = kParam;
  for (const Encoded& prompt : prompts) reply.continues.push_back(has_text(service, prompt.ids));
  if (request->echo) {
    for (const Encoded& prompt : prompts) reply.echo.push_back({prompt.text, prompt.ids});
  }
  auto requests = engine_requests(service, options, reply, std::move(prompts), key);
  auto format = completion_format(reply.logprobs, options.include_usage);
  auto listener =
      std::make_shared<Reply>(answer, service.text, service.metrics, make_head(service, "cmpl-"),
                              std::move(format), std::move(reply));
  submit(service, std::move(requests), std::move(listener), *answer);
}

}  // namespace tandem::server
