#pragma once
// `tandem launch`: workers for as long as one command runs.

#include <memory>
#include <string>
#include <vector>

#include "cli/console.h"
#include "cli/environment.h"
#include "cli/options.h"
#include "config/hosts.h"
#include "launch/crew.h"
#include "tandem/error.h"

namespace tandem::cli {

/// Workers that run, and what a command needs to use them. They end with it.
struct Launched {
  std::unique_ptr<launch::Crew> crew;
  std::vector<config::Host> hosts;
  std::string key;
};

/// Where workers are to be started, in rank order, and what the gateway is to know of each.
struct LaunchPlan {
  std::vector<launch::Target> targets;
  std::vector<config::Host> hosts;  // their addresses are not known yet
};

/// By the flags and the host file, which is read. Errors name the flag or the entry.
Result<LaunchPlan> launch_plan(const LaunchOptions& options, const std::string& key);
/// Starts the workers. kUnavailable, kDeadlineExceeded: one does not start, which is named with
/// what it said.
Result<Launched> launch_workers(const LaunchOptions& options, const Environment& environment,
                                Console& console);
/// options.command, to run over the workers. It was checked.
Result<Command> launched_command(const LaunchOptions& options, const Launched& workers);

}  // namespace tandem::cli
