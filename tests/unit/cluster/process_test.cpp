#include "cluster/rank/process.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <memory>
#include <string>
#include <utility>

namespace tandem::cluster {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds kLong{20};

std::unique_ptr<ChildProcess> shell(const std::string& script) {
  auto child = ChildProcess::start("/bin/sh", {"-c", script}, false);
  EXPECT_TRUE(child.ok()) << (child.ok() ? "" : child.error().message);
  return child.ok() ? std::move(*child) : nullptr;
}

// What the child writes to its control socket until it closes it.
std::string read_all(const ChildProcess& child) {
  std::string text;
  const Deadline end = after(kLong);
  while (Clock::now() < end) {
    char chunk[256];
    const ssize_t count = ::recv(child.control(), chunk, sizeof chunk, 0);
    if (count == 0) return text;
    if (count > 0) text.append(chunk, static_cast<std::size_t>(count));
  }
  return text + "(never closed)";
}

TEST(ChildProcess, ReportsItsExitCode) {
  const auto child = shell("exit 3");
  const auto status = child->wait(after(kLong));
  ASSERT_TRUE(status.has_value());
  EXPECT_EQ(describe(*status), "exited with code 3");
  EXPECT_EQ(child->wait(after(kLong))->code, 3) << "asking again gives the same answer";
}

TEST(ChildProcess, ReportsTheSignalThatKilledIt) {
  const auto child = shell("exec sleep 100");
  EXPECT_FALSE(child->wait(after(milliseconds(20))).has_value());
  child->kill();
  const auto status = child->wait(after(kLong));
  ASSERT_TRUE(status.has_value());
  EXPECT_EQ(describe(*status), "was killed by signal 9");
  child->kill();  // after the reaping: nobody else is hit
}

TEST(ChildProcess, IsKilledAlsoWhenStopped) {
  const auto child = shell("kill -STOP $$; exec sleep 100");
  const auto status = child->kill_and_reap();
  ASSERT_TRUE(status.has_value());
  EXPECT_EQ(status->signal, SIGKILL);
}

TEST(ChildProcess, DiesWithItsOwner) {
  pid_t pid = 0;
  {
    const auto child = shell("exec sleep 100");
    pid = child->pid();
    EXPECT_EQ(::kill(pid, 0), 0);
  }
  EXPECT_EQ(::kill(pid, 0), -1);
  EXPECT_EQ(errno, ESRCH);
}

TEST(ChildProcess, TalksOnItsControlSocketAndHoldsNoSiblings) {
  const std::string list =
      "for fd in 4 5 6 7 8 9 10 11 12; do [ -S /dev/fd/$fd ] && echo socket $fd >&3; done; "
      "echo done >&3";
  const std::string before = read_all(*shell(list));  // what else this process may hold open
  const auto sibling = shell("exec sleep 100");
  EXPECT_EQ(read_all(*shell(list)), before);
  EXPECT_NE(before.find("done\n"), std::string::npos);
}

TEST(ChildProcess, HasDefaultSignalsWhateverItsParentIgnores) {
  std::signal(SIGTERM, SIG_IGN);
  const auto child = shell("kill -TERM $$; exit 0");
  const auto status = child->wait(after(kLong));
  std::signal(SIGTERM, SIG_DFL);
  ASSERT_TRUE(status.has_value());
  EXPECT_EQ(status->signal, SIGTERM);
}

TEST(ChildProcess, OwnGroupKeepsTheTerminalsInterruptAway) {
  auto child = ChildProcess::start("/bin/sh", {"-c", "exec sleep 100"}, true);
  ASSERT_TRUE(child.ok());
  EXPECT_EQ(::getpgid((*child)->pid()), (*child)->pid());
}

TEST(ChildProcess, MissingExecutableIsNamed) {
  const auto child = ChildProcess::start("/nowhere/tandem", {}, false);
  ASSERT_FALSE(child.ok());
  EXPECT_NE(child.error().message.find("/nowhere/tandem"), std::string::npos);
}

}  // namespace
}  // namespace tandem::cluster
