#include "cluster/gateway/link_bench.h"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>

#include "base/platform.h"
#include "cluster/gateway/launcher.h"
#include "cluster/link/mlx_group.h"
#include "cluster/link/ring_end.h"
#include "cluster/rank/control.h"
#include "cluster/rank/process.h"
#include "cluster/rank/worker.h"
#include "cluster/timing.h"
#include "cluster/trust/credentials.h"
#include "cluster/trust/secrets.h"
#include "tandem.pb.h"
#include "tandem/deadline.h"

namespace tandem::cluster {
namespace {

constexpr int kWindow = 8;  // frames in flight while streaming
constexpr auto kFrameWait = std::chrono::seconds(20);

Status check_options(const LinkOptions& options) {
  if (options.round_trips < 1) return invalid("bench link: round trips are at least 1");
  for (const std::uint64_t bytes : options.payloads) {
    if (bytes > kMaxLinkPayload) return invalid("bench link: a payload is at most 256 MiB");
  }
  return {};
}

Result<ControlMessage> expect(ControlChannel& channel, ControlKind kind) {
  auto message = channel.receive(after(timing::kComputeStart));
  if (!message) return message;
  if (message->kind == ControlKind::kRefused) {
    return Error{ErrorCode::kUnavailable, "link peer: " + message->payload};
  }
  if (message->kind != kind) return Error{ErrorCode::kInternal, "link peer: spoke out of turn"};
  return message;
}

// Both ends of the ring of two, joined.
struct Pair {
  std::unique_ptr<ChildProcess> child;
  std::unique_ptr<ControlChannel> channel;
  std::unique_ptr<RingEnd> end;  // goes first: it says goodbye to the child's
};

v1::LoadRequest describe(const LinkOptions& options, int rank) {
  v1::LoadRequest load;
  load.set_transport(options.transport);
  load.set_cluster("link bench");
  load.set_epoch(1);
  load.set_rank(rank);
  load.set_stages(1);
  return load;
}

RingOptions ring_options(const v1::LoadRequest& load, const Credentials& credentials) {
  RingOptions ring;
  ring.transport = load.transport();
  ring.cluster = load.cluster();
  ring.epoch = load.epoch();
  ring.rank = load.rank();
  ring.stages = load.stages();
  ring.credentials = credentials;
  return ring;
}

Status send_setup(const LinkOptions& options, ControlChannel& channel) {
  const auto wait = after(timing::kControl);
  const std::string secrets = pack(ChildSecrets{options.credentials, "127.0.0.1:0"});
  if (auto ok = channel.send(ControlKind::kSecret, secrets, wait); !ok) return ok;
  return channel.send(ControlKind::kLoad, describe(options, 0).SerializeAsString(), wait);
}

Result<Pair> start_pair(const LinkOptions& options) {
  Pair pair;
  auto child = ChildProcess::start(options.executable, {kLinkPeerCommand}, false);
  if (!child) return child.error();
  pair.child = std::move(*child);
  pair.channel = std::make_unique<ControlChannel>(pair.child->control());
  if (auto ok = send_setup(options, *pair.channel); !ok) return ok.error();
  auto address = expect(*pair.channel, ControlKind::kPort);
  if (!address) return address.error();
  auto end = RingEnd::open(ring_options(describe(options, kGatewayRank), options.credentials));
  if (!end) return end.error();
  pair.end = std::move(*end);
  v1::StartRequest start;
  start.set_successor_address(pair.end->address());
  start.set_mlx_backend(options.mlx_backend);
  const std::string addresses[] = {pair.end->address(), address->payload};
  start.set_mlx_hostfile(ring_hostfile(addresses));
  auto sent =
      pair.channel->send(ControlKind::kStart, start.SerializeAsString(), after(timing::kControl));
  if (!sent) return sent.error();
  const RingPeers peers{address->payload, options.mlx_backend, start.mlx_hostfile()};
  if (auto ok = pair.end->join(peers, after(timing::kRingStart)); !ok) return ok.error();
  if (auto joined = expect(*pair.channel, ControlKind::kStarted); !joined) return joined.error();
  return pair;
}

Status round_trip(Transport& transport, std::string frame) {
  const std::size_t bytes = frame.size();
  if (auto ok = transport.send(std::move(frame), after(kFrameWait)); !ok) return ok;
  auto back = transport.receive(after(kFrameWait));
  if (!back) return back.error();
  if (back->size() != bytes) return Error{ErrorCode::kInternal, "link peer: another frame came"};
  return {};
}

Status measure_latency(Transport& transport, const LinkOptions& options, LinkPayload& out) {
  std::vector<double> times;
  const Deadline stop = after(options.time_each);
  constexpr int kWarmUp = 3;
  for (int i = -kWarmUp; i < options.round_trips; ++i) {
    std::string frame(out.bytes, 'x');
    const auto start = Clock::now();
    if (auto ok = round_trip(transport, std::move(frame)); !ok) return ok;
    const auto end = Clock::now();
    const std::chrono::duration<double, std::micro> took = end - start;
    if (i >= 0) times.push_back(took.count() / 2);
    if (i >= 0 && end > stop) break;
  }
  std::sort(times.begin(), times.end());
  out.round_trips = static_cast<int>(times.size());
  out.one_way_us = times[times.size() / 2];
  out.one_way_p99_us = times[times.size() * 99 / 100];
  return {};
}

Status measure_bandwidth(Transport& transport, const LinkOptions& options, LinkPayload& out) {
  const Deadline stop = after(options.time_each);
  const auto start = Clock::now();
  int sent = 0;
  int received = 0;
  while (received == 0 || received < sent) {
    const bool more = sent < options.round_trips && Clock::now() < stop;
    if (sent == 0 || (more && sent - received < kWindow)) {
      if (auto ok = transport.send(std::string(out.bytes, 'x'), after(kFrameWait)); !ok) return ok;
      ++sent;
      continue;
    }
    if (auto back = transport.receive(after(kFrameWait)); !back) return back.error();
    ++received;
  }
  const std::chrono::duration<double> took = Clock::now() - start;
  out.bytes_per_second = static_cast<double>(out.bytes) * received / took.count();
  return {};
}

// The child's part after its set-up has come; an error goes to the parent.
Status serve(ControlChannel& channel, const RingOptions& options) {
  auto end = RingEnd::open(options);
  if (!end) return end.error();
  auto sent = channel.send(ControlKind::kPort, (*end)->address(), after(timing::kControl));
  if (!sent) return sent;
  auto message = expect(channel, ControlKind::kStart);
  if (!message) return message.error();
  v1::StartRequest start;
  if (!start.ParseFromString(message->payload)) return invalid("malformed StartRequest");
  const RingPeers peers{start.successor_address(), start.mlx_backend(), start.mlx_hostfile()};
  if (auto ok = (*end)->join(peers, after(timing::kRingStart)); !ok) return ok;
  if (auto ok = channel.send(ControlKind::kStarted, {}, after(timing::kControl)); !ok) return ok;
  Transport& transport = (*end)->transport();
  while (true) {
    auto frame = transport.receive(after(timing::kReceivePoll));
    if (frame) {
      if (auto ok = transport.send(std::move(*frame), after(kFrameWait)); !ok) return ok;
      continue;
    }
    if (frame.error().code != ErrorCode::kDeadlineExceeded) return frame.error();
    // Nothing is said here any more: a message or the end of the parent ends this process too.
    const auto word = channel.receive(Clock::now());
    if (word || word.error().code != ErrorCode::kDeadlineExceeded) return {};
  }
}

}  // namespace

Result<LinkReport> bench_link(const LinkOptions& options) {
  if (auto ok = check_options(options); !ok) return ok.error();
  auto pair = start_pair(options);
  if (!pair) return pair.error();
  Transport& transport = pair->end->transport();
  LinkReport report;
  report.transport = options.transport;
  report.tls = options.credentials.tls();
  report.key = !options.credentials.key.empty();
  for (const std::uint64_t bytes : options.payloads) {
    LinkPayload& payload = report.payloads.emplace_back();
    payload.bytes = bytes;
    if (auto ok = measure_latency(transport, options, payload); !ok) return ok.error();
    if (auto ok = measure_bandwidth(transport, options, payload); !ok) return ok.error();
  }
  return report;
}

namespace {

int link_peer() {
  ControlChannel channel(kControlFd);
  const auto secrets = expect(channel, ControlKind::kSecret);
  if (!secrets) return 1;
  const auto load = expect(channel, ControlKind::kLoad);
  if (!load) return 1;
  auto child = unpack_secrets(secrets->payload);
  v1::LoadRequest request;
  if (!child || !request.ParseFromString(load->payload)) return 1;
  const auto served = serve(channel, ring_options(request, child->credentials));
  if (served) return 0;
  // The parent may be gone, which is how most runs end.
  (void)channel.send(ControlKind::kRefused, served.error().message, after(timing::kControl));
  return 1;
}

}  // namespace

// Leaves without destructors: the mlx transport may have a thread inside MLX.
int run_link_peer() {
  platform::die_with_parent();
  exit_process(link_peer());
}

}  // namespace tandem::cluster
