#pragma once
// The workers of a launcher: started, watched, started again, ended.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "config/hosts.h"
#include "launch/command.h"
#include "tandem/deadline.h"
#include "tandem/error.h"

namespace tandem::launch {

/// A line that a worker or its ssh wrote, or what became of it. `worker`: its place in the list of
/// targets. `urgent`: people should see it even if they did not ask for a worker's log.
using Say = std::function<void(std::size_t worker, const std::string& line, bool urgent)>;

/// Workers are processes of this machine or of ssh, which end when their input does: none outlives
/// this process, however it ends. A worker that ends by itself is started again at the same
/// address, after a second, later after up to ten, for as long as the crew lives. A thread of its
/// own watches them and calls `say`.
class Crew {
 public:
  /// Starts all at the same time, those of other machines first: the address at which they see this
  /// one is where local workers then wait. `executable`: this binary. Errors name the target:
  /// kInvalidArgument: a target breaks a rule of command.h, kUnavailable: one cannot be started,
  /// with what it said last, kDeadlineExceeded: or does not answer, kCancelled: `wake` (a
  /// descriptor; -1: none) became readable. All that were started are ended then.
  static Result<std::unique_ptr<Crew>> start(std::vector<Target> targets, std::string executable,
                                             Deadline deadline, int wake, Say say);
  /// Ends the workers: asks, waits up to 5 s, kills.
  ~Crew();
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  /// Where each worker waits, in the order of the targets.
  std::vector<config::Host> hosts() const;

 private:
  struct State;
  explicit Crew(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace tandem::launch
