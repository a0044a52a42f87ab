#pragma once
// One request from prompt ids to streamed text.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/interrupt.h"
#include "scheduler/engine.h"
#include "tandem/error.h"
#include "text/tokenizer.h"

namespace tandem::cli {

/// What came of a request.
struct Answer {
  std::string text;               // without the token that ended it
  std::vector<std::int32_t> ids;  // all that were drawn, that token included
  scheduler::FinishReason finish = scheduler::FinishReason::kNone;  // kNone: interrupted
  std::size_t prompt_tokens = 0;
  double prompt_seconds = 0;  // until the first token
  double decode_seconds = 0;  // from the first token to the last

  /// Tokens a second; 0 when nothing was timed. The first token belongs to the prompt's time.
  double prompt_tps() const;
  double decode_tps() const;
};

/// Called with pieces of text as they become certain; an error ends the generation.
using TextSink = std::function<Status(std::string_view)>;

/// Runs one request on an idle engine, until it ends or `interrupt` is raised (the request is then
/// cancelled and the answer holds what there is).
Result<Answer> run_request(scheduler::Engine& engine, scheduler::Request request,
                           const text::Tokenizer& tokenizer, const TextSink& sink,
                           const Interrupt& interrupt);

}  // namespace tandem::cli
