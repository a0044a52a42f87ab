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

std::string unused_names(const planner::Setting& setting, const planner::Proposal& proposal) {
  std::string names;
  for (const std::size_t machine : proposal.unused) {
    names += (names.empty() ? "" : ", ") + setting.inventory.machines[machine].name;
  }
  return names;
}

/// What the figures rest on.
std::string notes(const PlanReport& report, const planner::Proposal& proposal) {
  std::string out;
  if (!report.has_weights) {
    out += "note: the folder has no weights: sizes are what config.json says\n";
  }
  if (!proposal.exact) {
    out +=
        "note: too many different machines to try every order: theirs in the inventory is kept\n";
  }
  return out;
}

std::string missing_text(const planner::Proposal& proposal) {
  return fmt::format("memory: {} more are needed on one machine", size(proposal.missing_bytes));
}

}  // namespace

std::string plan_text(const PlanReport& report, const planner::Setting& setting,
                      const planner::Proposal& proposal) {
  const planner::Work& work = setting.work;
  std::string out =
      fmt::format("{}, {} of {} tokens, for {}\n", report.model,
                  work.concurrency == 1 ? "1 stream" : fmt::format("{} streams", work.concurrency),
                  work.context, report.objective);
  out += notes(report, proposal);
  if (!proposal.fits) {
    return out + fmt::format("does not fit: {}\nwould help: {}\n", missing_text(proposal),
                             proposal.advice);
  }
  const planner::Prediction& prediction = proposal.prediction;
  out += fmt::format("{:<20} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>11}\n", "host", "layers",
                     "weights", "KV", "used", "free", "of", "a token");
  for (const StagePrediction& stage : prediction.stages) out += stage_line(setting, stage);
  if (!proposal.unused.empty()) {
    out += fmt::format("left out: {}\n", unused_names(setting, proposal));
  }
  out += fmt::format("prompt {:.3g} tok/s in steps of {}, decode {:.3g} tok/s",
                     prediction.prompt_tps, prediction.prompt_rows, prediction.decode_tps);
  if (work.concurrency > 1) {
    out += fmt::format(", {} streams together {:.3g} tok/s", work.concurrency,
                       prediction.concurrent_tps);
  }
  return out +
         fmt::format("\nlimited by: {}\nwould help: {}\n", prediction.limited_by, proposal.advice);
}

nlohmann::ordered_json plan_json(const PlanReport& report, const planner::Setting& setting,
                                 const planner::Proposal& proposal) {
  const planner::Prediction& prediction = proposal.prediction;
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
  for (const std::size_t machine : proposal.unused) {
    unused.push_back(setting.inventory.machines[machine].name);
  }
  return {{"fits", proposal.fits},
          {"stages", stages},
          {"prompt_tps", prediction.prompt_tps},
          {"decode_tps", prediction.decode_tps},
          {"concurrent_tps", prediction.concurrent_tps},
          {"limited_by", proposal.fits ? prediction.limited_by : missing_text(proposal)},
          {"advice", proposal.advice},
          {"missing_bytes", proposal.missing_bytes},
          {"unused", unused},
          {"context", setting.work.context},
          {"concurrency", setting.work.concurrency},
          {"objective", report.objective},
          {"exact", proposal.exact},
          {"sizes_from", report.has_weights ? "weights" : "config.json"}};
}

}  // namespace tandem::cli
