#pragma once
// A pipeline without a model: takes ticks as stages do, with their own admission and caches, and
// answers with a deterministic function of a sequence's history.

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
#include "rules/tick_entry.h"
#include "stage/admission.h"
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
    int stage = 0;  // the stages before it take the entry
    Error error;
  };

  explicit FakePipeline(int stages) : stages_(stages) {
    info_.vocabulary = 1000;
    info_.context_max = 4096;
    info_.layer_count = stages;
    kv_pages(kManyPages);
  }

  /// Memory of every stage, in pages of all its layers that have pages. Before the first tick.
  void kv_pages(std::uint64_t pages) {
    std::vector<cache::LayerKv> layers;
    std::uint64_t block = 0;
    for (const int window : windows_) {
      const bool recurrent = window == kRecurrent;
      layers.push_back({recurrent ? kernels::LayerKept(kState) : kSpec, recurrent ? 0 : window});
      block += recurrent ? 0 : kernels::kv_page_bytes(kSpec);
    }
    info_.kv_bytes_max = pages * block;
    // Arrays know no windows.
    const bool windowed =
        std::ranges::any_of(windows_, [](const int window) { return window > 0; });
    const auto storage = windowed ? cache::Storage::kPages : cache::Storage::kArrays;
    caches_.clear();
    for (int stage = 0; stage < stages_; ++stage) {
      caches_.emplace_back(layers, info_.kv_bytes_max, storage);
    }
    info_.states = caches_.front().states();
  }
  /// Stands among windows for a recurrent layer.
  static constexpr int kRecurrent = -1;
  /// Layers of every stage with these windows (0: none), and memory for all. Before kv_pages().
  void windows(std::vector<int> windows) {
    windows_ = std::move(windows);
    kv_pages(kManyPages);
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
    ops_.insert(ops_.end(), tick.state_ops.begin(), tick.state_ops.end());
    Waiting waiting{tick, {}, watch_ ? watch_(tick) : std::nullopt, finish_time(tick)};
    waiting.result = compute(std::move(tick));
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
  /// Sees every tick; an error is what the pipeline dies of in it.
  void watch(std::function<std::optional<Error>(const Tick&)> watch) { watch_ = std::move(watch); }
  /// Asked of every entry. Once a stage refused one, others may be refused for what it lacks.
  void refuse(std::function<std::optional<Refusal>(const TickEntry&)> refusal) {
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
    return info_.kv_bytes_per_token() * static_cast<std::uint64_t>(stages_);
  }
  Clock::time_point now() const { return now_; }
  const std::vector<std::string>& broken() const { return broken_; }
  std::size_t in_flight() const { return in_flight_.size(); }
  std::size_t live() const { return caches_.back().sequences(); }
  std::size_t live_max() const { return live_max_; }
  std::size_t ticks() const { return shapes_.size(); }
  /// Pages that every stage holds, counted in those of all its layers; nothing when they differ.
  std::optional<std::uint64_t> pages_held() const {
    const std::uint64_t bytes = caches_.front().bytes_in_use();
    for (const cache::KvCache& cache : caches_) {
      if (cache.bytes_in_use() != bytes) return std::nullopt;
    }
    const std::uint64_t block = caches_.front().block_bytes();
    return (bytes + block - 1) / block;
  }
  /// Token counts of each tick's entries, in order of submission.
  const std::vector<std::vector<std::size_t>>& shapes() const { return shapes_; }
  /// Operations of all ticks so far.
  const std::vector<StateOp>& ops() const { return ops_; }

 private:
  static constexpr kernels::KvSpec kSpec{1, 4, 4, false, DType::kBF16};
  static constexpr kernels::StateSpec kState{3, 16, DType::kBF16, 8, 8, 16};
  static constexpr std::uint64_t kManyPages = 1 << 16;

  struct Waiting {
    Tick tick;
    TickResult result;
    std::optional<Error> error;
    Clock::time_point ready;
  };

  TickResult compute(Tick tick) {
    std::vector<std::optional<Refusal>> wanted(tick.entries.size());
    for (std::size_t i = 0; refusal_ && i < wanted.size(); ++i)
      wanted[i] = refusal_(tick.entries[i]);
    for (int stage = 0; stage < stages_; ++stage) {
      for (std::size_t i = 0; i < wanted.size(); ++i) {
        if (!wanted[i] || wanted[i]->stage != stage) continue;
        refused_ = true;
        if (!tick.entries[i].refused) tick.entries[i].refused = wanted[i]->error;
      }
      stage::Admitter admitter(caches_[static_cast<std::size_t>(stage)], nullptr,
                               {info_.vocabulary, info_.context_max}, stage::Drawn::kUnknown);
      for (const stage::Refusal& refusal : admitter.admit(tick).refusals) {
        if (!refused_) broken_.push_back(refusal.error.message);
        tick.entries[refusal.entry].refused = refusal.error;
      }
    }
    return answer(tick);
  }

  TickResult answer(const Tick& tick) {
    TickResult result{tick.epoch, tick.number, {}};
    for (const StateOp& op : tick.state_ops) apply(op);
    for (const TickEntry& entry : tick.entries) {
      result.entries.push_back({.sequence = entry.sequence, .error = entry.refused});
      if (entry.refused) {
        history_.erase(entry.sequence);
      } else {
        take(entry, result.entries.back());
      }
    }
    return result;
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
      for (const Want& want : entry.wants) {
        if (want.kind == Want::Kind::kDraw) drawing_.insert(entry.sequence);
      }
      const auto status = rules::check_entry(entry, {info_.vocabulary, info_.context_max});
      if (!status.ok()) broken_.push_back(status.error().message);
    }
  }

  /// What a stage lacks that refused something stays out of the history too.
  void apply(const StateOp& op) {
    const std::uint64_t from = op.kind == StateOp::Kind::kFork ? op.source : op.sequence;
    const auto found = history_.find(from);
    if (op.kind == StateOp::Kind::kFree || found == history_.end() ||
        found->second.size() < op.length) {
      history_.erase(op.sequence);
      return;
    }
    std::vector<std::int32_t> text = found->second;
    text.resize(op.length);
    history_[op.sequence] = std::move(text);
  }

  void take(const TickEntry& entry, EntryResult& result) {
    std::vector<std::int32_t>& history = history_[entry.sequence];
    auto want = entry.wants.begin();
    for (std::uint32_t row = 0; row < entry.tokens.size(); ++row) {
      history.push_back(entry.tokens[row]);
      for (; want != entry.wants.end() && want->row == row; ++want) {
        const bool draw = want->kind == Want::Kind::kDraw;
        result.tokens.push_back(
            {draw ? fake_next(history, info_.vocabulary, want->allowed) : want->token, -1, {}});
      }
    }
  }

  int stages_;
  std::vector<int> windows_ = {0};
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
  std::function<std::optional<Error>(const Tick&)> watch_;
  std::function<std::optional<Refusal>(const TickEntry&)> refusal_;
  std::function<void(TickResult&)> spoil_;
  std::function<double(const cost::TickLoad&)> seconds_;
};

}  // namespace tandem::scheduler
