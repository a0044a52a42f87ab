#include "cli/bench_run.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <random>
#include <utility>
#include <vector>

#include "base/memory_bandwidth.h"
#include "base/platform.h"
#include "cli/limits.h"
#include "tandem/deadline.h"

namespace tandem::cli {
namespace {

/// What the caches of a processor may hold: less is not read from memory.
constexpr std::size_t kCacheBytes = 128U << 20;

std::vector<std::int32_t> random_prompt(std::mt19937_64& random, int tokens,
                                        std::int32_t vocabulary) {
  std::uniform_int_distribution<std::int32_t> pick(0, vocabulary - 1);
  std::vector<std::int32_t> ids(static_cast<std::size_t>(tokens));
  for (std::int32_t& id : ids) id = pick(random);
  return ids;
}

}  // namespace

Result<Speed> run_once(scheduler::Engine& engine, const BenchRun& run, std::int32_t vocabulary,
                       const Interrupt& interrupt) {
  std::mt19937_64 random(run.seed);
  for (int i = 0; i < run.concurrency; ++i) {
    scheduler::Request request;
    request.prompt = random_prompt(random, run.prompt, vocabulary);
    request.max_tokens = run.generate;
    if (auto added = engine.add(std::move(request)); !added) return added.error();
  }
  const auto begin = Clock::now();
  auto prefilled = begin;
  std::map<std::uint64_t, int> drawn;
  std::int64_t after_prefill = 0;
  while (engine.busy()) {
    if (interrupt.raised()) return Error{ErrorCode::kCancelled, "interrupted"};
    auto events = engine.step(after(std::chrono::seconds(limits::kTickSecondsMax)));
    if (!events) return events.error();
    const bool all_prefilled = drawn.size() == static_cast<std::size_t>(run.concurrency);
    for (const scheduler::Event& event : *events) {
      if (event.error) return *event.error;
      if (!event.token) continue;
      ++drawn[event.sequence];
      if (all_prefilled) ++after_prefill;
    }
    if (!all_prefilled) prefilled = Clock::now();
  }
  const std::chrono::duration<double> prompt_time = prefilled - begin;
  const std::chrono::duration<double> decode_time = Clock::now() - prefilled;
  Speed speed;
  speed.prompt_tps = run.prompt * static_cast<double>(run.concurrency) / prompt_time.count();
  if (after_prefill > 0)
    speed.decode_tps = static_cast<double>(after_prefill) / decode_time.count();
  return speed;
}

Result<std::vector<double>> read_rates(std::size_t bytes, int threads, int repeats) {
  const std::size_t room = std::min<std::uint64_t>(bytes, platform::free_memory_bytes() / 2);
  if (room < kCacheBytes) return std::vector<double>();
  return measure_read_bandwidth(room, threads, repeats);
}

}  // namespace tandem::cli
