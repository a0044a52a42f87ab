#include "launch/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include "base/spawn.h"

namespace tandem::launch {
namespace {

Error failed(const std::string& what, int code) {
  return {ErrorCode::kUnavailable, what + ": " + std::strerror(code)};
}

struct Pipe {
  Fd read;
  Fd write;
};

// Closed on exec: a write end that another child inherits would keep a worker's input open after
// its launcher is gone.
Result<Pipe> make_pipe() {
  int ends[2];
  if (::pipe(ends) != 0) return failed("cannot make a pipe", errno);
  Pipe pipe{Fd(ends[0]), Fd(ends[1])};
  for (const int end : ends) {
    if (::fcntl(end, F_SETFD, FD_CLOEXEC) != 0) return failed("cannot set up a pipe", errno);
  }
  return pipe;
}

}  // namespace

Result<Process> Process::start(const std::vector<std::string>& argv) {
  auto in = make_pipe();
  if (!in) return in.error();
  auto out = make_pipe();
  if (!out) return out.error();
  auto err = make_pipe();
  if (!err) return err.error();
  Process process;
  const int code = spawn(argv,
                         {.null_input = false,
                          .ours = {{in->read.get(), STDIN_FILENO},
                                   {out->write.get(), STDOUT_FILENO},
                                   {err->write.get(), STDERR_FILENO}},
                          .inherited = {}},
                         true, process.pid_);
  if (code != 0) {
    process.pid_ = -1;
    return failed("cannot start " + argv[0], code);
  }
  process.input = std::move(in->write);
  process.output = std::move(out->read);
  process.error = std::move(err->read);
  for (const Fd* end : {&process.input, &process.output, &process.error}) {
    ::fcntl(end->get(), F_SETFL, O_NONBLOCK);
  }
  return process;
}

Process::Process(Process&& other) noexcept
    : input(std::move(other.input)),
      output(std::move(other.output)),
      error(std::move(other.error)),
      pid_(std::exchange(other.pid_, -1)),
      ended_(std::move(other.ended_)) {}

Process& Process::operator=(Process&& other) noexcept {
  if (this == &other) return *this;
  this->~Process();
  return *new (this) Process(std::move(other));
}

Process::~Process() {
  if (pid_ < 0 || ended()) return;
  signal(SIGKILL);
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
}

const std::optional<std::string>& Process::ended() {
  if (ended_ || pid_ < 0) return ended_;
  int status = 0;
  const pid_t reaped = ::waitpid(pid_, &status, WNOHANG);
  if (reaped == pid_ && WIFSIGNALED(status)) {
    ended_ = fmt::format("was killed by signal {}", WTERMSIG(status));
  } else if (reaped == pid_ && WIFEXITED(status)) {
    ended_ = fmt::format("exited with code {}", WEXITSTATUS(status));
  } else if (reaped < 0 && errno == ECHILD) {
    ended_ = "is gone";
  }
  return ended_;
}

void Process::signal(int number) {
  if (pid_ > 0 && !ended()) ::kill(-pid_, number);
}

}  // namespace tandem::launch
