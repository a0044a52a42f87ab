#include "cluster/gateway/ring_members.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <optional>
#include <utility>

#include "base/platform.h"
#include "cluster/gateway/crew.h"
#include "cluster/link/mlx_group.h"
#include "cluster/timing.h"
#include "cluster/wire/load_messages.h"
#include "cluster/wire/net_address.h"
#include "cluster/wire/wire_error.h"
#include "stage/machine_rates.h"

namespace tandem::cluster {
namespace {

constexpr std::size_t kMaxDeviceBytes = 64;
constexpr std::uint32_t kMaxThreads = 1024;

// "rank 1 (...): config.json: ..." for what a person did, "rank 1 (...) was killed" for what
// befell.
Error named(int rank, const Member& member, const Error& error) {
  const bool mistake = error.code == ErrorCode::kInvalidArgument ||
                       error.code == ErrorCode::kNotFound ||
                       error.code == ErrorCode::kResourceLimit;
  const bool gone = error.code == ErrorCode::kInternal || error.code == ErrorCode::kCancelled;
  const ErrorCode code = gone ? ErrorCode::kUnavailable : error.code;
  return {code, name_of(rank, member) + (mistake ? ": " : " ") + error.message};
}

// A local worker whose connection broke: its exit status says more.
Error explained(int rank, const Member& member, const Error& error) {
  if (member.process && error.code != ErrorCode::kInvalidArgument) {
    if (const auto death = member.process->death(after(timing::kBlame))) {
      return named(rank, member, {ErrorCode::kUnavailable, *death});
    }
  }
  return named(rank, member, error);
}

Status start_local(Members& members, const PipelineOptions& options, LocalWorkers& local) {
  auto executable = platform::executable_path();
  if (!executable) return executable.error();
  local.workers.resize(static_cast<std::size_t>(options.ranks));
  for (auto& worker : local.workers) {
    if (!worker || worker->death(Clock::now())) {
      auto started = LocalWorker::start(executable->string(), local.key);
      if (!started) return started.error();
      worker = std::move(*started);
    }
    members.emplace_back().process = worker.get();
  }
  const Deadline deadline = after(timing::kWorkerStart);
  for (Member& member : members) {
    auto host = member.process->listening(deadline);
    if (!host) return host.error();
    member.host = std::move(*host);
  }
  return {};
}

Status check_hosts(const std::vector<config::Host>& hosts) {
  const auto loopback = [](const config::Host& host) { return is_loopback_name(host.name); };
  const auto near = std::find_if(hosts.begin(), hosts.end(), loopback);
  if (near == hosts.end() || std::all_of(hosts.begin(), hosts.end(), loopback)) return {};
  return invalid(config::to_string(*near) +
                 ": the other hosts cannot reach a loopback address; "
                 "name this host as they see it");
}

void cancel_all(Members& members) {
  for (Member& member : members) {
    if (member.client) member.client->cancel();
  }
}

// Which of its devices a host is asked for: flags go before the host file.
v1::DeviceKind wanted_device(std::size_t rank, const config::Host& host,
                             const PipelineOptions& options) {
  std::optional<bool> gpu = host.gpu;
  if (!options.gpus.empty()) gpu = options.gpus[rank];
  // Only the CPU's own kernels have these.
  const stage::StageOptions& stage = options.stage;
  if (!gpu && (stage.kv_bits != 0 || stage.isa != kernels::Isa::kBest)) gpu = false;
  if (!gpu) return v1::DEVICE_KIND_UNSPECIFIED;
  return *gpu ? v1::DEVICE_KIND_GPU : v1::DEVICE_KIND_CPU;
}

// What was measured with all threads of a worker, for those that the rank gets.
void take_rates(const v1::DescribeReply& reply, int threads, Member& member) {
  const auto all = static_cast<int>(std::min<std::uint32_t>(reply.threads(), kMaxThreads));
  if (member.host.threads != 0) threads = member.host.threads;
  threads = threads == 0 ? all : std::min(threads, all);
  const stage::MachineRates rates{all, reply.read_rate(), reply.read_rate_single(), reply.flops()};
  // What comes over the wire may be anything.
  const auto sound = [](double rate) { return rate > 1e6 && rate < 1e18; };
  if (threads < 1 || !sound(rates.read) || !sound(rates.read_single) || !sound(rates.flops)) return;
  member.read_rate = rates.read_with(threads);
  member.flops = rates.flops * threads;
}

Status describe(int rank, Member& member, const PipelineOptions& options) {
  const auto wanted = wanted_device(static_cast<std::size_t>(rank), member.host, options);
  const std::string own = std::filesystem::absolute(options.stage.folder).string();
  auto described =
      member.client->describe(wanted, member.host.model.empty() ? own : member.host.model);
  if (!described) return explained(rank, member, described.error());
  member.gpu = described->device() == v1::DEVICE_KIND_GPU;
  member.memory_free = described->memory_bytes();
  // Layers that it keeps are used again or dropped.
  if (!member.gpu && member.memory_free != 0) {
    member.memory_free += member.client->hello().held_bytes();
  }
  if (const std::uint64_t most = member.host.memory_bytes; most != 0) {
    member.memory_free = member.memory_free == 0 ? most : std::min(member.memory_free, most);
  }
  member.machine = described->machine();
  take_rates(*described, options.stage.threads, member);
  auto way = member.client->measure_link();
  if (!way) return explained(rank, member, way.error());
  member.way = *way;
  return {};
}

// MLX's ring wants IP addresses, the gateway's first. Other backends find each other by themselves.
Result<std::string> mlx_hostfile(const Members& members, const RingPlan& plan,
                                 const RingEnd& gateway) {
  if (plan.transport != "mlx" || plan.mlx_backend != "ring") return std::string();
  std::vector<std::string> addresses{gateway.address()};
  for (const Member& member : members) {
    auto ip = ip_of(member.host.name);
    if (!ip) return ip.error();
    const int port = port_of(member.link);
    addresses.push_back(config::to_string({*ip, static_cast<std::uint16_t>(port), {}}));
  }
  return ring_hostfile(addresses);
}

// A failure that the watch finds explains the call that it broke.
Status or_watched(Status status, const RingWatch& watch) {
  if (status || status.error().code == ErrorCode::kInvalidArgument) return status;
  auto failure = watch.wait_failure(after(timing::kBlame));
  if (!failure) return status;
  // No input was there yet.
  if (failure->code == ErrorCode::kInternal) failure->code = ErrorCode::kUnavailable;
  return *failure;
}

}  // namespace

std::string name_of(int rank, const Member& member) {
  const std::string host = config::to_string(member.host);
  if (member.layers.last == 0) return fmt::format("rank {} ({})", rank, host);
  if (member.layers.last == member.layers.first + 1) {
    return fmt::format("rank {} ({}, layer {})", rank, host, member.layers.first);
  }
  return fmt::format("rank {} ({}, layers {}..{})", rank, host, member.layers.first,
                     member.layers.last - 1);
}

Result<Members> gather(const PipelineOptions& options, LocalWorkers& local,
                       const Credentials& credentials) {
  Members members;
  if (options.hosts.empty()) {
    if (auto started = start_local(members, options, local); !started) return started.error();
    for (std::size_t rank = 0; rank < members.size(); ++rank) {
      members[rank].gpu = options.gpus.empty() ? options.stage.gpu : options.gpus[rank];
    }
  } else {
    if (auto good = check_hosts(options.hosts); !good) return good.error();
    for (const config::Host& host : options.hosts) members.emplace_back().host = host;
  }
  const auto greet = [&](int rank, Crew& /*crew*/) -> Status {
    Member& member = members[static_cast<std::size_t>(rank)];
    auto client = WorkerClient::connect(member.host, credentials, options.version);
    if (!client) return explained(rank, member, client.error());
    member.client = std::move(*client);
    return member.process ? Status() : describe(rank, member, options);
  };
  Crew crew;
  if (auto greeted = crew.run(static_cast<int>(members.size()), greet, [] {}, {}); !greeted) {
    return greeted.error();
  }
  return members;
}

Status load_all(Members& members, const stage::StageOptions& options, const RingPlan& plan,
                RingWatch& watch, const RankProgress& progress) {
  const auto load = [&](int rank, Crew& crew) -> Status {
    Member& member = members[static_cast<std::size_t>(rank)];
    stage::StageOptions own = options;
    own.layers = member.layers;
    own.gpu = member.gpu;
    own.memory_bytes = member.process ? member.memory_share : member.host.memory_bytes;
    if (member.host.kv_bytes != 0) own.kv_bytes_max = member.host.kv_bytes;
    if (member.host.threads != 0) own.threads = member.host.threads;
    if (!member.host.model.empty()) own.folder = member.host.model;
    v1::LoadRequest request;
    put(own, request);
    request.set_gateway(plan.gateway);
    request.set_cluster(plan.cluster);
    request.set_epoch(plan.epoch);
    request.set_rank(rank);
    request.set_stages(static_cast<int>(members.size()));
    request.set_model_hash(plan.model_hash);
    request.set_transport(plan.transport);
    auto loaded = member.client->load(
        std::move(request),
        [&](const v1::LoadProgress& news) { crew.report(rank, news.done(), news.total()); },
        [&watch] { watch.wake(); });
    if (!loaded) return explained(rank, member, loaded.error());
    auto info = take_info(loaded->stage());
    if (!info) return named(rank, member, info.error());
    const int port = port_of(loaded->link_address());
    if (port == 0) return named(rank, member, invalid("loaded: its link address has no port"));
    member.info = *info;
    member.memory_bytes = loaded->memory_bytes();
    member.device = one_line(loaded->device(), kMaxDeviceBytes);
    member.link = config::to_string({member.host.name, static_cast<std::uint16_t>(port), {}});
    return {};
  };
  Crew crew;
  return or_watched(
      crew.run(
          static_cast<int>(members.size()), load, [&] { cancel_all(members); }, progress),
      watch);
}

Status join_all(Members& members, const RingPlan& plan, RingEnd& gateway, RingWatch& watch) {
  const int count = static_cast<int>(members.size());
  auto hostfile = mlx_hostfile(members, plan, gateway);
  if (!hostfile) return hostfile.error();
  const auto join = [&](int rank, Crew& /*crew*/) -> Status {
    if (rank == count) {
      return gateway.join({members.front().link, plan.mlx_backend, *hostfile},
                          after(timing::kRingStart));
    }
    Member& member = members[static_cast<std::size_t>(rank)];
    v1::StartRequest request;
    request.set_epoch(plan.epoch);
    request.set_successor_address(
        rank + 1 < count ? members[static_cast<std::size_t>(rank) + 1].link : gateway.address());
    request.set_mlx_backend(plan.mlx_backend);
    request.set_mlx_hostfile(*hostfile);
    request.set_connect_ms(static_cast<int>(
        std::chrono::duration_cast<std::chrono::milliseconds>(timing::kRingStart).count()));
    if (auto joined = member.client->join(std::move(request)); !joined) {
      return explained(rank, member, joined.error());
    }
    return {};
  };
  Crew crew;
  const auto abort = [&] {
    cancel_all(members);
    gateway.close();
  };
  return or_watched(crew.run(count + 1, join, abort, {}), watch);
}

}  // namespace tandem::cluster
