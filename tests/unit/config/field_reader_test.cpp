#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "config/json.h"

namespace tandem::config {
namespace {

using nlohmann::json;

class Fields : public testing::Test {
 protected:
  json object_ = json::parse(R"({
    "layers": 12, "layers_float": 12.0, "half": 0.5, "big": 5000000000, "neg": -3, "yes": true,
    "name": "llama", "nothing": null, "numbers": [1, 2.5], "ints": [1, 2], "strings": ["a", "b"],
    "mixed": [1, "a"], "rope_scaling": {"factor": "x", "kind": "yarn"}})");
  FieldReader reader_{object_, "config.json"};

  std::string error() { return reader_.status().ok() ? "" : reader_.status().error().message; }
};

TEST_F(Fields, AreReadByType) {
  EXPECT_EQ(reader_.integer("layers", 1, 100), 12);
  EXPECT_EQ(reader_.integer("layers_float", 1, 100), 12);
  EXPECT_EQ(reader_.integer("neg", -5, 5), -3);
  EXPECT_EQ(reader_.number("half", 0, 1), 0.5);
  EXPECT_EQ(reader_.number("layers", 0, 100), 12.0);
  EXPECT_TRUE(reader_.boolean("yes"));
  EXPECT_EQ(reader_.string("name"), "llama");
  EXPECT_EQ(reader_.numbers_or_empty("numbers"), (std::vector<double>{1, 2.5}));
  EXPECT_EQ(reader_.integers_or_empty("ints"), (std::vector<std::int64_t>{1, 2}));
  EXPECT_EQ(reader_.strings_or_empty("strings"), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(error(), "");
}

TEST_F(Fields, NullCountsAsAbsent) {
  EXPECT_FALSE(reader_.has("nothing"));
  EXPECT_EQ(reader_.integer_or("nothing", 7, 0, 9), 7);
  EXPECT_EQ(reader_.number_or("absent", 1.5, 0, 9), 1.5);
  EXPECT_EQ(reader_.string_or("nothing", "x"), "x");
  EXPECT_TRUE(reader_.boolean_or("absent", true));
  EXPECT_FALSE(reader_.object("nothing").has_value());
  EXPECT_TRUE(reader_.numbers_or_empty("nothing").empty());
  EXPECT_EQ(error(), "");
  reader_.integer("nothing", 0, 9);
  EXPECT_EQ(error(), "config.json: nothing is missing");
}

TEST_F(Fields, AnIntegerOutOfRangeOrNotWholeIsRefused) {
  EXPECT_EQ(reader_.integer("layers", 20, 100), 20);
  EXPECT_EQ(error(), "config.json: layers must be an integer in [20, 100], not 12");
  FieldReader half(object_, "c");
  half.integer("half", 0, 9);
  EXPECT_FALSE(half.status().ok());
  FieldReader big(object_, "c");
  big.integer("big", 0, 10'000'000'000);  // does not fit an int
  EXPECT_FALSE(big.status().ok());
  FieldReader text(object_, "c");
  text.integer_or("name", 1, 0, 9);
  EXPECT_EQ(text.status().error().message, "c: name must be an integer in [0, 9], not \"llama\"");
}

TEST_F(Fields, ANestedErrorNamesTheWholePath) {
  auto nested = reader_.object("rope_scaling");
  ASSERT_TRUE(nested.has_value());
  EXPECT_EQ(nested->string("kind"), "yarn");
  nested->number("factor", 1, 1e6);
  EXPECT_EQ(error(), "config.json: rope_scaling.factor must be a number in [1, 1e+06], not \"x\"");
}

TEST_F(Fields, TheFirstErrorStaysAndLaterReadsReturnFallbacks) {
  reader_.string("absent");
  reader_.integer("name", 0, 5);
  EXPECT_EQ(error(), "config.json: absent is missing");
  EXPECT_EQ(reader_.integer_or("name", 4, 0, 5), 4);
  EXPECT_EQ(reader_.string_or("layers", "f"), "f");
  EXPECT_FALSE(reader_.object("name").has_value());
}

TEST_F(Fields, ArraysOfAnotherTypeAreRefused) {
  EXPECT_TRUE(reader_.strings_or_empty("mixed").empty());
  EXPECT_EQ(error(), "config.json: mixed must be an array of strings, not [1,\"a\"]");
}

TEST_F(Fields, ACallersRuleIsReportedInOneLine) {
  reader_.fail("layers", "must\nnot break lines");
  EXPECT_EQ(error(), "config.json: layers must not break lines");
}

TEST(FieldReader, NeedsAnObject) {
  const json array = json::parse("[1]");
  const FieldReader reader(array, "config.json");
  EXPECT_EQ(reader.status().error().message, "config.json: must be an object, not [1]");
  EXPECT_FALSE(reader.has("a"));
}

}  // namespace
}  // namespace tandem::config
