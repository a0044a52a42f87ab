#include "cli/interrupt.h"

#include <unistd.h>

#include <atomic>
#include <csignal>

namespace tandem::cli {
namespace {

// A signal handler can reach nothing but static storage.
std::atomic<int> received{0};
static_assert(std::atomic<int>::is_always_lock_free);

extern "C" void tandem_on_signal(int signal) {
  int none = 0;
  if (!received.compare_exchange_strong(none, signal)) ::_exit(128 + signal);
}

void handle(void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  ::sigemptyset(&action.sa_mask);
  // No SA_RESTART: a read of the terminal has to return.
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

}  // namespace

Interrupt::Interrupt() {
  received = 0;
  handle(tandem_on_signal);
}

Interrupt::~Interrupt() { handle(SIG_DFL); }

int Interrupt::signal() const { return received; }

void Interrupt::clear() { received = 0; }

}  // namespace tandem::cli
