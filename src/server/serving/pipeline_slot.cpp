#include "server/serving/pipeline_slot.h"

#include <utility>

namespace tandem::server {
namespace {

Error empty() { return {ErrorCode::kUnavailable, "no pipeline is open"}; }

}  // namespace

void PipelineSlot::put(std::unique_ptr<Pipeline> pipeline) {
  const std::lock_guard lock(mutex_);
  pipeline_ = std::move(pipeline);
}

void PipelineSlot::clear() {
  std::unique_ptr<Pipeline> old;  // destroyed, which takes its time, without the lock
  const std::lock_guard lock(mutex_);
  if (pipeline_) last_ = pipeline_->ranks();
  for (RankInfo& rank : last_) rank.state.rates = {};
  std::swap(old, pipeline_);
}

std::vector<RankInfo> PipelineSlot::ranks() {
  const std::lock_guard lock(mutex_);
  return pipeline_ ? pipeline_->ranks() : last_;
}

int PipelineSlot::stages() const { return pipeline_ ? pipeline_->stages() : 1; }

Status PipelineSlot::submit(Tick tick) {
  if (!pipeline_) return empty();
  return pipeline_->submit(std::move(tick));
}

Result<TickResult> PipelineSlot::next(Deadline deadline) {
  if (!pipeline_) return empty();
  return pipeline_->next(deadline);
}

std::optional<Error> PipelineSlot::failure() {
  if (!pipeline_) return empty();
  return pipeline_->failure();
}

}  // namespace tandem::server
