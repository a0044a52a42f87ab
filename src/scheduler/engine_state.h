#pragma once
// What an Engine knows, and how each step changes it.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "scheduler/engine.h"
#include "scheduler/flight.h"
#include "scheduler/kv_memory.h"
#include "scheduler/sequence.h"
#include "scheduler/tick_plan.h"
#include "scheduler/tick_times.h"

namespace tandem::scheduler {

/// What the stages offer, in the units of the scheduler.
struct PipelineLimits {
  std::int32_t vocabulary = 0;
  std::int32_t context_max = 0;  // the model's
  std::uint32_t rows_max = 1;    // tokens of one tick
  KvShape kv;
  /// Whether all stages let sequences share pages: the CPU's kernels do. Else (MLX's operations) a
  /// prefix is handed on or counts once for each sequence that has it.
  bool pages_shared = true;
  std::uint64_t kv_tokens = 0;  // that one sequence by itself may have
};

struct Engine::State {
  State(Pipeline& stages, EngineOptions wanted, PipelineLimits offered);

  using Sequences =
      std::map<QueuePosition, Sequence>;  // a sequence keeps its address when it moves

  Pipeline& pipeline;
  EngineOptions options;
  PipelineLimits limits;
  KvMemory memory;
  TickTimes times;
  std::uint64_t next_id = 1;
  std::uint64_t next_tick = 1;
  Turn turn;
  Sequences waiting;
  Sequences running;
  Sequences held;  // wait until another one is found innocent of a pipeline's failure
  std::map<std::uint64_t, Sequence*> by_kv;  // of the running ones
  std::deque<Flight> flights;
  std::vector<Event> events;  // not yet reported
  EngineStats stats;
  std::optional<Error> dead;

  KvLimits kv_limits() const;
  /// Tokens that a sequence may have at most.
  std::uint64_t length_max() const;

  // Before a tick (engine_fill.cpp).
  Status fill();
  void admit();
  bool fits(const PageCounts& pages) const;
  std::uint64_t tokens_wanted(const Sequence& sequence) const;
  PageCounts pages_wanted(const Sequence& sequence, const KvMemory::Match& match) const;
  void start(Sequences::iterator waiter, const KvMemory::Match& match);
  void preempt(Sequences::iterator victim);
  PlanState plan_state() const;
  std::vector<PlannedEntry> planned_entries();
  void launch(Flight flight);
  void add_entry(const PlannedEntry& planned, Tick& tick, Flight& flight);
  /// What of a constraint goes into the tick; false when the sequence ended over it.
  bool constrain(Sequence& sequence, TickEntry& entry);
  void end_early(Sequence& sequence, FinishReason finish, std::optional<Error> error);

  // After a tick (engine_commit.cpp).
  Status commit(const TickResult& result);
  void drop_refused(std::uint64_t kv);
  void refuse(Sequence& sequence, const Error& error, const Flight& flight);
  void drop_source(std::uint64_t kv, const Flight& flight);
  Event advance(Sequence& sequence, const FlightEntry& entry, const TokenResult* token);
  void take_token(Sequence& sequence, const TokenResult& token, Event& event);
  static void take_scores(Sequence& sequence, const FlightEntry& entry, const EntryResult& result,
                          Event& event);
  void measure(const Flight& flight);
  void retire(Sequence& sequence);
  void stop_running(Sequences::iterator sequence);
  Event event_of(const Sequence& sequence) const;
  Error die(Error error);

  // After a pipeline (engine_rebuild.cpp).
  void rebuild(const Error& reason, PipelineLimits offered);
  std::vector<Sequence*> take_under_way();
  void blame(const Error& reason);
  void release_held();
};

}  // namespace tandem::scheduler
