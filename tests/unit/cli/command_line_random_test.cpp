#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "cli/command_line.h"

namespace tandem::cli {
namespace {

using Arguments = std::vector<std::string>;

TEST(CommandLine, RandomArgumentsEndInACommandOrInOneLine) {
  const Arguments words{"generate",
                        "chat",
                        "score",
                        "bench",
                        "memory",
                        "link",
                        "serve",
                        "http://a:1",
                        "--concurrency",
                        "worker",
                        "--help",
                        "-p",
                        "-m",
                        "--prompt-ids",
                        "--ranks",
                        "--json",
                        "--ids",
                        "--listen",
                        "-",
                        "--",
                        "",
                        "-1",
                        "0",
                        "5",
                        "1,2",
                        "x",
                        "--temp",
                        "--seed",
                        "=",
                        "--json=",
                        "--ranks=",
                        "--ranks=2",
                        "-p=",
                        "---",
                        "\xFF\n",
                        "{}",
                        "--hosts",
                        "a:1",
                        "-pm",
                        "--verbose",
                        "True",
                        "[::1]:5",
                        "--model"};
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  const auto pick = [&](std::size_t count) { return random() % count; };
  std::size_t commands = 0;
  for (int round = 0; round < 3000; ++round) {
    Arguments arguments;
    for (std::size_t i = pick(7); i > 0; --i) arguments.push_back(words[pick(words.size())]);
    const auto command = parse_command(arguments);
    if (command.ok()) {
      ++commands;
      continue;
    }
    ASSERT_EQ(command.error().code, ErrorCode::kInvalidArgument);
    ASSERT_FALSE(command.error().message.empty());
    ASSERT_EQ(command.error().message.find('\n'), std::string::npos) << command.error().message;
  }
  EXPECT_GT(commands, 100U);
}

}  // namespace
}  // namespace tandem::cli
