#pragma once
// Messages -> token ids.

#include <cstdint>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/options.h"
#include "tandem/error.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace tandem::cli {

struct Message {
  std::string role;     // "system", "user", "assistant"
  std::string content;  // UTF-8
};

/// Renders the conversation and encodes it. A last message of the assistant is continued, any other
/// is answered. `config`: --chat-template-config. `now`: for templates that print the date.
Result<std::vector<std::int32_t>> encode_messages(const text::Tokenizer& tokenizer,
                                                  const text::ChatTemplate& chat_template,
                                                  const std::vector<Message>& messages,
                                                  const std::optional<std::string>& config,
                                                  std::time_t now);

/// Ids that end an answer: the model's and --extra-eos-token's, sorted. An unknown token is an
/// error that names it.
Result<std::vector<std::int32_t>> stop_ids(const text::Tokenizer& tokenizer,
                                           const std::vector<std::string>& extra);

/// The sampling parameters of a request, as mlx_lm.generate sets them up: top-p 0 is off, and XTC
/// spares line ends and the ids that end an answer. `random_seed` is used without --seed.
Result<SamplingParams> sampling_params(const SamplingOptions& options,
                                       const text::Tokenizer& tokenizer, std::uint64_t random_seed);

}  // namespace tandem::cli
