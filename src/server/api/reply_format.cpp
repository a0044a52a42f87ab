#include "server/api/reply_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace tandem::server {
namespace {

Json begin_object(const ReplyHead& head, const char* object) {
  return {{"id", head.id},
          {"object", object},
          {"created", head.created},
          {"model", head.model},
          {"system_fingerprint", head.fingerprint}};
}

Json finish_json(const std::string& finish) {
  return finish.empty() ? Json(nullptr) : Json(finish);
}

Json tool_json(const ToolCallDelta& call, bool stream) {
  Json function = Json::object();
  if (!stream || !call.name.empty()) function["name"] = call.name;
  function["arguments"] = call.arguments;
  Json out = Json::object();
  if (stream) out["index"] = call.index;
  if (!stream || !call.id.empty()) {
    out["id"] = call.id;
    out["type"] = "function";
  }
  out["function"] = std::move(function);
  return out;
}

Json tools_json(const std::vector<ToolCallDelta>& calls, bool stream) {
  Json out = Json::array();
  for (const ToolCallDelta& call : calls) out.push_back(tool_json(call, stream));
  return out;
}

/// An object with all its choices and what was used.
Json whole_object(const ReplyHead& head, const char* object, Json choices, const Usage& usage) {
  Json out = begin_object(head, object);
  out["choices"] = std::move(choices);
  out["usage"] = usage_json(usage);
  return out;
}

/// A piece of a stream. `usage`: it ends in a chunk of that, so that every other one says null.
Json chunk_object(const ReplyHead& head, const char* object, Json choice, bool usage) {
  Json out = begin_object(head, object);
  out["choices"] = Json::array();
  out["choices"].push_back(std::move(choice));
  if (usage) out["usage"] = nullptr;
  return out;
}

class ChatFormat final : public ReplyFormat {
 public:
  ChatFormat(std::optional<int> logprobs, bool usage) : logprobs_(logprobs), usage_(usage) {}

  std::optional<Json> opening(const ReplyHead& head, int index) override {
    return stream_object(head, index, {{"role", "assistant"}, {"content", ""}}, nullptr, "");
  }

  Json chunk(const ReplyHead& head, const ChoicePart& part) override {
    Json delta = Json::object();
    if (!part.output.content.empty()) delta["content"] = part.output.content;
    // Not "reasoning" too: clients that know both names would show it twice.
    if (!part.output.reasoning.empty()) delta["reasoning_content"] = part.output.reasoning;
    if (!part.output.tools.empty()) delta["tool_calls"] = tools_json(part.output.tools, true);
    Json logprobs = part.tokens.empty() ? Json(nullptr) : chat_logprobs(part.tokens);
    return stream_object(head, part.index, std::move(delta), std::move(logprobs), part.finish);
  }

  Json usage_chunk(const ReplyHead& head, const Usage& usage) override {
    return whole_object(head, kChunk, Json::array(), usage);
  }

  Json whole(const ReplyHead& head, const std::vector<ChoicePart>& choices,
             const Usage& usage) override {
    Json list = Json::array();
    for (const ChoicePart& part : choices) {
      list.push_back({{"index", part.index},
                      {"message", message(part.output)},
                      {"logprobs", logprobs_ ? chat_logprobs(part.tokens) : Json(nullptr)},
                      {"finish_reason", finish_json(part.finish)}});
    }
    return whole_object(head, "chat.completion", std::move(list), usage);
  }

 private:
  static constexpr const char* kChunk = "chat.completion.chunk";

  static Json message(const OutputDelta& output) {
    Json out = {{"role", "assistant"}, {"content", output.content}, {"refusal", nullptr}};
    if (output.content.empty() && !output.tools.empty()) out["content"] = nullptr;
    if (!output.reasoning.empty()) out["reasoning_content"] = output.reasoning;
    if (!output.tools.empty()) out["tool_calls"] = tools_json(output.tools, false);
    return out;
  }

  Json stream_object(const ReplyHead& head, int index, Json delta, Json logprobs,
                     const std::string& finish) const {
    Json choice = {{"index", index},
                   {"delta", std::move(delta)},
                   {"logprobs", std::move(logprobs)},
                   {"finish_reason", finish_json(finish)}};
    return chunk_object(head, kChunk, std::move(choice), usage_);
  }

  std::optional<int> logprobs_;
  bool usage_;
};

class CompletionFormat final : public ReplyFormat {
 public:
  CompletionFormat(std::optional<int> logprobs, bool usage) : logprobs_(logprobs), usage_(usage) {}

  std::optional<Json> opening(const ReplyHead&, int) override { return std::nullopt; }

  Json chunk(const ReplyHead& head, const ChoicePart& part) override {
    const auto index = static_cast<std::size_t>(part.index);
    if (offsets_.size() <= index) offsets_.resize(index + 1);
    Json out = chunk_object(head, kObject, choice(part, offsets_[index]), usage_);
    offsets_[index] += characters(part.output.content);
    return out;
  }

  Json usage_chunk(const ReplyHead& head, const Usage& usage) override {
    return whole_object(head, kObject, Json::array(), usage);
  }

  Json whole(const ReplyHead& head, const std::vector<ChoicePart>& choices,
             const Usage& usage) override {
    Json list = Json::array();
    for (const ChoicePart& part : choices) list.push_back(choice(part, 0));
    return whole_object(head, kObject, std::move(list), usage);
  }

 private:
  static constexpr const char* kObject = "text_completion";

  Json choice(const ChoicePart& part, std::size_t offset) const {
    Json logprobs = nullptr;
    if (logprobs_) logprobs = completion_logprobs(part.tokens, offset, *logprobs_ > 0);
    return {{"index", part.index},
            {"text", part.output.content},
            {"logprobs", std::move(logprobs)},
            {"finish_reason", finish_json(part.finish)}};
  }

  std::optional<int> logprobs_;
  bool usage_;
  std::vector<std::size_t> offsets_;  // characters already streamed, of each choice
};

double per_second(std::uint64_t tokens, double ms) {
  return ms > 0 ? static_cast<double>(tokens) * 1000 / ms : 0;
}

double per_token(std::uint64_t tokens, double ms) {
  return tokens > 0 ? ms / static_cast<double>(tokens) : 0;
}

}  // namespace

std::unique_ptr<ReplyFormat> chat_format(std::optional<int> logprobs, bool usage) {
  return std::make_unique<ChatFormat>(logprobs, usage);
}

std::unique_ptr<ReplyFormat> completion_format(std::optional<int> logprobs, bool usage) {
  return std::make_unique<CompletionFormat>(logprobs, usage);
}

void merge(ChoicePart& whole, ChoicePart part) {
  whole.output.content += part.output.content;
  whole.output.reasoning += part.output.reasoning;
  auto& calls = whole.output.tools;
  for (ToolCallDelta& call : part.output.tools) {
    const auto same = [&](const ToolCallDelta& known) { return known.index == call.index; };
    const auto known = std::ranges::find_if(calls, same);
    if (known == calls.end()) {
      calls.push_back(std::move(call));
    } else {
      known->arguments += call.arguments;
    }
  }
  std::ranges::move(part.tokens, std::back_inserter(whole.tokens));
}

Json usage_json(const Usage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
          {"prompt_tokens_details", {{"cached_tokens", usage.cached_tokens}}},
          {"completion_tokens_details", {{"reasoning_tokens", usage.reasoning_tokens}}}};
}

Json timings_json(const Usage& usage, const Timings& timings) {
  const std::uint64_t computed = usage.prompt_tokens - usage.cached_tokens;
  return {{"cache_n", usage.cached_tokens},
          {"queue_ms", timings.queue_ms},
          {"prompt_n", computed},
          {"prompt_ms", timings.prompt_ms},
          {"prompt_per_token_ms", per_token(computed, timings.prompt_ms)},
          {"prompt_per_second", per_second(computed, timings.prompt_ms)},
          {"predicted_n", usage.completion_tokens},
          {"predicted_ms", timings.predicted_ms},
          {"predicted_per_token_ms", per_token(usage.completion_tokens, timings.predicted_ms)},
          {"predicted_per_second", per_second(usage.completion_tokens, timings.predicted_ms)}};
}

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string sse(const Json& json) { return fmt::format("data: {}\n\n", dump(json)); }

}  // namespace tandem::server
