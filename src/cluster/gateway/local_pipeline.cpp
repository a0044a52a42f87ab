// The pipeline of one stage: no process, no socket, no thread.

#include "cluster/gateway/local_pipeline.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/platform.h"
#include "cluster/link/transport.h"
#include "cluster/rank/device_name.h"
#include "cluster/rank/rank_work.h"

namespace tandem::cluster {
namespace {

/// The one rank's figures. Thread-safe.
class LocalState {
 public:
  void begin(Clock::time_point now) {
    const std::lock_guard lock(mutex_);
    meter_.turn_to(WorkMeter::Doing::kComputing, now);
    began_ = now;
  }

  void end(Clock::time_point now, const cost::TickLoad& load, std::uint64_t kv_bytes) {
    const std::lock_guard lock(mutex_);
    meter_.turn_to(WorkMeter::Doing::kWaiting, now);
    meter_.ticked(load, now - began_);
    kv_bytes_ = kv_bytes;
    window_.note(meter_.work(now));
  }

  RankState read(Clock::time_point now) {
    RankState state;
    {
      const std::lock_guard lock(mutex_);
      window_.note(meter_.work(now));
      state.work = window_.last();
      state.rates = window_.rates();
      state.kv_bytes = kv_bytes_;
    }
    state.resident_bytes = platform::resident_bytes();
    state.memory_free_bytes = platform::free_memory_bytes();
    return state;
  }

 private:
  std::mutex mutex_;
  WorkMeter meter_;
  Clock::time_point began_{};
  RankWindow window_;
  std::uint64_t kv_bytes_ = 0;
};

class LocalPipeline final : public Pipeline {
 public:
  LocalPipeline(std::unique_ptr<stage::Stage> stage, std::string device)
      : stage_(std::move(stage)), info_(stage_->info()), device_(std::move(device)) {}

  std::vector<RankInfo> ranks() override {
    RankState state = state_.read(Clock::now());
    const std::uint64_t resident = state.resident_bytes;
    return {{0, "local", info_, resident, device_, std::move(state)}};
  }

  int stages() const override { return 1; }

  Status submit(Tick tick) override {
    if (dead_) return *dead_;
    if (ticks_.size() >= kMaxQueuedFrames) {
      return Error{
          ErrorCode::kResourceLimit,
          "rank 0 (local): " + std::to_string(kMaxQueuedFrames) + " ticks are in flight already"};
    }
    ticks_.push_back(std::move(tick));
    return {};
  }

  // The evaluation cannot be cut short, so the deadline only refuses to begin late.
  Result<TickResult> next(Deadline deadline) override {
    if (dead_) return *dead_;
    if (ticks_.empty()) return invalid("rank 0 (local): no tick is in flight");
    if (Clock::now() >= deadline) {
      return fail({ErrorCode::kDeadlineExceeded, "rank 0 (local): no time was left for the tick"});
    }
    Tick tick = std::move(ticks_.front());
    ticks_.pop_front();
    auto output = run(tick);
    if (!output) return fail({output.error().code, "rank 0 (local): " + output.error().message});
    if (!output->result) {
      return fail({ErrorCode::kInternal, "rank 0 (local): the stage does not hold all layers"});
    }
    return std::move(*output->result);
  }

  std::optional<Error> failure() override { return dead_; }

 private:
  Result<stage::StageOutput> run(const Tick& tick) {
    state_.begin(Clock::now());
    auto output = stage_->run(tick, {});
    const std::uint64_t held = stage_->memory_bytes();
    state_.end(Clock::now(), cost::load_of(tick), held - std::min(held, info_.weight_bytes));
    return output;
  }

  Error fail(Error error) {
    dead_ = error;
    return error;
  }

  std::unique_ptr<stage::Stage> stage_;
  const StageInfo info_;
  const std::string device_;
  std::deque<Tick> ticks_;
  std::optional<Error> dead_;
  LocalState state_;
};

}  // namespace

Result<std::unique_ptr<Pipeline>> local_pipeline(const stage::StageOptions& options,
                                                 const RankProgress& progress) {
  auto loaded = stage::Stage::load(options, [&](std::uint64_t done, std::uint64_t total) {
    if (progress) progress(0, done, total);
  });
  if (!loaded) return loaded.error();
  if (const StageInfo& info = (*loaded)->info(); info.layers.last != info.layer_count) {
    return invalid(fmt::format("--layers: the model has {} layers, not {}", info.layer_count,
                               info.layers.last));
  }
  return std::unique_ptr<Pipeline>(
      std::make_unique<LocalPipeline>(std::move(*loaded), device_name(options)));
}

}  // namespace tandem::cluster
