#pragma once
// Log-probabilities in the shapes of the two APIs.

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "server/api/fields.h"

namespace tandem::server {

/// A token that might have come.
struct Candidate {
  std::string text;  // a part of a character is U+FFFD
  float logprob = 0;
  std::optional<std::string> bytes{};  // what it stands for; nullopt: its text's, if it is whole
};

/// A token of an answer (or of an echoed prompt) as text.
struct TokenText {
  std::string text;                    // a part of a character is U+FFFD
  std::optional<float> logprob;        // none for the first token of a prompt
  std::vector<Candidate> top;          // likeliest first
  std::optional<std::string> bytes{};  // what it stands for; nullopt: its text's, if it is whole
  std::optional<std::string> shown{};  // its part of the answer's text, where not these bytes
};

/// {"content": [{"token", "logprob", "bytes", "top_logprobs": [...]}], "refusal": null}. bytes is
/// null for a token that has none of its own.
Json chat_logprobs(std::span<const TokenText> tokens);

/// {"tokens", "token_logprobs", "top_logprobs", "text_offset"}; offsets count characters of the
/// text from `offset`: parts of one character share its own. With `top`, the chosen token is among
/// the candidates; else "top_logprobs" is null.
Json completion_logprobs(std::span<const TokenText> tokens, std::size_t offset, bool top);

/// Characters of UTF-8 text.
std::size_t characters(std::string_view text);

}  // namespace tandem::server
