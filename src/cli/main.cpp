#include "cli/main.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

#include "cli/command_line.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/environment.h"
#include "cli/gpu.h"
#include "cli/launch.h"
#include "cli/values.h"
#include "cluster/gateway/launcher.h"
#include "cluster/gateway/link_bench.h"
#include "cluster/link/grpc_transport.h"
#include "cluster/rank/worker.h"

namespace tandem::cli {
namespace {

constexpr int kExitFailure = 1;
constexpr int kExitUser = 2;
constexpr int kExitInterrupted = 130;

int exit_code(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kNotFound:
      return kExitUser;
    case ErrorCode::kCancelled:
      return kExitInterrupted;
    case ErrorCode::kResourceLimit:
    case ErrorCode::kUnavailable:
    case ErrorCode::kDeadlineExceeded:
    case ErrorCode::kInternal:
      return kExitFailure;
  }
  return kExitFailure;
}

template <class T>
Status run_command(const T& options, const Environment& environment, Console& console) {
  if constexpr (std::is_same_v<T, HelpText>) return console.write(options.text);
  if constexpr (std::is_same_v<T, GenerateOptions>) {
    return run_generate(options, environment, console);
  }
  if constexpr (std::is_same_v<T, ChatOptions>) return run_chat(options, environment, console);
  if constexpr (std::is_same_v<T, ScoreOptions>) return run_score(options, environment, console);
  if constexpr (std::is_same_v<T, ServeOptions>) return run_serve(options, environment, console);
  if constexpr (std::is_same_v<T, BenchOptions>) return run_bench(options, environment, console);
  if constexpr (std::is_same_v<T, BenchMemoryOptions>) return run_bench_memory(options, console);
  if constexpr (std::is_same_v<T, BenchLinkOptions>) return run_bench_link(options, console);
  if constexpr (std::is_same_v<T, BenchServeOptions>) return run_bench_serve(options, console);
  if constexpr (std::is_same_v<T, WorkerCommand>) {
    return run_worker_command(options, environment, console);
  }
}

Result<int> exit_after(const Status& status) {
  if (!status.ok()) return status.error();
  return 0;
}

/// Runs the command; what it returns is the exit code.
Result<int> dispatch(const Command& command, Console& console) {
  const Environment environment = read_environment();
  return std::visit(
      [&](const auto& options) -> Result<int> {
        using T = std::decay_t<decltype(options)>;
        if constexpr (std::is_same_v<T, LaunchOptions>) {
          const auto workers = launch_workers(options, environment, console);
          if (!workers) return workers.error();
          const auto inner = launched_command(options, *workers);
          return inner ? dispatch(*inner, console) : Result<int>(inner.error());
        } else if constexpr (std::is_same_v<T, PlanOptions>) {
          return run_plan(options, environment, console);
        } else {
          return exit_after(run_command(options, environment, console));
        }
      },
      command);
}

}  // namespace

int run(int argc, char** argv) {
  cluster::quiet_grpc_log();
  keep_float32_products_exact();
  // What the program starts itself; not for people, so not in the help.
  const std::string_view only = argc == 2 ? argv[1] : "";
  if (only == cluster::kComputeCommand) return cluster::run_compute_child();
  if (only == cluster::kDeviceCommand) return cluster::run_device_child();
  if (only == cluster::kLinkPeerCommand) return cluster::run_link_peer();
  Console console;
  const auto command =
      parse_command(std::vector<std::string>(argv + std::min(argc, 1), argv + argc));
  const Result<int> done =
      command.ok() ? dispatch(*command, console) : Result<int>(command.error());
  if (done.ok()) return *done;
  const Error& error = done.error();
  if (error.code != ErrorCode::kCancelled) {
    console.note("tandem: error: " + error_line(error.message) + "\n");
  }
  // Whatever ended the run may have left a thread in a collective that cannot be cancelled.
  if (command.ok()) cluster::exit_process(exit_code(error.code));
  return exit_code(error.code);
}

}  // namespace tandem::cli
