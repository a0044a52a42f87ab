#include "cli/interrupt.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>

namespace tandem::cli {
namespace {

// A signal handler can reach nothing but static storage.
std::atomic<int> received{0};
std::atomic<int> wake{-1};  // the pipe's end to write to
static_assert(std::atomic<int>::is_always_lock_free);

extern "C" void tandem_on_signal(int signal) {
  int none = 0;
  if (!received.compare_exchange_strong(none, signal)) ::_exit(128 + signal);
  const int saved = errno;
  // Full or closed: the flag is set all the same.
  [[maybe_unused]] const ssize_t written = ::write(wake, "!", 1);
  errno = saved;
}

void handle(void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  ::sigemptyset(&action.sa_mask);
  // No SA_RESTART: a blocked call has to return.
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

}  // namespace

Interrupt::Interrupt() {
  int ends[2] = {-1, -1};
  if (::pipe(ends) == 0) {
    for (const int end : ends) {
      ::fcntl(end, F_SETFL, O_NONBLOCK);
      ::fcntl(end, F_SETFD, FD_CLOEXEC);
    }
  }
  read_end_ = ends[0];
  write_end_ = ends[1];
  received = 0;
  wake = write_end_;
  handle(tandem_on_signal);
}

Interrupt::~Interrupt() {
  handle(SIG_DFL);
  wake = -1;
  if (read_end_ >= 0) ::close(read_end_);
  if (write_end_ >= 0) ::close(write_end_);
}

int Interrupt::signal() const { return received; }

void Interrupt::clear() {
  char byte = 0;
  while (read_end_ >= 0 && ::read(read_end_, &byte, 1) == 1) {
  }
  received = 0;
}

}  // namespace tandem::cli
