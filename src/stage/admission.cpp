#include "stage/admission.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "config/message.h"

namespace tandem::stage {
namespace {

cache::Append append_of(const TickEntry& entry) {
  return {entry.sequence, entry.position, static_cast<std::uint32_t>(entry.tokens.size())};
}

StateOp free_of(std::uint64_t sequence) {
  return {.kind = StateOp::Kind::kFree, .sequence = sequence};
}

/// The rules were kept, so what the cache objects to is that it holds something else.
Error missing(Error error) {
  if (error.code == ErrorCode::kInvalidArgument) error.code = ErrorCode::kNotFound;
  return error;
}

}  // namespace

Admission Admitter::admit(const Tick& tick) {
  cache_.begin_tick();
  for (std::size_t i = 0; i < tick.entries.size(); ++i) {
    const TickEntry& entry = tick.entries[i];
    if (entry.refused) {
      unwanted_.push_back(entry.sequence);
      continue;
    }
    auto status = rules::check_entry(entry, limits_);
    auto first = status.ok() ? first_token(tick, entry) : Result<std::int32_t>(status.error());
    if (first.ok()) {
      admission_.entries.push_back({&entry, i, *first});
    } else {
      unwanted_.push_back(entry.sequence);
      admission_.refusals.push_back({i, first.error()});
    }
  }
  if (!all_at_once(tick)) one_by_one(tick);
  for (const std::uint64_t sequence : unwanted_) drop(sequence);
  return std::move(admission_);
}

/// What was drawn is known by now: ticks are computed in order.
Result<std::int32_t> Admitter::first_token(const Tick& tick, const TickEntry& entry) const {
  if (entry.drawn_in == 0) return entry.tokens.front();
  if (drawn_ == Drawn::kUnknown) {
    return invalid(
        fmt::format("sequence {}: the stage does not know what was drawn", entry.sequence));
  }
  const SequenceState* state = states_->find(entry.sequence);
  const bool changed =
      std::any_of(tick.state_ops.begin(), tick.state_ops.end(),
                  [&](const StateOp& op) { return op.sequence == entry.sequence; });
  if (state == nullptr || state->drawn_in != entry.drawn_in || changed) {
    return Error{ErrorCode::kNotFound, fmt::format("sequence {}: tick {} drew nothing for it",
                                                   entry.sequence, entry.drawn_in)};
  }
  return state->drawn;
}

/// The usual case.
bool Admitter::all_at_once(const Tick& tick) {
  std::vector<cache::Append> appends;
  for (const Admitted& each : admission_.entries) appends.push_back(append_of(*each.entry));
  if (!cache_.apply(tick.state_ops, appends).ok()) return false;
  if (states_ == nullptr) return true;
  for (const StateOp& op : tick.state_ops) states_->apply(op);
  for (const Admitted& each : admission_.entries) states_->append(*each.entry, each.first);
  return true;
}

/// Something does not fit: finds out what, and lets the rest take place.
void Admitter::one_by_one(const Tick& tick) {
  for (const StateOp& op : tick.state_ops) {
    if (cache_.apply({&op, 1}, {}).ok()) {
      note(op);
    } else {
      drop(op.sequence);
    }
  }
  std::erase_if(admission_.entries, [&](const Admitted& each) {
    const TickEntry& entry = *each.entry;
    const cache::Append append = append_of(entry);
    const auto status = cache_.apply({}, {&append, 1});
    if (status.ok()) {
      if (states_ != nullptr) states_->append(entry, each.first);
      return false;
    }
    unwanted_.push_back(entry.sequence);
    admission_.refusals.push_back({each.index, missing(status.error())});
    return true;
  });
}

void Admitter::note(const StateOp& op) {
  if (states_ != nullptr) states_->apply(op);
}

void Admitter::drop(std::uint64_t sequence) {
  const StateOp op = free_of(sequence);
  // Freeing what is there or not cannot fail.
  if (cache_.apply({&op, 1}, {}).ok()) note(op);
}

std::vector<std::int32_t> admitted_rows(const Tick& tick, const Admission& admission) {
  std::vector<std::int32_t> rows;
  std::int32_t row = 0;
  auto next = admission.entries.begin();
  for (std::size_t i = 0; i < tick.entries.size(); ++i) {
    if (tick.entries[i].refused) continue;
    const bool admitted = next != admission.entries.end() && next->index == i;
    if (admitted) ++next;
    for (std::size_t n = tick.entries[i].tokens.size(); n > 0; --n, ++row) {
      if (admitted) rows.push_back(row);
    }
  }
  return rows;
}

Error of_layers(LayerRange layers, const Error& error) {
  return {error.code, config::one_line(fmt::format("layers [{}, {}): {}", layers.first, layers.last,
                                                   error.message))};
}

void name_errors(LayerRange layers, const Admission& admission, TickResult& result) {
  for (const Admitted& each : admission.entries) {
    std::optional<Error>& error = result.entries[each.index].error;
    if (error) error = of_layers(layers, *error);
  }
}

Admission admit(const StageInfo& info, const Tick& tick, cache::KvCache& cache,
                SequenceStates& states) {
  const bool last = info.layers.last == info.layer_count;
  const Drawn drawn = info.feeds_itself() ? Drawn::kKnown : Drawn::kUnknown;
  Admitter admitter(cache, last ? &states : nullptr, {info.vocabulary, info.context_max}, drawn);
  Admission admission = admitter.admit(tick);
  for (Refusal& refusal : admission.refusals) refusal.error = of_layers(info.layers, refusal.error);
  return admission;
}

}  // namespace tandem::stage
