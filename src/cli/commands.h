#pragma once
// The commands. Each returns when its work is done; an error is printed by run().

#include "cli/console.h"
#include "cli/environment.h"
#include "cli/options.h"
#include "tandem/error.h"

namespace tandem::cli {

Status run_generate(const GenerateOptions& options, const Environment& environment,
                    Console& console);
Status run_chat(const ChatOptions& options, const Environment& environment, Console& console);
Status run_score(const ScoreOptions& options, const Environment& environment, Console& console);
Status run_serve(const ServeOptions& options, const Environment& environment, Console& console);
Status run_bench(const BenchOptions& options, const Environment& environment, Console& console);
Status run_bench_memory(const BenchMemoryOptions& options, Console& console);
Status run_bench_link(const BenchLinkOptions& options, Console& console);
Status run_bench_serve(const BenchServeOptions& options, Console& console);
/// The exit code: 0, or 3 where the model fits on no pipeline of the machines.
Result<int> run_plan(const PlanOptions& options, const Environment& environment, Console& console);
Status run_worker_command(const WorkerCommand& options, const Environment& environment,
                          Console& console);

}  // namespace tandem::cli
