#include "cluster/link/mlx_transport.h"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "base/check.h"
#include "cluster/link/link_handshake.h"
#include "cluster/link/mlx_exchange.h"

namespace tandem::cluster {
namespace {

constexpr auto kGoodbye = std::chrono::seconds(2);

Status check_options(const MlxLinkOptions& options) {
  if (options.stages >= 1 && options.rank >= kGatewayRank && options.rank < options.stages) {
    return {};
  }
  return invalid("mlx transport: rank " + std::to_string(options.rank) +
                 " is not one of a ring of " + std::to_string(options.stages) + " stages");
}

}  // namespace

// Guarded by `mutex`, except `exchange`, which belongs to the thread.
struct MlxTransport::State {
  explicit State(const MlxLinkOptions& given)
      : options(given), exchange(given.epoch, given.rank + 1, given.stages + 1) {
    options.group.group_rank = options.rank + 1;
    options.group.size = options.stages + 1;
  }

  MlxLinkOptions options;
  MlxExchange exchange;

  mutable std::mutex mutex;
  std::condition_variable changed;
  bool joined = false;
  bool finished = false;  // the thread has ended: MLX holds nothing
  bool closed = false;
  std::optional<Error> error;
  std::deque<std::string> outbox;
  std::deque<std::string> inbox;
  bool receiving = false;  // a call of receive() waits
  bool draining = false;
  bool sending = false;         // exchange.busy(), for the callers
  std::uint64_t in_flight = 0;  // gateway: frames sent that have not come back

  bool gateway() const { return options.rank == kGatewayRank; }
  bool unsent() const { return sending || !outbox.empty(); }
  Status alive() const {
    if (closed) return Error{ErrorCode::kCancelled, "the link was closed"};
    if (error) return *error;
    return {};
  }
  // Whether this rank is ready for the next exchange.
  bool ready() const {
    if (draining && unsent()) return true;
    if (!receiving || !inbox.empty()) return false;
    return !gateway() || in_flight > 0 || unsent();
  }
  void fail(Error why) {
    if (!error) error = std::move(why);
    changed.notify_all();
  }
  // One exchange; the lock is open during MLX's part. False: there is no next one.
  bool exchange_once(std::unique_lock<std::mutex>& lock, MlxGroup& group);
};

bool MlxTransport::State::exchange_once(std::unique_lock<std::mutex>& lock, MlxGroup& group) {
  const bool closing = closed;
  if (!closing && !exchange.busy() && !outbox.empty()) {
    exchange.set_frame(std::move(outbox.front()));
    outbox.pop_front();
    if (gateway()) ++in_flight;
  }
  sending = exchange.busy();
  lock.unlock();
  Result<Exchanged> got = Error{ErrorCode::kInternal, "mlx exchange: nothing came"};
  const auto ok = group.all_gather(
      exchange.slot_bytes(), [&](std::span<std::byte> slot) { exchange.fill(slot, closing); },
      [&](std::span<const std::byte> slots) { got = exchange.take(slots); });
  lock.lock();
  if (!ok) got = ok.error();
  if (!got) {
    fail(got.error());
    return false;
  }
  sending = exchange.busy();
  if (got->frame) {
    if (gateway() && in_flight > 0) --in_flight;
    inbox.push_back(std::move(*got->frame));
  }
  if (got->closing && !gateway()) {
    fail({ErrorCode::kUnavailable, "the gateway closed the ring"});
  }
  changed.notify_all();
  return !got->closing;
}

void MlxTransport::run(std::shared_ptr<State> state) {
  {
    auto group = MlxGroup::join(state->options.group);
    std::unique_lock lock(state->mutex);
    if (!group) {
      state->fail(group.error());
    } else {
      state->joined = true;
      state->changed.notify_all();
    }
    while (!state->error) {
      // The owner's close() or destructor always ends this wait.
      state->changed.wait(lock, [&] { return state->closed || state->error || state->ready(); });
      if (state->error || (state->closed && !state->gateway())) break;
      if (!state->exchange_once(lock, **group)) break;
    }
  }
  const std::lock_guard lock(state->mutex);
  state->finished = true;
  state->changed.notify_all();
}

MlxTransport::MlxTransport(std::shared_ptr<State> state) : state_(std::move(state)) {}

Result<std::unique_ptr<MlxTransport>> MlxTransport::join(const MlxLinkOptions& options,
                                                         Deadline deadline) {
  if (auto ok = check_options(options); !ok) return ok.error();
  auto state = std::make_shared<State>(options);
  auto environment = set_mlx_environment(state->options.group);
  if (!environment) return environment.error();
  // Not joined with: MLX may never return, and the thread holds what it needs.
  std::thread(&MlxTransport::run, state).detach();
  std::unique_ptr<MlxTransport> transport(new MlxTransport(state));
  std::unique_lock lock(state->mutex);
  const bool settled =
      state->changed.wait_until(lock, deadline, [&] { return state->joined || state->error; });
  if (state->error) return *state->error;
  if (settled) return transport;
  state->fail({ErrorCode::kDeadlineExceeded,
               "mlx group (" + options.group.backend + "): not all ranks joined in time"});
  return *state->error;
}

MlxTransport::~MlxTransport() {
  close();
  std::unique_lock lock(state_->mutex);
  // Without `finished` the thread is inside MLX and stays there: see the header.
  state_->changed.wait_until(lock, after(state_->error ? Clock::duration::zero() : kGoodbye),
                             [&] { return state_->finished; });
}

Result<std::string> MlxTransport::receive(Deadline deadline) {
  State& state = *state_;
  std::unique_lock lock(state.mutex);
  state.receiving = true;
  state.changed.notify_all();
  const bool woken = state.changed.wait_until(
      lock, deadline, [&] { return state.closed || !state.inbox.empty() || state.error; });
  state.receiving = false;
  if (state.closed) return state.alive().error();
  if (!state.inbox.empty()) {
    std::string frame = std::move(state.inbox.front());
    state.inbox.pop_front();
    return frame;
  }
  if (!woken) {
    return Error{ErrorCode::kDeadlineExceeded, "no frame by the mlx exchange in time"};
  }
  return *state.error;
}

Status MlxTransport::send(EncodedFrame frame, Deadline deadline) {
  State& state = *state_;
  std::unique_lock lock(state.mutex);
  const bool room = state.changed.wait_until(lock, deadline, [&] {
    return state.closed || state.error || state.outbox.size() < kMaxQueuedFrames;
  });
  if (auto ok = state.alive(); !ok) return ok;
  if (!room) {
    return Error{ErrorCode::kDeadlineExceeded, "the mlx exchange takes no frames"};
  }
  state.outbox.push_back(std::move(frame));
  state.changed.notify_all();
  return {};
}

Status MlxTransport::drain(Deadline deadline) {
  State& state = *state_;
  std::unique_lock lock(state.mutex);
  state.draining = true;
  state.changed.notify_all();
  const bool done = state.changed.wait_until(
      lock, deadline, [&] { return state.closed || state.error || !state.unsent(); });
  state.draining = false;
  if (!state.unsent()) return {};
  if (auto ok = state.alive(); !ok) return ok;
  check(!done, "drain() ends by a reason");
  return Error{ErrorCode::kDeadlineExceeded, "the mlx exchange did not take all frames in time"};
}

void MlxTransport::close() {
  const std::lock_guard lock(state_->mutex);
  state_->closed = true;
  state_->changed.notify_all();
}

}  // namespace tandem::cluster
