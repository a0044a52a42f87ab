#pragma once
// Grammars over the tokens of a tiny tokenizer.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/grammar_walk.h"
#include "text/grammar.h"
#include "text/tokenizer.h"
#include "unit/text/tiny.h"

namespace tandem::text {

using tandem::testing::tokens_of;
using testing::byte_fallback_tokenizer;
using testing::byte_level_tokenizer;
using testing::TempFolder;

/// Larger than the tokenizers, as models are.
inline constexpr std::int32_t kVocabulary = 300;

class GrammarRules : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_.write("tokenizer.json", byte_level_tokenizer());
    folder_.write("tokenizer_config.json", {{"eos_token", "<eos>"}});
    load();
  }
  void load() {
    auto tokenizer = Tokenizer::load(folder_.path());
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
    tokenizer_.emplace(std::move(*tokenizer));
    auto tokens = GrammarTokenizer::make(*tokenizer_, kVocabulary);
    ASSERT_TRUE(tokens.ok()) << tokens.error().message;
    tokens_.emplace(std::move(*tokens));
  }

  GrammarMatcher start(const Result<Grammar>& grammar) {
    EXPECT_TRUE(grammar.ok()) << grammar.error().message;
    auto matcher = GrammarMatcher::start(*grammar);
    EXPECT_TRUE(matcher.ok()) << matcher.error().message;
    return std::move(*matcher);
  }

  std::vector<std::int32_t> allowed(GrammarMatcher& matcher) {
    const auto mask = matcher.allowed();
    EXPECT_TRUE(mask.ok()) << mask.error().message;
    if (!mask.ok()) return {};
    EXPECT_EQ(mask->size(), (kVocabulary + 31) / 32);
    return tokens_of(*mask);
  }

  /// The ids that are allowed, as their text.
  std::string next(GrammarMatcher& matcher) {
    std::string text;
    for (const std::int32_t id : allowed(matcher)) {
      if (!text.empty()) text += ' ';
      text += tokenizer_->decode(std::vector{id}, false).value();
    }
    return text;
  }

  /// Whether the whole text may be the output; every token of it has to be allowed on the way.
  bool accepts(const Result<Grammar>& grammar, std::string_view text) {
    GrammarMatcher matcher = start(grammar);
    const auto ids = tokenizer_->encode(text, false).value();
    for (const std::int32_t id : ids) {
      if (matcher.complete()) return false;
      if (!std::ranges::binary_search(allowed(matcher), id)) {
        EXPECT_FALSE(matcher.accept(id).ok()) << text;
        return false;
      }
      const Status status = matcher.accept(id);
      EXPECT_TRUE(status.ok()) << text;
      if (!status.ok()) return false;
    }
    if (matcher.complete()) return true;
    const std::int32_t eos = tokenizer_->eos_ids().front();
    return std::ranges::binary_search(allowed(matcher), eos) && matcher.accept(eos).ok() &&
           matcher.complete();
  }

  bool fits(std::string_view schema, std::string_view text) {
    return accepts(Grammar::json_schema(*tokens_, schema), text);
  }

  static std::string refusal(const Result<Grammar>& grammar) {
    if (grammar.ok()) return "no error";
    EXPECT_EQ(grammar.error().code, ErrorCode::kInvalidArgument) << grammar.error().message;
    EXPECT_EQ(grammar.error().message.find('\n'), std::string::npos);
    return grammar.error().message;
  }
  std::string schema_refusal(std::string_view schema) {
    return refusal(Grammar::json_schema(*tokens_, schema));
  }

  TempFolder folder_;
  std::optional<Tokenizer> tokenizer_;
  std::optional<GrammarTokenizer> tokens_;
};

}  // namespace tandem::text
