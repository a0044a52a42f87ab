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

/// A token of an answer (or of an echoed prompt) as text.
struct TokenText {
  std::string text;
  std::optional<float> logprob;                    // none for the first token of a prompt
  std::vector<std::pair<std::string, float>> top;  // likeliest first
};

/// {"content": [{"token", "logprob", "bytes", "top_logprobs": [...]}], "refusal": null}. bytes is
/// null for a token that is a part of a character.
Json chat_logprobs(std::span<const TokenText> tokens);

/// {"tokens", "token_logprobs", "top_logprobs", "text_offset"}; offsets count characters from
/// `offset`. With `top`, the chosen token is among the candidates; else "top_logprobs" is null.
Json completion_logprobs(std::span<const TokenText> tokens, std::size_t offset, bool top);

/// Characters of UTF-8 text.
std::size_t characters(std::string_view text);

}  // namespace tandem::server
