#pragma once
// What an Engine knows, and how each step changes it.

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "scheduler/engine.h"
#include "scheduler/kept.h"
#include "scheduler/plan.h"
#include "scheduler/sequence.h"

namespace tandem::scheduler {

/// KV is handed out in pages of this many tokens.
inline constexpr std::uint64_t kPageTokens = 64;

inline std::uint64_t whole_pages(std::uint64_t tokens) {
  return (tokens + kPageTokens - 1) / kPageTokens * kPageTokens;
}

/// Scores that a tick's answer has to have, in this order.
struct ExpectedScores {
  std::uint64_t sequence = 0;
  std::uint32_t first = 0;  // position
  std::uint32_t end = 0;
};

/// A tick on its way.
struct Flight {
  std::uint64_t number = 0;
  std::vector<PlannedEntry> entries;
  std::vector<std::uint64_t> frees;
  std::vector<ExpectedScores> scores;
};

struct Engine::State {
  State(cluster::Pipeline& stages, EngineOptions limits) : pipeline(stages), options(limits) {}

  cluster::Pipeline& pipeline;
  EngineOptions options;
  std::int32_t vocabulary = 0;
  std::uint32_t rows_max = 1;  // tokens of one tick
  std::uint64_t capacity = 0;  // tokens of KV
  std::uint64_t reserved = 0;  // of which set aside
  std::uint64_t next_id = 1;
  std::uint64_t next_tick = 1;
  std::deque<Sequence> waiting;
  std::map<std::uint64_t, Sequence> live;
  std::vector<std::uint64_t> frees;  // for the next tick
  std::deque<Flight> flights;
  KeptSequences kept;
  EngineStats stats;
  std::optional<Error> dead;

  void admit();
  /// How a sequence leaves: its KV is freed with the next tick, or stays if the request wants it.
  enum class Leave { kFree, kKeep };
  void retire(std::uint64_t id, Leave leave);
  void use_prefix(Sequence& sequence);
  void drop_oldest_kept();
  void add_kv_ops(Sequence& sequence, Tick& tick, Flight& flight);
  Status fill();
  Result<std::vector<Event>> commit(const TickResult& result);
  std::vector<Event> refuse(const Error& error);
  Status check_result(const TickResult& result, const Flight& flight) const;
  Status check_sampled(const TickResult& result, const Flight& flight) const;
  Status check_scores(const TickResult& result, const Flight& flight) const;
  Event advance(Sequence& sequence, const PlannedEntry& entry, const SampledToken* token);
  Error die(Error error);
};

}  // namespace tandem::scheduler
