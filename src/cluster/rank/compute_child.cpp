// The process that computes: adopts a plan's layers when told, joins the ring of an epoch, runs
// ticks until that breaks, and waits for the next plan. A second thread answers the supervisor,
// also while the first is inside an evaluation that nothing can interrupt.

#include <algorithm>
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
#include "cluster/split/model_hash.h"
#include "cluster/timing.h"
#include "cluster/trust/secrets.h"
#include "cluster/wire/load_messages.h"
#include "cluster/wire/net_address.h"
#include "cluster/wire/wire_error.h"
#include "models/weight_store.h"
#include "stage/devices.h"
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
  void leave();
  ControlMessage next_order();
  std::string wait_for(ControlKind kind);
  Status open_ring(const v1::LoadRequest& request);
  void close_ring();
  Result<std::unique_ptr<stage::Stage>> adopt(const v1::LoadRequest& request);
  Status join();
  Error serve(const v1::LoadRequest& request, stage::Stage& stage);

  ControlChannel channel_;
  ProgressBoard board_;
  ChildSecrets secrets_;
  models::WeightStore store_;
  // Of the control thread.
  Deadline next_look_{};
  std::uint64_t memory_free_ = 0;
  std::mutex mutex_;  // of all below
  std::condition_variable arrived_;
  std::deque<ControlMessage> orders_;  // for the computing thread
  std::shared_ptr<RingEnd> ring_;      // of the epoch
  bool joined_ = false;                // it has a transport
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
    if (message->kind == ControlKind::kLeave) leave();
    const std::lock_guard lock(mutex_);
    orders_.push_back(std::move(*message));
    arrived_.notify_one();
  }
}

void ComputeChild::pong() {
  const auto now = Clock::now();
  std::shared_ptr<RingEnd> ring;
  {
    const std::lock_guard lock(mutex_);
    if (joined_) ring = ring_;
  }
  if (now >= next_look_) {
    next_look_ = now + timing::kLook;
    memory_free_ = platform::free_memory_bytes();
    if (ring) ring->transport().probe();
  }
  v1::HeartbeatReply reply = board_.report(now);
  reply.set_memory_bytes(platform::resident_bytes());
  reply.set_memory_free_bytes(memory_free_);
  if (ring) reply.set_received_bytes(ring->transport().received_bytes());
  if (const auto trip = ring ? ring->transport().round_trip() : std::nullopt) {
    const auto micros = std::chrono::ceil<std::chrono::microseconds>(*trip);
    reply.set_link_us(static_cast<std::uint64_t>(micros.count()));
  }
  say(ControlKind::kPong, reply.SerializeAsString());
}

// Wakes the computing thread wherever it waits for others; what it computes ends by itself.
void ComputeChild::leave() {
  const std::lock_guard lock(mutex_);
  if (ring_) ring_->close();
}

// Without a deadline of its own: answer() ends the process when the parent is gone or silent.
ControlMessage ComputeChild::next_order() {
  std::unique_lock lock(mutex_);
  while (orders_.empty()) arrived_.wait_for(lock, timing::kGatewaySilence);
  ControlMessage message = std::move(orders_.front());
  orders_.pop_front();
  return message;
}

// An order to leave is late when there is nothing to leave any more. Any other kind than the
// expected one is a bug of the parent, which ends the process.
std::string ComputeChild::wait_for(ControlKind kind) {
  ControlMessage message = next_order();
  while (message.kind == ControlKind::kLeave) message = next_order();
  if (message.kind != kind) std::_Exit(2);
  return std::move(message.payload);
}

Status ComputeChild::open_ring(const v1::LoadRequest& request) {
  const std::string listen =
      request.any_port() ? config::to_string({host_of(secrets_.listen), 0, {}}) : secrets_.listen;
  auto ring = RingEnd::open({request.transport(), request.cluster(), request.epoch(),
                             request.rank(), request.stages(), listen, secrets_.credentials});
  if (!ring) return ring.error();
  const std::lock_guard lock(mutex_);
  ring_ = std::move(*ring);
  return {};
}

void ComputeChild::close_ring() {
  std::shared_ptr<RingEnd> ring;
  {
    const std::lock_guard lock(mutex_);
    joined_ = false;
    ring = std::move(ring_);
  }
  ring->close();
}

// Reads the layers that are missing and drops those that are not wanted.
Result<std::unique_ptr<stage::Stage>> ComputeChild::adopt(const v1::LoadRequest& request) {
  auto options = take_options(request);
  if (!options) return options.error();
  auto hash = model_hash(options->folder);
  if (!hash) return hash.error();
  if (!request.model_hash().empty() && *hash != request.model_hash()) {
    return invalid(options->folder.string() +
                   ": not the gateway's model (config.json, or the tensors' names, types, "
                   "shapes or values differ)");
  }
  store_.choose(*hash);
  Deadline next_word{};
  const auto tell = [&](std::uint64_t done, std::uint64_t total) {
    if (Clock::now() < next_word && done < total) return;
    next_word = after(kProgressEvery);
    v1::LoadProgress progress;
    progress.set_done(done);
    progress.set_total(total);
    say(ControlKind::kProgress, progress.SerializeAsString());
  };
  auto stage = stage::Stage::load(*options, tell, &store_);
  if (!stage) return stage;
  v1::Loaded loaded;
  put((*stage)->info(), *loaded.mutable_stage());
  loaded.set_memory_bytes(platform::resident_bytes());
  loaded.set_loaded_bytes(store_.loaded_bytes());
  loaded.set_device(device_name(*options));
  loaded.set_link_address(ring_->address());
  board_.set_state(v1::WORKER_STATE_LOADED);
  say(ControlKind::kLoaded, loaded.SerializeAsString());
  return stage;
}

Status ComputeChild::join() {
  const ControlMessage order = next_order();
  if (order.kind == ControlKind::kLeave) {
    return Error{ErrorCode::kCancelled, "was told to leave its ring"};
  }
  if (order.kind != ControlKind::kStart) std::_Exit(2);
  v1::StartRequest start;
  if (!start.ParseFromString(order.payload)) return invalid("bad start request");
  const RingPeers peers{start.successor_address(), start.mlx_backend(), start.mlx_hostfile()};
  const auto allowed = std::chrono::milliseconds(start.connect_ms());
  auto joined = ring_->join(peers, after(std::min<Clock::duration>(allowed, timing::kRingStart)));
  v1::StartReply reply;
  if (!joined) to_wire(joined.error(), *reply.mutable_error());
  say(ControlKind::kStarted, reply.SerializeAsString());
  return joined;
}

// Until the ring breaks.
Error ComputeChild::serve(const v1::LoadRequest& request, stage::Stage& stage) {
  if (auto joined = join(); !joined) return joined.error();
  {
    const std::lock_guard lock(mutex_);
    joined_ = true;
  }
  board_.set_state(v1::WORKER_STATE_RUNNING);
  Error end = run_stage(ring_->transport(), stage, {request.rank(), request.epoch()}, board_);
  if (end.code == ErrorCode::kUnavailable) end.message = "lost its link: " + end.message;
  return end;
}

// A plan after the other: what the next one needs of this one's layers stays. KV goes with the
// ring, as the gateway computes it anew.
Error ComputeChild::run() {
  auto secrets = unpack_secrets(wait_for(ControlKind::kSecret));
  if (!secrets) return secrets.error();
  secrets_ = std::move(*secrets);
  while (true) {
    v1::LoadRequest request;
    if (!request.ParseFromString(wait_for(ControlKind::kLoad))) return invalid("bad load request");
    board_.begin_epoch();
    board_.set_state(v1::WORKER_STATE_LOADING);
    if (auto opened = open_ring(request); !opened) return opened.error();
    auto stage = adopt(request);
    if (!stage) return stage.error();
    const Error end = serve(request, **stage);
    // A process joins one MLX group in its life.
    if (request.transport() == "mlx") return end;
    board_.set_state(v1::WORKER_STATE_IDLE);
    close_ring();
    stage->reset();
    stage::give_memory_back();
    v1::Error left;
    to_wire(end, left);
    say(ControlKind::kLeft, left.SerializeAsString());
  }
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
