#include "launch/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

extern char** environ;

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

struct SpawnSetup {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  SpawnSetup() {
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawnattr_init(&attributes);
  }
  ~SpawnSetup() {
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
  }
  SpawnSetup(const SpawnSetup&) = delete;
  SpawnSetup& operator=(const SpawnSetup&) = delete;
};

// Default signals and nothing blocked, a group of its own, and the pipes' ends as 0, 1 and 2.
int configure(SpawnSetup& setup, const std::array<int, 3>& ends) {
  sigset_t none;
  sigset_t reset;
  ::sigemptyset(&none);
  ::sigemptyset(&reset);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGCHLD}) ::sigaddset(&reset, signal);
  short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP;
#ifdef POSIX_SPAWN_CLOEXEC_DEFAULT  // macOS: nothing else leaks into the child
  flags |= POSIX_SPAWN_CLOEXEC_DEFAULT;
#endif
  int code = ::posix_spawnattr_setflags(&setup.attributes, flags);
  if (code == 0) code = ::posix_spawnattr_setsigmask(&setup.attributes, &none);
  if (code == 0) code = ::posix_spawnattr_setsigdefault(&setup.attributes, &reset);
  if (code == 0) code = ::posix_spawnattr_setpgroup(&setup.attributes, 0);
  for (int fd = 0; fd < 3 && code == 0; ++fd) {
    code =
        ::posix_spawn_file_actions_adddup2(&setup.actions, ends[static_cast<std::size_t>(fd)], fd);
  }
  return code;
}

}  // namespace

Result<Process> Process::start(const std::vector<std::string>& argv) {
  auto in = make_pipe();
  if (!in) return in.error();
  auto out = make_pipe();
  if (!out) return out.error();
  auto err = make_pipe();
  if (!err) return err.error();
  SpawnSetup setup;
  int code = configure(setup, {in->read.get(), out->write.get(), err->write.get()});
  std::vector<std::string> words = argv;
  std::vector<char*> pointers;
  pointers.reserve(words.size() + 1);
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  Process process;
  if (code == 0) {
    code = ::posix_spawnp(&process.pid_, pointers[0], &setup.actions, &setup.attributes,
                          pointers.data(), environ);
  }
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
