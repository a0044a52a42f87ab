#include "server/serving/job_table.h"

#include <utility>

namespace tandem::server {

void JobTable::add(std::shared_ptr<JobListener> listener,
                   const std::vector<std::uint64_t>& sequences) {
  const std::uint64_t job = next_job_++;
  for (std::size_t i = 0; i < sequences.size(); ++i) places_[sequences[i]] = {job, i};
  jobs_[job] = {std::move(listener), sequences};
}

void JobTable::end(std::uint64_t sequence) {
  const auto place = places_.find(sequence);
  const auto job = jobs_.find(place->second.job);
  std::erase(job->second.sequences, sequence);
  if (job->second.sequences.empty()) jobs_.erase(job);
  places_.erase(place);
}

void JobTable::deliver(const scheduler::Event& event, const Cancel& cancel) {
  const auto place = places_.find(event.sequence);
  if (place == places_.end()) return;
  const auto listener = jobs_.at(place->second.job).listener;
  const bool more = listener->event(place->second.index, event);
  const bool ended = event.finish != scheduler::FinishReason::kNone;
  if (more && !ended) return;
  if (!ended) cancel(event.sequence);
  end(event.sequence);
}

void JobTable::drop_unwanted(Clock::time_point now, const Cancel& cancel) {
  for (auto job = jobs_.begin(); job != jobs_.end();) {
    if (job->second.listener->wanted(now)) {
      ++job;
      continue;
    }
    for (const std::uint64_t sequence : job->second.sequences) {
      cancel(sequence);
      places_.erase(sequence);
    }
    job = jobs_.erase(job);
  }
}

void JobTable::fail_all(const Error& error, const Cancel& cancel) {
  for (auto& [ignored, job] : std::exchange(jobs_, {})) {
    job.listener->failed(error);
    if (!cancel) continue;
    for (const std::uint64_t sequence : job.sequences) cancel(sequence);
  }
  places_.clear();
}

}  // namespace tandem::server
