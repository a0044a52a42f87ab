#include <gtest/gtest.h>

#include <random>

#include "text/tokenizer.h"
#include "unit/text/tiny.h"

namespace tandem::text {
namespace {

using testing::byte_fallback_tokenizer;
using testing::byte_level_tokenizer;
using testing::json;
using testing::TempFolder;
using testing::utf8;

using Ids = std::vector<std::int32_t>;
constexpr const char* kReplacement = "\xEF\xBF\xBD";

Tokenizer load(const json& tokenizer) {
  const TempFolder folder;
  folder.write("tokenizer.json", tokenizer);
  Result<Tokenizer> loaded = Tokenizer::load(folder.path());
  EXPECT_TRUE(loaded) << loaded.error().message;
  return *std::move(loaded);
}

std::vector<std::string> pieces_of(const Tokenizer& tokenizer, const Ids& ids, bool skip) {
  StreamDecoder decoder(tokenizer, skip);
  std::vector<std::string> pieces;
  for (const std::int32_t id : ids) pieces.push_back(*decoder.push(id));
  pieces.push_back(*decoder.finish());
  return pieces;
}

std::string joined(const std::vector<std::string>& pieces) {
  std::string text;
  for (const std::string& piece : pieces) text += piece;
  return text;
}

std::string random_text(std::mt19937& rng) {
  static constexpr std::pair<std::uint32_t, std::uint32_t> kRanges[] = {
      {' ', '~'},       {'a', 'z'},       {0xA0, 0x2FF},      {0x300, 0x36F},
      {0x4E00, 0x9FFF}, {0xE000, 0xFFFC}, {0x1F300, 0x1FAFF}, {0x10000, 0x10FFFF}};
  std::string text;
  const int length = std::uniform_int_distribution(0, 40)(rng);
  for (int i = 0; i < length; ++i) {
    const auto [low, high] = kRanges[rng() % std::size(kRanges)];
    text += rng() % 4 == 0 ? " " : utf8(std::uniform_int_distribution(low, high)(rng));
  }
  return text;
}

/// Whether every byte belongs to a whole character.
bool is_whole(const std::string& text) {
  return json(text).dump(-1, ' ', true, json::error_handler_t::ignore) ==
         json(text).dump(-1, ' ', true, json::error_handler_t::replace);
}

void check_random_texts(const Tokenizer& tokenizer) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 rng(seed);
  for (int i = 0; i < 500; ++i) {
    const std::string text = random_text(rng);
    const Ids ids = *tokenizer.encode(text, false);
    for (const bool skip : {false, true}) {
      const std::vector<std::string> pieces = pieces_of(tokenizer, ids, skip);
      ASSERT_EQ(joined(pieces), *tokenizer.decode(ids, skip)) << text;
      ASSERT_EQ(joined(pieces), text);
      for (const std::string& piece : pieces) {
        ASSERT_TRUE(is_whole(piece)) << text;
        ASSERT_EQ(piece.find(kReplacement), std::string::npos) << text;
      }
    }
  }
}

TEST(StreamDecoder, JoinsToTheTextAndNeverSplitsACharacterByteLevel) {
  check_random_texts(load(byte_level_tokenizer()));
}

TEST(StreamDecoder, JoinsToTheTextAndNeverSplitsACharacterByteFallback) {
  check_random_texts(load(byte_fallback_tokenizer()));
}

TEST(StreamDecoder, RandomTokensJoinToWhatDecodeGives) {
  const Tokenizer tokenizer = load(byte_level_tokenizer());
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 rng(seed);
  for (int i = 0; i < 500; ++i) {
    Ids ids(rng() % 50);
    for (std::int32_t& id : ids) id = static_cast<std::int32_t>(rng() % 265);
    for (const bool skip : {false, true}) {
      const std::vector<std::string> pieces = pieces_of(tokenizer, ids, skip);
      ASSERT_EQ(joined(pieces), *tokenizer.decode(ids, skip)) << ::testing::PrintToString(ids);
      for (const std::string& piece : pieces) ASSERT_TRUE(is_whole(piece));
    }
  }
}

TEST(StreamDecoder, HoldsACharacterBackUntilItIsWhole) {
  const Tokenizer tokenizer = load(byte_level_tokenizer());
  StreamDecoder decoder(tokenizer, true);
  EXPECT_EQ(*decoder.push('x'), "x");
  EXPECT_EQ(*decoder.push(0xF0), "");
  EXPECT_EQ(*decoder.push(0x9F), "");
  EXPECT_EQ(*decoder.push(0x98), "");
  EXPECT_EQ(*decoder.push(0x80), utf8(0x1F600));
  EXPECT_EQ(*decoder.push(0xE2), "");
  EXPECT_EQ(*decoder.finish(), kReplacement);
}

TEST(StreamDecoder, KeepsTheSpaceBetweenWordsThatIsStrippedAtTheStart) {
  const Tokenizer tokenizer = load(byte_fallback_tokenizer());
  const std::int32_t word = *tokenizer.token_to_id(utf8(0x2581) + "t");
  const std::int32_t space = *tokenizer.token_to_id(utf8(0x2581));
  EXPECT_EQ(joined(pieces_of(tokenizer, {word, word}, true)), "t t");
  EXPECT_EQ(joined(pieces_of(tokenizer, {1, word, 2, word}, true)), "t t");
  EXPECT_EQ(joined(pieces_of(tokenizer, {space, space, word}, true)),
            *tokenizer.decode(Ids{space, space, word}, true));
}

TEST(StreamDecoder, ACharacterOfBytesBehindAStrippedSpaceComesOutWhole) {
  const Tokenizer tokenizer = load(byte_fallback_tokenizer());
  const Ids bytes = {3 + ' ', 3 + 0xF0, 3 + 0x9F, 3 + 0x99, 3 + 0x82};
  EXPECT_EQ(pieces_of(tokenizer, bytes, true),
            (std::vector<std::string>{"", "", "", "", utf8(0x1F642), ""}));
}

TEST(StreamDecoder, BytesThatAreNoCharacterComeOutSoon) {
  for (const json& shape : {byte_level_tokenizer(), byte_fallback_tokenizer()}) {
    const Tokenizer tokenizer = load(shape);
    const std::int32_t lead = shape == byte_level_tokenizer() ? 0xE2 : 3 + 0xE2;
    StreamDecoder decoder(tokenizer, true);
    std::size_t silent = 0;
    std::size_t bytes = 0;
    for (int i = 0; i < 20000; ++i) {
      const std::string piece = *decoder.push(lead);
      silent = piece.empty() ? silent + 1 : 0;
      bytes += piece.size();
      ASSERT_LT(silent, 40U);
    }
    EXPECT_GE(bytes, 3U * 19000);
    EXPECT_LE(bytes, 3U * 20000);
  }
}

TEST(StreamDecoder, TokensWithoutTextAddNothing) {
  const Tokenizer tokenizer = load(byte_level_tokenizer());
  StreamDecoder decoder(tokenizer, true);
  for (int i = 0; i < 100000; ++i) ASSERT_EQ(*decoder.push(i % 2 == 0 ? 259 : 1 << 20), "");
  EXPECT_EQ(*decoder.push(-5), "");
  EXPECT_EQ(*decoder.push('z'), "z");
  EXPECT_EQ(*decoder.finish(), "");
}

}  // namespace
}  // namespace tandem::text
