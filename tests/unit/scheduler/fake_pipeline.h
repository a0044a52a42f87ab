#pragma once
// A pipeline without a model: checks every rule of ticks and answers with a deterministic function
// of a sequence's history.

#include <algorithm>
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

#include "cluster/pipeline.h"

namespace tandem::scheduler {

/// The token that the fake model draws after `history`.
inline std::int32_t fake_next(const std::vector<std::int32_t>& history, std::int32_t vocabulary) {
  std::uint64_t hash = 1469598103934665603ULL;
  for (const std::int32_t id : history) {
    hash = (hash ^ static_cast<std::uint64_t>(id)) * 1099511628211ULL;
  }
  return static_cast<std::int32_t>((hash >> 20) % static_cast<std::uint64_t>(vocabulary));
}

class FakePipeline final : public cluster::Pipeline {
 public:
  explicit FakePipeline(int stages) : stages_(stages) {
    info_.vocabulary = 1000;
    info_.context_max = 4096;
    info_.layer_count = stages;
  }

  std::vector<cluster::RankInfo> ranks() override {
    std::vector<cluster::RankInfo> out;
    for (int rank = 0; rank < stages_; ++rank) out.push_back({rank, "local", info_, 0});
    return out;
  }
  int stages() const override { return stages_; }

  Status submit(Tick tick) override {
    if (tick.entries.empty()) broken_.push_back("a tick without entries");
    for (const KvOp& op : tick.kv_ops) apply(op);
    TickResult result{tick.epoch, tick.number, {}, {}};
    std::set<std::uint64_t> seen;
    for (const TickEntry& entry : tick.entries) {
      if (!seen.insert(entry.sequence).second) broken_.push_back("a sequence twice in one tick");
      take(entry, result);
    }
    check_memory();
    in_flight_.push_back({std::move(tick), std::move(result)});
    if (in_flight_.size() > static_cast<std::size_t>(stages_)) {
      broken_.push_back("more ticks in flight than stages");
    }
    ++ticks_;
    return {};
  }

  Result<TickResult> next(Deadline) override {
    if (in_flight_.empty()) return Error{ErrorCode::kInternal, "next() without a tick in flight"};
    auto [tick, result] = std::move(in_flight_.front());
    in_flight_.pop_front();
    for (const TickEntry& entry : tick.entries) decoding_.erase(entry.sequence);
    if (failure_ && tick.number >= failure_->first) {
      Error error = failure_->second;
      if (error.code == ErrorCode::kInvalidArgument) failure_.reset();
      return error;
    }
    if (spoil_) spoil_(result);
    return std::move(result);
  }

  /// The tick with this number fails when its result is due.
  void fail_at(std::uint64_t number, Error error) { failure_ = {number, std::move(error)}; }

  /// Every answer goes through `spoil`.
  void spoil_answers(std::function<void(TickResult&)> spoil) { spoil_ = std::move(spoil); }

  stage::StageInfo& info() { return info_; }
  const std::vector<std::string>& broken() const { return broken_; }
  const std::map<std::uint64_t, int>& frees() const { return frees_; }
  const std::set<std::uint64_t>& sequences() const { return ever_; }
  std::size_t in_flight() const { return in_flight_.size(); }
  std::size_t live() const { return history_.size(); }
  std::size_t live_max() const { return live_max_; }
  std::size_t ticks() const { return ticks_; }
  /// Token counts of each tick's entries, in order of submission.
  const std::vector<std::vector<std::size_t>>& shapes() const { return shapes_; }

 private:
  struct Waiting {
    Tick tick;
    TickResult result;
  };

  void apply(const KvOp& op) {
    if (op.kind == KvOp::Kind::kCopyPrefix) {
      const auto source = history_.find(op.source);
      if (source == history_.end() || op.length < 1 || op.length > source->second.size()) {
        broken_.push_back("a copy of what is not there");
        return;
      }
      if (history_.contains(op.sequence)) broken_.push_back("a copy over a sequence");
      const auto begin = source->second.begin();
      history_[op.sequence] = {begin, begin + static_cast<std::ptrdiff_t>(op.length)};
      return;
    }
    if (op.kind != KvOp::Kind::kFree) broken_.push_back("an unexpected KV operation");
    if (history_.erase(op.sequence) == 0) broken_.push_back("a free of nothing");
    ++frees_[op.sequence];
  }

  /// Pages of all sequences against the stage's memory; a sequence alone may use all of it.
  void check_memory() {
    if (info_.kv_bytes_per_token == 0 || history_.size() <= 1) return;
    std::uint64_t tokens = 0;
    for (const auto& [id, history] : history_) tokens += (history.size() + 63) / 64 * 64;
    if (tokens * info_.kv_bytes_per_token > info_.kv_bytes_max) broken_.push_back("too much KV");
  }

  void take(const TickEntry& entry, TickResult& result) {
    if (entry.tokens.empty()) broken_.push_back("an entry without tokens");
    const bool fresh = ever_.insert(entry.sequence).second;
    if (fresh != entry.sampling.has_value())
      broken_.push_back("sampling not in the first tick only");
    std::vector<std::int32_t>& history = history_[entry.sequence];
    live_max_ = std::max(live_max_, history_.size());
    if (entry.position != history.size()) broken_.push_back("a position out of order");
    if (decoding_.contains(entry.sequence)) broken_.push_back("tokens behind a draw in flight");
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
    if (shapes_.size() <= ticks_) shapes_.resize(ticks_ + 1);
    shapes_[ticks_].push_back(entry.tokens.size());
    if (!entry.sample) return;
    decoding_.insert(entry.sequence);
    result.sampled.push_back({.sequence = entry.sequence,
                              .id = fake_next(history, info_.vocabulary),
                              .logprob = -1,
                              .top = {}});
  }

  int stages_;
  stage::StageInfo info_;
  std::size_t ticks_ = 0;
  std::size_t live_max_ = 0;
  std::deque<Waiting> in_flight_;
  std::map<std::uint64_t, std::vector<std::int32_t>> history_;
  std::set<std::uint64_t> ever_;
  std::set<std::uint64_t> decoding_;
  std::map<std::uint64_t, int> frees_;
  std::vector<std::vector<std::size_t>> shapes_;
  std::vector<std::string> broken_;
  std::optional<std::pair<std::uint64_t, Error>> failure_;
  std::function<void(TickResult&)> spoil_;
};

}  // namespace tandem::scheduler
