#include "launch/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tandem::launch {
namespace {

using ::testing::HasSubstr;

TEST(LaunchSettings, ComeBackAsTheyWere) {
  WorkerSettings settings;
  settings.key = "secret \"quoted\"";
  settings.address = "fe80::1%en0";
  settings.port = 4821;
  settings.gpu = false;
  settings.memory = 12'000'000'000'000;
  settings.threads = 8;
  settings.folder = "/a b";
  settings.variables = {{"A", "b=c\nd"}, {"_E", ""}};
  const std::string line = encode(settings);
  EXPECT_EQ(line.find('\n'), std::string::npos);
  auto back = parse_settings(line);
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(*back, settings);
  WorkerSettings least;
  least.key = "k";
  EXPECT_EQ(*parse_settings(encode(least)), least);
}

TEST(LaunchSettings, RepliesComeBackAsTheyWere) {
  const WorkerReply reply{"10.0.0.2", 4820, "10.0.0.1"};
  EXPECT_EQ(*parse_reply(encode(reply)), reply);
}

TEST(LaunchSettings, WhatIsWrongIsNamed) {
  const auto message = [](std::string_view line) { return parse_settings(line).error().message; };
  EXPECT_THAT(message("[]"), HasSubstr("must be an object"));
  EXPECT_THAT(message("x"), HasSubstr("the launcher's line"));
  EXPECT_THAT(message(R"({"protocol": 2, "key": "k"})"), HasSubstr("update the older one"));
  EXPECT_THAT(message(R"({"protocol": 1})"), HasSubstr("key"));
  EXPECT_THAT(message(R"({"protocol": 1, "key": "k", "port": 65536})"), HasSubstr("port"));
  EXPECT_THAT(message(R"({"protocol": 1, "key": "k", "variables": ["1=2"]})"), HasSubstr("NAME="));
  EXPECT_THAT(parse_reply(R"({"protocol": 1, "address": "a", "port": 0})").error().message,
              HasSubstr("port"));
}

TEST(LaunchSettings, VariablesHaveNames) {
  EXPECT_EQ(parse_variable("A_1=b=c")->second, "b=c");
  for (const char* bad : {"", "A", "=b", "1A=b", "A B=c", "A-B=c"}) {
    EXPECT_FALSE(parse_variable(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace tandem::launch
