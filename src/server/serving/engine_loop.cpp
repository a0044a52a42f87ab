#include "server/serving/engine_loop.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "server/serving/job_table.h"
#include "server/serving/pipeline_slot.h"
#include "server/serving/restart_pacing.h"
#include "server/serving/token_rate.h"

namespace tandem::server {
namespace {

/// How often figures that no one waits for are read anew.
constexpr std::chrono::seconds kRefresh{1};
/// How often jobs are looked after while there is no pipeline: clients that left, streams that
/// should say that they live.
constexpr std::chrono::milliseconds kAttend{200};

/// Opening it again would fail the same way.
bool is_final(const Error& error) {
  return error.code == ErrorCode::kInvalidArgument || error.code == ErrorCode::kNotFound;
}

}  // namespace

struct EngineLoop::Impl {
  explicit Impl(EngineLoopOptions given) : options(std::move(given)), pacing(options.restart) {}

  Status run(const Open& open, const std::function<void()>& loaded);
  /// `meanwhile` is called every now and then.
  Result<std::unique_ptr<Pipeline>> load(const Open& open, const std::function<void()>& meanwhile);
  /// Takes what waits in the mailbox; waits for something while `idle`. False: the end.
  bool receive(bool idle);
  void admit(scheduler::Engine& engine, Job job);
  Status step(scheduler::Engine& engine);
  void publish(const scheduler::Engine& engine);
  void die(const Error& error);

  /// Opens the pipeline for the first time, as often as it takes while a rank or a worker is gone.
  Status open_first(const Open& open);
  /// The pipeline failed for `error`: opens it anew. False: stopped, or it stays dead.
  bool restart(scheduler::Engine& engine, const Open& open, const Error& error);
  /// It failed for `error`: tries until it opens; null: stopped.
  std::unique_ptr<Pipeline> open_again(const Open& open, Error error,
                                       const JobTable::Cancel& cancel);
  /// Every now and then while there is no pipeline, for `error`: who left is let go, and who has
  /// waited for longer than options.restart.recovery_timeout is told why.
  void attend(const Error& error, const JobTable::Cancel& cancel);
  void begin_restart(const Error& error);
  void end_restart(scheduler::Engine& engine, const Error& error);
  /// Sees to the jobs for `wait`. False: stopped.
  bool rest(Clock::duration wait, const std::function<void()>& meanwhile);

  bool over() const { return stopped || (phase() == Phase::kDraining && mailbox.empty()); }
  Phase phase() const { return shared.phase; }

  const EngineLoopOptions options;
  PipelineSlot slot;

  // Of the engine's thread.
  std::deque<Job> arrived;
  JobTable jobs;
  TokenRate rate;
  RestartPacing pacing;
  Deadline next_attend{};
  std::string noted;  // why the pipeline could not be opened, as last said to people

  mutable std::mutex mutex;
  std::condition_variable woken;
  // Under the mutex.
  std::deque<Job> mailbox;
  std::uint64_t mailed = 0;  // requests in the mailbox
  bool stopped = false;
  EngineView shared;
};

bool EngineLoop::Impl::receive(bool idle) {
  std::unique_lock lock(mutex);
  const auto ready = [this] { return !mailbox.empty() || over(); };
  if (idle) {
    woken.wait_for(lock, kRefresh, ready);
    if (over()) return false;
  }
  if (stopped) return false;
  arrived.swap(mailbox);
  mailed = 0;
  return true;
}

void EngineLoop::Impl::admit(scheduler::Engine& engine, Job job) {
  std::vector<std::uint64_t> sequences;
  for (scheduler::Request& request : job.requests) {
    auto sequence = engine.add(std::move(request));
    if (!sequence) {
      for (const std::uint64_t added : sequences) engine.cancel(added);
      job.listener->failed(sequence.error());
      return;
    }
    sequences.push_back(*sequence);
  }
  jobs.add(std::move(job.listener), sequences);
}

Status EngineLoop::Impl::step(scheduler::Engine& engine) {
  auto events = engine.step(after(options.step_time));
  if (!events) return events.error();
  // Before anyone hears of the step: whoever then asks for figures finds it counted.
  publish(engine);
  const auto cancel = [&engine](std::uint64_t sequence) { engine.cancel(sequence); };
  for (const scheduler::Event& event : *events) {
    if (event.token) pacing.got_on();
    jobs.deliver(event, cancel);
  }
  jobs.drop_unwanted(Clock::now(), cancel);
  return {};
}

void EngineLoop::Impl::publish(const scheduler::Engine& engine) {
  const auto now = Clock::now();
  const scheduler::EngineStats stats = engine.stats();
  rate.note(now, stats.prompt_tokens, stats.generated_tokens);
  const std::lock_guard lock(mutex);
  shared.stats = stats;
  shared.busy = engine.busy();
  shared.progress = now;
  shared.prompt_tps = rate.prompt();
  shared.decode_tps = rate.decode();
}

void EngineLoop::Impl::die(const Error& error) {
  {
    const std::lock_guard lock(mutex);
    shared.phase = Phase::kDead;
    shared.reason = error.message;
    shared.busy = false;
    for (Job& job : mailbox) arrived.push_back(std::move(job));
    mailbox.clear();
    mailed = 0;
  }
  jobs.fail_all(error);
  for (const Job& job : arrived) job.listener->failed(error);
  arrived.clear();
}

Status EngineLoop::Impl::run(const Open& open, const std::function<void()>& loaded) {
  if (auto opened = open_first(open); !opened) {
    die(opened.error());
    const std::lock_guard lock(mutex);
    return stopped ? Status() : opened;
  }
  scheduler::EngineOptions engine_options = options.engine;
  engine_options.waiting_max = std::numeric_limits<int>::max();  // submit() counts who waits
  scheduler::Engine engine(slot, engine_options);
  publish(engine);
  {
    const std::lock_guard lock(mutex);
    shared.context_max = engine.context_max();
    if (shared.phase == Phase::kLoading) shared.phase = Phase::kReady;
  }
  loaded();
  bool alive = true;
  while (receive(!alive || !engine.busy())) {
    while (alive && !arrived.empty()) {
      admit(engine, std::move(arrived.front()));
      arrived.pop_front();
    }
    if (!alive) continue;
    // A rank that dies while nothing is asked of it is replaced before the next request comes.
    std::optional<Error> failure = engine.busy() ? std::nullopt : slot.failure();
    if (engine.busy()) {
      if (auto status = step(engine); !status.ok()) failure = status.error();
    }
    if (failure) {
      alive = restart(engine, open, *failure);
      continue;
    }
    publish(engine);
  }
  const Error stopping{ErrorCode::kUnavailable, "the server is stopping"};
  jobs.fail_all(stopping);
  const std::lock_guard lock(mutex);
  for (const Job& job : mailbox) job.listener->failed(stopping);
  mailbox.clear();
  return {};
}

// How it opens its pipeline, and opens it anew when that failed.

Result<std::unique_ptr<Pipeline>> EngineLoop::Impl::load(const Open& open,
                                                         const std::function<void()>& meanwhile) {
  std::map<int, std::pair<std::uint64_t, std::uint64_t>> ranks;
  return open([&](int rank, std::uint64_t done, std::uint64_t total) {
    ranks[rank] = {done, total};
    {
      const std::lock_guard lock(mutex);
      shared.loaded_bytes = 0;
      shared.total_bytes = 0;
      for (const auto& [ignored, bytes] : ranks) {
        shared.loaded_bytes += bytes.first;
        shared.total_bytes += bytes.second;
      }
    }
    meanwhile();
  });
}

bool EngineLoop::Impl::rest(Clock::duration wait, const std::function<void()>& meanwhile) {
  const Deadline end = after(wait);
  std::unique_lock lock(mutex);
  while (!stopped && Clock::now() < end) {
    woken.wait_until(lock, std::min(end, after(kAttend)), [this] { return stopped; });
    lock.unlock();
    meanwhile();
    lock.lock();
  }
  return !stopped;
}

void EngineLoop::Impl::begin_restart(const Error& error) {
  const std::lock_guard lock(mutex);
  if (shared.phase == Phase::kReady) shared.phase = Phase::kRestarting;
  shared.reason = error.message;
  shared.loaded_bytes = 0;
  shared.total_bytes = 0;
}

void EngineLoop::Impl::end_restart(scheduler::Engine& engine, const Error& error) {
  engine.pipeline_reopened(error);
  publish(engine);
  const std::lock_guard lock(mutex);
  ++shared.restarts;
  shared.context_max = engine.context_max();
  shared.reason.clear();
  shared.overdue = false;
  if (shared.phase == Phase::kRestarting) shared.phase = Phase::kReady;
}

void EngineLoop::Impl::attend(const Error& error, const JobTable::Cancel& cancel) {
  const auto now = Clock::now();
  if (now < next_attend) return;
  next_attend = now + kAttend;
  const bool overdue = pacing.overdue(now);
  {
    const std::lock_guard lock(mutex);
    shared.overdue = overdue;
    for (Job& job : mailbox) arrived.push_back(std::move(job));
    mailbox.clear();
  }
  std::erase_if(arrived, [&](const Job& job) {
    const bool wanted = !overdue && job.listener->wanted(now);
    if (overdue) job.listener->failed(error);
    return !wanted;
  });
  if (overdue) {
    jobs.fail_all(error, cancel);
  } else {
    jobs.drop_unwanted(now, cancel);
  }
  std::uint64_t waiting = 0;
  for (const Job& job : arrived) waiting += job.requests.size();
  const std::lock_guard lock(mutex);
  mailed = waiting;
}

std::unique_ptr<Pipeline> EngineLoop::Impl::open_again(const Open& open, Error error,
                                                       const JobTable::Cancel& cancel) {
  while (true) {
    const auto see_to_jobs = [&] { attend(error, cancel); };
    if (error.message != noted) options.note(error.message + "; the model is loaded again");
    noted = error.message;
    begin_restart(error);
    if (!rest(pacing.failed(Clock::now()), see_to_jobs)) return nullptr;
    auto opened = load(open, see_to_jobs);
    if (opened) return std::move(*opened);
    error = opened.error();
    if (is_final(error)) {  // nobody should wait for what a person has to mend
      jobs.fail_all(error, cancel);
    }
  }
}

bool EngineLoop::Impl::restart(scheduler::Engine& engine, const Open& open, const Error& error) {
  slot.clear();
  if (!options.restart.forever) {
    options.note(fmt::format("{}; the model stays unloaded", error.message));
    die(error);
    return false;
  }
  const auto cancel = [&](std::uint64_t sequence) { engine.cancel(sequence); };
  noted.clear();
  auto opened = open_again(open, error, cancel);
  if (!opened) {
    die({ErrorCode::kUnavailable, "the server is stopping"});
    return false;
  }
  slot.put(std::move(opened));
  end_restart(engine, error);
  options.note(fmt::format("the model is loaded again; {} requests go on", engine.stats().waiting));
  return true;
}

Status EngineLoop::Impl::open_first(const Open& open) {
  auto opened = load(open, [] {});
  if (opened) {
    slot.put(std::move(*opened));
    return {};
  }
  const Error& error = opened.error();
  const bool lost =
      error.code == ErrorCode::kUnavailable || error.code == ErrorCode::kDeadlineExceeded;
  if (!lost || !options.restart.forever) return error;
  auto pipeline = open_again(open, error, {});
  if (!pipeline) return error;
  slot.put(std::move(pipeline));
  const std::lock_guard lock(mutex);
  shared.reason.clear();
  return {};
}

EngineLoop::EngineLoop(EngineLoopOptions options)
    : impl_(std::make_unique<Impl>(std::move(options))) {}
EngineLoop::~EngineLoop() = default;

Status EngineLoop::run(const Open& open, const std::function<void()>& loaded) {
  const Status status = impl_->run(open, loaded);
  impl_->slot.clear();  // by the thread that opened it
  return status;
}

Status EngineLoop::submit(Job job) {
  Impl& impl = *impl_;
  {
    const std::lock_guard lock(impl.mutex);
    const auto refuse = [](std::string why) {
      return Error{ErrorCode::kUnavailable, std::move(why)};
    };
    switch (impl.phase()) {
      case Phase::kLoading:
        return refuse(impl.shared.reason.empty() ? std::string("the model is loading")
                                                 : "the model is loading: " + impl.shared.reason);
      case Phase::kRestarting:
        if (!impl.shared.overdue) break;
        return refuse("the model is loading again: " + impl.shared.reason);
      case Phase::kDraining:
        return refuse("the server is stopping");
      case Phase::kDead:
        return refuse("the model cannot answer: " + impl.shared.reason);
      case Phase::kReady:
        break;
    }
    const std::uint64_t waiting = impl.mailed + impl.shared.stats.waiting;
    if (waiting > 0 && waiting + job.requests.size() > impl.options.waiting_max) {
      return Error{ErrorCode::kResourceLimit,
                   "too many requests wait already (" + std::to_string(waiting) + ")"};
    }
    impl.mailed += job.requests.size();
    impl.mailbox.push_back(std::move(job));
  }
  impl.woken.notify_one();
  return {};
}

void EngineLoop::drain() {
  {
    const std::lock_guard lock(impl_->mutex);
    if (impl_->shared.phase == Phase::kDead || impl_->shared.phase == Phase::kLoading) {
      impl_->stopped = true;
    }
    impl_->shared.phase = Phase::kDraining;
  }
  impl_->woken.notify_one();
}

void EngineLoop::stop() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->stopped = true;
  }
  impl_->woken.notify_one();
}

EngineView EngineLoop::view() const {
  const std::lock_guard lock(impl_->mutex);
  EngineView view = impl_->shared;
  view.waiting = view.stats.waiting + impl_->mailed;
  return view;
}

EngineView EngineLoop::detailed_view() const {
  EngineView out = view();
  out.ranks = impl_->slot.ranks();
  return out;
}

}  // namespace tandem::server
