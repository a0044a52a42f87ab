#include "cluster/wire/frame_messages.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <utility>

#include "base/check.h"
#include "cluster/wire/wire_error.h"

namespace tandem::cluster {
namespace {

// Positions are int32 inside the stages.
constexpr std::uint64_t kMaxPosition = INT32_MAX;
// 1 is far above rounding and far below anything but a bug; NaN compares false.
bool is_logprob(float value) { return value <= 1.0F; }

void put(const SamplingParams& in, v1::SamplingParams& out) {
  out.set_temperature(in.temperature);
  out.set_top_p(in.top_p);
  out.set_top_k(in.top_k);
  out.set_min_p(in.min_p);
  out.set_min_tokens_to_keep(in.min_tokens_to_keep);
  out.set_xtc_probability(in.xtc_probability);
  out.set_xtc_threshold(in.xtc_threshold);
  out.mutable_xtc_special_tokens()->Add(in.xtc_special_tokens.begin(), in.xtc_special_tokens.end());
  out.set_repetition_penalty(in.repetition_penalty);
  out.set_repetition_context(in.repetition_context);
  out.set_presence_penalty(in.presence_penalty);
  out.set_presence_context(in.presence_context);
  out.set_frequency_penalty(in.frequency_penalty);
  out.set_frequency_context(in.frequency_context);
  for (const auto& [id, bias] : in.logit_bias) {
    auto* item = out.add_logit_bias();
    item->set_id(id);
    item->set_bias(bias);
  }
  out.set_seed(in.seed);
}

/// The form only: what the numbers may be is for rules/sampling.h to say.
Status check_form(const v1::SamplingParams& in) {
  const float numbers[] = {in.temperature(),
                           in.top_p(),
                           in.min_p(),
                           in.xtc_probability(),
                           in.xtc_threshold(),
                           in.repetition_penalty(),
                           in.presence_penalty(),
                           in.frequency_penalty()};
  const auto finite = [](float value) { return std::isfinite(value); };
  if (!std::all_of(std::begin(numbers), std::end(numbers), finite)) {
    return malformed("a number of the sampling parameters is not finite");
  }
  for (const auto& item : in.logit_bias()) {
    if (!finite(item.bias())) return malformed("a logit_bias is not finite");
  }
  return {};
}

Result<SamplingParams> take(const v1::SamplingParams& in) {
  if (auto ok = check_form(in); !ok) return ok.error();
  SamplingParams out;
  out.temperature = in.temperature();
  out.top_p = in.top_p();
  out.top_k = in.top_k();
  out.min_p = in.min_p();
  out.min_tokens_to_keep = in.min_tokens_to_keep();
  out.xtc_probability = in.xtc_probability();
  out.xtc_threshold = in.xtc_threshold();
  out.xtc_special_tokens.assign(in.xtc_special_tokens().begin(), in.xtc_special_tokens().end());
  out.repetition_penalty = in.repetition_penalty();
  out.repetition_context = in.repetition_context();
  out.presence_penalty = in.presence_penalty();
  out.presence_context = in.presence_context();
  out.frequency_penalty = in.frequency_penalty();
  out.frequency_context = in.frequency_context();
  for (const auto& item : in.logit_bias()) out.logit_bias.emplace_back(item.id(), item.bias());
  out.seed = in.seed();
  return out;
}

v1::Want::Kind to_message(Want::Kind kind) {
  switch (kind) {
    case Want::Kind::kScore:
      return v1::Want::KIND_SCORE;
    case Want::Kind::kDraw:
      return v1::Want::KIND_DRAW;
  }
  check(false, "a Want has a kind");
  return v1::Want::KIND_UNSPECIFIED;
}

void put(const Want& in, v1::Want& out) {
  out.set_kind(to_message(in.kind));
  out.set_row(in.row);
  out.set_token(in.token);
  out.set_top_logprobs(in.top_logprobs);
  out.mutable_allowed()->Add(in.allowed.begin(), in.allowed.end());
}

Result<Want> take(const v1::Want& in) {
  Want out;
  switch (in.kind()) {
    case v1::Want::KIND_SCORE:
      out.kind = Want::Kind::kScore;
      break;
    case v1::Want::KIND_DRAW:
      out.kind = Want::Kind::kDraw;
      break;
    default:
      return malformed("a want has an unknown kind");
  }
  out.row = in.row();
  out.token = in.token();
  out.top_logprobs = in.top_logprobs();
  out.allowed.assign(in.allowed().begin(), in.allowed().end());
  return out;
}

/// Of one sequence: there may be as many of them as entries, so they are shorter than a failure's.
void put_error(const Error& in, v1::Error& out) {
  to_wire({in.code, in.message.substr(0, kMaxEntryErrorBytes)}, out);
}

Status take_error(const v1::Error& in, std::optional<Error>& out) {
  out = from_wire(in);
  if (out) return {};
  return malformed("the error of an entry has an unknown code or is over 4096 bytes");
}

Result<TickEntry> take(const v1::TickEntry& in) {
  if (in.tokens().empty()) return malformed("an entry has no tokens");
  const auto count = static_cast<std::uint64_t>(in.tokens_size());
  if (in.position() + count > kMaxPosition) return malformed("a position is over 2^31 - 1");
  TickEntry out;
  out.sequence = in.sequence();
  out.position = in.position();
  out.tokens.assign(in.tokens().begin(), in.tokens().end());
  out.drawn_in = in.drawn_in();
  out.wants.reserve(static_cast<std::size_t>(in.wants_size()));
  for (const auto& item : in.wants()) {
    auto want = take(item);
    if (!want) return want.error();
    out.wants.push_back(std::move(*want));
  }
  if (in.has_sampling()) {
    auto sampling = take(in.sampling());
    if (!sampling) return sampling.error();
    out.sampling = std::move(*sampling);
  }
  out.prompt = in.prompt();
  if (in.has_refused()) {
    if (auto ok = take_error(in.refused(), out.refused); !ok) return ok.error();
  }
  return out;
}

v1::StateOp::Kind to_message(StateOp::Kind kind) {
  switch (kind) {
    case StateOp::Kind::kFree:
      return v1::StateOp::KIND_FREE;
    case StateOp::Kind::kRewind:
      return v1::StateOp::KIND_REWIND;
    case StateOp::Kind::kFork:
      return v1::StateOp::KIND_FORK;
  }
  check(false, "a StateOp has a kind");
  return v1::StateOp::KIND_UNSPECIFIED;
}

Result<StateOp> take(const v1::StateOp& in) {
  StateOp out;
  switch (in.kind()) {
    case v1::StateOp::KIND_FREE:
      out.kind = StateOp::Kind::kFree;
      break;
    case v1::StateOp::KIND_REWIND:
      out.kind = StateOp::Kind::kRewind;
      break;
    case v1::StateOp::KIND_FORK:
      out.kind = StateOp::Kind::kFork;
      break;
    default:
      return malformed("a state_op has an unknown kind");
  }
  if (in.length() > kMaxPosition) return malformed("the length of a state_op is over 2^31 - 1");
  out.sequence = in.sequence();
  out.source = in.source();
  out.length = in.length();
  return out;
}

template <class Repeated>
void put_top(const std::vector<TokenLogprob>& in, Repeated& out) {
  out.Reserve(static_cast<int>(in.size()));
  for (const TokenLogprob& item : in) {
    auto* top = out.Add();
    top->set_id(item.id);
    top->set_logprob(item.logprob);
  }
}

Result<TokenResult> take(const v1::TokenResult& in) {
  if (in.id() < 0) return malformed("the id of a result is negative");
  if (!is_logprob(in.logprob())) return malformed("the logprob of a result is not one");
  TokenResult out{in.id(), in.logprob(), {}};
  out.top.reserve(static_cast<std::size_t>(in.top_size()));
  for (const auto& item : in.top()) {
    if (item.id() < 0) return malformed("the id of a candidate is negative");
    if (!is_logprob(item.logprob())) return malformed("the logprob of a candidate is not one");
    out.top.push_back({item.id(), item.logprob()});
  }
  return out;
}

Result<EntryResult> take(const v1::EntryResult& in) {
  EntryResult out{.sequence = in.sequence()};
  if (in.has_error()) {
    if (in.tokens_size() > 0) return malformed("an entry's result has tokens and an error");
    if (auto ok = take_error(in.error(), out.error); !ok) return ok.error();
  }
  out.tokens.reserve(static_cast<std::size_t>(in.tokens_size()));
  for (const auto& item : in.tokens()) {
    auto token = take(item);
    if (!token) return token.error();
    out.tokens.push_back(std::move(*token));
  }
  return out;
}

}  // namespace

Error malformed(std::string what) {
  return {ErrorCode::kInternal, "frame: malformed: " + std::move(what)};
}

void put(const Tick& tick, v1::Tick& out) {
  out.set_epoch(tick.epoch);
  out.set_number(tick.number);
  for (const StateOp& op : tick.state_ops) {
    auto* item = out.add_state_ops();
    item->set_kind(to_message(op.kind));
    item->set_sequence(op.sequence);
    item->set_source(op.source);
    item->set_length(op.length);
  }
  for (const TickEntry& entry : tick.entries) {
    auto* item = out.add_entries();
    item->set_sequence(entry.sequence);
    item->set_position(entry.position);
    item->mutable_tokens()->Add(entry.tokens.begin(), entry.tokens.end());
    item->set_drawn_in(entry.drawn_in);
    for (const Want& want : entry.wants) put(want, *item->add_wants());
    if (entry.sampling) put(*entry.sampling, *item->mutable_sampling());
    item->set_prompt(entry.prompt);
    if (entry.refused) put_error(*entry.refused, *item->mutable_refused());
  }
}

void put(const TickResult& result, v1::TickResult& out) {
  out.set_epoch(result.epoch);
  out.set_number(result.number);
  for (const EntryResult& entry : result.entries) {
    auto* item = out.add_entries();
    item->set_sequence(entry.sequence);
    for (const TokenResult& token : entry.tokens) {
      auto* one = item->add_tokens();
      one->set_id(token.id);
      one->set_logprob(token.logprob);
      put_top(token.top, *one->mutable_top());
    }
    if (entry.error) put_error(*entry.error, *item->mutable_error());
  }
}

void put(const StageFailure& failure, v1::StageFailure& out) {
  out.set_rank(failure.rank);
  to_wire(failure.error, *out.mutable_error());
}

Result<Tick> take(const v1::Tick& in) {
  Tick out;
  out.epoch = in.epoch();
  out.number = in.number();
  out.state_ops.reserve(static_cast<std::size_t>(in.state_ops_size()));
  for (const auto& item : in.state_ops()) {
    auto op = take(item);
    if (!op) return op.error();
    out.state_ops.push_back(*op);
  }
  out.entries.reserve(static_cast<std::size_t>(in.entries_size()));
  for (const auto& item : in.entries()) {
    auto entry = take(item);
    if (!entry) return entry.error();
    out.entries.push_back(std::move(*entry));
  }
  return out;
}

Result<TickResult> take(const v1::TickResult& in) {
  TickResult out;
  out.epoch = in.epoch();
  out.number = in.number();
  out.entries.reserve(static_cast<std::size_t>(in.entries_size()));
  for (const auto& item : in.entries()) {
    auto entry = take(item);
    if (!entry) return entry.error();
    out.entries.push_back(std::move(*entry));
  }
  return out;
}

Result<StageFailure> take(const v1::StageFailure& in) {
  if (in.rank() < 0) return malformed("the rank of a failure is negative");
  auto error = from_wire(in.error());
  if (!error) return malformed("the error of a failure has an unknown code or is over 4096 bytes");
  return StageFailure{in.rank(), std::move(*error)};
}

}  // namespace tandem::cluster
