#include "cluster/gateway/remote_pipeline.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cluster/gateway/memory_shares.h"
#include "cluster/gateway/placement.h"
#include "cluster/gateway/rank_state.h"
#include "cluster/gateway/ring_members.h"
#include "cluster/gateway/ring_watch.h"
#include "cluster/link/ring_end.h"
#include "cluster/split/model_hash.h"
#include "cluster/timing.h"
#include "cluster/trust/credentials.h"
#include "cluster/trust/security.h"
#include "cluster/wire/frame.h"
#include "cluster/wire/net_address.h"

namespace tandem::cluster {
namespace {

std::uint64_t random_number() {
  std::random_device device;
  const std::uint64_t high = device();
  return (high << 32 | device()) >> 1 | 1;
}

// A tick whose result is awaited; the caller's epoch and number are given back with the result.
struct Outstanding {
  std::uint64_t epoch = 0;
  std::uint64_t number = 0;
  std::uint64_t ring_number = 0;
};

class RemotePipeline final : public Pipeline {
 public:
  RemotePipeline(Members members, RingPlan plan, Quarantine& quarantine)
      : members_(std::move(members)), plan_(std::move(plan)), quarantine_(quarantine) {}
  ~RemotePipeline() override;

  Status open(const PipelineOptions& options, const Credentials& credentials,
              const RankProgress& progress);

  std::vector<RankInfo> ranks() override;
  int stages() const override { return static_cast<int>(members_.size()); }
  Status submit(Tick tick) override;
  Result<TickResult> next(Deadline deadline) override;
  std::optional<Error> failure() override { return dead_ ? dead_ : watch_->failure(); }

 private:
  Error broken(Error reason);
  Error late(Error reason);
  Error stage_error(const StageFailure& failure);
  Result<TickResult> take(Frame frame);
  void await_oldest();
  void note_death();

  Members members_;
  const RingPlan plan_;
  Quarantine& quarantine_;
  std::unique_ptr<RingEnd> ring_;
  std::atomic<bool> joined_{false};  // the ring, for the watch's thread
  std::unique_ptr<RingWatch> watch_;
  std::deque<Outstanding> outstanding_;
  std::uint64_t last_number_ = 0;
  std::optional<Error> dead_;
  int failed_stage_ = -1;  // that sent an error in place of a result
};

// After a failure the ranks keep their layers for the next pipeline. A worker that does not answer
// is not asked, and ended where it is ours.
RemotePipeline::~RemotePipeline() {
  if (watch_) watch_->end();
  note_death();
  if (ring_) ring_->close();
  // A broken mlx ring may hold a thread inside MLX for ever: it is left to exit_process().
  if (ring_ && plan_.transport == "mlx" && dead_) static_cast<void>(ring_.release());
  ring_.reset();  // while the ranks live: mlx says goodbye to them
  const bool keep = dead_ || (watch_ && watch_->failure());  // found while no tick was under way
  std::vector<std::thread> stops;
  for (int rank = 0; rank < stages(); ++rank) {
    Member& member = members_[static_cast<std::size_t>(rank)];
    const bool lost = !member.client || (watch_ && !watch_->answers(rank));
    if (lost && member.process != nullptr) member.process->end(Clock::now());
    if (lost) continue;
    stops.emplace_back([&member, keep] { member.client->stop(keep); });
  }
  for (std::thread& stop : stops) stop.join();
  for (Member& member : members_) member.client.reset();  // their threads still wake the watch
}

void RemotePipeline::note_death() {
  const int dead = watch_ ? watch_->dead_rank() : -1;
  const int rank = dead >= 0 ? dead : failed_stage_;
  if (rank < 0) return;
  const bool outside = dead >= 0 && watch_->failure()->code == ErrorCode::kUnavailable;
  const Member& member = members_[static_cast<std::size_t>(rank)];
  const std::string place = member.process ? place_of(rank, {}) : config::to_string(member.host);
  quarantine_.died(place, outside, Clock::now());
}

Status RemotePipeline::open(const PipelineOptions& options, const Credentials& credentials,
                            const RankProgress& progress) {
  auto source = local_address_towards(members_.back().host);
  if (!source) return source.error();
  auto ring = RingEnd::open({plan_.transport, plan_.cluster, plan_.epoch, kGatewayRank, stages(),
                             config::to_string({*source, 0, {}}), credentials});
  if (!ring) return ring.error();
  ring_ = std::move(*ring);
  std::vector<WatchedRank> watched;
  for (int rank = 0; rank < stages(); ++rank) {
    const Member& member = members_[static_cast<std::size_t>(rank)];
    watched.push_back({member.client.get(), member.process, name_of(rank, member)});
  }
  const auto failed = [this] {
    for (Member& member : members_) member.client->cancel();
    ring_->close();
  };
  const auto look = [this] {
    if (joined_) ring_->transport().probe();
  };
  const auto received = [this] { return joined_ ? ring_->transport().received_bytes() : 0; };
  watch_ = std::make_unique<RingWatch>(std::move(watched), failed, look, received);
  auto ready = load_all(members_, options.stage, plan_, *watch_, progress);
  if (ready) ready = join_all(members_, plan_, *ring_, *watch_);
  if (!ready) dead_ = ready.error();
  joined_ = ready.ok();
  return ready;
}

std::vector<RankInfo> RemotePipeline::ranks() {
  std::vector<RankInfo> ranks;
  std::optional<double> link = one_way_ms(ring_->transport().round_trip());
  for (int rank = 0; rank < stages(); ++rank) {
    const Member& member = members_[static_cast<std::size_t>(rank)];
    const WorkerHealth health = member.client->health();
    RankState state = state_of(health);
    state.link_ms = std::exchange(link, one_way_ms(link_round_trip(health)));
    if (rank + 1 == stages()) state.return_ms = link;
    ranks.push_back({rank, config::to_string(member.host), member.info,
                     std::max(member.memory_bytes, health.memory_peak), member.device,
                     std::move(state)});
  }
  return ranks;
}

Status RemotePipeline::submit(Tick tick) {
  if (dead_) return *dead_;
  if (outstanding_.size() >= kMaxQueuedFrames) {
    return Error{ErrorCode::kResourceLimit,
                 fmt::format("{} ticks are in flight already", kMaxQueuedFrames)};
  }
  const Outstanding sent{tick.epoch, tick.number, ++last_number_};
  Frame frame;
  frame.tick = std::move(tick);
  frame.tick.epoch = plan_.epoch;
  frame.tick.number = sent.ring_number;
  outstanding_.push_back(sent);
  auto done = ring_->transport().send(encode(frame), after(timing::kSend));
  if (done) return {};
  if (done.error().code != ErrorCode::kDeadlineExceeded) return broken(done.error());
  return late(
      {ErrorCode::kUnavailable, fmt::format("{} takes no frames: tick {} was not sent in time",
                                            name_of(0, members_.front()), sent.number)});
}

Result<TickResult> RemotePipeline::next(Deadline deadline) {
  if (dead_) return *dead_;
  if (outstanding_.empty()) return invalid("no tick is in flight");
  await_oldest();
  auto bytes = ring_->transport().receive(deadline);
  watch_->await_tick(0, {});
  if (!bytes && bytes.error().code == ErrorCode::kDeadlineExceeded) {
    return late(
        {ErrorCode::kDeadlineExceeded,
         fmt::format("tick {} has no result before its deadline", outstanding_.front().number)});
  }
  if (!bytes) return broken(bytes.error());
  auto frame = decode(*bytes);
  if (!frame) return broken({ErrorCode::kInternal, frame.error().message});
  return take(std::move(*frame));
}

Result<TickResult> RemotePipeline::take(Frame frame) {
  const Outstanding expected = outstanding_.front();
  outstanding_.pop_front();
  if (frame.failure) return stage_error(*frame.failure);
  if (!frame.result || frame.tick.epoch != plan_.epoch ||
      frame.result->number != expected.ring_number) {
    return broken({ErrorCode::kInternal,
                   fmt::format("a frame that is not the result of tick {}", expected.ring_number)});
  }
  frame.result->epoch = expected.epoch;
  frame.result->number = expected.number;
  return std::move(*frame.result);
}

// The reason that the watch finds explains a broken link; the link's own words are the last resort.
Error RemotePipeline::broken(Error reason) {
  watch_->link_broke({ErrorCode::kUnavailable, "the ring broke: " + reason.message});
  dead_ = watch_->wait_failure(after(2 * timing::kBlame + timing::kWatch));
  if (!dead_) dead_ = Error{ErrorCode::kUnavailable, "the ring broke: " + reason.message};
  return *dead_;
}

// A deadline passed; what the watch may have found by now says more.
Error RemotePipeline::late(Error reason) {
  dead_ = watch_->failure();
  if (!dead_) dead_ = std::move(reason);
  return *dead_;
}

Error RemotePipeline::stage_error(const StageFailure& failure) {
  const bool known = failure.rank >= 0 && failure.rank < stages();
  if (known) failed_stage_ = failure.rank;
  const std::string who =
      known ? name_of(failure.rank, members_[static_cast<std::size_t>(failure.rank)])
            : fmt::format("rank {}", failure.rank);
  dead_ = Error{failure.error.code, who + ": " + failure.error.message};
  return *dead_;
}

// What a frame's bytes take on their way is progress that ranks report; what rests is the delay of
// the way itself, there and, for a heartbeat that tells of it, back.
void RemotePipeline::await_oldest() {
  Clock::duration patience = plan_.transport == "mlx" ? timing::kLostMlxTick : timing::kLostTick;
  for (const Member& member : members_) {
    const WorkerHealth health = member.client->health();
    patience += 2 * health.round_trip.value_or(Clock::duration(0));
    patience += 2 * link_round_trip(health).value_or(Clock::duration(0));
  }
  watch_->await_tick(outstanding_.front().ring_number, patience);
}

}  // namespace

std::string place_of(int rank, const std::vector<config::Host>& hosts) {
  return hosts.empty() ? fmt::format("rank {}", rank)
                       : config::to_string(hosts[static_cast<std::size_t>(rank)]);
}

Result<std::unique_ptr<Pipeline>> open_remote_pipeline(const PipelineOptions& options,
                                                       const GatewayName& gateway,
                                                       Standing& standing, const Note& note,
                                                       const RankProgress& progress) {
  const bool local = options.hosts.empty();
  LocalWorkers& local_workers = standing.local;
  auto hash = model_hash(options.stage.folder);
  if (!hash) return hash.error();
  // Before any process starts: more ranks than layers is the caller's mistake.
  if (auto good = check_split(options); !good) return good.error();
  auto credentials = read_security(options.security);
  if (!credentials) return credentials.error();
  if (local_workers.key.empty()) local_workers.key = make_nonce();
  if (local) *credentials = {{}, {}, {}, local_workers.key};

  RingPlan plan;
  plan.gateway = gateway.name;
  plan.epoch = gateway.epoch;
  plan.cluster = fmt::format("{:016x}", random_number());
  plan.transport = options.transport == TransportKind::kMlx ? "mlx" : "grpc";
  if (auto safe = check_frame_security(*credentials, plan.transport, options.hosts); !safe) {
    return safe.error();
  }
  plan.mlx_backend = options.mlx_backend;
  plan.model_hash = *hash;
  auto members = gather(options, local_workers, *credentials);
  if (!members) return members.error();
  PipelineOptions own = options;
  if (standing.activations) {
    own.activations_given = true;
    own.stage.activations = *standing.activations;
  }
  const auto said = place_layers(*members, own, standing.placement);
  if (!said) return said.error();
  if (note) note(*said);
  if (local) {
    if (auto shared = share_memory(*members, own.stage); !shared) return shared.error();
  }

  own.stage.folder = std::filesystem::absolute(options.stage.folder);
  auto pipeline =
      std::make_unique<RemotePipeline>(std::move(*members), std::move(plan), standing.quarantine);
  if (auto opened = pipeline->open(own, *credentials, progress); !opened) return opened.error();
  standing.activations = own.stage.activations;
  return std::unique_ptr<Pipeline>(std::move(pipeline));
}

}  // namespace tandem::cluster
