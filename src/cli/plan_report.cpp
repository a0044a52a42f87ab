#include "cli/plan_report.h"

#include <fmt/format.h>

#include <cstdint>
#include <vector>

#include "cli/values.h"

namespace tandem::cli {
namespace {

using planner::StagePrediction;

std::string size(std::uint64_t bytes) { return format_bytes(static_cast<double>(bytes)); }

std::string layers_of(const StagePrediction& stage) {
  const auto& [first, last] = stage.place.layers;
  return last == first + 1 ? fmt::format("{}", first) : fmt::format("{}-{}", first, last - 1);
}

std::string stage_line(const planner::Setting& setting, const StagePrediction& stage) {
  const planner::Machine& machine = setting.inventory.machines[stage.place.machine];
  const std::uint64_t used = stage.memory.total();
  return fmt::format("{:<20} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>8.1f} ms\n", machine.name,
                     layers_of(stage), size(stage.memory.weights), size(stage.memory.kv),
                     size(used), size(machine.memory - used), size(machine.memory),
                     1e3 * (stage.decode.total() + stage.hop));
}

std::string unused_names(const planner::Setting& setting, const planner::Plan& plan) {
  std::string names;
  for (const std::size_t machine : plan.unused) {
    names += (names.empty() ? "" : ", ") + setting.inventory.machines[machine].name;
  }
  return names;
}

/// What the figures rest on.
std::string notes(const PlanReport& report, const planner::Plan& plan) {
  std::string out;
  if (!report.has_weights) {
    out += "note: the folder has no weights: sizes are what config.json says\n";
  }
  if (!plan.exact) {
    out +=
        "note: too many different machines to try every order: theirs in the inventory is kept\n";
  }
  return out;
}

/// What hosts said of themselves.
std::string host_lines(const PlanReport& report, const planner::Setting& setting) {
  std::string out;
  for (std::size_t i = 0; i < report.measured.size(); ++i) {
    const planner::Machine& machine = setting.inventory.machines[i];
    const planner::Link& way = setting.inventory.to_gateway(i);
    out += fmt::format(
        "{:<20} reads {:.3g} GB/s, multiplies at {:.3g} GFLOPS ({}); {:.2g} ms away, {:.3g} "
        "Gbit/s\n",
        machine.name, machine.bandwidth / 1e9, machine.flops / 1e9,
        report.measured[i] ? "measured" : "not measured: usual figures", way.latency * 1e3,
        way.rate * 8 / 1e9);
  }
  return out;
}

nlohmann::ordered_json hosts_json(const PlanReport& report, const planner::Setting& setting) {
  nlohmann::ordered_json hosts = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < report.measured.size(); ++i) {
    const planner::Machine& machine = setting.inventory.machines[i];
    const planner::Link& way = setting.inventory.to_gateway(i);
    hosts.push_back({{"host", machine.name},
                     {"device", machine.gpu ? "gpu" : "cpu"},
                     {"memory_bytes", machine.memory},
                     {"bandwidth_gbs", machine.bandwidth / 1e9},
                     {"tflops", machine.flops / 1e12},
                     {"measured", static_cast<bool>(report.measured[i])},
                     {"latency_ms", way.latency * 1e3},
                     {"gbit", way.rate * 8 / 1e9}});
  }
  return hosts;
}

std::string missing_text(const planner::Plan& plan) {
  return fmt::format("memory: {} more are needed on one machine", size(plan.missing_bytes));
}

}  // namespace

std::string plan_text(const PlanReport& report, const planner::Setting& setting,
                      const planner::Plan& plan) {
  const planner::Work& work = setting.work;
  std::string out =
      fmt::format("{}, {} of {} tokens, for {}\n", report.model,
                  work.concurrency == 1 ? "1 stream" : fmt::format("{} streams", work.concurrency),
                  work.context, report.objective);
  out += host_lines(report, setting) + notes(report, plan);
  if (!plan.fits) {
    return out + fmt::format("does not fit: {}\nwould help: {}\n", missing_text(plan), plan.advice);
  }
  const planner::Prediction& prediction = plan.prediction;
  out += fmt::format("{:<20} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>11}\n", "host", "layers",
                     "weights", "KV", "used", "free", "of", "a token");
  for (const StagePrediction& stage : prediction.stages) out += stage_line(setting, stage);
  if (!plan.unused.empty()) {
    out += fmt::format("left out: {}\n", unused_names(setting, plan));
  }
  out += fmt::format("prompt {:.3g} tok/s in steps of {}, decode {:.3g} tok/s",
                     prediction.prompt_tps, prediction.prompt_rows, prediction.decode_tps);
  if (work.concurrency > 1) {
    out += fmt::format(", {} streams together {:.3g} tok/s", work.concurrency,
                       prediction.concurrent_tps);
  }
  return out +
         fmt::format("\nlimited by: {}\nwould help: {}\n", prediction.limited_by, plan.advice);
}

nlohmann::ordered_json plan_json(const PlanReport& report, const planner::Setting& setting,
                                 const planner::Plan& plan) {
  const planner::Prediction& prediction = plan.prediction;
  nlohmann::ordered_json stages = nlohmann::ordered_json::array();
  for (const StagePrediction& stage : prediction.stages) {
    const planner::Machine& machine = setting.inventory.machines[stage.place.machine];
    stages.push_back({{"host", machine.name},
                      {"layers", {stage.place.layers.first, stage.place.layers.last}},
                      {"memory_bytes", stage.memory.total()},
                      {"memory_limit_bytes", machine.memory},
                      {"weights_bytes", stage.memory.weights},
                      {"kv_bytes", stage.memory.kv},
                      {"decode_ms", 1e3 * stage.decode.total()},
                      {"hop_ms", 1e3 * stage.hop}});
  }
  nlohmann::ordered_json unused = nlohmann::ordered_json::array();
  for (const std::size_t machine : plan.unused) {
    unused.push_back(setting.inventory.machines[machine].name);
  }
  nlohmann::ordered_json out = {
      {"fits", plan.fits},
      {"stages", stages},
      {"prompt_tps", prediction.prompt_tps},
      {"decode_tps", prediction.decode_tps},
      {"concurrent_tps", prediction.concurrent_tps},
      {"limited_by", plan.fits ? prediction.limited_by : missing_text(plan)},
      {"advice", plan.advice},
      {"missing_bytes", plan.missing_bytes},
      {"unused", unused},
      {"context", setting.work.context},
      {"concurrency", setting.work.concurrency},
      {"objective", report.objective},
      {"exact", plan.exact},
      {"sizes_from", report.has_weights ? "weights" : "config.json"}};
  if (!report.measured.empty()) out["hosts"] = hosts_json(report, setting);
  return out;
}

}  // namespace tandem::cli
