// The process that computes: loads its layers when told, joins the ring, runs ticks. A second
// thread answers the supervisor, also while the first is inside an evaluation that nothing can
// interrupt.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "base/platform.h"
#include "cluster/link/ring_end.h"
#include "cluster/rank/control.h"
#include "cluster/rank/device_name.h"
#include "cluster/rank/progress_board.h"
#include "cluster/rank/stage_loop.h"
#include "cluster/rank/worker.h"
#include "cluster/split/model_sizes.h"
#include "cluster/timing.h"
#include "cluster/trust/secrets.h"
#include "cluster/wire/load_messages.h"
#include "cluster/wire/wire_error.h"
#include "stage/stage.h"
#include "tandem.pb.h"
#include "tandem/deadline.h"

namespace tandem::cluster {
namespace {

constexpr std::chrono::milliseconds kProgressEvery{100};

class ComputeChild {
 public:
  ComputeChild() : channel_(kControlFd), control_([this] { answer(); }) { control_.detach(); }

  // Returns the reason of the end.
  Error run();

  void say(ControlKind kind, const std::string& payload) {
    static_cast<void>(channel_.send(kind, payload, after(timing::kControl)));
  }

 private:
  void answer();
  void pong();
  std::string wait_for(ControlKind kind);
  Result<std::unique_ptr<stage::Stage>> load_stage(const v1::LoadRequest& request);
  Status join();

  ControlChannel channel_;
  ProgressBoard board_;
  std::unique_ptr<RingEnd> ring_;          // lives until the process ends
  std::atomic<Transport*> link_{nullptr};  // of ring_, once it has joined
  // Of the control thread.
  Deadline next_look_{};
  std::uint64_t memory_free_ = 0;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<ControlMessage> orders_;  // for the computing thread
  std::atomic<bool> stop_{false};
  std::thread control_;
};

// The process ends when its parent does, or is silent so long that it may never speak again.
void ComputeChild::answer() {
  while (true) {
    auto message = channel_.receive(after(timing::kGatewaySilence));
    if (!message) std::_Exit(message.error().code == ErrorCode::kUnavailable ? 0 : 1);
    if (message->kind == ControlKind::kPing) {
      pong();
      continue;
    }
    const std::lock_guard lock(mutex_);
    orders_.push_back(std::move(*message));
    arrived_.notify_one();
  }
}

void ComputeChild::pong() {
  const auto now = Clock::now();
  Transport* link = link_.load();
  if (now >= next_look_) {
    next_look_ = now + timing::kLook;
    memory_free_ = platform::free_memory_bytes();
    if (link != nullptr) link->probe();
  }
  v1::HeartbeatReply reply = board_.report(now);
  reply.set_memory_bytes(platform::resident_bytes());
  reply.set_memory_free_bytes(memory_free_);
  if (link != nullptr) reply.set_received_bytes(link->received_bytes());
  if (const auto trip = link != nullptr ? link->round_trip() : std::nullopt) {
    const auto micros = std::chrono::ceil<std::chrono::microseconds>(*trip);
    reply.set_link_us(static_cast<std::uint64_t>(micros.count()));
  }
  say(ControlKind::kPong, reply.SerializeAsString());
}

// The next order; another kind than the expected one is a bug of the parent, which ends the
// process. Without a deadline of its own: answer() ends the process when the parent is gone or
// silent.
std::string ComputeChild::wait_for(ControlKind kind) {
  std::unique_lock lock(mutex_);
  while (orders_.empty()) arrived_.wait_for(lock, timing::kGatewaySilence);
  ControlMessage message = std::move(orders_.front());
  orders_.pop_front();
  if (message.kind != kind) std::_Exit(2);
  return std::move(message.payload);
}

Result<std::unique_ptr<stage::Stage>> ComputeChild::load_stage(const v1::LoadRequest& request) {
  auto options = take_options(request);
  if (!options) return options.error();
  if (!request.model_hash().empty()) {
    auto summary = summarize_model(options->folder);
    if (!summary) return summary.error();
    if (summary->hash != request.model_hash()) {
      return invalid(options->folder.string() +
                     ": not the gateway's model (config.json, or the tensors' names, types, "
                     "shapes or values differ)");
    }
  }
  Deadline next_word{};
  return stage::Stage::load(*options, [&](std::uint64_t done, std::uint64_t total) {
    if (Clock::now() < next_word && done < total) return;
    next_word = after(kProgressEvery);
    v1::LoadProgress progress;
    progress.set_done(done);
    progress.set_total(total);
    say(ControlKind::kProgress, progress.SerializeAsString());
  });
}

Status ComputeChild::join() {
  v1::StartRequest start;
  if (!start.ParseFromString(wait_for(ControlKind::kStart))) return invalid("bad start request");
  const RingPeers peers{start.successor_address(), start.mlx_backend(), start.mlx_hostfile()};
  const auto allowed = std::chrono::milliseconds(start.connect_ms());
  auto joined = ring_->join(peers, after(std::min<Clock::duration>(allowed, timing::kRingStart)));
  v1::StartReply reply;
  if (!joined) to_wire(joined.error(), *reply.mutable_error());
  say(ControlKind::kStarted, reply.SerializeAsString());
  return joined;
}

Error ComputeChild::run() {
  auto secrets = unpack_secrets(wait_for(ControlKind::kSecret));
  if (!secrets) return secrets.error();
  v1::LoadRequest request;
  if (!request.ParseFromString(wait_for(ControlKind::kLoad))) return invalid("bad load request");
  board_.set_state(v1::WORKER_STATE_LOADING);
  auto ring =
      RingEnd::open({request.transport(), request.cluster(), request.epoch(), request.rank(),
                     request.stages(), secrets->listen, secrets->credentials});
  if (!ring) return ring.error();
  ring_ = std::move(*ring);
  auto stage = load_stage(request);
  if (!stage) return stage.error();
  board_.set_state(v1::WORKER_STATE_LOADED);
  v1::Loaded loaded;
  put((*stage)->info(), *loaded.mutable_stage());
  loaded.set_memory_bytes(platform::resident_bytes());
  if (const auto options = take_options(request)) loaded.set_device(device_name(*options));
  loaded.set_link_address(ring_->address());
  say(ControlKind::kLoaded, loaded.SerializeAsString());
  if (auto joined = join(); !joined) return joined.error();
  link_ = &ring_->transport();
  board_.set_state(v1::WORKER_STATE_RUNNING);
  Error end =
      run_stage(ring_->transport(), **stage, {request.rank(), request.epoch()}, board_, stop_);
  if (end.code == ErrorCode::kUnavailable) end.message = "lost its link: " + end.message;
  return end;
}

}  // namespace

// Leaves without destructors: an evaluation or a collective may still be running.
int run_compute_child() {
  platform::die_with_parent();
  std::signal(SIGPIPE, SIG_IGN);
  auto child = std::make_unique<ComputeChild>();
  Error end;
  try {
    end = child->run();
  } catch (const std::exception& failure) {
    end = {ErrorCode::kInternal, std::string("failed: ") + failure.what()};
  }
  v1::Error error;
  to_wire(end, error);
  child->say(ControlKind::kFailed, error.SerializeAsString());
  std::_Exit(1);
}

}  // namespace tandem::cluster
