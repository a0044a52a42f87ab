#include "planner/stage_cost.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "tandem/state_group.h"

namespace tandem::planner {
namespace {

constexpr std::uint64_t kLeastMargin = std::uint64_t{12} << 20;

/// Tokens of a stream of `depth` that a query of the layer sees.
double seen(const LayerShape& layer, double depth) {
  return layer.window == 0 ? depth : std::min(depth, static_cast<double>(layer.window));
}

}  // namespace

double expected_experts(const LayerShape& layer, double rows) {
  if (layer.experts == 0) return 0;
  const double missed = 1 - static_cast<double>(layer.chosen) / layer.experts;
  return layer.experts * (1 - std::pow(missed, rows));
}

StageMemory memory_of(const ModelShape& model, LayerRange range, const Work& work,
                      std::size_t step) {
  StageMemory memory;
  std::uint64_t loading = 0;
  const auto add = [&](const Weights& part) {
    memory.weights += part.bytes;
    loading = std::max(loading, part.loading);
  };
  for (int i = range.first; i < range.last; ++i) {
    const LayerShape& layer = model.layers[static_cast<std::size_t>(i)];
    add(layer.weights);
    memory.kv += layer.kv_page * pages_needed(layer.window, work.context) + layer.state;
  }
  memory.kv *= static_cast<std::uint64_t>(work.concurrency);
  const bool last = range.last == static_cast<int>(model.layers.size());
  if (range.first == 0 && !(last && model.tied)) add(model.embedding);
  if (last) add(model.head);
  const StepBytes& bytes = model.steps[step];
  memory.step = std::max(loading, last ? bytes.last : bytes.bytes);
  return memory;
}

std::uint64_t usable_memory(const Machine& machine) {
  return machine.memory - std::min(machine.memory, std::max(kLeastMargin, machine.memory / 20));
}

std::vector<StageTimes::Sums> StageTimes::prefix_of(const ModelShape& model, const Pace& pace,
                                                    const Step& step) const {
  constexpr double kPage = kPageTokens;
  std::vector<Sums> prefix(model.layers.size() + 1);
  for (std::size_t i = 0; i < model.layers.size(); ++i) {
    const LayerShape& layer = model.layers[i];
    const double depth = seen(layer, step.depth);
    Sums sums = prefix[i];
    sums.bytes += static_cast<double>(layer.weights.read) +
                  static_cast<double>(layer.expert) * expected_experts(layer, step.rows) +
                  static_cast<double>(layer.kv_page) / kPage * depth * step.streams +
                  2 * static_cast<double>(layer.state) * step.streams;
    sums.flops += step.rows * (layer.weights.flops + layer.depth_flops * depth);
    sums.fixed += pace.layer + (layer.experts > 0 ? pace.routed_layer : 0);
    prefix[i + 1] = sums;
  }
  return prefix;
}

StageTimes::StageTimes(const Model& model, const Efficiency& efficiency, const Step& step)
    : efficiency_(efficiency) {
  for (const bool gpu : {false, true}) {
    const ModelShape& shape = model.on(gpu);
    const Pace& pace = gpu ? efficiency.gpu : efficiency.cpu;
    sums_[gpu ? 1 : 0] = prefix_of(shape, pace, step);
    // The head sees one row of each stream: the logits of a prompt's other rows are not wanted.
    head_[gpu ? 1 : 0] = {static_cast<double>(shape.head.read), step.streams * shape.head.flops,
                          pace.layer};
  }
}

StageTime StageTimes::of(const Machine& machine, LayerRange range) const {
  const Pace& pace = efficiency_.of(machine);
  const std::vector<Sums>& sums = sums_[machine.gpu ? 1 : 0];
  const Sums& begin = sums[static_cast<std::size_t>(range.first)];
  const Sums& end = sums[static_cast<std::size_t>(range.last)];
  Sums all{end.bytes - begin.bytes, end.flops - begin.flops, end.fixed - begin.fixed};
  if (range.last + 1 == static_cast<int>(sums.size())) {
    const Sums& head = head_[machine.gpu ? 1 : 0];
    all = {all.bytes + head.bytes, all.flops + head.flops, all.fixed + head.fixed};
  }
  return {all.bytes / (machine.bandwidth * pace.read), all.flops / (machine.flops * pace.compute),
          all.fixed + pace.stage};
}

double hop_seconds(const Link& link, const ModelShape& model, double rows) {
  return link.latency + hop_occupancy(link, model, rows);
}

double hop_occupancy(const Link& link, const ModelShape& model, double rows) {
  return rows * static_cast<double>(model.hop_row) / link.rate;
}

}  // namespace tandem::planner
