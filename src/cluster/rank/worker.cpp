#include "cluster/rank/worker.h"

#include <fmt/format.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <pthread.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <memory>
#include <thread>
#include <utility>

#include "base/platform.h"
#include "cluster/rank/control.h"
#include "cluster/rank/supervisor.h"
#include "cluster/rank/worker_log.h"
#include "cluster/rank/worker_service.h"
#include "cluster/timing.h"
#include "cluster/trust/credentials.h"
#include "cluster/trust/grpc_credentials.h"
#include "cluster/trust/secrets.h"
#include "cluster/trust/security.h"
#include "cluster/wire/net_address.h"
#include "cluster/wire/wire_error.h"
#include "tandem/deadline.h"

namespace tandem::cluster {
namespace {

/// Threads of the gRPC server: a gateway needs three at a time, strangers get the rest at most.
constexpr int kMaxServerThreads = 64;
/// Largest request, bytes: a Start with a ring's host file.
constexpr int kMaxRequestBytes = 1 << 20;

// SIGTERM and SIGINT as a call, on a thread of its own. They have to be blocked before any other
// thread starts, so this is made first.
class StopSignals {
 public:
  StopSignals() {
    ::sigemptyset(&set_);
    ::sigaddset(&set_, SIGTERM);
    ::sigaddset(&set_, SIGINT);
    ::pthread_sigmask(SIG_BLOCK, &set_, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
  }
  ~StopSignals() { end(); }
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  void watch(Supervisor& supervisor) {
    thread_ = std::thread([this, &supervisor] {
      int signal = 0;
      ::sigwait(&set_, &signal);
      supervisor.stop();
    });
  }
  // After this the supervisor may go.
  void end() {
    if (!thread_.joinable()) return;
    ::pthread_kill(thread_.native_handle(), SIGTERM);
    thread_.join();
  }

 private:
  sigset_t set_;
  std::thread thread_;
};

// Stops the worker when the process that started it is gone.
class ParentWatch {
 public:
  ParentWatch(ControlChannel& parent, Supervisor& supervisor)
      : thread_([this, &parent, &supervisor] {
          while (!ended_.load()) {
            const auto message = parent.receive(after(timing::kHeartbeat));
            if (message || message.error().code == ErrorCode::kDeadlineExceeded) continue;
            supervisor.stop();
            return;
          }
        }) {}
  ~ParentWatch() {
    ended_ = true;
    thread_.join();
  }
  ParentWatch(const ParentWatch&) = delete;
  ParentWatch& operator=(const ParentWatch&) = delete;

 private:
  std::atomic<bool> ended_{false};
  std::thread thread_;
};

struct Setup {
  ChildSecrets secrets;
  config::Host listen;
  Clock::duration gateway_silence = timing::kGatewaySilence;
};

Result<Setup> set_up(const WorkerOptions& options, ControlChannel* parent) {
  Setup setup;
  if (parent != nullptr) {
    auto message = parent->receive(after(timing::kWorkerStart));
    if (!message) return message.error();
    auto secrets = unpack_secrets(message->payload);
    if (!secrets) return secrets.error();
    setup.secrets = std::move(*secrets);
    setup.listen = {"127.0.0.1", 0, {}};
    // The control socket tells the parent's end; a parent that was only stopped (^Z) may come back.
    setup.gateway_silence = timing::kForever;
    return setup;
  }
  auto credentials = read_security(options.security);
  if (!credentials) return credentials.error();
  setup.secrets.credentials = std::move(*credentials);
  setup.listen = options.listen;
  setup.secrets.listen = config::to_string({options.listen.name, options.data_port, {}});
  return setup;
}

// For a gateway whose machine is gone.
void probe_peers(grpc::ServerBuilder& builder) {
  const auto every = static_cast<int>(timing::kKeepalive.count());
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, every);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                             static_cast<int>(timing::kKeepaliveTimeout.count()));
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, every / 2);
}

// Builds the server; `listen`'s port becomes the real one.
Result<std::unique_ptr<grpc::Server>> serve_grpc(WorkerService& service, config::Host& listen,
                                                 const Credentials& credentials) {
  const std::string address = config::to_string(listen);
  if (auto allowed = check_exposure(credentials, address); !allowed) return allowed.error();
  grpc::ServerBuilder builder;
  grpc::ResourceQuota quota("worker");
  quota.SetMaxThreads(kMaxServerThreads);
  builder.SetResourceQuota(quota);
  builder.SetMaxReceiveMessageSize(kMaxRequestBytes);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  if (!is_loopback_name(listen.name)) probe_peers(builder);
  builder.RegisterService(&service);
  int port = 0;
  builder.AddListeningPort(address, server_credentials(credentials), &port);
  auto server = builder.BuildAndStart();
  if (!server || port == 0) {
    return Error{ErrorCode::kUnavailable,
                 fmt::format("cannot listen on {}: the port is in use or the address is not this "
                             "machine's",
                             address)};
  }
  listen.port = static_cast<std::uint16_t>(port);
  return server;
}

/// What a gateway plans with. A machine too busy or too small to be measured says nothing.
void measure(const WorkerOptions& options, WorkerPlace& place, WorkerLog& log) {
  if (!options.probe || options.parent || place.gpu.value_or(false)) return;
  const int threads = place.threads != 0 ? place.threads : platform::physical_cores();
  const auto rates = stage::measure_machine(threads);
  if (!rates) return log.say("tandem worker: not measured: " + rates.error().message);
  log.say(
      fmt::format("tandem worker: {} threads read {:.3g} GB/s (one {:.3g}) and multiply at "
                  "{:.3g} GFLOPS each",
                  threads, rates->read / 1e9, rates->read_single / 1e9, rates->flops / 1e9));
  place.rates = *rates;
}

Status serve(const WorkerOptions& options, StopSignals& signals, ControlChannel* parent,
             const WorkerLog::Sink& listening) {
  auto setup = set_up(options, parent);
  if (!setup) return setup.error();
  auto executable = platform::executable_path();
  if (!executable) return executable.error();
  Supervisor supervisor(executable->string(), pack(setup->secrets), setup->gateway_silence);
  // Of a local worker its gateway tells.
  WorkerLog log(parent == nullptr ? listening : WorkerLog::Sink());
  WorkerPlace place = options.place;
  measure(options, place, log);
  WorkerService service(
      supervisor, {options.version, setup->secrets.credentials.key, place, executable->string()},
      &log);
  auto server = serve_grpc(service, setup->listen, setup->secrets.credentials);
  if (!server) return server.error();
  signals.watch(supervisor);
  std::unique_ptr<ParentWatch> watch;
  if (parent != nullptr) {
    const std::string port = std::to_string(setup->listen.port);
    static_cast<void>(parent->send(ControlKind::kPort, port, after(timing::kControl)));
    watch = std::make_unique<ParentWatch>(*parent, supervisor);
  }
  log.say("tandem worker: waiting for a gateway at " + config::to_string(setup->listen));
  if (options.ready) options.ready(setup->listen);
  supervisor.serve();
  signals.end();
  service.stop();
  (*server)->Shutdown(std::chrono::system_clock::now() + timing::kStopGrace / 2);
  return {};
}

}  // namespace

Status run_worker(const WorkerOptions& options,
                  const std::function<void(const std::string& line)>& listening) {
  StopSignals signals;
  if (!options.parent) return serve(options, signals, nullptr, listening);
  platform::die_with_parent();
  ControlChannel parent(kControlFd);
  auto served = serve(options, signals, &parent, listening);
  if (!served) {
    v1::Error error;
    to_wire(served.error(), error);
    static_cast<void>(
        parent.send(ControlKind::kRefused, error.SerializeAsString(), after(timing::kControl)));
  }
  return served;
}

}  // namespace tandem::cluster
