#include "cli/generation.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "cli/limits.h"
#include "tandem/deadline.h"

namespace tandem::cli {
namespace {

double seconds_between(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

/// Turns drawn ids into the answer's text.
class TextStream {
 public:
  TextStream(const text::Tokenizer& tokenizer, const TextSink& sink, Answer& answer)
      : decoder_(tokenizer, false), sink_(&sink), answer_(&answer) {}

  Status push(std::int32_t id) { return pass(decoder_.push(id)); }
  Status finish() { return pass(decoder_.finish()); }

 private:
  Status pass(Result<std::string> piece) {
    if (!piece) return piece.error();
    if (piece->empty()) return {};
    answer_->text += *piece;
    return (*sink_)(*piece);
  }

  text::StreamDecoder decoder_;
  const TextSink* sink_;
  Answer* answer_;
};

/// Collects the ticks that are on their way: no one else does, and uncollected they stop the
/// pipeline for the next request.
Status drain(scheduler::Engine& engine) {
  while (engine.busy()) {
    auto events = engine.step(after(std::chrono::seconds(limits::kTickSecondsMax)));
    if (!events) return events.error();
  }
  return {};
}

}  // namespace

double Answer::prompt_tps() const {
  return prompt_seconds > 0 ? static_cast<double>(prompt_tokens) / prompt_seconds : 0;
}

double Answer::decode_tps() const {
  if (ids.size() < 2 || decode_seconds <= 0) return 0;
  return static_cast<double>(ids.size() - 1) / decode_seconds;
}

Result<Answer> run_request(scheduler::Engine& engine, scheduler::Request request,
                           const text::Tokenizer& tokenizer, const TextSink& sink,
                           const Interrupt& interrupt) {
  Answer answer;
  answer.prompt_tokens = request.prompt.size();
  TextStream stream(tokenizer, sink, answer);
  const auto begin = Clock::now();
  auto first = begin;
  auto sequence = engine.add(std::move(request));
  if (!sequence) return sequence.error();
  Status told;
  std::optional<Error> refused;
  while (answer.finish == scheduler::FinishReason::kNone && told.ok() && !interrupt.raised()) {
    auto events = engine.step(after(std::chrono::seconds(limits::kTickSecondsMax)));
    if (!events) return events.error();
    for (const scheduler::Event& event : *events) {
      if (event.sequence != *sequence) continue;
      answer.finish = event.finish;
      refused = event.error;
      if (!event.token) continue;
      if (answer.ids.empty()) {
        first = Clock::now();
        answer.prompt_seconds = seconds_between(begin, first);
      }
      answer.ids.push_back(event.token->id);
      answer.decode_seconds = seconds_between(first, Clock::now());
      if (event.finish != scheduler::FinishReason::kStop) told = stream.push(event.token->id);
    }
  }
  if (answer.finish == scheduler::FinishReason::kNone) engine.cancel(*sequence);
  if (auto status = drain(engine); !status.ok()) return status.error();
  if (refused) return *refused;
  if (told.ok()) told = stream.finish();
  if (!told.ok()) return told.error();
  return answer;
}

}  // namespace tandem::cli
