#pragma once
// What a server's JSON says, read leniently: servers differ. Pure.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tandem/error.h"

namespace tandem::client {

struct TokenUsage {
  std::uint64_t prompt_tokens = 0;
  std::uint64_t cached_tokens = 0;  // of the prompt, not computed again
  std::uint64_t completion_tokens = 0;
};

/// One event of a stream.
struct StreamPiece {
  bool text = false;  // it brings something of the answer: content, reasoning or a call
  std::optional<TokenUsage> usage;
};

/// An event of either API but "[DONE]". kUnavailable with the server's own words when the event is
/// an error, kInternal when it is no JSON object.
Result<StreamPiece> read_event(std::string_view event);

/// The message in the body of a refusal; without one, the beginning of the body.
std::string error_message(std::string_view body);

struct ModelEntry {
  std::string id;
  std::int32_t vocabulary = 0;  // meta.n_vocab; 0: not said
};

/// The first model of GET /v1/models. kUnavailable when there is none.
Result<ModelEntry> first_model(std::string_view body);

}  // namespace tandem::client
