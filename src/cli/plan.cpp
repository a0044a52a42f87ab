// `tandem plan`: which machines should hold which layers, and how fast that would be.

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <utility>
#include <vector>

#include "cli/commands.h"
#include "cli/json_output.h"
#include "cli/model_folder.h"
#include "cli/plan_report.h"
#include "cli/session.h"
#include "cluster/gateway/placement.h"
#include "cluster/gateway/survey.h"
#include "cluster/split/model_shape.h"
#include "planner/advice.h"
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

/// What is planned with: machines of a file, or of workers that run.
struct Machines {
  planner::Inventory inventory;
  planner::Model model;
  planner::Efficiency efficiency;
  std::vector<bool> measured;  // of each, where they were asked
};

Result<Machines> machines_of_file(const PlanOptions& options, const std::filesystem::path& folder) {
  auto inventory = planner::load_inventory(options.inventory);
  if (!inventory) return Error{inventory.error().code, "--inventory " + inventory.error().message};
  if (auto status = check_kv_bits(options, *inventory); !status.ok()) return status.error();
  const bool with_gpu = std::ranges::any_of(inventory->machines, &planner::Machine::gpu);
  auto shape = cluster::shape_of(folder, {with_gpu, options.kv_bits});
  if (!shape) return shape.error();
  return Machines{std::move(*inventory), std::move(shape->model), {}, {}};
}

Result<Machines> machines_of_hosts(const PlanOptions& options,
                                   const std::filesystem::path& folder) {
  ModelOptions model;
  model.hosts = options.hosts;
  model.hostfile = options.hostfile;
  model.security = options.security;
  model.layers = options.layers;
  model.kv_bits = options.kv_bits;
  auto pipeline = pipeline_options(model, folder, 1, false);
  if (!pipeline) return pipeline.error();
  pipeline->work.objective = options.objective;
  if (auto good = cluster::check_split(*pipeline); !good.ok()) return good.error();
  auto survey = cluster::survey_hosts(*pipeline);
  if (!survey) return survey.error();
  return Machines{std::move(survey->inventory), std::move(survey->model), survey->efficiency,
                  std::move(survey->measured)};
}

/// Of hosts what a gateway would do; where that has no room for the context, why.
planner::Plan plan_for(const planner::Setting& setting, const PlanOptions& options) {
  if (!options.inventory.empty()) return planner::make_plan(setting, options.objective);
  if (!options.layers.empty()) {
    std::vector<planner::Placed> stages;
    for (const LayerRange& range : options.layers) stages.push_back({stages.size(), range});
    planner::Plan plan = planner::plan_of(setting, stages);
    plan.advice = plan.fits ? planner::advice_on(setting, options.objective, plan.prediction)
                            : "fewer layers where they have no room, or the plan without --layers";
    return plan;
  }
  planner::Plan plan = planner::place(setting, options.objective, planner::Use::kBest);
  if (!plan.fits || plan.context < setting.work.context) {
    return planner::make_plan(setting, options.objective);
  }
  plan.advice = planner::advice_on(setting, options.objective, plan.prediction);
  return plan;
}

}  // namespace

Result<int> run_plan(const PlanOptions& options, const Environment& environment, Console& console) {
  const auto folder = find_model(options.model, environment);
  if (!folder) return folder.error();
  const auto machines = options.inventory.empty() ? machines_of_hosts(options, *folder)
                                                  : machines_of_file(options, *folder);
  if (!machines) return machines.error();
  const auto shape = cluster::shape_of(*folder, {});
  if (!shape) return shape.error();
  const auto work = work_of(options, *shape);
  if (!work) return work.error();
  const planner::Setting setting{machines->model, machines->inventory, *work, machines->efficiency};
  const planner::Plan plan = plan_for(setting, options);
  const PlanReport report{std::filesystem::absolute(*folder).lexically_normal().filename().string(),
                          shape->has_weights, objective_name(options.objective),
                          machines->measured};
  const Status written =
      console.write(options.json ? json_text(plan_json(report, setting, plan)) + "\n"
                                 : plan_text(report, setting, plan));
  if (!written.ok()) return written.error();
  return plan.fits ? 0 : kExitNothingFits;
}

}  // namespace tandem::cli
