#pragma once
// Outputs that a grammar allows, drawn at random.

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "text/grammar.h"
#include "text/tokenizer.h"

namespace tandem::testing {

inline std::vector<std::int32_t> tokens_of(const std::vector<std::uint32_t>& mask) {
  std::vector<std::int32_t> tokens;
  for (std::size_t word = 0; word < mask.size(); ++word) {
    for (std::uint32_t bits = mask[word]; bits != 0; bits &= bits - 1) {
      tokens.push_back(static_cast<std::int32_t>(word * 32) + std::countr_zero(bits));
    }
  }
  return tokens;
}

struct Walk {
  std::string text;
  std::vector<std::int32_t> tokens;  // without the one that ended it
  bool ended = false;                // complete, and not cut off
  std::optional<Error> error;
};

/// Draws tokens of an output; after a while those that bring it to an end.
class GrammarWalker {
 public:
  GrammarWalker(const text::Tokenizer& tokenizer, std::uint32_t seed)
      : tokenizer_(tokenizer), random_(seed) {
    for (std::int32_t id = 0; id < tokenizer.vocabulary_size(); ++id) {
      const auto text = tokenizer.decode(std::vector{id}, true);
      short_.push_back(text.ok() && text->size() == 1);
    }
  }

  Walk walk(const text::Grammar& grammar, std::size_t tokens_max = 2000) {
    Walk walk;
    auto matcher = text::GrammarMatcher::start(grammar);
    if (!matcher) {
      walk.error = matcher.error();
      return walk;
    }
    const std::size_t free_tokens = random_() % 60;
    while (!matcher->complete() && walk.tokens.size() < tokens_max) {
      const auto mask = matcher->allowed();
      if (!mask) {
        walk.error = mask.error();
        return walk;
      }
      const std::int32_t token = pick(tokens_of(*mask), walk.tokens.size() >= free_tokens);
      if (const Status status = matcher->accept(token); !status) {
        walk.error = status.error();
        return walk;
      }
      if (!is_end(token)) walk.tokens.push_back(token);
    }
    walk.ended = matcher->complete();
    walk.text = tokenizer_.decode(walk.tokens, false).value();
    return walk;
  }

 private:
  bool is_end(std::int32_t token) const {
    return std::ranges::binary_search(tokenizer_.eos_ids(), token);
  }

  std::int32_t pick(const std::vector<std::int32_t>& tokens, bool finish) {
    if (finish) {
      const auto end = std::ranges::find_if(tokens, [&](auto token) { return is_end(token); });
      if (end != tokens.end()) return *end;
      for (const std::string_view closing : {"\"", "}", "]", "null"}) {
        if (random_() % 4 == 0) break;  // what closes nothing here must not go on for ever
        const auto id = tokenizer_.token_to_id(closing);
        if (id && std::ranges::binary_search(tokens, *id)) return *id;
      }
      // Letter by letter there is no going past an end.
      std::vector<std::int32_t> letters;
      std::ranges::copy_if(tokens, std::back_inserter(letters),
                           [&](auto token) { return short_[static_cast<std::size_t>(token)]; });
      if (!letters.empty()) return letters[random_() % letters.size()];
    }
    return tokens[random_() % tokens.size()];
  }

  const text::Tokenizer& tokenizer_;
  std::mt19937 random_;
  std::vector<bool> short_;  // by id: a token of one byte
};

}  // namespace tandem::testing
