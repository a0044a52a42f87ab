#pragma once
// A pipeline without a model: checks every rule of ticks as stages do, with their own cache
// accounting, and answers with a deterministic function of a sequence's history.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "cache/kv_cache.h"
#include "cost/tick_cost.h"
#include "tandem/pipeline.h"

namespace tandem::scheduler {

/// The token that the fake model draws after `history`: of the allowed ones, if any are named, the
/// next in turn.
inline std::int32_t fake_next(const std::vector<std::int32_t>& history, std::int32_t vocabulary,
                              const std::vector<std::uint32_t>& allowed = {}) {
  std::uint64_t hash = 1469598103934665603ULL;
  for (const std::int32_t id : history) {
    hash = (hash ^ static_cast<std::uint64_t>(id)) * 1099511628211ULL;
  }
  auto id = static_cast<std::uint32_t>((hash >> 20) % static_cast<std::uint64_t>(vocabulary));
  const auto count = static_cast<std::uint32_t>(vocabulary);
  while (!allowed.empty() && (allowed[id / 32] >> (id % 32) & 1U) == 0) id = (id + 1) % count;
  return static_cast<std::int32_t>(id);
}

class FakePipeline final : public Pipeline {
 public:
  struct Refusal {
    int stage = 0;  // the stages before it take the tick
    Error error;
  };

  explicit FakePipeline(int stages) : stages_(stages) {
    info_.vocabulary = 1000;
    info_.context_max = 4096;
    info_.layer_count = stages;
    info_.kv_bytes_per_token = kernels::kv_page_bytes(kSpec) / kPageTokens;
    kv_pages(1 << 16);
  }

  /// Memory of every stage. Before the first tick.
  void kv_pages(std::uint64_t pages) {
    info_.kv_bytes_max = pages * kernels::kv_page_bytes(kSpec);
    caches_.clear();
    for (int stage = 0; stage < stages_; ++stage) {
      caches_.emplace_back(std::vector{kSpec}, info_.kv_bytes_max, cache::Storage::kArrays);
    }
  }

  std::vector<RankInfo> ranks() override {
    std::vector<RankInfo> out;
    for (int rank = 0; rank < stages_; ++rank) out.push_back({rank, "local", info_, 0});
    return out;
  }
  int stages() const override { return stages_; }

  Status submit(Tick tick) override {
    if (tick.entries.empty()) broken_.push_back("a tick without entries");
    check_entries(tick);
    Waiting waiting{tick, {tick.epoch, tick.number, {}, {}}, apply(tick), finish_time(tick)};
    if (!waiting.error) {
      for (const StateOp& op : tick.state_ops) apply(op);
      for (const TickEntry& entry : tick.entries) take(entry, waiting.result);
    }
    live_max_ = std::max(live_max_, caches_.back().sequences());
    in_flight_.push_back(std::move(waiting));
    if (in_flight_.size() > static_cast<std::size_t>(stages_)) {
      broken_.push_back("more ticks in flight than stages");
    }
    return {};
  }

  Result<TickResult> next(Deadline) override {
    if (in_flight_.empty()) return Error{ErrorCode::kInternal, "next() without a tick in flight"};
    Waiting waiting = std::move(in_flight_.front());
    in_flight_.pop_front();
    now_ = std::max(now_, waiting.ready);
    for (const TickEntry& entry : waiting.tick.entries) drawing_.erase(entry.sequence);
    if (death_ && waiting.tick.number >= death_->first) return death_->second;
    if (waiting.error) return *waiting.error;
    if (spoil_) spoil_(waiting.result);
    return std::move(waiting.result);
  }

  /// The pipeline dies in the tick with this number.
  void die_at(std::uint64_t number, Error error) { death_ = {number, std::move(error)}; }
  /// Asked of every tick. Once a stage refused one, the next may be refused for what it lacks.
  void refuse(std::function<std::optional<Refusal>(const Tick&)> refusal) {
    refusal_ = std::move(refusal);
  }
  /// Every answer goes through `spoil`.
  void spoil_answers(std::function<void(TickResult&)> spoil) { spoil_ = std::move(spoil); }
  /// What a stage takes for a tick, seconds, from now on.
  void costs(std::function<double(const cost::TickLoad&)> seconds) {
    seconds_ = std::move(seconds);
  }

  StageInfo& info() { return info_; }
  /// KV of a token in all stages.
  std::uint64_t token_bytes() const {
    return info_.kv_bytes_per_token * static_cast<std::uint64_t>(stages_);
  }
  Clock::time_point now() const { return now_; }
  const std::vector<std::string>& broken() const { return broken_; }
  std::size_t in_flight() const { return in_flight_.size(); }
  std::size_t live() const { return caches_.back().sequences(); }
  std::size_t live_max() const { return live_max_; }
  std::size_t ticks() const { return shapes_.size(); }
  /// Pages that every stage holds; nothing when they differ.
  std::optional<std::uint64_t> pages_held() const {
    const std::uint64_t bytes = caches_.front().bytes_in_use();
    for (const cache::KvCache& cache : caches_) {
      if (cache.bytes_in_use() != bytes) return std::nullopt;
    }
    return bytes / caches_.front().block_bytes();
  }
  /// Token counts of each tick's entries, in order of submission.
  const std::vector<std::vector<std::size_t>>& shapes() const { return shapes_; }
  /// Operations of all ticks so far.
  const std::vector<StateOp>& ops() const { return ops_; }

 private:
  static constexpr kernels::KvSpec kSpec{1, 4, 4, false, kernels::KvType::kBF16};

  struct Waiting {
    Tick tick;
    TickResult result;
    std::optional<Error> error;
    Clock::time_point ready;
  };

  /// The stages' caches, as far as the tick gets.
  std::optional<Error> apply(const Tick& tick) {
    std::vector<cache::Append> appends;
    for (const TickEntry& entry : tick.entries) {
      appends.push_back(
          {entry.sequence, entry.position, static_cast<std::uint32_t>(entry.tokens.size())});
    }
    ops_.insert(ops_.end(), tick.state_ops.begin(), tick.state_ops.end());
    const auto refusal = refusal_ ? refusal_(tick) : std::nullopt;
    for (int stage = 0; stage < stages_; ++stage) {
      if (refusal && refusal->stage == stage) {
        refused_ = true;
        return refusal->error;
      }
      auto status = caches_[static_cast<std::size_t>(stage)].apply(tick.state_ops, appends);
      if (status.ok()) continue;
      if (!refused_) broken_.push_back(status.error().message);
      return status.error();
    }
    return std::nullopt;
  }

  /// Each stage works on one tick at a time.
  Clock::time_point finish_time(const Tick& tick) {
    if (!seconds_) return now_;
    const auto takes = std::chrono::duration_cast<Clock::duration>(
        std::chrono::duration<double>(seconds_(cost::load_of(tick))));
    busy_until_.resize(static_cast<std::size_t>(stages_));
    Clock::time_point ready = now_;
    for (Clock::time_point& stage : busy_until_) ready = stage = std::max(stage, ready) + takes;
    return ready;
  }

  void check_entries(const Tick& tick) {
    std::set<std::uint64_t> seen;
    shapes_.emplace_back();
    for (const TickEntry& entry : tick.entries) {
      shapes_.back().push_back(entry.tokens.size());
      if (entry.tokens.empty()) broken_.push_back("an entry without tokens");
      if (!seen.insert(entry.sequence).second) broken_.push_back("a sequence twice in one tick");
      if (begun_.insert(entry.sequence).second != entry.sampling.has_value()) {
        broken_.push_back("sampling not in the first tick only");
      }
      if (drawing_.contains(entry.sequence)) broken_.push_back("tokens behind a draw in flight");
      if (entry.sample) drawing_.insert(entry.sequence);
      const std::size_t words = (static_cast<std::size_t>(info_.vocabulary) + 31) / 32;
      if (!entry.allowed.empty() && (!entry.sample || entry.allowed.size() != words)) {
        broken_.push_back("a mask that is not of the draw");
      }
    }
  }

  void apply(const StateOp& op) {
    std::vector<std::int32_t>& history = history_[op.sequence];
    if (op.kind == StateOp::Kind::kFree) {
      history_.erase(op.sequence);
    } else if (op.kind == StateOp::Kind::kRewind) {
      history.resize(op.length);
    } else {
      const auto begin = history_.at(op.source).begin();
      history.assign(begin, begin + static_cast<std::ptrdiff_t>(op.length));
    }
  }

  void take(const TickEntry& entry, TickResult& result) {
    std::vector<std::int32_t>& history = history_[entry.sequence];
    for (const std::int32_t id : entry.tokens) {
      if (entry.score && !history.empty()) {
        result.scores.push_back({.sequence = entry.sequence,
                                 .position = static_cast<std::uint32_t>(history.size()),
                                 .id = id,
                                 .logprob = -1,
                                 .top = {}});
      }
      history.push_back(id);
    }
    if (!entry.sample) return;
    result.sampled.push_back({.sequence = entry.sequence,
                              .id = fake_next(history, info_.vocabulary, entry.allowed),
                              .logprob = -1,
                              .top = {}});
  }

  int stages_;
  StageInfo info_;
  std::vector<cache::KvCache> caches_;
  std::map<std::uint64_t, std::vector<std::int32_t>> history_;  // of the last stage
  std::deque<Waiting> in_flight_;
  std::set<std::uint64_t> begun_;
  std::set<std::uint64_t> drawing_;
  std::vector<std::vector<std::size_t>> shapes_;
  std::vector<StateOp> ops_;
  std::vector<std::string> broken_;
  std::size_t live_max_ = 0;
  bool refused_ = false;
  Clock::time_point now_;
  std::vector<Clock::time_point> busy_until_;
  std::optional<std::pair<std::uint64_t, Error>> death_;
  std::function<std::optional<Refusal>(const Tick&)> refusal_;
  std::function<void(TickResult&)> spoil_;
  std::function<double(const cost::TickLoad&)> seconds_;
};

}  // namespace tandem::scheduler
