#pragma once
// What the engine is asked to do, and who is told of it.

#include <cstddef>
#include <memory>
#include <vector>

#include "scheduler/engine.h"
#include "tandem/deadline.h"
#include "tandem/error.h"

namespace tandem::server {

/// Follows the sequences of one job. Called by the engine's thread only; must not block.
class JobListener {
 public:
  virtual ~JobListener() = default;

  /// What happened to the job's request `index`. False: it is to end here.
  virtual bool event(std::size_t index, const scheduler::Event& event) = 0;
  /// The job is over before its requests ended; nothing follows.
  virtual void failed(const Error& error) = 0;
  /// After each step of the engine. False: nobody wants the answer any more; nothing follows.
  virtual bool wanted(Clock::time_point now) = 0;
};

/// Requests that come and go together, in the order of the listener's indexes.
struct Job {
  std::vector<scheduler::Request> requests;
  std::shared_ptr<JobListener> listener;
};

}  // namespace tandem::server
