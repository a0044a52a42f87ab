#include "cluster/gateway/rank_state.h"

#include <chrono>
#include <cstdint>

#include "cluster/wire/load_messages.h"

namespace tandem::cluster {

std::optional<double> one_way_ms(std::optional<Clock::duration> round_trip) {
  if (!round_trip) return std::nullopt;
  return std::chrono::duration<double, std::milli>(*round_trip).count() / 2;
}

std::optional<Clock::duration> link_round_trip(const WorkerHealth& health) {
  constexpr std::uint64_t kLongest = 3'600'000'000;  // an hour
  const std::uint64_t micros = health.last.link_us();
  if (micros == 0 || micros > kLongest) return std::nullopt;
  return std::chrono::microseconds(static_cast<std::int64_t>(micros));
}

RankState state_of(const WorkerHealth& health) {
  RankState state;
  state.work = take_work(health.last.work());
  state.rates = health.rates;
  state.resident_bytes = health.last.memory_bytes();
  state.memory_free_bytes = health.last.memory_free_bytes();
  state.kv_bytes = health.last.kv_bytes();
  if (const auto one_way = one_way_ms(health.round_trip)) state.heartbeat_ms = 2 * *one_way;
  return state;
}

}  // namespace tandem::cluster
