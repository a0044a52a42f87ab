#pragma once
// What a token stands for before bytes become characters.

#include <cstdint>
#include <optional>
#include <string>

#include "text/tokenizer.h"

namespace tandem::text {

/// The bytes of a token inside a text: a part of a character's where it is one, a special token's
/// own text. nullopt: there is no such token, or what it gives depends on its place (WordPiece).
std::optional<std::string> token_bytes(const Tokenizer& tokenizer, std::int32_t id);

}  // namespace tandem::text
