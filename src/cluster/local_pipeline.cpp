// The pipeline of one stage: no process, no socket, no thread.

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/platform.h"
#include "cluster/pipeline.h"
#include "cluster/transport.h"

namespace tandem::cluster {
namespace {

class LocalPipeline final : public Pipeline {
 public:
  explicit LocalPipeline(std::unique_ptr<stage::Stage> stage) : stage_(std::move(stage)) {}

  std::vector<RankInfo> ranks() override {
    return {{0, "local", stage_->info(), platform::resident_bytes()}};
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
    auto output = stage_->run(tick, {});
    if (!output) return fail({output.error().code, "rank 0 (local): " + output.error().message});
    if (!output->result) {
      return fail({ErrorCode::kInternal, "rank 0 (local): the stage does not hold all layers"});
    }
    return std::move(*output->result);
  }

 private:
  Error fail(Error error) {
    if (error.code != ErrorCode::kInvalidArgument && error.code != ErrorCode::kResourceLimit) {
      dead_ = error;
    }
    return error;
  }

  std::unique_ptr<stage::Stage> stage_;
  std::deque<Tick> ticks_;
  std::optional<Error> dead_;
};

}  // namespace

Result<std::unique_ptr<Pipeline>> local_pipeline(const stage::StageOptions& options,
                                                 const RankProgress& progress) {
  auto loaded = stage::Stage::load(options, [&](std::uint64_t done, std::uint64_t total) {
    if (progress) progress(0, done, total);
  });
  if (!loaded) return loaded.error();
  return std::unique_ptr<Pipeline>(std::make_unique<LocalPipeline>(std::move(*loaded)));
}

}  // namespace tandem::cluster
