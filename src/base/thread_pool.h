#pragma once
// A persistent pool for the loops of one stage.

#include <cstdint>
#include <functional>
#include <memory>

#include "base/workspace.h"

namespace tandem {

/// Threads that run the parallel loops of one stage. The calling thread takes part, so size 1 has
/// no thread of its own. Workers spin briefly after a loop, then sleep. One loop at a time:
/// parallel_for may be called from one thread at a time and not from inside a loop.
class ThreadPool {
 public:
  /// size: threads that work, the caller among them; at least 1.
  explicit ThreadPool(int size);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const;

  /// How many steps of all loops are done: it grows while a loop does, whatever the loop's length.
  /// For any thread, to see that the loops of others move on.
  std::uint64_t steps() const;

  /// Memory for the loops; of the calling thread. What is taken holds until the caller's reset().
  Workspace& workspace();

  /// Runs body(begin, end, thread) over [0, n) in steps of at least `grain` (the last may be
  /// shorter) and at most a few times that; returns when all are done. Which thread runs which step
  /// is not fixed; bodies must not depend on it. What a body throws on any thread (say
  /// std::bad_alloc) reaches the caller, the first of several, once no thread uses `body` any more;
  /// the other steps may or may not have run. The pool stays usable.
  void parallel_for(std::int64_t n, std::int64_t grain,
                    const std::function<void(std::int64_t, std::int64_t, int)>& body);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tandem
