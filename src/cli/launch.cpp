#include "cli/launch.h"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <utility>
#include <variant>

#include "cli/command_line.h"
#include "cli/interrupt.h"
#include "cluster/trust/credentials.h"

namespace tandem::cli {
namespace {

/// For all workers to answer: ssh's own limit and what a busy machine takes to start a program.
constexpr std::chrono::seconds kStart{40};

/// Each host of --hosts: [user@]host.
Result<std::vector<config::Host>> listed_hosts(const std::string& list) {
  std::vector<config::Host> hosts;
  for (std::size_t begin = 0; begin <= list.size();) {
    const std::size_t end = std::min(list.find(',', begin), list.size());
    const std::string text = list.substr(begin, end - begin);
    if (auto allowed = launch::check_destination(text); !allowed.ok()) {
      return invalid("--hosts: " + allowed.error().message);
    }
    config::Host& host = hosts.emplace_back();
    host.name = text.substr(text.find('@') + 1);
    host.port = 0;
    host.ssh = text;
    begin = end + 1;
  }
  if (hosts.size() > config::kMaxHosts) return invalid("--hosts: too many hosts");
  return hosts;
}

Result<std::vector<config::Host>> wanted_hosts(const LaunchOptions& options) {
  if (!options.hostfile.empty()) {
    auto file = config::load_hostfile(options.hostfile);
    if (!file) return file.error();
    return std::move(file->hosts);
  }
  return listed_hosts(options.hosts.empty() ? "localhost" : options.hosts);
}

/// 64 hexadecimal digits, which travel as text.
std::string make_key() {
  std::string key;
  for (const char byte : cluster::make_nonce()) {
    key += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  }
  return key;
}

launch::Target target_of(const config::Host& host, const LaunchOptions& options) {
  launch::Target target;
  const std::string destination = host.ssh.empty() ? host.name : host.ssh;
  target.name = destination;
  if (!launch::is_here(destination)) target.ssh = destination;
  target.ssh_port = host.ssh_port;
  // This machine's is this very binary.
  target.binary = host.binary.empty() && !target.ssh.empty() ? options.binary : host.binary;
  // A host that ssh knows by a name says itself where it was reached.
  if (!target.ssh.empty() && launch::is_address(host.name)) {
    target.settings.address = host.name;
  }
  target.settings.gpu = host.gpu;
  target.settings.memory = host.memory_bytes;
  target.settings.threads = host.threads;
  target.settings.folder = options.folder;
  target.settings.variables = options.variables;
  return target;
}

/// Lines of workers on standard error, each behind its rank and host.
launch::Say printer(const std::vector<launch::Target>& targets, bool verbose, bool colours,
                    Console& console) {
  std::vector<std::string> names;
  for (const launch::Target& target : targets) names.push_back(target.name);
  return [names, verbose, colours, &console](std::size_t worker, const std::string& line,
                                             bool urgent) {
    if (!verbose && !urgent) return;
    constexpr std::array kColours = {36, 33, 35, 32, 34, 31};
    const std::string where = fmt::format("[{} {}]", worker, names[worker]);
    console.note(colours ? fmt::format("\x1b[{}m{}\x1b[0m {}\n", kColours[worker % kColours.size()],
                                       where, line)
                         : fmt::format("{} {}\n", where, line));
  };
}

}  // namespace

Result<LaunchPlan> launch_plan(const LaunchOptions& options, const std::string& key) {
  auto hosts = wanted_hosts(options);
  if (!hosts) return hosts.error();
  LaunchPlan plan;
  for (const config::Host& host : *hosts) {
    if (options.repeat > 1 && host.layers) {
      return invalid("-n: one worker a host where the host file says the layers");
    }
    for (int i = 0; i < options.repeat; ++i) {
      launch::Target target = target_of(host, options);
      target.settings.key = key;
      const auto port = static_cast<std::size_t>(options.starting_port) + plan.targets.size();
      if (options.starting_port > 0) {
        if (port > 65535) return invalid("--starting-port: the last worker's is beyond 65535");
        target.settings.port = static_cast<std::uint16_t>(port);
      }
      plan.targets.push_back(std::move(target));
      plan.hosts.push_back(host);
    }
  }
  if (plan.targets.size() > config::kMaxHosts) {
    return invalid(fmt::format("-n: more than {} workers", config::kMaxHosts));
  }
  return plan;
}

Result<Launched> launch_workers(const LaunchOptions& options, const Environment& environment,
                                Console& console) {
  Launched launched;
  launched.key = make_key();
  auto plan = launch_plan(options, launched.key);
  if (!plan) return plan.error();
  const Interrupt interrupt;
  auto say = printer(plan->targets, options.verbose, console.error_is_terminal(), console);
  auto crew = launch::Crew::start(std::move(plan->targets), environment.executable.string(),
                                  after(kStart), interrupt.descriptor(), std::move(say));
  if (!crew) return crew.error();
  launched.crew = std::move(*crew);
  launched.hosts = std::move(plan->hosts);
  const auto addresses = launched.crew->hosts();
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    launched.hosts[i].name = addresses[i].name;
    launched.hosts[i].port = addresses[i].port;
  }
  return launched;
}

Result<Command> launched_command(const LaunchOptions& options, const Launched& workers) {
  auto command = parse_command(options.command);
  if (!command) return command.error();
  std::visit(
      [&](auto& inner) {
        if constexpr (requires { inner.model.launched; }) {
          inner.model.launched = workers.hosts;
          inner.model.security.key = workers.key;
        }
      },
      *command);
  return command;
}

}  // namespace tandem::cli
