#include "base/thread_pool.h"

#include <algorithm>
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
constexpr std::int64_t kChunksPerThread = 8;

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

}  // namespace

struct ThreadPool::Impl {
  explicit Impl(int threads) : size(threads) {
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

  void run(std::int64_t n, std::int64_t chunk_size, std::uint64_t chunks, const Body& body) {
    current_n.store(n, std::memory_order_relaxed);
    current_chunk.store(chunk_size, std::memory_order_relaxed);
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
      const std::int64_t n = current_n.load(std::memory_order_relaxed);
      const std::int64_t size_of_chunk = current_chunk.load(std::memory_order_relaxed);
      const Body* body = current_body.load(std::memory_order_relaxed);
      if (!ticket.compare_exchange_weak(word, word + 1, std::memory_order_acq_rel)) continue;
      const std::uint64_t chunks = Ticket::chunks(word);
      const std::int64_t begin = static_cast<std::int64_t>(Ticket::taken(word)) * size_of_chunk;
      try {
        (*body)(begin, std::min(n, begin + size_of_chunk), thread);
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
  Workspace workspace;
  std::uint64_t generation = 0;
  alignas(64) std::atomic<std::uint64_t> ticket{0};
  std::atomic<std::int64_t> current_n{0};
  std::atomic<std::int64_t> current_chunk{0};
  std::atomic<const Body*> current_body{nullptr};
  std::atomic<bool> failed{false};
  std::exception_ptr failure;  // of the current loop; written by the thread that set `failed`
  alignas(64) std::atomic<std::uint32_t> done{0};
  alignas(64) std::atomic<std::uint32_t> wake{0};
  std::atomic<bool> stopping{false};
  std::vector<std::thread> workers;
};

ThreadPool::ThreadPool(int size) : impl_(std::make_unique<Impl>(size)) {
  check(size >= 1, "a thread pool has at least one thread");
}

ThreadPool::~ThreadPool() = default;

int ThreadPool::size() const { return impl_->size; }

Workspace& ThreadPool::workspace() { return impl_->workspace; }

void ThreadPool::parallel_for(std::int64_t n, std::int64_t grain, const Body& body) {
  if (n <= 0) return;
  grain = std::max<std::int64_t>(grain, 1);
  const std::int64_t most = std::min<std::int64_t>(impl_->size * kChunksPerThread, Ticket::kMask);
  const std::int64_t wanted = std::clamp<std::int64_t>(n / grain, 1, most);
  if (impl_->size == 1 || wanted == 1) {
    body(0, n, 0);
    return;
  }
  const std::int64_t chunk = (n + wanted - 1) / wanted;
  impl_->run(n, chunk, static_cast<std::uint64_t>((n + chunk - 1) / chunk), body);
}

}  // namespace tandem
