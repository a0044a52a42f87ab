#pragma once
// One timed run of random requests through an engine.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cli/interrupt.h"
#include "scheduler/engine.h"
#include "tandem/error.h"

namespace tandem::cli {

struct BenchRun {
  int prompt = 0;    // random tokens of each request
  int generate = 0;  // tokens that each request draws
  int concurrency = 1;
  std::uint64_t seed = 0;  // of the prompts: equal ones share KV that is still there
};

struct Speed {
  double prompt_tps = 0;
  double decode_tps = 0;  // 0: each request drew one token only
};

/// All requests start together. Prompt time ends when each has its first token; what is drawn after
/// that is decode. The engine is idle before and after.
Result<Speed> run_once(scheduler::Engine& engine, const BenchRun& run, std::int32_t vocabulary,
                       const Interrupt& interrupt);

/// Bytes per second that `threads` read from memory, of each of `repeats` passes over at most
/// `bytes` and half of what is free; empty when that is so little that it may lie in a cache.
Result<std::vector<double>> read_rates(std::size_t bytes, int threads, int repeats);

}  // namespace tandem::cli
