#pragma once
// Answers as JSON: pure functions of what was generated.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/api/logprobs.h"
#include "server/output/output_parser.h"

namespace tandem::server {

/// The same in every chunk of an answer.
struct ReplyHead {
  std::string id;
  std::int64_t created = 0;  // seconds since 1970
  std::string model;
  std::string fingerprint;
};

struct Usage {
  std::uint64_t prompt_tokens = 0;
  std::uint64_t cached_tokens = 0;  // of the prompt, not computed again
  std::uint64_t completion_tokens = 0;
  std::uint64_t reasoning_tokens = 0;  // of the completion
};

/// As llama-server says them, and the time before.
struct Timings {
  double queue_ms = 0;      // from the request until its prompt was computed
  double prompt_ms = 0;     // from then until the first token
  double predicted_ms = 0;  // from the first token to the last
};

/// A further piece of one choice, or all of it.
struct ChoicePart {
  int index = 0;
  OutputDelta output;
  std::vector<TokenText> tokens;  // when log-probabilities are wanted
  std::string finish;             // "" until the choice is over
};

/// Appends a later piece to what there is of its choice.
void merge(ChoicePart& whole, ChoicePart part);

Json usage_json(const Usage& usage);
Json timings_json(const Usage& usage, const Timings& timings);

/// One of the two APIs.
class ReplyFormat {
 public:
  virtual ~ReplyFormat() = default;

  /// What a stream says of a choice before its first token, or nothing.
  virtual std::optional<Json> opening(const ReplyHead& head, int index) = 0;
  /// A chunk of a stream.
  virtual Json chunk(const ReplyHead& head, const ChoicePart& part) = 0;
  /// The chunk behind the last choice, when the stream's options ask for it.
  virtual Json usage_chunk(const ReplyHead& head, const Usage& usage) = 0;
  /// The whole answer.
  virtual Json whole(const ReplyHead& head, const std::vector<ChoicePart>& choices,
                     const Usage& usage) = 0;
};

/// `logprobs`: candidates with each token; nullopt: none wanted. `usage`: chunks say "usage": null.
std::unique_ptr<ReplyFormat> chat_format(std::optional<int> logprobs, bool usage);
std::unique_ptr<ReplyFormat> completion_format(std::optional<int> logprobs, bool usage);

/// JSON text; bytes that are no UTF-8 become U+FFFD.
std::string dump(const Json& json);
/// An event of a stream: "data: {...}\n\n".
std::string sse(const Json& json);

}  // namespace tandem::server
