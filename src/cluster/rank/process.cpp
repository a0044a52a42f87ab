#include "cluster/rank/process.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "base/spawn.h"
#include "cluster/rank/worker.h"
#include "cluster/timing.h"

namespace tandem::cluster {
namespace {

Error failed(const std::string& what, int code) {
  return {ErrorCode::kInternal, what + ": " + std::strerror(code)};
}

// A descriptor other than kControlFd, closed on exec: dup2 to itself would keep the close flag.
Result<Fd> away_from_control(Fd fd) {
  const int moved = ::fcntl(fd.get(), F_DUPFD_CLOEXEC, kControlFd + 1);
  if (moved < 0) return failed("cannot duplicate a control socket", errno);
  return Fd(moved);
}

}  // namespace

std::string describe(const ExitStatus& status) {
  if (status.signal != 0) return "was killed by signal " + std::to_string(status.signal);
  return "exited with code " + std::to_string(status.code);
}

bool from_outside(const ExitStatus& status) {
  switch (status.signal) {
    case SIGKILL:
    case SIGTERM:
    case SIGINT:
    case SIGHUP:
    case SIGQUIT:
      return true;
    default:
      return false;
  }
}

// The lock orders kill() and the reaping, after which the pid may be another process's.
struct ChildProcess::State {
  pid_t pid = -1;
  Fd control;
  std::mutex mutex;
  std::optional<ExitStatus> status;

  std::optional<ExitStatus> poll() {
    const std::lock_guard lock(mutex);
    if (status) return status;
    int raw = 0;
    const pid_t reaped = ::waitpid(pid, &raw, WNOHANG);
    if (reaped == pid && WIFSIGNALED(raw)) status = ExitStatus{0, WTERMSIG(raw)};
    if (reaped == pid && WIFEXITED(raw)) status = ExitStatus{WEXITSTATUS(raw), 0};
    if (reaped < 0 && errno == ECHILD)
      status = ExitStatus{};  // reaped elsewhere: gone all the same
    return status;
  }
};

ChildProcess::ChildProcess(std::unique_ptr<State> state) : state_(std::move(state)) {}

ChildProcess::~ChildProcess() { kill_and_reap(); }

Result<std::unique_ptr<ChildProcess>> ChildProcess::start(const std::string& executable,
                                                          const std::vector<std::string>& arguments,
                                                          bool own_group) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) {
    return failed("cannot make a control socket", errno);
  }
  Fd first(pair[0]);
  Fd second(pair[1]);
  ::fcntl(first.get(), F_SETFD, FD_CLOEXEC);
  ::fcntl(second.get(), F_SETFD, FD_CLOEXEC);
  auto ours = away_from_control(std::move(first));
  if (!ours) return ours.error();
  auto theirs = away_from_control(std::move(second));
  if (!theirs) return theirs.error();
  ::fcntl(ours->get(), F_SETFL, O_NONBLOCK);

  std::vector<std::string> words{executable};
  words.insert(words.end(), arguments.begin(), arguments.end());
  auto state = std::make_unique<State>();
  const int code = spawn(words,
                         {.null_input = true,
                          .ours = {{theirs->get(), kControlFd}},
                          .inherited = {STDOUT_FILENO, STDERR_FILENO}},
                         own_group, state->pid);
  if (code != 0) return failed("cannot start " + executable, code);
  state->control = std::move(*ours);
  return std::unique_ptr<ChildProcess>(new ChildProcess(std::move(state)));
}

pid_t ChildProcess::pid() const { return state_->pid; }
int ChildProcess::control() const { return state_->control.get(); }

// Polling, because no portable call waits for one child with a deadline; 1 ms at first, since most
// waits follow the end of the control socket.
std::optional<ExitStatus> ChildProcess::wait(Deadline deadline) {
  auto pause = std::chrono::milliseconds(1);
  while (true) {
    if (auto status = state_->poll()) return status;
    if (Clock::now() >= deadline) return std::nullopt;
    std::this_thread::sleep_for(pause);
    pause = std::min(pause * 2, timing::kWatch);
  }
}

void ChildProcess::kill() {
  const std::lock_guard lock(state_->mutex);
  if (!state_->status) ::kill(state_->pid, SIGKILL);
}

std::optional<ExitStatus> ChildProcess::kill_and_reap() {
  kill();
  return wait(after(timing::kReap));
}

}  // namespace tandem::cluster
