#pragma once
// Child processes of this binary.

#include <sys/types.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "tandem/deadline.h"
#include "tandem/error.h"

namespace tandem::cluster {

/// How a process ended.
struct ExitStatus {
  int code = 0;    // of exit(); meaningless with a signal
  int signal = 0;  // 0: exited by itself
};

/// "was killed by signal 9", "exited with code 3".
std::string describe(const ExitStatus& status);
/// Whether someone ended it by a signal (SIGKILL, SIGTERM and the like); else it ended of itself.
bool from_outside(const ExitStatus& status);

/// A running child of this binary, with a stream socket to it: `control()` here, kControlFd there.
/// The destructor kills and reaps it, so no child outlives its owner. On Linux a child also dies
/// with the thread that started it (platform::die_with_parent, which the child calls); everywhere
/// it should end when its control socket does. wait() and kill() may be called from any thread.
class ChildProcess {
 public:
  /// Starts `executable arguments...` in a process group of its own when `own_group` (a ^C of the
  /// terminal is then the gateway's alone). stdin is /dev/null; stdout and stderr are inherited.
  static Result<std::unique_ptr<ChildProcess>> start(const std::string& executable,
                                                     const std::vector<std::string>& arguments,
                                                     bool own_group);
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  pid_t pid() const;
  int control() const;

  /// The exit status, waiting for it until `deadline`; nullopt while it runs.
  std::optional<ExitStatus> wait(Deadline deadline);
  /// SIGKILL; nothing when it was reaped already.
  void kill();
  /// SIGKILL, then waits kReap for the status.
  std::optional<ExitStatus> kill_and_reap();

 private:
  struct State;
  explicit ChildProcess(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace tandem::cluster
