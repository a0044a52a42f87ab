#pragma once
// A process with pipes to its standard input, output and error.

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "tandem/error.h"

namespace tandem::launch {

/// Of one thread. The destructor kills and reaps what still runs. The process is in a group of its
/// own, so that a ^C of the terminal reaches its starter only.
class Process {
 public:
  /// Finds argv[0] on the PATH. kUnavailable: it cannot be started, with the system's words.
  static Result<Process> start(const std::vector<std::string>& argv);
  Process() = default;
  ~Process();
  Process(Process&& other) noexcept;
  Process& operator=(Process&& other) noexcept;

  /// Ends here, not blocking; invalid once closed.
  Fd input;
  Fd output;
  Fd error;

  /// "exited with code 3", "was killed by signal 9"; nullopt while it runs.
  const std::optional<std::string>& ended();
  /// Sends a signal to its group; nothing once it ended.
  void signal(int number);

 private:
  pid_t pid_ = -1;
  std::optional<std::string> ended_;
};

}  // namespace tandem::launch
