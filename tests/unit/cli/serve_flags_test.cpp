// How `tandem serve` is told to share the machine between requests.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>
#include <variant>
#include <vector>

#include "cli/command_line.h"

namespace tandem::cli {
namespace {

using ::testing::HasSubstr;

scheduler::EngineOptions engine_of(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "serve");
  const auto command = parse_command(arguments);
  EXPECT_TRUE(command.ok());
  if (!command.ok()) return {};
  return std::get<ServeOptions>(*command).gateway.engine.engine;
}

TEST(ServeFlags, RowsAndPrefixesAreMeasuredAndUnlimitedUnlessSaid) {
  const auto options = engine_of({});
  EXPECT_EQ(options.mixed_rows, 0);
  EXPECT_EQ(options.prefix_bytes, std::numeric_limits<std::uint64_t>::max());
}

TEST(ServeFlags, RowsAndPrefixesCanBeFixed) {
  const auto options = engine_of({"--mixed-rows", "24", "--prompt-cache-bytes", "1.5G"});
  EXPECT_EQ(options.mixed_rows, 24);
  EXPECT_EQ(options.prefix_bytes, 1'500'000'000U);
  EXPECT_EQ(engine_of({"--prompt-cache-bytes", "0"}).prefix_bytes, 0U);
}

TEST(ServeFlags, MistakesNameTheFlag) {
  const auto command = parse_command({"serve", "--prompt-cache-bytes", "many"});
  ASSERT_FALSE(command.ok());
  EXPECT_THAT(command.error().message, HasSubstr("--prompt-cache-bytes: must be a size such as"));
  EXPECT_FALSE(parse_command({"serve", "--mixed-rows", "-1"}).ok());
}

}  // namespace
}  // namespace tandem::cli
