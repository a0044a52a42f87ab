#include "cluster/gateway/placement.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "cluster/split/model_shape.h"
#include "config/model_config.h"
#include "config/sizes.h"
#include "models/architecture.h"

namespace tandem::cluster {
namespace {

/// Of machines that say nothing: docs/planner.md.
constexpr double kUsualCpuRead = 20e9;
constexpr double kUsualCpuFlops = 2e11;
constexpr double kUsualGpuRead = 400e9;
constexpr double kUsualGpuFlops = 3e13;
/// Two measurements of one memory differ by less; those with other numbers of threads by more.
constexpr double kSameRate = 1.25;
/// Where memory is not known: any part fits.
constexpr std::uint64_t kAnyMemory = std::uint64_t{1} << 60;

std::string size(std::uint64_t bytes) { return config::format_bytes(static_cast<double>(bytes)); }

/// The ranges that flags or the host file name; empty: none.
std::vector<LayerRange> named_ranges(const PipelineOptions& options) {
  if (!options.layers.empty()) return options.layers;
  std::vector<LayerRange> ranges;
  for (const config::Host& host : options.hosts) {
    if (host.layers) ranges.push_back(*host.layers);
  }
  return ranges;
}

Result<models::Architecture> architecture_in(const std::filesystem::path& folder) {
  const auto config = config::ModelConfig::load(folder);
  if (!config) return config.error();
  return models::architecture_of(*config);
}

bool one_cpu(const Member& a, const Member& b) {
  return !a.gpu && !b.gpu && !a.machine.empty() && a.machine == b.machine;
}

/// What a member's device does, measured or usual. Of one machine's memory the best measurement.
void set_rates(const Members& members, std::size_t index, planner::Machine& machine) {
  const Member& own = members[index];
  machine.bandwidth = own.gpu ? kUsualGpuRead : kUsualCpuRead;
  machine.flops = own.gpu ? kUsualGpuFlops : kUsualCpuFlops;
  if (own.gpu || own.read_rate == 0) return;
  machine.bandwidth = own.read_rate;
  machine.flops = own.flops;
  for (const Member& other : members) {
    if (!one_cpu(own, other) || other.read_rate > own.read_rate * kSameRate) continue;
    machine.bandwidth = std::max(machine.bandwidth, other.read_rate);
    machine.flops = std::max(machine.flops, other.flops);
  }
}

/// The error when no split fits: what all would need, and what each has.
Error too_little(const Members& members, const planner::Model& model) {
  const LayerRange all{0, model.layer_count()};
  const auto known =
      std::ranges::find_if(members, [](const Member& m) { return m.memory_free != 0; });
  const planner::ModelShape& shape = model.on(known != members.end() && known->gpu);
  const std::uint64_t wanted = planner::memory_of(shape, all, {.context = kPageTokens}, 0).total();
  std::uint64_t there = 0;
  std::string list;
  for (std::size_t i = 0; i < members.size(); ++i) {
    there += members[i].memory_free;
    list += fmt::format("{}rank {} {}", i == 0 ? "" : ", ", i, size(members[i].memory_free));
  }
  return {
      ErrorCode::kResourceLimit,
      fmt::format("memory: the model takes {} or more, and the hosts have {} free ({}), in which "
                  "no split of its layers fits: one more host, or --kv-bits 8, would help",
                  size(wanted), size(there), list)};
}

std::string layers_text(const LayerRange& range) {
  return range.last == range.first + 1 ? fmt::format("layer {}", range.first)
                                       : fmt::format("layers {}-{}", range.first, range.last - 1);
}

/// "plan: a layers 0-20, b layers 21-27: 12.3 tok/s expected of one stream, limited by ...; left
/// out, as it would be slower with them: c".
std::string line_of(const planner::Setting& setting, const planner::Plan& plan, bool measured) {
  std::string who;
  for (const planner::StagePrediction& stage : plan.prediction.stages) {
    who += fmt::format("{}{} {}", who.empty() ? "" : ", ",
                       setting.inventory.machines[stage.place.machine].name,
                       layers_text(stage.place.layers));
  }
  std::string line = fmt::format("plan: {}; {:.3g} tok/s expected of one stream{}, limited by {}",
                                 who, plan.prediction.decode_tps,
                                 measured ? "" : " (not all hosts measured: usual figures)",
                                 plan.prediction.limited_by);
  std::string unused;
  for (const std::size_t machine : plan.unused) {
    unused += (unused.empty() ? "" : ", ") + setting.inventory.machines[machine].name;
  }
  if (!unused.empty()) line += "; left out, for it is faster without: " + unused;
  return line;
}

std::vector<config::Host> hosts_of(const Members& members) {
  std::vector<config::Host> hosts;
  for (const Member& member : members) hosts.push_back(member.host);
  return hosts;
}

/// Members as the stages are, the others let go.
void keep(Members& members, const std::vector<planner::Placed>& stages) {
  Members kept;
  for (const planner::Placed& stage : stages) {
    kept.push_back(std::move(members[stage.machine]));
    kept.back().layers = stage.layers;
  }
  members = std::move(kept);
}

bool has_room(const planner::Setting& setting, const planner::Placed& stage) {
  const planner::Machine& machine = setting.inventory.machines[stage.machine];
  return planner::memory_of(setting.model.on(machine.gpu), stage.layers, {.context = kPageTokens},
                            0)
             .total() <= planner::usable_memory(machine);
}

/// The stages that are given: by name, or by the pipeline before, whose layers the hosts may hold.
std::vector<planner::Placed> given_stages(const planner::Setting& setting,
                                          const std::vector<LayerRange>& named,
                                          const std::vector<config::Host>& hosts,
                                          const Placement& standing) {
  std::vector<planner::Placed> stages;
  for (const LayerRange& range : named) stages.push_back({stages.size(), range});
  const bool same = stages.empty() && standing.hosts == hosts;
  if (same && std::ranges::all_of(standing.stages, [&](const planner::Placed& stage) {
        return has_room(setting, stage);
      })) {
    return standing.stages;
  }
  return stages;
}

}  // namespace

Status check_split(const PipelineOptions& options) {
  const auto model = architecture_in(options.stage.folder);
  if (!model) return model.error();
  const bool local = options.hosts.empty();
  const std::size_t ranks = local ? static_cast<std::size_t>(options.ranks) : options.hosts.size();
  const int count = model->layer_count;
  const std::vector<LayerRange> named = named_ranges(options);
  if (named.empty()) {
    const bool all = local || options.all_hosts;
    if (!all || ranks <= static_cast<std::size_t>(count)) return {};
    return invalid(
        fmt::format("{} ranks are more than the model's {} layers: every rank holds at least one "
                    "layer",
                    ranks, count));
  }
  if (named.size() == ranks && named.back().last == count) return {};
  return invalid(fmt::format("layers: {} ranks up to layer {}, where {} ranks hold layers 0 to {}",
                             named.size(), named.back().last - 1, ranks, count - 1));
}

planner::Efficiency measured_efficiency() {
  planner::Efficiency efficiency;
  efficiency.cpu.compute = 0.9;
  return efficiency;
}

planner::Inventory inventory_of(const Members& members, planner::Objective objective) {
  std::vector<planner::Machine> machines(members.size());
  for (std::size_t i = 0; i < members.size(); ++i) {
    const Member& own = members[i];
    machines[i].name = config::to_string(own.host);
    machines[i].memory = own.memory_free != 0 ? own.memory_free : kAnyMemory;
    machines[i].gpu = own.gpu;
    set_rates(members, i, machines[i]);
  }
  planner::Inventory inventory = planner::connected(machines);
  for (std::size_t i = 0; i < members.size(); ++i) {
    double sharing = 0;
    for (std::size_t j = 0; j < members.size(); ++j) {
      if (one_cpu(members[i], members[j])) ++sharing;
      const planner::Link& a = members[i].way;
      const planner::Link& b = members[j].way;
      if (i == j) continue;
      const bool same = !members[i].machine.empty() && members[i].machine == members[j].machine;
      inventory.links[i][j] = {std::max(a.latency, b.latency), std::min(a.rate, b.rate)};
      if (same && a.latency < kLoopback.latency * 10 && b.latency < kLoopback.latency * 10) {
        inventory.links[i][j] = kLoopback;
      }
    }
    inventory.gateway.push_back(members[i].way);
    if (objective == planner::Objective::kThroughput && sharing > 1) {
      inventory.machines[i].bandwidth /= sharing;
      inventory.machines[i].flops /= sharing;
    }
  }
  return inventory;
}

void choose_activations(const Members& members, PipelineOptions& options) {
  if (options.hosts.empty() || options.activations_given) return;
  const bool any = std::ranges::any_of(members, &Member::gpu);
  options.stage.activations = any ? kernels::Activations::kBF16 : kernels::Activations::kInt8;
}

Result<planner::Work> planned_work(const PipelineOptions& options) {
  const auto model = architecture_in(options.stage.folder);
  if (!model) return model.error();
  planner::Work work;
  const int context = options.work.context != 0 ? options.work.context : kPlannedContext;
  work.context = static_cast<std::uint32_t>(std::clamp(context, 1, model->context_max));
  work.concurrency = options.work.streams;
  return work;
}

Result<std::string> place_layers(Members& members, PipelineOptions& options, Placement& standing) {
  choose_activations(members, options);
  const bool local = options.hosts.empty();
  const bool gpu = std::ranges::any_of(members, &Member::gpu);
  const bool cpu = !std::ranges::all_of(members, &Member::gpu);
  const auto model = model_for(options.stage, cpu, gpu);
  if (!model) return model.error();
  const auto work = planned_work(options);
  if (!work) return work.error();
  planner::Inventory inventory = inventory_of(members, options.work.objective);
  if (local) {
    // One machine, whatever its ranks compute on.
    for (planner::Machine& machine : inventory.machines) {
      machine = inventory.machines.front();
    }
  }
  const planner::Setting setting{*model, inventory, *work, measured_efficiency()};
  planner::Plan plan;
  const std::vector<planner::Placed> given =
      given_stages(setting, named_ranges(options), hosts_of(members), standing);
  if (!given.empty()) {
    plan = planner::plan_of(setting, given);
  } else {
    const bool all = options.all_hosts || members.size() > planner::kMachinesMax;
    const auto use = local ? planner::Use::kEven : all ? planner::Use::kAll : planner::Use::kBest;
    plan = planner::place(setting, options.work.objective, use);
  }
  if (given.empty() && !plan.fits) return too_little(members, *model);
  const bool measured = std::ranges::all_of(
      members, [](const Member& member) { return !member.gpu && member.read_rate != 0; });
  standing.hosts = hosts_of(members);
  standing.stages.clear();
  for (const planner::StagePrediction& stage : plan.prediction.stages) {
    standing.stages.push_back(stage.place);
  }
  keep(members, standing.stages);
  if (!local) return line_of(setting, plan, measured);
  return fmt::format(
      "plan: {} ranks of this machine share its memory: {}", members.size(),
      given.empty() ? "even parts of what a token reads" : "parts as they were given");
}

}  // namespace tandem::cluster
