#include "base/thread_pool.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"

namespace tandem {
namespace {

using Body = std::function<void(std::int64_t, std::int64_t, int)>;

// How long a thread polls before it sleeps: longer than the serial gaps between the loops of one
// step, short enough that an idle process costs nothing.
constexpr auto kSpin = std::chrono::microseconds(50);
// A chunk is this part of what is left for one thread: chunks are long while there is much to do (a
// pass over weights is fast once it runs) and short at the end, where threads wait for each other.
constexpr std::int64_t kShare = 2;
// Chunks of a thread's even share at most, so that the last ones are not too short.
constexpr std::int64_t kPartsMax = 64;
constexpr std::int64_t kChunksMax = 2048;
// Items of a step, in grains: long enough that counting it costs nothing, short enough that the
// count shows within a fraction of a second whether a loop hangs.
constexpr std::int64_t kGrainsPerStep = 4;

void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Polls `ready` for kSpin; false when it never held.
template <class Ready>
bool spin_until(const Ready& ready) {
  constexpr int kPollsPerClockRead = 32;
  const auto end = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < kPollsPerClockRead; ++i) {
      if (ready()) return true;
      relax();
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

// Which loop is current, how many chunks it has and how many are taken, in one word: a thread that
// comes late to a finished loop cannot take a chunk of the next one by mistake.
struct Ticket {
  static constexpr int kBits = 12;
  static constexpr std::uint64_t kMask = (1U << kBits) - 1;

  static std::uint64_t first(std::uint64_t generation, std::uint64_t chunks) {
    return generation << (2 * kBits) | chunks << kBits;
  }
  static std::uint64_t taken(std::uint64_t word) { return word & kMask; }
  static std::uint64_t chunks(std::uint64_t word) { return word >> kBits & kMask; }
  static bool open(std::uint64_t word) { return taken(word) < chunks(word); }
};

/// Of one thread, in a cache line of its own.
struct alignas(64) Steps {
  std::atomic<std::uint64_t> done{0};
};

}  // namespace

struct ThreadPool::Impl {
  explicit Impl(int threads)
      : size(threads), steps(static_cast<std::size_t>(std::max(threads, 0))) {
    for (int thread = 1; thread < size; ++thread) {
      workers.emplace_back([this, thread] { work(thread); });
    }
  }

  ~Impl() {
    stopping.store(true);
    wake.fetch_add(1);
    wake.notify_all();
    for (std::thread& worker : workers) worker.join();
  }

  void run_steps(std::int64_t begin, std::int64_t end, std::int64_t step, const Body& body,
                 int thread) {
    std::atomic<std::uint64_t>& done_here = steps[static_cast<std::size_t>(thread)].done;
    for (; begin < end; begin += step) {
      body(begin, std::min(end, begin + step), thread);
      // Only this thread writes it.
      done_here.store(done_here.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }
  }

  /// Cuts [0, n) into chunks; returns how many. A late thread of the loop before may read
  /// meanwhile.
  std::uint64_t cut(std::int64_t n, std::int64_t grain) {
    const std::int64_t least = std::max({grain, n / (size * kPartsMax), n / (kChunksMax / 4)});
    std::int64_t begin = 0;
    std::size_t chunks = 0;
    while (begin < n) {
      const std::int64_t left = n - begin;
      const std::int64_t own = std::max(least, left / (kShare * size));
      begin = left - own < least || chunks + 1 == kChunksMax ? n : begin + own;
      ends[chunks++].store(begin, std::memory_order_relaxed);
    }
    return chunks;
  }

  void run(std::int64_t n, std::int64_t grain, std::int64_t step, const Body& body) {
    const std::uint64_t chunks = cut(n, grain);
    current_step.store(step, std::memory_order_relaxed);
    current_body.store(&body, std::memory_order_relaxed);
    done.store(0, std::memory_order_relaxed);
    ticket.store(Ticket::first(++generation, chunks), std::memory_order_seq_cst);
    wake.fetch_add(1, std::memory_order_seq_cst);
    wake.notify_all();
    take_chunks(0);
    const auto total = static_cast<std::uint32_t>(chunks);
    const auto finished = [&] { return done.load(std::memory_order_acquire) == total; };
    if (!spin_until(finished)) {
      while (!finished()) {
        const std::uint32_t seen = done.load(std::memory_order_acquire);
        if (seen != total) done.wait(seen, std::memory_order_acquire);
      }
    }
    if (!failed.load(std::memory_order_relaxed)) return;
    failed.store(false, std::memory_order_relaxed);
    std::rethrow_exception(std::exchange(failure, nullptr));
  }

  /// Runs chunks of the current loop until none is left.
  void take_chunks(int thread) {
    std::uint64_t word = ticket.load(std::memory_order_acquire);
    while (Ticket::open(word)) {
      // Of the loop in `word`, or the exchange below fails.
      const auto taken = static_cast<std::size_t>(Ticket::taken(word));
      const std::int64_t begin = taken == 0 ? 0 : ends[taken - 1].load(std::memory_order_relaxed);
      const std::int64_t end = ends[taken].load(std::memory_order_relaxed);
      const std::int64_t step = current_step.load(std::memory_order_relaxed);
      const Body* body = current_body.load(std::memory_order_relaxed);
      if (!ticket.compare_exchange_weak(word, word + 1, std::memory_order_acq_rel)) continue;
      const std::uint64_t chunks = Ticket::chunks(word);
      try {
        run_steps(begin, end, step, *body, thread);
      } catch (...) {
        // The first is kept; `done` below makes it visible to the caller.
        if (!failed.exchange(true, std::memory_order_relaxed)) failure = std::current_exception();
      }
      if (done.fetch_add(1, std::memory_order_acq_rel) + 1 == chunks) done.notify_one();
      word = ticket.load(std::memory_order_acquire);
    }
  }

  void work(int thread) {
    const auto ready = [this] {
      return Ticket::open(ticket.load(std::memory_order_acquire)) ||
             stopping.load(std::memory_order_relaxed);
    };
    while (!stopping.load()) {
      const std::uint32_t seen = wake.load(std::memory_order_seq_cst);
      if (ready() || spin_until(ready)) {
        take_chunks(thread);
      } else {
        wake.wait(seen, std::memory_order_seq_cst);
      }
    }
  }

  const int size;
  std::vector<Steps> steps;
  Workspace workspace;
  std::uint64_t generation = 0;
  alignas(64) std::atomic<std::uint64_t> ticket{0};
  std::atomic<std::int64_t> current_step{1};
  std::atomic<const Body*> current_body{nullptr};
  std::atomic<bool> failed{false};
  std::exception_ptr failure;  // of the current loop; written by the thread that set `failed`
  alignas(64) std::atomic<std::uint32_t> done{0};
  alignas(64) std::atomic<std::uint32_t> wake{0};
  std::atomic<bool> stopping{false};
  std::array<std::atomic<std::int64_t>, kChunksMax> ends{};  // of the chunks of the current loop
  std::vector<std::thread> workers;
};

ThreadPool::ThreadPool(int size) : impl_(std::make_unique<Impl>(size)) {
  check(size >= 1, "a thread pool has at least one thread");
}

ThreadPool::~ThreadPool() = default;

int ThreadPool::size() const { return impl_->size; }

std::uint64_t ThreadPool::steps() const {
  std::uint64_t all = 0;
  for (const Steps& own : impl_->steps) all += own.done.load(std::memory_order_relaxed);
  return all;
}

Workspace& ThreadPool::workspace() { return impl_->workspace; }

void ThreadPool::parallel_for(std::int64_t n, std::int64_t grain, const Body& body) {
  if (n <= 0) return;
  grain = std::clamp<std::int64_t>(grain, 1, n);
  const std::int64_t step = grain * kGrainsPerStep;
  if (impl_->size == 1 || n < 2 * grain) {
    impl_->run_steps(0, n, step, body, 0);
    return;
  }
  impl_->run(n, grain, step, body);
}

}  // namespace tandem
