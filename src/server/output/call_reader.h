#pragma once
// Readers of what follows a tool call's opening marker, one a syntax.

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include "server/output/call_sink.h"
#include "server/output/output_format.h"
#include "server/output/output_parser.h"

namespace tandem::server {

struct ReadStep {
  enum class State {
    kMore,    // what is left of the text decides nothing yet: come again with more behind it
    kAgain,   // come again with what is left
    kDone,    // the calls are over; the rest is not theirs
    kFailed,  // not a call; what is left and what was read and not settled is content
  };
  State state = State::kMore;
  std::size_t used = 0;  // bytes read from the front of the text
};

/// Reads text in pieces cut anywhere. Returns right after the sink settled, so that the caller
/// knows which text is accounted for. What it does must not depend on where text is cut.
class CallReader {
 public:
  virtual ~CallReader() = default;
  virtual ReadStep read(std::string_view text, CallSink& sink) = 0;
  /// The output ended, `rest` was not used: gives what was held of the open call's arguments. The
  /// call stays open, for it was cut off.
  virtual void finish(std::string_view rest, CallSink& sink) = 0;
};

/// A reader of one block of calls that `opener` began; "" for the bare JSON of Llama. `tools`
/// outlives it.
std::unique_ptr<CallReader> make_call_reader(ToolSyntax syntax, std::string_view opener,
                                             const std::vector<ToolSpec>& tools);

}  // namespace tandem::server
