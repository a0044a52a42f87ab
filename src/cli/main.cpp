#include "cli/main.h"

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "cli/command_line.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/environment.h"
#include "cluster/launcher.h"
#include "cluster/worker.h"
#include "config/message.h"

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

Status dispatch(const Command& command, Console& console) {
  const Environment environment = read_environment();
  return std::visit(
      [&](const auto& options) -> Status {
        using T = std::decay_t<decltype(options)>;
        if constexpr (std::is_same_v<T, HelpText>) return console.write(options.text);
        if constexpr (std::is_same_v<T, GenerateOptions>) {
          return run_generate(options, environment, console);
        }
        if constexpr (std::is_same_v<T, ChatOptions>)
          return run_chat(options, environment, console);
        if constexpr (std::is_same_v<T, ScoreOptions>)
          return run_score(options, environment, console);
        if constexpr (std::is_same_v<T, BenchOptions>)
          return run_bench(options, environment, console);
        if constexpr (std::is_same_v<T, BenchMemoryOptions>)
          return run_bench_memory(options, console);
        if constexpr (std::is_same_v<T, WorkerCommand>) return run_worker_command(options, console);
        return {};
      },
      command);
}

}  // namespace

int run(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == cluster::kComputeCommand) {
    return cluster::run_compute_child();
  }
  Console console;
  const auto command = parse_command(std::vector<std::string>(argv + 1, argv + argc));
  const Status status = command.ok() ? dispatch(*command, console) : Status(command.error());
  if (status.ok()) return 0;
  const Error& error = status.error();
  if (error.code != ErrorCode::kCancelled) {
    console.note("tandem: error: " + config::one_line(error.message) + "\n");
  }
  // A lost rank may have left a collective that cannot be cancelled.
  if (error.code == ErrorCode::kUnavailable || error.code == ErrorCode::kDeadlineExceeded) {
    cluster::exit_process(exit_code(error.code));
  }
  return exit_code(error.code);
}

}  // namespace tandem::cli
