#include "planner/prediction.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace tandem::planner {
namespace {

/// A step on its way through all stages.
struct Round {
  double sum = 0;      // with its hops, and the result's way back
  double largest = 0;  // of a stage, or of what a hop keeps its link
};

Round round_of(const Setting& setting, const std::vector<Placed>& stages, const Step& step) {
  const StageTimes times(setting.model, setting.efficiency, step);
  const HopCosts hops = hop_costs(setting, step.rows);
  Round round;
  round.sum = hops.begin[stages.front().machine] + hops.end[stages.back().machine];
  for (std::size_t i = 0; i < stages.size(); ++i) {
    const std::size_t machine = stages[i].machine;
    const double own = times.of(setting.inventory.machines[machine], stages[i].layers).total();
    round.sum += own;
    round.largest = std::max(round.largest, own);
    if (i == 0) continue;
    const std::size_t before = stages[i - 1].machine;
    round.sum += hops.between[before][machine];
    round.largest = std::max(round.largest, hops.occupancy[before][machine]);
  }
  return round;
}

const ModelShape& shape_on(const Setting& setting, const Placed& stage) {
  return setting.model.on(setting.inventory.machines[stage.machine].gpu);
}

/// The largest of the model's steps that a stage has room for; the least where none has.
std::size_t fitting_step(const Setting& setting, const Placed& stage) {
  const ModelShape& shape = shape_on(setting, stage);
  const std::uint64_t usable = usable_memory(setting.inventory.machines[stage.machine]);
  std::size_t step = 0;
  while (step + 1 < shape.steps.size() && shape.steps[step + 1].rows <= setting.work.rows &&
         memory_of(shape, stage.layers, setting.work, step + 1).total() <= usable) {
    ++step;
  }
  return step;
}

/// Rows of a prompt's steps, as scheduler/tick_plan.h cuts prompts to keep all stages at work.
std::uint32_t prompt_rows(const Work& work, std::size_t stages, std::uint32_t most) {
  constexpr std::uint32_t kChunksPerStage = 4;
  constexpr std::uint32_t kChunkMin = 128;
  const auto chunks = static_cast<std::uint32_t>(stages) * kChunksPerStage;
  const std::uint32_t even = stages == 1 ? most : (work.context + chunks - 1) / chunks;
  return std::min({work.context, most, std::max(even, kChunkMin)});
}

/// Tokens a second of a prompt that is computed in steps of `rows`, one behind another.
double prompt_rate(const Setting& setting, const std::vector<Placed>& stages, std::uint32_t rows) {
  const double context = setting.work.context;
  const double each = std::min<double>(rows, context);
  const Round round = round_of(setting, stages, {each, 1, context / 2});
  return context / (round.sum + (std::ceil(context / each) - 1) * round.largest);
}

/// Parts of a token's time that are of one kind.
struct Kind {
  std::string what;
  double sum = 0;
  double most = 0;
  std::string where = {};  // the longest one
  int parts = 0;

  void add(double seconds, std::string place) {
    if (seconds <= 0) return;
    sum += seconds;
    ++parts;
    if (seconds <= most) return;
    most = seconds;
    where = std::move(place);
  }
};

std::string limit_of(const Setting& setting, const std::vector<StagePrediction>& stages,
                     const HopCosts& hops) {
  Kind kinds[] = {
      {"reading weights and KV"}, {"computing"}, {"the fixed time of layers"}, {"hops"}};
  auto& [reading, computing, fixed, links] = kinds;
  std::string before = "the gateway";
  for (const StagePrediction& stage : stages) {
    const std::string& name = setting.inventory.machines[stage.place.machine].name;
    const StageTime& time = stage.decode;
    (time.read >= time.compute ? reading : computing)
        .add(std::max(time.read, time.compute), "on " + name);
    fixed.add(time.fixed, "on " + name);
    links.add(stage.hop, "from " + before + " to " + name);
    before = name;
  }
  links.add(hops.end[stages.back().place.machine], "from " + before + " to the gateway");
  double sum = 0;
  for (const Kind& kind : kinds) sum += kind.sum;
  const Kind& first = *std::ranges::max_element(kinds, {}, &Kind::sum);
  const double part = 100 * first.sum / sum;
  if (first.parts == 1) {
    return fmt::format("{} {} ({:.0f} % of a token's time)", first.what, first.where, part);
  }
  return fmt::format("{} ({:.0f} % of a token's time), most of it {} ({:.0f} %)", first.what, part,
                     first.where, 100 * first.most / sum);
}

}  // namespace

MicroBatches micro_batches(const Work& work, std::size_t stages) {
  const int count = std::min(static_cast<int>(stages), work.concurrency);
  return {count, std::ceil(static_cast<double>(work.concurrency) / count)};
}

Step decode_step(const Work& work, double rows) {
  return {rows, rows, static_cast<double>(work.context)};
}

HopCosts hop_costs(const Setting& setting, double rows) {
  const auto& [machines, links] = setting.inventory;
  HopCosts costs;
  const std::vector<double> none(machines.size(), 0);
  costs.between.assign(machines.size(), none);
  costs.occupancy.assign(machines.size(), none);
  for (std::size_t from = 0; from < machines.size(); ++from) {
    // Token ids are a few bytes: only the latency counts.
    costs.begin.push_back(links[0][from].latency);
    costs.end.push_back(links[from][0].latency);
    const ModelShape& shape = setting.model.on(machines[from].gpu);
    for (std::size_t to = 0; to < machines.size(); ++to) {
      costs.between[from][to] = hop_seconds(links[from][to], shape, rows);
      costs.occupancy[from][to] = hop_occupancy(links[from][to], shape, rows);
    }
  }
  return costs;
}

Prediction predict(const Setting& setting, const std::vector<Placed>& stages) {
  const Work& work = setting.work;
  const StageTimes times(setting.model, setting.efficiency, decode_step(work, 1));
  const HopCosts hops = hop_costs(setting, 1);
  std::size_t step = SIZE_MAX;
  for (const Placed& stage : stages) step = std::min(step, fitting_step(setting, stage));
  Prediction out;
  out.free_part = 1;
  for (const Placed& stage : stages) {
    const Machine& machine = setting.inventory.machines[stage.machine];
    StagePrediction each{stage, memory_of(shape_on(setting, stage), stage.layers, work, step),
                         times.of(machine, stage.layers), hops.begin[stage.machine]};
    if (!out.stages.empty()) {
      each.hop = hops.between[out.stages.back().place.machine][stage.machine];
    }
    // As the search counts it: smaller steps would do.
    const auto least = memory_of(shape_on(setting, stage), stage.layers, work, 0).total();
    out.free_part = std::min(out.free_part, 1 - static_cast<double>(least) /
                                                    static_cast<double>(usable_memory(machine)));
    out.stages.push_back(each);
  }
  out.prompt_rows = prompt_rows(work, stages.size(), setting.model.cpu.steps[step].rows);
  out.prompt_tps = prompt_rate(setting, stages, out.prompt_rows);
  out.decode_tps = 1 / round_of(setting, stages, decode_step(work, 1)).sum;
  const MicroBatches batches = micro_batches(work, stages.size());
  const Round round = round_of(setting, stages, decode_step(work, batches.rows));
  out.concurrent_tps = work.concurrency / std::max(round.sum, batches.count * round.largest);
  out.limited_by = limit_of(setting, out.stages, hops);
  return out;
}

}  // namespace tandem::planner
