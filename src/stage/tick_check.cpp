#include "stage/tick_check.h"

#include <fmt/format.h>

#include <cstddef>

#include "rules/tick_entry.h"

namespace tandem::stage {
namespace {

Status check_hidden(const Hidden& in, std::size_t rows, const TickRules& rules) {
  const std::size_t expected = rules.first ? 0 : rows;
  if (in.rows < 0 || static_cast<std::size_t>(in.rows) != expected) {
    return invalid(fmt::format("hidden states: {} rows came, the tick has {}", in.rows, expected));
  }
  if (expected > 0 && (in.cols != rules.hidden_size || in.dtype != rules.hidden_dtype)) {
    return invalid(fmt::format("hidden states: {} columns of {} came, the plan says {} of {}",
                               in.cols, dtype_name(in.dtype), rules.hidden_size,
                               dtype_name(rules.hidden_dtype)));
  }
  const std::size_t bytes =
      expected * static_cast<std::size_t>(rules.hidden_size) * size_of(rules.hidden_dtype);
  if (in.bytes.size() != bytes) {
    return invalid(fmt::format("hidden states: {} bytes came, {} rows need {}", in.bytes.size(),
                               expected, bytes));
  }
  return {};
}

}  // namespace

std::size_t rows_of(const Tick& tick) {
  std::size_t rows = 0;
  for (const TickEntry& entry : tick.entries) rows += entry.tokens.size();
  return rows;
}

Status check_tick(const Tick& tick, const Hidden& in, const TickRules& rules) {
  const std::size_t rows = rows_of(tick);
  if (rows > kMaxTickRows) {
    return invalid(
        fmt::format("tick {}: {} tokens, the limit is {}", tick.number, rows, kMaxTickRows));
  }
  if (tick.state_ops.size() > kMaxStateOps) {
    return invalid(fmt::format("tick {}: {} state operations, the limit is {}", tick.number,
                               tick.state_ops.size(), kMaxStateOps));
  }
  for (const TickEntry& entry : tick.entries) {
    Status status = rules::check_entry(entry, {rules.vocabulary, rules.context_max});
    if (!status.ok()) return status;
  }
  return check_hidden(in, rows, rules);
}

}  // namespace tandem::stage
