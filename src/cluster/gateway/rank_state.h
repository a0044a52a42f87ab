#pragma once
// What heartbeats and links tell of a rank.

#include <optional>

#include "cluster/gateway/worker_client.h"
#include "tandem/deadline.h"
#include "tandem/pipeline.h"

namespace tandem::cluster {

/// Half of a round trip, milliseconds.
std::optional<double> one_way_ms(std::optional<Clock::duration> round_trip);

/// What a rank measured of its link to the next one; nullopt: not yet, or nonsense.
std::optional<Clock::duration> link_round_trip(const WorkerHealth& health);

/// All but the links.
RankState state_of(const WorkerHealth& health);

}  // namespace tandem::cluster
