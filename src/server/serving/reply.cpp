#include "server/serving/reply.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

namespace tandem::server {
namespace {

using scheduler::FinishReason;

/// Silence after which a stream says that it lives, and how often progress is told.
constexpr std::chrono::seconds kSilence{5};
constexpr std::chrono::seconds kProgress{1};

}  // namespace

Reply::Reply(std::shared_ptr<RecordedAnswer> answer, const ModelText& model, Metrics& metrics,
             ReplyHead head, std::unique_ptr<ReplyFormat> format, ReplyOptions options)
    : answer_(std::move(answer)),
      model_(&model),
      metrics_(&metrics),
      head_(std::move(head)),
      format_(std::move(format)),
      options_(std::move(options)),
      open_choices_(options_.prompt_tokens.size() * static_cast<std::size_t>(options_.n)),
      last_write_(answer_->began()) {
  choices_.reserve(open_choices_);
  for (std::size_t i = 0; i < open_choices_; ++i) {
    const std::size_t prompt = i / static_cast<std::size_t>(options_.n);
    choices_.emplace_back(TokenStream(
        model, {.stop = options_.stop,
                .keep_markers = options_.parser.has_value(),
                .tokens = options_.logprobs.has_value(),
                .continues = prompt < options_.continues.size() && options_.continues[prompt]}));
    Choice& choice = choices_.back();
    choice.part.index = static_cast<int>(i);
    if (!options_.parser) continue;
    choice.parser.emplace(options_.output_format, *options_.parser);
    // The call that the prompt began is the answer's, but nothing else of it.
    choice.begun.tools = choice.parser->push(options_.begun_call).tools;
  }
}

/// Times and counts of an event.
void Reply::note(Choice& choice, const scheduler::Event& event) {
  choice.prompt_done = event.prompt_done;
  choice.cached = event.cached;
  // Set in all events but those of a request that ended before it was computed.
  if (!computed_ && event.submitted > answer_->began()) {
    computed_ = event.submitted;
    answer_->record().queue_ms = milliseconds(*computed_ - answer_->began());
  }
  std::ranges::copy(event.scores, std::back_inserter(choice.scores));
  if (!event.token) return;
  const auto now = Clock::now();
  if (!first_token_) {
    first_token_ = now;
    answer_->record().first_token_ms = answer_->elapsed_ms();
  }
  if (choice.last_token) {
    metrics_->token_gap(std::chrono::duration<double>(now - *choice.last_token).count());
  }
  choice.last_token = last_token_ = now;
  ++choice.completion_tokens;
  if (choice.parser && choice.parser->in_reasoning()) ++choice.reasoning_tokens;
}

bool Reply::event(std::size_t index, const scheduler::Event& event) {
  Choice& choice = choices_[index];
  note(choice, event);
  if (event.finish == FinishReason::kError) {
    fail(from_error(*event.error, options_.param));
    return false;
  }
  if (!event.token && event.finish == FinishReason::kNone) {
    const bool due = !begun_ || Clock::now() - last_write_ >= kProgress;
    if (options_.stream && due) keep_alive();
    return !over_;
  }
  open(index);
  bool ended = false;
  const bool silent = event.token && event.finish == FinishReason::kStop &&
                      std::ranges::binary_search(options_.stop_ids, event.token->id);
  if (event.token && !silent) {
    auto piece = choice.stream.push(*event.token);
    if (!piece) {
      fail(from_error(piece.error(), options_.param));
      return false;
    }
    ended = take(index, std::move(*piece), false);
  }
  if (!ended && event.finish != FinishReason::kNone) {
    auto rest = choice.stream.finish();
    if (!rest) {
      fail(from_error(rest.error(), options_.param));
      return false;
    }
    // OpenAI's completions list the token that ended them too, though it is no text: harnesses that
    // score a prompt by its echo count on a token behind it.
    const bool listed = silent && options_.logprobs && !choice.parser && !rest->stopped;
    if (listed) rest->tokens.push_back(*event.token);
    take(index, std::move(*rest), true);
    if (!choice.over) close(index, event.finish == FinishReason::kStop ? "stop" : "length");
  }
  const bool more = flush();
  return more && !choice.over;
}

/// What comes before a choice's first token: the role, or the echoed prompt.
void Reply::open(std::size_t index) {
  Choice& choice = choices_[index];
  if (choice.opened) return;
  choice.opened = true;
  if (options_.stream) {
    ensure_begun();
    if (auto opening = format_->opening(head_, choice.part.index)) out_ += sse(*opening);
  }
  if (!choice.begun.empty()) {
    ChoicePart part;
    part.index = choice.part.index;
    part.output = std::exchange(choice.begun, {});
    emit(index, std::move(part));
  }
  if (options_.echo.empty()) return;
  const Echo& echo = options_.echo[index / static_cast<std::size_t>(options_.n)];
  ChoicePart part;
  part.index = choice.part.index;
  part.output.content = echo.text;
  if (options_.logprobs) {
    TokenResult first;
    first.id = echo.ids.front();
    part.tokens.push_back(model_->token_text(first));
    part.tokens.front().logprob = std::nullopt;
    for (const auto& score : choice.scores) part.tokens.push_back(model_->token_text(score.token));
    model_->align(part.tokens, echo.text);
  }
  emit(index, std::move(part));
}

bool Reply::take(std::size_t index, TokenStream::Piece piece, bool last) {
  Choice& choice = choices_[index];
  ChoicePart part;
  part.index = choice.part.index;
  for (const TokenResult& token : piece.tokens) part.tokens.push_back(model_->token_text(token));
  const bool ends = last || piece.stopped;
  if (!choice.parser) {
    part.output.content = std::move(piece.text);
  } else {
    part.output = choice.parser->push(piece.text);
    if (ends) {
      ChoicePart rest;
      rest.output = choice.parser->finish();
      merge(part, std::move(rest));
    }
  }
  bool one_call = false;
  if (!options_.parallel_calls) {
    one_call = std::erase_if(part.output.tools,
                             [](const ToolCallDelta& call) { return call.index > 0; }) > 0;
  }
  emit(index, std::move(part));
  if (piece.stopped || one_call) close(index, "stop");
  return choice.over;
}

void Reply::emit(std::size_t index, ChoicePart part) {
  if (part.output.empty() && part.tokens.empty()) return;
  if (options_.stream) {
    out_ += sse(format_->chunk(head_, part));
  } else {
    merge(choices_[index].part, std::move(part));
  }
}

void Reply::close(std::size_t index, std::string finish) {
  Choice& choice = choices_[index];
  choice.over = true;
  --open_choices_;
  if (finish == "stop" && choice.parser && choice.parser->tool_calls() > 0) finish = "tool_calls";
  answer_->record().finish = finish;
  choice.part.finish = finish;
  if (options_.stream) {
    ChoicePart part;
    part.index = choice.part.index;
    part.finish = finish;
    Json chunk = format_->chunk(head_, part);
    if (open_choices_ == 0) chunk["timings"] = timings_json(usage(), timings());
    out_ += sse(chunk);
  }
  if (open_choices_ == 0) finish_answer();
}

/// Notes what was used, however the request ends.
void Reply::end() {
  over_ = true;
  const Usage used = usage();
  RequestRecord& record = answer_->record();
  record.prompt_tokens = used.prompt_tokens;
  record.cached_tokens = used.cached_tokens;
  record.completion_tokens = used.completion_tokens;
}

void Reply::finish_answer() {
  end();
  const Usage used = usage();
  if (options_.stream) {
    if (options_.include_usage) out_ += sse(format_->usage_chunk(head_, used));
    out_ += "data: [DONE]\n\n";
    answer_->end(std::exchange(out_, {}));
    return;
  }
  std::vector<ChoicePart> parts;
  for (Choice& choice : choices_) parts.push_back(std::move(choice.part));
  Json body = format_->whole(head_, parts, used);
  body["timings"] = timings_json(used, timings());
  HttpResponse response;
  response.body = dump(body);
  answer_->send(std::move(response));
}

/// Sends what a stream has to say. False: the request is over.
bool Reply::flush() {
  if (over_) return false;
  if (out_.empty()) return true;
  last_write_ = Clock::now();
  if (answer_->write(std::exchange(out_, {}))) return true;
  end();
  return false;
}

void Reply::ensure_begun() {
  if (begun_) return;
  begun_ = true;
  HttpResponse response;
  response.content_type = "text/event-stream";
  response.headers.push_back({"Cache-Control", "no-cache"});
  response.headers.push_back({"X-Accel-Buffering", "no"});  // nginx's word for: pass on at once
  answer_->begin(std::move(response));
}

void Reply::fail(const ApiError& error) {
  if (over_) return;
  end();
  answer_->record().finish = "error";
  if (!begun_) {
    answer_->fail(error);
    return;
  }
  answer_->record().error = error.message;
  answer_->end(fmt::format("{}data: {}\n\n", out_, error_body(error)));
}

void Reply::failed(const Error& error) {
  if (error.code == ErrorCode::kResourceLimit) {
    fail(too_many(error.message, 1));
  } else {
    fail(from_error(error, options_.param));
  }
}

/// A comment in the stream: clients that wait for a first byte see that the prompt is worked on.
void Reply::keep_alive() {
  std::uint64_t done = 0;
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < choices_.size(); ++i) {
    done += choices_[i].prompt_done;
    total += options_.prompt_tokens[i / static_cast<std::size_t>(options_.n)];
  }
  ensure_begun();
  out_ += fmt::format(": keepalive {}/{}\n\n", done, total);
  flush();
}

bool Reply::wanted(Clock::time_point now) {
  if (over_) return false;
  if (answer_->closed()) {
    end();
    answer_->record().finish = "gone";
    return false;
  }
  if (options_.stream && now - last_write_ >= kSilence) keep_alive();
  return !over_;
}

Usage Reply::usage() const {
  Usage out;
  for (std::size_t i = 0; i < choices_.size(); ++i) {
    out.completion_tokens += choices_[i].completion_tokens;
    out.reasoning_tokens += choices_[i].reasoning_tokens;
    if (i % static_cast<std::size_t>(options_.n) == 0) out.cached_tokens += choices_[i].cached;
  }
  for (const std::uint64_t tokens : options_.prompt_tokens) out.prompt_tokens += tokens;
  return out;
}

Timings Reply::timings() const {
  const auto first = first_token_.value_or(Clock::now());
  const auto computed = computed_.value_or(first);
  return {.queue_ms = milliseconds(computed - answer_->began()),
          .prompt_ms = milliseconds(first - computed),
          .predicted_ms = milliseconds(last_token_.value_or(first) - first)};
}

}  // namespace tandem::server
