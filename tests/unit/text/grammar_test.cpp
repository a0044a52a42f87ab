#include "text/grammar.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"
#include "unit/text/grammar_rules.h"

namespace tandem::text {
namespace {

TEST_F(GrammarRules, APatternAllowsItsNextBytesAndThenTheEnd) {
  GrammarMatcher matcher = start(Grammar::regex(*tokens_, "the?[0-2]"));
  EXPECT_EQ(next(matcher), "t th the");
  ASSERT_TRUE(matcher.accept(256).ok());
  EXPECT_EQ(next(matcher), "0 1 2 e");
  ASSERT_TRUE(matcher.accept('1').ok() && matcher.complete());
  EXPECT_FALSE(matcher.allowed().ok());
  EXPECT_FALSE(matcher.accept('1').ok());
}

TEST_F(GrammarRules, WhereTheOutputMayEndSoItMay) {
  GrammarMatcher matcher = start(Grammar::regex(*tokens_, "a+"));
  EXPECT_EQ(next(matcher), "a");
  ASSERT_TRUE(matcher.accept('a').ok());
  EXPECT_EQ(next(matcher), "a <eos>");
  EXPECT_FALSE(matcher.complete());
  ASSERT_TRUE(matcher.accept(259).ok());
  EXPECT_TRUE(matcher.complete());
}

TEST_F(GrammarRules, AnEmptyPatternIsCompleteAtOnce) {
  EXPECT_TRUE(start(Grammar::regex(*tokens_, "")).complete());
}

TEST_F(GrammarRules, ATokenThatIsNotAllowedEndsTheMatcher) {
  GrammarMatcher matcher = start(Grammar::regex(*tokens_, "ab"));
  const Status status = matcher.accept('b');
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, ErrorCode::kResourceLimit);
  EXPECT_FALSE(matcher.complete());
  EXPECT_FALSE(matcher.allowed().ok());
  EXPECT_FALSE(matcher.accept('a').ok());
  GrammarMatcher other = start(Grammar::regex(*tokens_, "ab"));
  for (const std::int32_t id : {-1, kVocabulary, 1 << 30}) EXPECT_FALSE(other.accept(id).ok());
}

TEST_F(GrammarRules, MatchersOfAGrammarDoNotKnowEachOther) {
  const auto grammar = Grammar::regex(*tokens_, "(a|b)c");
  GrammarMatcher first = start(grammar);
  ASSERT_TRUE(first.accept('a').ok());
  GrammarMatcher second = start(grammar);
  EXPECT_EQ(next(second), "a b");
  EXPECT_EQ(next(first), "c");
}

TEST_F(GrammarRules, SpecialTokensComeOnlyWhenNamed) {
  EXPECT_FALSE(accepts(Grammar::regex(*tokens_, "<eos>a"), "<eos>a")) << "no text of its own";
  EXPECT_TRUE(accepts(Grammar::regex(*tokens_, "<tool>a"), "<tool>a")) << "260 is plain text";
}

TEST_F(GrammarRules, ALarkGrammarMayNameTokensAndSchemas) {
  const auto expression = lark_json(R"({"type":"object","properties":{"n":{"type":"integer"}},)"
                                    R"("required":["n"],"additionalProperties":false})");
  ASSERT_TRUE(expression.ok());
  const auto grammar =
      Grammar::lark(*tokens_, "start: <[258]> (\"x\" | \"y\" call)\ncall: " + *expression + "\n");
  GrammarMatcher matcher = start(grammar);
  EXPECT_EQ(allowed(matcher), std::vector<std::int32_t>{258});
  EXPECT_TRUE(accepts(grammar, "<bos>x"));
  EXPECT_TRUE(accepts(grammar, R"(<bos>y{"n":-3})"));
  EXPECT_FALSE(accepts(grammar, R"(<bos>y{"m":-3})"));
  EXPECT_FALSE(accepts(grammar, R"(<bos>y{"n": \n\n 3})"));
}

TEST_F(GrammarRules, SentencepieceTokensAreTheirText) {
  folder_.write("tokenizer.json", byte_fallback_tokenizer());
  folder_.write("tokenizer_config.json", {{"eos_token", "</s>"}});
  load();
  const auto space_t = tokenizer_->token_to_id(testing::utf8(0x2581) + "t").value();
  GrammarMatcher matcher = start(Grammar::regex(*tokens_, " te|\xC3\xA9|\n"));
  const std::vector<std::int32_t> first = allowed(matcher);
  const auto has = [&](std::string_view token) {
    return std::ranges::binary_search(first, tokenizer_->token_to_id(token).value());
  };
  EXPECT_TRUE(has(testing::utf8(0x2581)) && has(testing::utf8(0xE9)) && has("<0xC3>"));
  EXPECT_TRUE(has("<0x0A>") && has("<0x20>"));
  EXPECT_EQ(first.size(), 6U);
  ASSERT_TRUE(matcher.accept(space_t).ok());
  EXPECT_EQ(allowed(matcher).size(), 2U) << "e and its byte";
}

TEST_F(GrammarRules, WhatAPatternOrGrammarGetsWrongIsSaid) {
  EXPECT_EQ(refusal(Grammar::regex(*tokens_, "(")), "regex: pattern \"(\": unclosed group");
  EXPECT_EQ(refusal(Grammar::regex(*tokens_, "(?=a)b")),
            "regex: pattern \"(?=a)b\": look-around, including look-ahead and look-behind, is not "
            "supported");
  EXPECT_EQ(refusal(Grammar::lark(*tokens_, "")), "lark grammar: no start rule found");
  EXPECT_EQ(refusal(Grammar::lark(*tokens_, "start: foo")),
            "lark grammar: at 1(8): unknown name: \"foo\"");
  EXPECT_EQ(refusal(Grammar::lark(*tokens_, "start: <|nope|>")),
            "lark grammar: at 1(8): unknown special token: \"<|nope|>\"");
  EXPECT_EQ(refusal(Grammar::lark(*tokens_, "start: <[300]>")),
            "lark grammar: at 1(8): Token range end too large: 300");
  EXPECT_EQ(lark_json("{").error().code, ErrorCode::kInvalidArgument);
}

TEST_F(GrammarRules, ATokenizerWithoutBytesIsRefused) {
  auto json = byte_level_tokenizer();
  json["pre_tokenizer"] = {{"type", "Whitespace"}};
  json["decoder"] = {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}};
  folder_.write("tokenizer.json", json);
  const auto tokenizer = Tokenizer::load(folder_.path());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  const auto tokens = GrammarTokenizer::make(*tokenizer, kVocabulary);
  ASSERT_FALSE(tokens.ok());
  EXPECT_EQ(tokens.error().message,
            "tokenizer.json: grammars need a tokenizer of bytes; its decoder is WordPiece");
  EXPECT_FALSE(GrammarTokenizer::make(*tokenizer_, 0).ok());
}

TEST_F(GrammarRules, AModelWithFewerTokensNeverDrawsTheRest) {
  const auto tokens = GrammarTokenizer::make(*tokenizer_, 257);
  ASSERT_TRUE(tokens.ok());
  const auto grammar = Grammar::regex(*tokens, "the");
  auto matcher = start(grammar);
  const auto mask = matcher.allowed();
  ASSERT_TRUE(mask.ok());
  EXPECT_EQ(tokens_of(*mask), (std::vector<std::int32_t>{'t', 256}));
  for (const char c : std::string_view("the")) ASSERT_TRUE(matcher.accept(c).ok());
  EXPECT_TRUE(matcher.complete()) << "without a token that ends the output it ends by itself";
}

}  // namespace
}  // namespace tandem::text
