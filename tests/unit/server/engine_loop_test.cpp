// The loop around the engine: a pipeline that fails is opened anew, and jobs go on.

#include "server/serving/engine_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "server/serving/restart_pacing.h"
#include "unit/scheduler/engine_runs.h"
#include "unit/scheduler/fake_pipeline.h"

namespace tandem::server {
namespace {

using scheduler::FakePipeline;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;
using Ids = std::vector<std::int32_t>;
using Opened = Result<std::unique_ptr<Pipeline>>;

const Error kKilled{ErrorCode::kUnavailable, "rank 1 was killed by signal 9"};
const Error kUnreachable{ErrorCode::kUnavailable, "rank 1 cannot be reached"};

/// Follows one request.
class Listener final : public JobListener {
 public:
  bool event(std::size_t, const scheduler::Event& event) override {
    const std::lock_guard lock(mutex_);
    if (event.token) ids_.push_back(event.token->id);
    ended_ = event.finish != scheduler::FinishReason::kNone;
    if (ended_) changed_.notify_all();
    return true;
  }
  void failed(const Error& error) override {
    const std::lock_guard lock(mutex_);
    error_ = error;
    ended_ = true;
    changed_.notify_all();
  }
  bool wanted(Clock::time_point) override {
    ++asked;
    return true;
  }

  void wait() {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, seconds(30), [&] { return ended_; }));
  }
  Ids ids() const {
    const std::lock_guard lock(mutex_);
    return ids_;
  }
  std::optional<Error> error() const {
    const std::lock_guard lock(mutex_);
    return error_;
  }

  std::atomic<int> asked{0};

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Ids ids_;
  std::optional<Error> error_;
  bool ended_ = false;
};

std::unique_ptr<FakePipeline> stages(std::optional<std::uint64_t> dies_at = {}) {
  auto pipeline = std::make_unique<FakePipeline>(2);
  if (dies_at) pipeline->die_at(*dies_at, kKilled);
  return pipeline;
}

/// A loop on a thread of its own; `opens` answers each try to open a pipeline.
class RunningLoop {
 public:
  RunningLoop(RestartLimits limits, std::vector<std::function<Opened()>> opens)
      : loop_(options(limits)), opens_(std::move(opens)) {
    std::atomic<bool> loaded{false};
    thread_ = std::thread([this, &loaded] {
      status_ = loop_.run([this](const RankProgress&) { return open(); }, [&] { loaded = true; });
    });
    while (!loaded) std::this_thread::yield();
  }
  ~RunningLoop() {
    loop_.stop();
    thread_.join();
    EXPECT_TRUE(status_.ok());
  }

  EngineLoop& loop() { return loop_; }
  std::shared_ptr<Listener> ask(Ids prompt, int tokens) {
    auto listener = std::make_shared<Listener>();
    Job job;
    job.requests.push_back(scheduler::request_of(std::move(prompt), tokens));
    job.listener = listener;
    const Status sent = loop_.submit(std::move(job));
    EXPECT_TRUE(sent.ok()) << sent.error().message;
    return listener;
  }
  std::size_t tries() const { return tries_; }
  std::vector<std::string> notes() const {
    const std::lock_guard lock(mutex_);
    return notes_;
  }

 private:
  EngineLoopOptions options(RestartLimits limits) {
    EngineLoopOptions out;
    out.restart = limits;
    out.note = [this](const std::string& line) {
      const std::lock_guard lock(mutex_);
      notes_.push_back(line);
    };
    return out;
  }
  Opened open() {
    const std::size_t attempt = tries_++;
    return opens_.at(std::min(attempt, opens_.size() - 1))();
  }

  mutable std::mutex mutex_;
  std::vector<std::string> notes_;
  EngineLoop loop_;
  std::vector<std::function<Opened()>> opens_;
  std::atomic<std::size_t> tries_{0};
  Status status_;
  std::thread thread_;
};

const RestartLimits kQuick{.first_wait = milliseconds(1), .longest_wait = milliseconds(5)};

TEST(EngineLoop, AFailedPipelineIsOpenedAnewAndItsJobsGoOn) {
  const auto refuse = []() -> Opened { return kUnreachable; };
  RunningLoop running(
      kQuick, {[] { return Opened(stages(9)); }, refuse, refuse, [] { return Opened(stages()); }});
  std::vector<std::shared_ptr<Listener>> jobs;
  for (std::int32_t i = 1; i <= 4; ++i) jobs.push_back(running.ask(Ids(20, i), 50));
  for (std::int32_t i = 1; i <= 4; ++i) {
    const auto& job = jobs[static_cast<std::size_t>(i) - 1];
    job->wait();
    EXPECT_FALSE(job->error().has_value());
    EXPECT_EQ(job->ids(), scheduler::expected(Ids(20, i), 50));
  }
  EXPECT_EQ(running.tries(), 4U);
  const EngineView view = running.loop().detailed_view();
  EXPECT_EQ(view.phase, Phase::kReady);
  EXPECT_EQ(view.restarts, 1U);
  EXPECT_EQ(view.reason, "");
  EXPECT_EQ(view.ranks.size(), 2U);
  const auto notes = running.notes();
  ASSERT_EQ(notes.size(), 3U);
  EXPECT_EQ(notes[0], "rank 1 was killed by signal 9; the model is loaded again");
  EXPECT_EQ(notes[1], "rank 1 cannot be reached; the model is loaded again");
  EXPECT_THAT(notes[2], HasSubstr("requests go on"));
}

TEST(EngineLoop, WhileItRestartsNewJobsWaitAndAllAreLookedAfter) {
  std::atomic<bool> gate{false};
  RunningLoop running({.first_wait = milliseconds(300), .longest_wait = milliseconds(300)},
                      {[] { return Opened(stages(5)); },
                       [&]() -> Opened { return gate ? Opened(stages()) : Opened(kUnreachable); }});
  const auto job = running.ask(Ids(20, 1), 50);
  while (running.loop().view().phase != Phase::kRestarting) std::this_thread::yield();
  EXPECT_THAT(running.loop().view().reason, HasSubstr("rank 1"));
  EXPECT_EQ(running.loop().detailed_view().ranks.size(), 2U) << "as they last were";
  const auto late = running.ask(Ids(20, 2), 10);
  const int asked = job->asked;
  while (job->asked < asked + 3 || late->asked < 2) std::this_thread::yield();
  gate = true;
  job->wait();
  late->wait();
  EXPECT_EQ(late->ids(), scheduler::expected(Ids(20, 2), 10));
  EXPECT_EQ(job->ids(), scheduler::expected(Ids(20, 1), 50));
}

/// The engine's own default of 4096 is not the server's limit.
TEST(EngineLoop, AsManyRequestsWaitAsTheLoopTakes) {
  RunningLoop running(kQuick, {[] { return Opened(stages()); }});
  const auto listener = std::make_shared<Listener>();
  Job job;
  job.requests.assign(5000, scheduler::request_of({1, 2}, 1));
  job.listener = listener;
  ASSERT_TRUE(running.loop().submit(std::move(job)).ok());
  listener->wait();
  EXPECT_FALSE(listener->error().has_value()) << listener->error()->message;
}

/// Stages that can be lost while nothing is asked of them.
class Losable final : public Pipeline {
 public:
  explicit Losable(const std::atomic<bool>& lost) : lost_(lost) {}
  std::vector<RankInfo> ranks() override { return stages_.ranks(); }
  int stages() const override { return stages_.stages(); }
  Status submit(Tick tick) override { return stages_.submit(std::move(tick)); }
  Result<TickResult> next(Deadline deadline) override { return stages_.next(deadline); }
  std::optional<Error> failure() override { return lost_ ? std::optional(kKilled) : std::nullopt; }

 private:
  FakePipeline stages_{2};
  const std::atomic<bool>& lost_;
};

TEST(EngineLoop, ARankThatDiesWhileNothingIsAskedIsReplacedToo) {
  std::atomic<bool> lost{false};
  RunningLoop running(kQuick, {[&] { return Opened(std::make_unique<Losable>(lost)); },
                               [] { return Opened(stages()); }});
  lost = true;
  while (running.loop().view().restarts == 0) std::this_thread::yield();
  EXPECT_EQ(running.loop().view().phase, Phase::kReady);
  const auto job = running.ask(Ids(20, 1), 10);
  job->wait();
  EXPECT_EQ(job->ids(), scheduler::expected(Ids(20, 1), 10));
}

TEST(EngineLoop, WhereOneFailureIsTheLastJobsFailWithIt) {
  RunningLoop running({.forever = false}, {[] { return Opened(stages(5)); }});
  const auto job = running.ask(Ids(20, 1), 50);
  job->wait();
  ASSERT_TRUE(job->error().has_value());
  EXPECT_EQ(job->error()->message, kKilled.message);
  EXPECT_EQ(running.loop().view().phase, Phase::kDead);
  EXPECT_EQ(running.tries(), 1U);
  EXPECT_FALSE(running.loop().submit({}).ok());
}

TEST(EngineLoop, JobsWaitForTheirTimeoutAndTheLoopGoesOnTrying) {
  std::atomic<bool> gate{false};
  RunningLoop running({.first_wait = milliseconds(1),
                       .longest_wait = milliseconds(50),
                       .recovery_timeout = seconds(1)},
                      {[] { return Opened(stages(5)); },
                       [&]() -> Opened { return gate ? Opened(stages()) : Opened(kUnreachable); }});
  const auto job = running.ask(Ids(20, 1), 50);
  job->wait();
  ASSERT_TRUE(job->error().has_value());
  EXPECT_EQ(job->error()->code, ErrorCode::kUnavailable);
  EXPECT_THAT(job->error()->message, HasSubstr("rank 1"));
  const Status refused = running.loop().submit({});
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message, HasSubstr("the model is loading again: rank 1"));
  gate = true;  // hours later, say
  while (running.loop().view().phase != Phase::kReady) std::this_thread::yield();
  const auto next = running.ask(Ids(20, 3), 10);
  next->wait();
  EXPECT_EQ(next->ids(), scheduler::expected(Ids(20, 3), 10));
}

TEST(EngineLoop, AWorkerThatIsNotUpYetIsWaitedForWhenItStarts) {
  const auto refuse = []() -> Opened { return kUnreachable; };
  RunningLoop running(kQuick, {refuse, refuse, [] { return Opened(stages()); }});
  EXPECT_EQ(running.tries(), 3U);
  const auto job = running.ask(Ids(20, 1), 10);
  job->wait();
  EXPECT_EQ(job->ids(), scheduler::expected(Ids(20, 1), 10));
  EXPECT_EQ(running.notes().size(), 1U) << "the same reason is said once";
}

TEST(EngineLoop, OverAMistakeJobsFailAtOnceAndItIsTriedAgain) {
  std::atomic<bool> mended{false};
  RunningLoop running(kQuick, {[] { return Opened(stages(5)); },
                               [&]() -> Opened {
                                 if (mended) return Opened(stages());
                                 return invalid("config.json: is gone");
                               }});
  const auto job = running.ask(Ids(20, 1), 50);
  job->wait();
  ASSERT_TRUE(job->error().has_value());
  EXPECT_EQ(job->error()->message, "config.json: is gone");
  mended = true;
  while (running.loop().view().phase != Phase::kReady) std::this_thread::yield();
}

TEST(EngineLoop, StopsWhileItWaitsForTheNextTry) {
  RunningLoop running({.first_wait = seconds(1000), .longest_wait = seconds(1000)},
                      {[] { return Opened(stages(5)); }, []() -> Opened { return kUnreachable; }});
  const auto job = running.ask(Ids(20, 1), 50);
  while (running.tries() < 2) std::this_thread::yield();
  running.loop().stop();
  job->wait();
  EXPECT_TRUE(job->error().has_value());
}

}  // namespace
}  // namespace tandem::server
