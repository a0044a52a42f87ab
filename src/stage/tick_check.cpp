#include "stage/tick_check.h"

#include <fmt/format.h>

#include <cstddef>
#include <set>
#include <string>
#include <utility>

namespace tandem::stage {
namespace {

Error broken(std::string message) { return {ErrorCode::kInternal, std::move(message)}; }

Status check_hidden(const Hidden& in, std::size_t rows, const HiddenRules& rules) {
  const std::size_t expected = rules.first ? 0 : rows;
  if (in.rows < 0 || static_cast<std::size_t>(in.rows) != expected) {
    return broken(fmt::format("hidden states: {} rows came, the tick has {}", in.rows, expected));
  }
  if (expected > 0 && (in.cols != rules.hidden_size || in.dtype != rules.hidden_dtype)) {
    return broken(fmt::format("hidden states: {} columns of {} came, the plan says {} of {}",
                              in.cols, dtype_name(in.dtype), rules.hidden_size,
                              dtype_name(rules.hidden_dtype)));
  }
  const std::size_t bytes =
      expected * static_cast<std::size_t>(rules.hidden_size) * size_of(rules.hidden_dtype);
  if (in.bytes.size() != bytes) {
    return broken(fmt::format("hidden states: {} bytes came, {} rows need {}", in.bytes.size(),
                              expected, bytes));
  }
  return {};
}

}  // namespace

std::size_t rows_of(const Tick& tick) {
  std::size_t rows = 0;
  for (const TickEntry& entry : tick.entries) {
    if (!entry.refused) rows += entry.tokens.size();
  }
  return rows;
}

Status check_tick(const Tick& tick, const Hidden& in, const HiddenRules& rules) {
  const std::size_t rows = rows_of(tick);
  if (rows > kMaxTickRows) {
    return broken(
        fmt::format("tick {}: {} tokens, the limit is {}", tick.number, rows, kMaxTickRows));
  }
  if (tick.state_ops.size() > kMaxStateOps) {
    return broken(fmt::format("tick {}: {} state operations, the limit is {}", tick.number,
                              tick.state_ops.size(), kMaxStateOps));
  }
  std::set<std::uint64_t> seen;
  for (const TickEntry& entry : tick.entries) {
    if (seen.insert(entry.sequence).second) continue;
    return broken(fmt::format("tick {}: sequence {} appears twice", tick.number, entry.sequence));
  }
  return check_hidden(in, rows, rules);
}

}  // namespace tandem::stage
