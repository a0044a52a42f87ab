#pragma once
// Who computes what in a pipeline, and how it fares: what people, /cluster and /metrics are told.

#include <cstdint>
#include <optional>
#include <string>

#include "tandem/stage_info.h"

namespace tandem {

/// What a rank has done since it was loaded. Only grows.
struct RankWork {
  std::uint64_t clock_us = 0;  // when it was read, by the rank's own steady clock
  std::uint64_t ticks = 0;
  std::uint64_t tokens = 0;        // rows of these ticks, of prompts and of answers
  std::uint64_t busy_us = 0;       // inside the stage
  std::uint64_t waiting_us = 0;    // for a frame
  std::uint64_t sent_bytes = 0;    // frames passed on; 0 where there is no link
  std::uint64_t predicted_us = 0;  // what busy_us was expected to be (src/cost)
};

/// Over the last seconds.
struct RankRates {
  double load = 0;     // part of the time that the stage computed, 0 to 1
  double waiting = 0;  // part of the time that it had nothing to compute, 0 to 1
  double ticks_per_second = 0;
  double tokens_per_second = 0;
  double sent_bytes_per_second = 0;
};

/// How a rank fares, as of its last heartbeat.
struct RankState {
  RankWork work;
  RankRates rates;
  std::uint64_t resident_bytes = 0;     // of the rank's process
  std::uint64_t memory_free_bytes = 0;  // of its machine, for more
  std::uint64_t kv_bytes = 0;           // held for sequences
  /// One way, milliseconds, half of a round trip: from the rank before (the first: from the
  /// gateway), and from the last rank back to the gateway. nullopt: no link, or not measured (yet).
  std::optional<double> link_ms = {};
  std::optional<double> return_ms = {};
  std::optional<double> heartbeat_ms = {};  // round trip between the gateway and the rank's worker
};

/// Who holds what, after loading.
struct RankInfo {
  int rank = 0;
  std::string host;  // "local" or host:port
  StageInfo stage;
  std::uint64_t memory_bytes = 0;  // the most that the rank's process was seen to hold in RAM
  std::string device = {};         // what computes, for people
  RankState state = {};
};

}  // namespace tandem
