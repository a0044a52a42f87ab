#include "cluster/gateway/failure_machine.h"

#include <fmt/format.h>

#include <chrono>
#include <cstddef>
#include <utility>

#include "cluster/timing.h"

namespace tandem::cluster {
namespace {

/// The verdict is in the code: see RingFailed.
Error judged(const RankLoss& loss, std::string message) {
  ErrorCode code = ErrorCode::kUnavailable;
  if (loss.cause == LossCause::kCompute) {
    const bool hung = loss.error.code == ErrorCode::kDeadlineExceeded;
    code = hung ? ErrorCode::kDeadlineExceeded : ErrorCode::kInternal;
  }
  return {code, std::move(message)};
}

}  // namespace

FailureMachine::FailureMachine(std::vector<Watched> ranks)
    : ranks_(std::move(ranks)), silence_(ranks_.size()) {}

RingAction FailureMachine::on(const RingEvent& event, Clock::time_point now) {
  if (const auto* seen = std::get_if<Looked>(&event)) return look(*seen, now);
  if (const auto* awaited = std::get_if<TickAwaited>(&event)) {
    if (awaited_.number != awaited->number) moved_ = now;
    awaited_ = *awaited;
  } else if (const auto* broke = std::get_if<LinkBroke>(&event)) {
    suspect(-1, broke->reason, now);
  } else if (const auto* ended = std::get_if<ProcessEnded>(&event); ended && unexplained_) {
    RankLoss loss = *std::exchange(unexplained_, std::nullopt);
    if (ended->how) loss.error.message = *ended->how;
    return settle(ended->rank, loss);
  }
  return GoOn{};
}

RingAction FailureMachine::look(const Looked& seen, Clock::time_point now) {
  Losses losses;
  unreachable_.clear();
  for (std::size_t i = 0; i < ranks_.size(); ++i) {
    losses.push_back(loss_of(i, seen.ranks[i], now));
    const auto& loss = losses.back();
    if (loss && (loss->cause == LossCause::kConnection || loss->cause == LossCause::kSilence)) {
      unreachable_.push_back(static_cast<int>(i));
    }
  }
  const std::uint64_t lost = lost_tick(seen, now);
  looked_ = now;
  RingAction action = judge(losses, now);
  if (!std::holds_alternative<GoOn>(action)) return action;
  if (lost != 0) return name_lost(lost, seen);
  if (suspicion_ && now - suspicion_->since >= timing::kBlame) {
    return RingFailed{suspicion_->rank, suspicion_->error, false, unreachable_};
  }
  return GoOn{};
}

RingAction FailureMachine::judge(const Losses& losses, Clock::time_point now) {
  for (std::size_t i = 0; i < losses.size(); ++i) {
    const auto& loss = losses[i];
    if (!loss) continue;
    const int rank = static_cast<int>(i);
    if (loss->cause == LossCause::kLink) {
      suspect(rank, judged(*loss, ranks_[i].name + " " + loss->error.message), now);
      continue;
    }
    if (loss->cause != LossCause::kConnection || !ranks_[i].local) return settle(rank, *loss);
    unexplained_ = loss;
    return AskHowItEnded{rank};
  }
  return GoOn{};
}

std::optional<RankLoss> FailureMachine::loss_of(std::size_t rank, const RankReport& seen,
                                                Clock::time_point now) {
  if (seen.loss) return seen.loss;
  if (!seen.heard) return std::nullopt;
  auto& silence = silence_[rank];
  if (!silence) silence.emplace(now, timing::kSilence, timing::kOwnPause);
  silence->heard(*seen.heard);
  const auto silent = silence->check(now);
  if (!silent) return std::nullopt;
  const double seconds = std::chrono::duration<double>(*silent).count();
  return RankLoss{
      LossCause::kSilence,
      {ErrorCode::kUnavailable, fmt::format("stopped answering for {:.1f} s", seconds)}};
}

/// Every rank answers, none computes, nothing moves, and still an awaited tick has not come back.
/// While nobody waits, a result may lie in the gateway's inbox for as long as it likes.
std::uint64_t FailureMachine::lost_tick(const Looked& seen, Clock::time_point now) {
  std::uint64_t moved = seen.received_bytes;
  bool computing = false;
  for (const RankReport& rank : seen.ranks) {
    if (!rank.running) return 0;
    computing = computing || rank.ticks_started != rank.ticks_done;
    moved += rank.ticks_done + rank.received_bytes;
  }
  if (moved != moved_so_far_ || computing || now - looked_ > timing::kOwnPause) moved_ = now;
  moved_so_far_ = moved;
  return awaited_.number != 0 && now - moved_ >= awaited_.patience ? awaited_.number : 0;
}

RingAction FailureMachine::name_lost(std::uint64_t number, const Looked& seen) {
  const auto lost = [](std::string message) {
    return Error{ErrorCode::kUnavailable, std::move(message)};
  };
  for (std::size_t i = 0; i < ranks_.size(); ++i) {
    if (seen.ranks[i].ticks_done >= number) continue;
    return RingFailed{
        static_cast<int>(i),
        lost(fmt::format("tick {} was lost on its way to {}", number, ranks_[i].name)),
        false,
        {}};
  }
  return RingFailed{static_cast<int>(ranks_.size()) - 1,
                    lost(fmt::format("the result of tick {} was lost on its way from {}", number,
                                     ranks_.back().name)),
                    false,
                    {}};
}

void FailureMachine::suspect(int rank, Error error, Clock::time_point now) {
  if (!suspicion_) suspicion_ = Suspicion{rank, std::move(error), now};
}

RingAction FailureMachine::settle(int rank, const RankLoss& loss) {
  const std::string& name = ranks_[static_cast<std::size_t>(rank)].name;
  return RingFailed{rank, judged(loss, name + " " + loss.error.message), true, unreachable_};
}

}  // namespace tandem::cluster
