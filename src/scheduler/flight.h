#pragma once
// A tick on its way, and what its answer has to be.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cost/tick_cost.h"
#include "scheduler/tick_plan.h"
#include "tandem/deadline.h"
#include "tandem/error.h"
#include "tandem/tick.h"

namespace tandem::scheduler {

/// A token that the last stage owes.
struct Due {
  Want::Kind kind = Want::Kind::kDraw;
  std::uint32_t position = 0;  // of the token
  std::int32_t token = 0;      // kScore: which
  std::uint32_t top_logprobs = 0;
};

/// What the last stage owes for one entry.
struct FlightEntry {
  PlannedEntry planned;
  std::vector<Due> due = {};
};

FlightEntry flight_entry(const PlannedEntry& planned, const TickEntry& entry);

struct Flight {
  std::uint64_t number = 0;
  std::vector<FlightEntry> entries;
  std::vector<StateOp> ops;
  Clock::time_point submitted;
  cost::TickLoad own;   // its rows; draws: those of streams
  cost::TickLoad load;  // with those that were on their way before it
};

/// Results come from other processes: nothing of them is taken on trust. Every entry in its place,
/// with an error or every draw and every score in its place, of a known token, with no more
/// candidates than were asked for; an error (kInternal) names the tick.
Status check_result(const TickResult& result, const Flight& flight, std::int32_t vocabulary);

}  // namespace tandem::scheduler
