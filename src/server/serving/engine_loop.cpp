#include "server/serving/engine_loop.h"

#include <limits>
#include <optional>
#include <utility>

#include "server/serving/engine_loop_state.h"

namespace tandem::server {
namespace {

/// How often figures that no one waits for are read anew.
constexpr std::chrono::seconds kRefresh{1};

}  // namespace

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
