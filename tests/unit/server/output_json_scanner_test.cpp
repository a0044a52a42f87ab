#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <string_view>

#include "server/output/argument_value.h"
#include "server/output/json_scanner.h"

namespace tandem::server {
namespace {

using nlohmann::json;

bool scans(std::string_view text) {
  JsonScanner scanner;
  for (const char byte : text) {
    if (scanner.feed(byte) == JsonScanner::Event::kError) return false;
  }
  return scanner.done();
}

TEST(JsonScanner, AgreesWithAParserOnWhatIsJson) {
  for (const char* text :
       {"{}", "[]", R"({"a":1})", R"({"a":{"b":[1,2,{"c":null}]},"d":"e"})", R"("text\u00e9\n")",
        "[0,-0,1.5e+9,-12E-3,0.001]", "[true,false,null]", " { \"a\" : [ ] } \n"}) {
    EXPECT_TRUE(scans(text)) << text;
  }
  for (const char* text : {"{",
                           "}",
                           "{a:1}",
                           R"({"a"})",
                           R"({"a":})",
                           R"({"a":1,})",
                           "[1,]",
                           "[01]",
                           "[1.]",
                           "[.5]",
                           "[+1]",
                           "[1e]",
                           "[-]",
                           "[tru]",
                           "[truer]",
                           R"(["\x"])",
                           R"(["\u12g4"])",
                           "{} {}",
                           "[1 2]",
                           R"({"a":1 "b":2})",
                           "['a']",
                           "[nan]",
                           R"({"a":1]})",
                           "[\"a]"}) {
    EXPECT_FALSE(scans(text)) << text;
  }
}

TEST(JsonScanner, AgreesWithAParserOnRandomlyBrokenText) {
  const std::uint64_t seed = 20240607;
  std::mt19937_64 random(seed);
  const std::string good = R"({"a":[1,-2.5e3,"x\n\"\u0041",true,null],"b":{"c":{},"d":[[],""]}})";
  const std::string_view bytes = "{}[],:\"\\0123456789.eE+-truefalsn u";
  for (int i = 0; i < 20000; ++i) {
    std::string text = good;
    const std::uint64_t changes = random() % 4;
    for (std::uint64_t change = 0; change < changes; ++change) {
      const std::size_t at = random() % text.size();
      if (random() % 3 == 0) {
        text.erase(at, 1);
      } else {
        text[at] = bytes[random() % bytes.size()];
      }
    }
    const bool container = text.front() == '{' || text.front() == '[' || text.front() == '"';
    if (!container) continue;  // a scanner waits for a number's end
    EXPECT_EQ(scans(text), json::accept(text)) << text << " seed " << seed;
  }
}

TEST(JsonScanner, BoundsTheNesting) {
  const auto nested = [](std::size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_TRUE(scans(nested(kMaxScanDepth)));
  EXPECT_FALSE(scans(nested(kMaxScanDepth + 1)));
}

TEST(ArgumentValue, TakesTheTypeThatTheSchemaAllows) {
  const auto types = [](const char* schema) {
    const auto parameters = nlohmann::ordered_json::parse(
        std::string(R"({"properties":{"x":)") + schema +
        R"(},"$defs":{"s":{"type":"string"},"loop":{"$ref":"#/$defs/loop"}}})");
    return argument_types(parameters, "x");
  };
  EXPECT_EQ(types(R"({"type":"string"})"), kStringType);
  EXPECT_EQ(types(R"({"type":["string","null"]})"), kStringType | kNullType);
  EXPECT_EQ(types(R"({"enum":["a","b"]})"), kStringType);
  EXPECT_EQ(types(R"({"const":3})"), kNumberType);
  EXPECT_EQ(types(R"({"anyOf":[{"type":"integer"},{"type":"boolean"}]})"),
            kNumberType | kBooleanType);
  EXPECT_EQ(types(R"({"$ref":"#/$defs/s"})"), kStringType);
  EXPECT_EQ(types(R"({"allOf":[{"$ref":"#/$defs/s"}]})"), kStringType);
  for (const char* odd : {"{}", "true", "[]", R"({"type":"str"})", R"({"$ref":"#/$defs/loop"})",
                          R"({"$ref":"http://x/y"})", R"({"anyOf":3})", R"({"type":{}})"}) {
    EXPECT_EQ(types(odd), kAnyType) << odd;
  }
  EXPECT_EQ(argument_types(nlohmann::ordered_json(), "x"), kAnyType);
}

TEST(ArgumentValue, IsJsonWhereItCanBeAndAStringElse) {
  EXPECT_EQ(json_argument(" 12 ", kNumberType), "12");
  EXPECT_EQ(json_argument("twelve", kNumberType), R"("twelve")");
  EXPECT_EQ(json_argument("True", kBooleanType), "true");
  EXPECT_EQ(json_argument("None", kStringType | kNullType), "null");
  EXPECT_EQ(json_argument("True", kAnyType), R"("True")");
  EXPECT_EQ(json_argument("7", kStringType | kNullType), R"("7")");
  EXPECT_EQ(json_argument(R"("seven")", kStringType | kNullType), R"("seven")");
  EXPECT_EQ(json_argument("[1, {\"a\": \"\n\"}]", kArrayType), R"([1, {"a": "\n"}])");
  EXPECT_EQ(json_argument("[1", kArrayType), R"("[1")");
  EXPECT_EQ(json_argument("1], [2", kAnyType), R"("1], [2")");
  EXPECT_EQ(json_argument("1, 2", kNumberType), R"("1, 2")");
  EXPECT_EQ(json_argument("", kAnyType), R"("")");
}

}  // namespace
}  // namespace tandem::server
