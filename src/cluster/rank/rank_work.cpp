#include "cluster/rank/rank_work.h"

#include <algorithm>
#include <chrono>

namespace tandem::cluster {
namespace {

constexpr std::uint64_t kSpacing = 500'000;   // microseconds
constexpr std::uint64_t kWindow = 5'000'000;  // microseconds

std::uint64_t microseconds(Clock::duration time) {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(time).count());
}

bool follows(const RankWork& next, const RankWork& last) {
  return next.clock_us >= last.clock_us && next.ticks >= last.ticks && next.tokens >= last.tokens &&
         next.busy_us >= last.busy_us && next.waiting_us >= last.waiting_us &&
         next.sent_bytes >= last.sent_bytes && next.predicted_us >= last.predicted_us;
}

}  // namespace

Clock::duration WorkMeter::of(Doing doing, Clock::duration before, Clock::time_point now) const {
  return doing_ == doing && now > since_ ? before + (now - since_) : before;
}

void WorkMeter::turn_to(Doing doing, Clock::time_point now) {
  busy_ = of(Doing::kComputing, busy_, now);
  waiting_ = of(Doing::kWaiting, waiting_, now);
  doing_ = doing;
  since_ = now;
}

// A tick that nothing is known of is expected to take what it took.
void WorkMeter::ticked(const cost::TickLoad& load, Clock::duration took) {
  ++ticks_;
  tokens_ += load.rows;
  const double seconds = std::chrono::duration<double>(took).count();
  predicted_ += cost_.predict(load).value_or(seconds);
  cost_.observe(load, seconds);
}

RankWork WorkMeter::work(Clock::time_point now) const {
  return {microseconds(now.time_since_epoch()),
          ticks_,
          tokens_,
          microseconds(of(Doing::kComputing, busy_, now)),
          microseconds(of(Doing::kWaiting, waiting_, now)),
          sent_bytes_,
          static_cast<std::uint64_t>(predicted_ * 1e6)};
}

void RankWindow::note(const RankWork& work) {
  if (!points_.empty() && !follows(work, last_)) points_.clear();
  last_ = work;
  if (points_.empty() || work.clock_us - points_.back().clock_us >= kSpacing) {
    points_.push_back(work);
  }
  // The oldest point is the last one that is as old as the window.
  while (points_.size() > 1 && work.clock_us - points_[1].clock_us >= kWindow) points_.pop_front();
}

RankRates RankWindow::rates() const {
  if (points_.empty() || last_.clock_us <= points_.front().clock_us) return {};
  const RankWork& first = points_.front();
  const auto time = static_cast<double>(last_.clock_us - first.clock_us);
  const auto part = [&](std::uint64_t end, std::uint64_t begin) {
    return std::clamp(static_cast<double>(end - begin) / time, 0.0, 1.0);
  };
  const auto per_second = [&](std::uint64_t end, std::uint64_t begin) {
    return static_cast<double>(end - begin) / time * 1e6;
  };
  return {part(last_.busy_us, first.busy_us), part(last_.waiting_us, first.waiting_us),
          per_second(last_.ticks, first.ticks), per_second(last_.tokens, first.tokens),
          per_second(last_.sent_bytes, first.sent_bytes)};
}

}  // namespace tandem::cluster
