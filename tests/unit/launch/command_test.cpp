#include "launch/command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tandem::launch {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(LaunchCommand, NamesOnlyHosts) {
  for (const char* good : {"mac1", "me@mac-1.local", "10.0.0.1", "me@fe80::1%en0", "::1"}) {
    EXPECT_TRUE(check_destination(good).ok()) << good;
  }
  for (const char* bad : {"", "-oProxyCommand=x", "me@-x", "-x@y", "a b", "a;b", "$(a)", "a`b`",
                          "a@b@c", "a\nb", "a'b", "@b", "a@"}) {
    EXPECT_FALSE(check_destination(bad).ok()) << bad;
  }
}

TEST(LaunchCommand, PathsNeedNoQuotes) {
  for (const char* good : {"tandem", "~/bin/tandem", "/opt/tandem-1.2/bin/tandem"}) {
    EXPECT_TRUE(check_binary(good).ok()) << good;
  }
  for (const char* bad : {"", "-x", "/a b", "$HOME/x", "a;b", "a|b", "a\\b", "a'", "a\"", "a*"}) {
    EXPECT_FALSE(check_binary(bad).ok()) << bad;
  }
  EXPECT_THAT(check_binary("a;b").error().message, HasSubstr("\"a;b\" must be a path"));
}

TEST(LaunchCommand, AWorkerHereIsThisBinary) {
  EXPECT_THAT(worker_command({}, "/bin/tandem"),
              ElementsAre("/bin/tandem", "worker", "--launched"));
}

TEST(LaunchCommand, NothingOfAPersonsInputStandsBeforeTheDashes) {
  Target target;
  target.ssh = "me@box";
  target.ssh_port = 2222;
  target.binary = "~/tandem";
  const auto words = worker_command(target, "/bin/tandem");
  EXPECT_EQ(words.front(), "ssh");
  const std::vector<std::string> end(words.end() - 7, words.end());
  EXPECT_THAT(end, ElementsAre("-p", "2222", "--", "me@box", "~/tandem", "worker", "--launched"));
}

}  // namespace
}  // namespace tandem::launch
