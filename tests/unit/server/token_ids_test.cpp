#include <gtest/gtest.h>

#include <string>

#include "config/json.h"
#include "server/api/completion_request.h"
#include "server/api/text_requests.h"

namespace tandem::server {
namespace {

RequestRules rules() {
  RequestRules rules;
  rules.vocabulary = 100;
  rules.model_names = {"demo"};
  return rules;
}

Json parsed(const std::string& text) { return config::parse_ordered_json(text, "test").value(); }

TEST(TokenIds, AreWholeNumbersInTheVocabularyHoweverTheyAreWritten) {
  for (const char* id : {"0", "-0", "99"}) {
    auto prompt = parse_completion(parsed(std::string(R"({"prompt":[)") + id + "]}"), rules());
    EXPECT_TRUE(prompt) << id;
    auto tokens = parse_detokenize(parsed(std::string(R"({"tokens":[)") + id + "]}"), rules());
    EXPECT_TRUE(tokens) << id;
  }
}

TEST(TokenIds, AnythingElseIsRefusedByName) {
  for (const char* id : {"-1", "100", "1.0", "1e1", "9223372036854775808", "18446744073709551615",
                         "-9223372036854775808", "\"1\"", "true", "null", "[1]"}) {
    auto prompt = parse_completion(parsed(std::string(R"({"prompt":[1,)") + id + "]}"), rules());
    ASSERT_FALSE(prompt) << id;
    EXPECT_EQ(prompt.error().param, "prompt");
    auto tokens = parse_detokenize(parsed(std::string(R"({"tokens":[)") + id + "]}"), rules());
    ASSERT_FALSE(tokens) << id;
    EXPECT_EQ(tokens.error().param, "tokens");
  }
}

}  // namespace
}  // namespace tandem::server
