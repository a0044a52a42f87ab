#include "base/memory_bandwidth.h"

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <span>
#include <thread>
#include <utility>

#include "base/pages.h"
#include "tandem/deadline.h"

namespace tandem {
namespace {

// Read at once by a thread, each asked for ahead, as the kernels' loops do: one core of a Zen 4
// read 16 GB/s so, 13 without asking ahead, 11 with two streams.
constexpr std::size_t kStreams = 4;
constexpr std::size_t kAhead = 16;  // cache lines
constexpr std::size_t kLanes = 8;   // words of a cache line

/// Folds all words into one, so that no read can be left out.
std::uint64_t read_all(std::span<const std::uint64_t> words) {
  const std::size_t part = words.size() / kStreams / kLanes * kLanes;
  std::uint64_t folded[kStreams * kLanes] = {};
  for (std::size_t i = 0; i < part; i += kLanes) {
    for (std::size_t stream = 0; stream < kStreams; ++stream) {
      const std::uint64_t* line = words.data() + stream * part + i;
      __builtin_prefetch(line + kAhead * kLanes);
      for (std::size_t lane = 0; lane < kLanes; ++lane)
        folded[stream * kLanes + lane] ^= line[lane];
    }
  }
  std::uint64_t all = 0;
  for (const std::uint64_t word : folded) all ^= word;
  return all;
}

}  // namespace

Result<std::vector<double>> measure_read_bandwidth(std::size_t bytes, int threads, int repeats) {
  const std::size_t block = kStreams * kLanes;
  const std::size_t words =
      std::max(bytes / sizeof(std::uint64_t) / static_cast<std::size_t>(threads) / block,
               std::size_t{1}) *
      block;
  const double total = static_cast<double>(words * sizeof(std::uint64_t)) * threads;
  // Readers start together and keep their own time: a thread that only waited for them would take
  // a core from one of them when it starts the clock.
  struct Lap {
    Clock::time_point begin, end;
  };
  const auto laps = static_cast<std::size_t>(repeats) + 1;  // the first is not counted
  std::vector<std::vector<Lap>> times(static_cast<std::size_t>(threads), std::vector<Lap>(laps));
  std::vector<Pages> parts;
  for (int thread = 0; thread < threads; ++thread) {
    Result<Pages> part = Pages::allocate(words * sizeof(std::uint64_t));
    if (!part) return part.error();
    parts.push_back(std::move(*part));
  }
  std::barrier meet(threads);
  std::atomic<std::uint64_t> sink{0};
  std::vector<std::thread> readers;
  for (std::size_t thread = 0; thread < times.size(); ++thread) {
    readers.emplace_back([&, thread] {
      auto* own = reinterpret_cast<std::uint64_t*>(parts[thread].data());
      std::fill_n(own, words, thread + 1);
      for (Lap& lap : times[thread]) {
        meet.arrive_and_wait();
        lap.begin = Clock::now();
        sink ^= read_all({own, words});
        lap.end = Clock::now();
      }
    });
  }
  for (std::thread& reader : readers) reader.join();
  std::vector<double> rates;
  for (std::size_t lap = 1; lap < laps; ++lap) {
    Lap all = times.front()[lap];
    for (const std::vector<Lap>& own : times) {
      all.begin = std::min(all.begin, own[lap].begin);
      all.end = std::max(all.end, own[lap].end);
    }
    const std::chrono::duration<double> wall = all.end - all.begin;
    rates.push_back(total / std::max(wall.count(), 1e-9));
  }
  return rates;
}

}  // namespace tandem
