#include "base/memory_bandwidth.h"

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <thread>

#include "base/deadline.h"

namespace tandem {
namespace {

constexpr std::size_t kStreams = 2;  // read at once by a thread; more gained nothing, one is slower
constexpr std::size_t kLanes = 8;    // words of a cache line

/// Folds all words into one, so that no read can be left out.
std::uint64_t read_all(const std::vector<std::uint64_t>& words) {
  const std::size_t part = words.size() / kStreams / kLanes * kLanes;
  std::uint64_t folded[kStreams * kLanes] = {};
  for (std::size_t i = 0; i < part; i += kLanes) {
    for (std::size_t stream = 0; stream < kStreams; ++stream) {
      const std::uint64_t* line = words.data() + stream * part + i;
      for (std::size_t lane = 0; lane < kLanes; ++lane)
        folded[stream * kLanes + lane] ^= line[lane];
    }
  }
  std::uint64_t all = 0;
  for (const std::uint64_t word : folded) all ^= word;
  return all;
}

}  // namespace

std::vector<double> measure_read_bandwidth(std::size_t bytes, int threads, int repeats) {
  const std::size_t block = kStreams * kLanes;
  const std::size_t words =
      std::max(bytes / sizeof(std::uint64_t) / static_cast<std::size_t>(threads) / block,
               std::size_t{1}) *
      block;
  const double total = static_cast<double>(words * sizeof(std::uint64_t)) * threads;
  // The main thread keeps the time: it meets the readers before and after each run.
  std::barrier meet(threads + 1);
  std::atomic<std::uint64_t> sink{0};
  std::vector<std::thread> readers;
  for (int thread = 0; thread < threads; ++thread) {
    readers.emplace_back([&, thread] {
      const std::vector<std::uint64_t> own(words, static_cast<std::uint64_t>(thread) + 1);
      for (int run = 0; run <= repeats; ++run) {
        meet.arrive_and_wait();
        sink ^= read_all(own);
        meet.arrive_and_wait();
      }
    });
  }
  std::vector<double> rates;
  for (int run = 0; run <= repeats; ++run) {
    meet.arrive_and_wait();
    const auto begin = Clock::now();
    meet.arrive_and_wait();
    const std::chrono::duration<double> wall = Clock::now() - begin;
    if (run > 0) rates.push_back(total / std::max(wall.count(), 1e-9));
  }
  for (std::thread& reader : readers) reader.join();
  return rates;
}

}  // namespace tandem
