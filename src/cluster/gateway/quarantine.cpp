#include "cluster/gateway/quarantine.h"

#include <algorithm>

#include "cluster/timing.h"

namespace tandem::cluster {

void Quarantine::died(const std::string& place, bool outside, Clock::time_point now) {
  auto& [deaths, until] = records_[place];
  deaths.push_back({now, outside});
  while (now - deaths.front().when > timing::kDeathsWithin) deaths.pop_front();
  const auto kills = std::ranges::count_if(deaths, &Death::outside);
  if (static_cast<std::size_t>(kills) < kDeaths && deaths.size() <= kDeaths) return;
  deaths.clear();
  until = now + timing::kQuarantine;
}

bool Quarantine::holds(const std::string& place, Clock::time_point now) const {
  const auto found = records_.find(place);
  return found != records_.end() && now < found->second.until;
}

}  // namespace tandem::cluster
