// `tandem plan`: which machines should hold which layers, and how fast that would be.

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "cli/commands.h"
#include "cli/json_output.h"
#include "cli/model_folder.h"
#include "cli/plan_report.h"
#include "cluster/split/model_shape.h"
#include "planner/planner.h"

namespace tandem::cli {
namespace {

constexpr int kExitNothingFits = 3;

std::string objective_name(planner::Objective objective) {
  if (objective == planner::Objective::kThroughput) return "throughput";
  return objective == planner::Objective::kFit ? "fit" : "latency";
}

Result<planner::Work> work_of(const PlanOptions& options, const cluster::FolderShape& shape) {
  planner::Work work;
  work.concurrency = options.concurrency;
  work.context = static_cast<std::uint32_t>(
      std::min(options.context.value_or(limits::kPlanContextDefault), shape.context_max));
  if (options.context && *options.context > shape.context_max) {
    return invalid(
        fmt::format("--context: {} tokens are more than the {} that the model was made "
                    "for",
                    *options.context, shape.context_max));
  }
  return work;
}

/// As `--kv-bits` of the other commands.
Status check_kv_bits(const PlanOptions& options, const planner::Inventory& inventory) {
  const auto gpu = std::ranges::find(inventory.machines, true, &planner::Machine::gpu);
  if (options.kv_bits == 0 || gpu == inventory.machines.end()) return {};
  return invalid(
      fmt::format("--kv-bits: only the CPU's kernels keep KV in 8 bits, and {} computes "
                  "on a GPU: see device in the inventory",
                  gpu->name));
}

}  // namespace

Result<int> run_plan(const PlanOptions& options, const Environment& environment, Console& console) {
  const auto inventory = planner::load_inventory(options.inventory);
  if (!inventory) return Error{inventory.error().code, "--inventory " + inventory.error().message};
  if (auto status = check_kv_bits(options, *inventory); !status.ok()) return status.error();
  const auto folder = find_model(options.model, environment);
  if (!folder) return folder.error();
  const bool with_gpu = std::ranges::any_of(inventory->machines, &planner::Machine::gpu);
  const auto shape = cluster::shape_of(*folder, {with_gpu, options.kv_bits});
  if (!shape) return shape.error();
  const auto work = work_of(options, *shape);
  if (!work) return work.error();
  const planner::Setting setting{shape->model, *inventory, *work};
  const planner::Proposal proposal = planner::make_plan(setting, options.objective);
  const PlanReport report{std::filesystem::absolute(*folder).lexically_normal().filename().string(),
                          shape->has_weights, objective_name(options.objective)};
  const Status written =
      console.write(options.json ? json_text(plan_json(report, setting, proposal)) + "\n"
                                 : plan_text(report, setting, proposal));
  if (!written.ok()) return written.error();
  return proposal.fits ? 0 : kExitNothingFits;
}

}  // namespace tandem::cli
