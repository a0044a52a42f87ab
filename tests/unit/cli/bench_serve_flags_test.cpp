#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <variant>
#include <vector>

#include "cli/command_line.h"

namespace tandem::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

BenchServeOptions parsed(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"bench", "serve"});
  auto command = parse_command(arguments);
  if (!command) {
    ADD_FAILURE() << command.error().message;
    return {};
  }
  return std::get<BenchServeOptions>(*command);
}

std::string refusal(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"bench", "serve"});
  const auto command = parse_command(arguments);
  return command.ok() ? "accepted" : command.error().message;
}

TEST(BenchServeFlags, DefaultsAskForAWarmServersWholeRange) {
  const BenchServeOptions options = parsed({"http://127.0.0.1:8080"});
  EXPECT_EQ(options.url.text(), "http://127.0.0.1:8080/v1");
  EXPECT_TRUE(options.concurrency.empty());
  EXPECT_EQ(options.workload.endpoint, client::Endpoint::kCompletions);
  EXPECT_EQ(options.workload.prompts, client::PromptKind::kWords);
  EXPECT_TRUE(options.workload.ignore_eos);
  EXPECT_TRUE(options.workload.model.empty());
  EXPECT_FALSE(options.seed);
}

TEST(BenchServeFlags, EveryFlagArrives) {
  const BenchServeOptions options =
      parsed({"https://a/b", "--model",    "m",         "--concurrency",
              "2,8",         "--requests", "9",         "--seconds",
              "3",           "-p",         "5",         "-n",
              "6",           "--prompts",  "ids",       "--vocabulary",
              "100",         "--temp",     "0.5",       "--stop-at-eos",
              "--seed",      "7",          "--api-key", "k",
              "--tls-ca",    "ca",         "--timeout", "4",
              "--json"});
  EXPECT_EQ(options.url.text(), "https://a/b");
  EXPECT_EQ(options.workload.model, "m");
  EXPECT_THAT(options.concurrency, ElementsAre(2, 8));
  EXPECT_EQ(options.requests, 9);
  EXPECT_EQ(options.seconds, 3);
  EXPECT_EQ(options.workload.prompt_tokens, 5);
  EXPECT_EQ(options.workload.max_tokens, 6);
  EXPECT_EQ(options.workload.prompts, client::PromptKind::kIds);
  EXPECT_EQ(options.vocabulary, 100);
  EXPECT_EQ(options.workload.temperature, 0.5);
  EXPECT_FALSE(options.workload.ignore_eos);
  EXPECT_EQ(options.seed, 7U);
  EXPECT_EQ(options.api_key, "k");
  EXPECT_EQ(options.tls_ca, "ca");
  EXPECT_EQ(options.timeout_seconds, 4);
  EXPECT_TRUE(options.json);
  EXPECT_EQ(parsed({"http://a", "--endpoint", "chat"}).workload.endpoint, client::Endpoint::kChat);
}

TEST(BenchServeFlags, MistakesNameTheFlag) {
  EXPECT_THAT(refusal({}), HasSubstr("required"));
  EXPECT_THAT(refusal({"a"}), HasSubstr("scheme"));
  EXPECT_THAT(refusal({"http://a", "--concurrency", "0"}), HasSubstr("--concurrency"));
  EXPECT_THAT(refusal({"http://a", "--endpoint", "x"}), HasSubstr("--endpoint"));
  EXPECT_THAT(refusal({"http://a", "--prompts", "ids", "--endpoint", "chat"}),
              HasSubstr("--prompts ids: has no meaning"));
  EXPECT_THAT(refusal({"http://a", "--vocabulary", "5"}), HasSubstr("--vocabulary"));
  EXPECT_THAT(refusal({"http://a", "--tls-ca", "x"}), HasSubstr("--tls-ca"));
  EXPECT_THAT(refusal({"http://a", "--api-key", "x", "--api-key-file", "y"}),
              HasSubstr("--api-key-file"));
  EXPECT_THAT(refusal({"http://a", "http://b"}), HasSubstr("http://b"));
}

}  // namespace
}  // namespace tandem::cli
