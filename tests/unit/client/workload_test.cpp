#include "client/workload.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <string>

namespace tandem::client {
namespace {

using nlohmann::json;

TEST(Workload, WordsAreAsManyAsAsked) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (const int count : {1, 2, 17, 1000}) {
    const std::string text = random_words(random, count);
    EXPECT_EQ(std::ranges::count(text, ' '), count - 1);
    EXPECT_EQ(text.find("  "), std::string::npos);
    EXPECT_EQ(text.find_first_not_of("abcdefghijklmnopqrstuvwxyz "), std::string::npos);
  }
}

TEST(Workload, PromptsDifferFromTheirBeginningOn) {
  std::mt19937_64 random(1);
  std::set<std::string> beginnings;
  for (int i = 0; i < 100; ++i) beginnings.insert(random_words(random, 64).substr(0, 12));
  EXPECT_GE(beginnings.size(), 99U);
}

TEST(Workload, SameSeedSamePrompt) {
  std::mt19937_64 one(5);
  std::mt19937_64 two(5);
  EXPECT_EQ(random_words(one, 50), random_words(two, 50));
  EXPECT_EQ(random_ids(one, 50, 1000), random_ids(two, 50, 1000));
}

TEST(Workload, IdsAreOfTheVocabulary) {
  std::mt19937_64 random(1);
  const auto ids = random_ids(random, 10'000, 7);
  EXPECT_EQ(std::ranges::min(ids), 0);
  EXPECT_EQ(std::ranges::max(ids), 6);
  EXPECT_EQ(ids.size(), 10'000U);
}

TEST(Workload, CompletionsOfTextAndIds) {
  Workload workload;
  workload.model = "m";
  workload.max_tokens = 9;
  std::mt19937_64 random(1);
  json body = json::parse(request_body(workload, random, 3, 0));
  EXPECT_TRUE(body["prompt"].is_string());
  EXPECT_EQ(body["model"], "m");
  EXPECT_EQ(body["max_tokens"], 9);
  EXPECT_EQ(body["temperature"], 0);
  EXPECT_EQ(body["stream"], true);
  EXPECT_EQ(body["stream_options"]["include_usage"], true);
  EXPECT_EQ(body["ignore_eos"], true);
  workload.prompts = PromptKind::kIds;
  workload.ignore_eos = false;
  body = json::parse(request_body(workload, random, 3, 100));
  EXPECT_EQ(body["prompt"].size(), 3U);
  EXPECT_TRUE(body["prompt"][0].is_number_integer());
  EXPECT_FALSE(body.contains("ignore_eos"));
}

TEST(Workload, ChatHasOneMessage) {
  Workload workload;
  workload.endpoint = Endpoint::kChat;
  std::mt19937_64 random(1);
  const json body = json::parse(request_body(workload, random, 3, 0));
  ASSERT_EQ(body["messages"].size(), 1U);
  EXPECT_EQ(body["messages"][0]["role"], "user");
  EXPECT_TRUE(body["messages"][0]["content"].is_string());
  EXPECT_FALSE(body.contains("prompt"));
  EXPECT_EQ(path_of(Endpoint::kChat), "/chat/completions");
  EXPECT_EQ(path_of(Endpoint::kCompletions), "/completions");
}

TEST(Workload, WordsForTheWantedTokens) {
  EXPECT_EQ(words_for(512, 512, 1024), 256);
  EXPECT_EQ(words_for(512, 512, 512), 512);
  EXPECT_EQ(words_for(512, 512, 256), 1024);
  EXPECT_EQ(words_for(1, 1, 40), 1);    // a template alone is longer
  EXPECT_EQ(words_for(10, 10, 0), 10);  // nothing counted
}

}  // namespace
}  // namespace tandem::client
