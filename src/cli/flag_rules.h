#pragma once
// Rules between flags that CLI11 cannot state.

#include <CLI/CLI.hpp>
#include <string>

#include "cli/options.h"
#include "tandem/error.h"

namespace tandem::cli {

/// "--flag: has no meaning without --other".
Status without_meaning(const std::string& flag, const std::string& with);
Status check_transport(const CLI::App& app, cluster::TransportKind transport);
/// Of every command that loads a model.
Status check_model_options(const CLI::App& app, const ModelOptions& options);
Status check_generate(const CLI::App& app, const GenerateOptions& options);
Status check_bench(const CLI::App& app, const BenchOptions& options);
Status check_bench_serve(const CLI::App& app, const BenchServeOptions& options);
Status check_plan(const CLI::App& app, const PlanOptions& options);
/// Its command too.
Status check_launch(const LaunchOptions& options);
Status check_serve(const CLI::App& app, const ServeOptions& options);

}  // namespace tandem::cli
