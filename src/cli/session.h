#pragma once
// A loaded model, ready for requests.

#include <filesystem>
#include <memory>
#include <vector>

#include "cli/console.h"
#include "cli/environment.h"
#include "cli/options.h"
#include "cluster/gateway/launcher.h"
#include "scheduler/engine.h"
#include "tandem/error.h"
#include "tandem/pipeline.h"

namespace tandem::cli {

/// What the command line asks of the cluster. `cores`: physical cores of this machine, `gpu`:
/// whether MLX has one here. Local ranks without --threads share the cores. Reads the host file.
Result<cluster::PipelineOptions> pipeline_options(const ModelOptions& options,
                                                  const std::filesystem::path& folder, int cores,
                                                  bool gpu);

/// Pipeline and engine of one command. Lives in the thread that opened it: local workers end with
/// that thread.
class Session {
 public:
  /// Loads the model with a progress display and says on standard error who holds what, unless
  /// `quiet`. `work` is what layers are split for.
  static Result<Session> open(const ModelOptions& options, const std::filesystem::path& folder,
                              Console& console, bool quiet, const cluster::PipelineWork& work = {});

  scheduler::Engine& engine() { return *engine_; }
  Pipeline& pipeline() { return *pipeline_; }

 private:
  Session() = default;
  std::unique_ptr<cluster::Launcher> launcher_;
  std::unique_ptr<Pipeline> pipeline_;         // after the launcher, as it has to end first
  std::unique_ptr<scheduler::Engine> engine_;  // after the pipeline: it refers to it
};

}  // namespace tandem::cli
