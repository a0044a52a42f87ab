#include "cli/values.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <string>

namespace tandem::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Values, IntegersKeepTheirRange) {
  EXPECT_EQ(*parse_integer("0", 0, 9), 0);
  EXPECT_EQ(*parse_integer("-1", -1, 9), -1);
  EXPECT_EQ(*parse_integer("9", 0, 9), 9);
  for (const char* bad :
       {"", "10", "-1", "1.0", "1e0", " 1", "1 ", "0x1", "+1", "99999999999999999999"}) {
    EXPECT_FALSE(parse_integer(bad, 0, 9).ok()) << bad;
  }
  EXPECT_EQ(parse_integer("ten", 0, 9).error().message,
            "must be a whole number in [0, 9], not \"ten\"");
}

TEST(Values, RealsAreDecimalAndFinite) {
  EXPECT_DOUBLE_EQ(*parse_real("0.25", 0, 1), 0.25);
  EXPECT_DOUBLE_EQ(*parse_real("1e-2", 0, 1), 0.01);
  for (const char* bad :
       {"", "nan", "inf", "0x1p-1", "1.0001", "-0.1", "0,5", "0.5 ", "1e", "1e999"}) {
    EXPECT_FALSE(parse_real(bad, 0, 1).ok()) << bad;
  }
}

TEST(Values, SeedsUseAll64Bits) {
  EXPECT_EQ(*parse_seed("18446744073709551615"), std::numeric_limits<std::uint64_t>::max());
  for (const char* bad : {"", "-1", "18446744073709551616", "1.5"}) {
    EXPECT_FALSE(parse_seed(bad).ok()) << bad;
  }
}

TEST(Values, IdListsNameTheBadItem) {
  EXPECT_THAT(*parse_ids("1,2,3"), ElementsAre(1, 2, 3));
  EXPECT_THAT(*parse_ids("2147483647"), ElementsAre(2147483647));
  for (const char* bad : {"", ",", "1,", "1,,2", "1, 2", "-1", "2147483648", "a"}) {
    EXPECT_FALSE(parse_ids(bad).ok()) << bad;
  }
  EXPECT_THAT(parse_ids("1,x").error().message, HasSubstr("item 2"));
}

TEST(Values, JsonIdListsAreStrict) {
  EXPECT_THAT(*parse_json_ids("[1, 2]", "f"), ElementsAre(1, 2));
  for (const char* bad : {"", "[]", "{}", "1", "[1,]", "[1.0]", "[-1]", "[2147483648]", "[\"1\"]",
                          "[null]", "[1] 2", "[1"}) {
    const auto ids = parse_json_ids(bad, "ids.json");
    ASSERT_FALSE(ids.ok()) << bad;
    EXPECT_EQ(ids.error().code, ErrorCode::kInvalidArgument) << bad;
    EXPECT_THAT(ids.error().message, HasSubstr("ids.json"));
  }
  EXPECT_THAT(parse_json_ids("[1,2.5]", "f").error().message, HasSubstr("item 2"));
}

TEST(Values, Utf8IsCheckedByteForByte) {
  for (const char* good : {"", "a", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\xED\x9F\xBF",
                           "\xEE\x80\x80", "\xF4\x8F\xBF\xBF"}) {
    EXPECT_TRUE(is_utf8(good)) << good;
  }
  for (const char* bad :
       {"\x80", "\xC3", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF",
        "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xE2\x82", "\xE2\x28\xA1", "\xFF"}) {
    EXPECT_FALSE(is_utf8(bad));
  }
  EXPECT_TRUE(is_utf8(std::string_view("\0", 1)));
}

TEST(Values, PromptEscapesAreMlxLms) {
  EXPECT_EQ(unescape_prompt("a\\nb\\tc"), "a\nb\tc");
  EXPECT_EQ(unescape_prompt("a\\"), "a\\");
  EXPECT_EQ(unescape_prompt("\\x\\\\n"), "\\x\\\n");
}

TEST(Values, ShownTextIsShortAscii) {
  EXPECT_EQ(in_quotes("a\nb\xFF"), "\"a?b?\"");
  EXPECT_EQ(in_quotes(std::string(100, 'a')), "\"" + std::string(60, 'a') + "...\"");
}

int significant_digits(const std::string& text) {
  std::string digits;
  for (const char c : text.substr(0, text.find('e'))) {
    if (c >= '0' && c <= '9') digits += c;
  }
  digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size()));
  return static_cast<int>(digits.find_last_not_of('0') + 1);
}

TEST(Values, PrintedFloatsParseBackToTheSameBits) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(static_cast<std::uint32_t>(seed));
  for (int i = 0; i < 100000; ++i) {
    const auto bits = static_cast<std::uint32_t>(random());
    float value = 0;
    std::memcpy(&value, &bits, sizeof value);
    if (!std::isfinite(value)) continue;
    const std::string text = fmt::format("{}", printable(value));
    EXPECT_EQ(std::strtof(text.c_str(), nullptr), value) << text;
    EXPECT_LE(significant_digits(text), 9) << text << " is not the shortest form";
  }
}

TEST(Values, ErrorsAreOneShortLineOfText) {
  EXPECT_EQ(error_line("a\nb\x1B[31m\x7F"), "a b [31m ");
  EXPECT_EQ(error_line("caf\xC3\xA9 \xC3 \xFF"), "caf\xC3\xA9 ? ?");
  EXPECT_EQ(error_line(std::string(2000, 'a')), std::string(1000, 'a') + "...");
}

TEST(Values, BytesHaveThreeDigits) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(999), "999 B");
  EXPECT_EQ(format_bytes(1000), "1.00 kB");
  EXPECT_EQ(format_bytes(612'400'000), "612 MB");
  EXPECT_EQ(format_bytes(4.678e9), "4.68 GB");
  EXPECT_EQ(format_bytes(46.78e9), "46.8 GB");
  EXPECT_EQ(format_bytes(999'700), "1.00 MB");
  EXPECT_EQ(format_bytes(5e15), "5000 TB");
}

}  // namespace
}  // namespace tandem::cli
