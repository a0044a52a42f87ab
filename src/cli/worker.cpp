// `tandem worker`: one machine's side of a cluster.

#include "cluster/rank/worker.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <sstream>
#include <thread>

#include "cli/commands.h"
#include "cli/utc_time.h"
#include "launch/settings.h"

namespace tandem::cli {
namespace {

/// A launcher says something every second; one that is silent for so long is gone, and so is the
/// machine between, whatever its connection says.
constexpr std::chrono::milliseconds kLauncherSilence{30000};

/// What sshd says of the connection: the addresses of both machines as this one knows them.
struct SshConnection {
  std::string client;
  std::string server;
};

SshConnection parse_connection(const std::string& text) {
  SshConnection connection;
  std::istringstream words(text);
  std::string port;
  words >> connection.client >> port >> connection.server;
  return connection;
}

Status enter(const launch::WorkerSettings& settings) {
  if (!settings.folder.empty() && ::chdir(settings.folder.c_str()) != 0) {
    return invalid(fmt::format("--cwd: {}: {}", settings.folder, std::strerror(errno)));
  }
  for (const auto& [name, value] : settings.variables) {
    if (::setenv(name.c_str(), value.c_str(), 1) != 0) {
      return invalid(fmt::format("--env: {}: {}", name, std::strerror(errno)));
    }
  }
  return {};
}

/// Ends the worker, by the signal that it takes for that, when the launcher is gone. Runs for as
/// long as the process.
void end_with_launcher() {
  std::thread([] {
    std::array<char, 256> bytes;
    while (true) {
      pollfd input{STDIN_FILENO, POLLIN, 0};
      const int ready = ::poll(&input, 1, static_cast<int>(kLauncherSilence.count()));
      if (ready < 0 && errno == EINTR) continue;
      if (ready > 0 && ::read(STDIN_FILENO, bytes.data(), bytes.size()) > 0) continue;
      ::kill(::getpid(), SIGTERM);
      return;
    }
  }).detach();
}

/// As a launcher starts it: settings come by standard input, and the address goes to standard
/// output.
Status run_launched(cluster::WorkerOptions worker, const Environment& environment, Console& console,
                    const std::function<void(const std::string&)>& log) {
  auto line = console.read_line(launch::kMaxLineBytes, -1);
  if (!line) return line.error();
  if (!*line) return Error{ErrorCode::kUnavailable, "the launcher is gone"};
  auto settings = launch::parse_settings(**line);
  if (!settings) return settings.error();
  if (auto entered = enter(*settings); !entered) return entered.error();
  const SshConnection ssh = parse_connection(environment.ssh_connection);
  worker.listen.name = !settings->address.empty() ? settings->address
                       : !ssh.server.empty()      ? ssh.server
                                                  : "127.0.0.1";
  worker.listen.port = settings->port;
  worker.security.key = settings->key;
  worker.place.gpu = settings->gpu;
  worker.place.memory_bytes = settings->memory;
  worker.place.threads = settings->threads;
  worker.ready = [&](const config::Host& host) {
    static_cast<void>(console.write(launch::encode({host.name, host.port, ssh.client}) + '\n'));
    end_with_launcher();
  };
  return cluster::run_worker(worker, log);
}

}  // namespace

Status run_worker_command(const WorkerCommand& options, const Environment& environment,
                          Console& console) {
  cluster::WorkerOptions worker = options.worker;
  worker.version = TANDEM_VERSION;
  const auto log = [&](const std::string& line) { console.note(utc_now() + " " + line + "\n"); };
  if (options.launched) return run_launched(std::move(worker), environment, console, log);
  return cluster::run_worker(worker, log);
}

}  // namespace tandem::cli
