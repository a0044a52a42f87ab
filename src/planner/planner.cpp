#include "planner/planner.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "planner/advice.h"
#include "planner/room.h"

namespace tandem::planner {
namespace {

/// Nodes of a graph of all pipelines, and ranges that all runs look at: a few seconds' work.
constexpr std::size_t kNodesMax = 1U << 18;
constexpr double kStepsMax = 1.5e9;
/// What searching for throughput takes, in runs that are not cut short: measured 2 to 6, for its
/// limits leave little of each.
constexpr double kThroughputRuns = 8;
/// A range's share of a pipeline's time counts so much more as it is long: see evened().
constexpr double kEvenness = 0.1;
/// Whole numbers add up to the same in any order.
constexpr double kEvenScale = 1e6;

/// A search over one graph of pipelines.
class Planning {
 public:
  /// `count`: machines of a pipeline; 0: any number.
  Planning(const Setting& setting, const Pipelines& pipelines, int count = 0)
      : setting_(setting), pipelines_(pipelines), count_(count) {
    for (std::size_t i = 0; i < setting.inventory.machines.size(); ++i) {
      fit_.push_back(fit_costs(i));
    }
  }

  std::vector<Placed> best(Objective objective) const {
    std::optional<Found> found;
    if (objective == Objective::kThroughput) found = fastest_together();
    if (objective == Objective::kLatency) found = fastest(1);
    if (objective == Objective::kFit) found = roomiest();
    return found ? std::move(found->stages) : std::vector<Placed>();
  }

  /// Nearly the fastest, in which the times of stages are alike where machines are. At worst a few
  /// percent slower: of two machines kEvenness / 4.
  std::optional<Found> evenly_fast() const {
    std::vector<RangeCosts> costs = seconds(decode_step(setting_.work, 1), 1);
    const HopCosts hops = hop_costs(setting_, 1);
    const auto best = [&] {
      const auto stages = pointers(costs);
      return run({.pipelines = pipelines_,
                  .stages = stages,
                  .hops = hops,
                  .layers = layers(),
                  .count = count_});
    };
    const auto fastest = best();
    if (!fastest) return fastest;
    change(costs,
           [whole = fastest->cost](double time) { return time + kEvenness * time * time / whole; });
    return best();
  }

  /// The longest stage as short as can be, and then all as alike as they can be.
  std::optional<Found> most_even() const {
    std::vector<RangeCosts> costs = seconds(decode_step(setting_.work, 1), 1);
    const std::vector<double> none(fit_.size(), 0);
    const std::vector<std::vector<double>> nothing(fit_.size(), none);
    const HopCosts hops{none, none, nothing, nothing};
    const auto best = [&](Search::Of of) {
      const auto stages = pointers(costs);
      return run({.pipelines = pipelines_,
                  .stages = stages,
                  .hops = hops,
                  .layers = layers(),
                  .of = of,
                  .count = count_});
    };
    const auto longest = best(Search::Of::kLargest);
    if (!longest) return longest;
    change(costs, [limit = longest->cost](double time) {
      const double part = time / limit;
      return part > 1 + 1 / kEvenScale ? kInfinite : std::round(kEvenScale * part * part);
    });
    return best(Search::Of::kSum);
  }

 private:
  int layers() const { return setting_.model.layer_count(); }

  /// The part of a machine's usable memory that ranges take.
  RangeCosts fit_costs(std::size_t index) const {
    const Machine& machine = setting_.inventory.machines[index];
    const ModelShape& shape = setting_.model.on(machine.gpu);
    const auto usable = static_cast<double>(usable_memory(machine));
    RangeCosts costs(layers());
    for (int first = 0; first < layers(); ++first) {
      for (int last = first + 1; last <= layers(); ++last) {
        const auto bytes = memory_of(shape, {first, last}, setting_.work, 0).total();
        const double part = static_cast<double>(bytes) / usable;
        if (!(part <= 1)) break;
        costs.at({first, last}) = part;
      }
    }
    return costs;
  }

  /// Seconds of a step on a machine, for ranges that take no more than a part of its memory.
  std::vector<RangeCosts> seconds(const Step& step, double part_max) const {
    const StageTimes times(setting_.model, setting_.efficiency, step);
    std::vector<RangeCosts> out;
    for (std::size_t i = 0; i < fit_.size(); ++i) {
      const Machine& machine = setting_.inventory.machines[i];
      RangeCosts costs(layers());
      for (int first = 0; first < layers(); ++first) {
        const double* part = fit_[i].from(first);
        for (int last = first + 1; last <= layers() && part[last] <= part_max; ++last) {
          costs.at({first, last}) = times.of(machine, {first, last}).total();
        }
      }
      out.push_back(std::move(costs));
    }
    return out;
  }

  static std::vector<const RangeCosts*> pointers(const std::vector<RangeCosts>& costs) {
    std::vector<const RangeCosts*> out;
    for (const RangeCosts& each : costs) out.push_back(&each);
    return out;
  }

  template <class Change>
  void change(std::vector<RangeCosts>& costs, const Change& how) const {
    for (RangeCosts& each : costs) {
      for (int first = 0; first < layers(); ++first) {
        for (int last = first + 1; last <= layers(); ++last) {
          double& cost = each.at({first, last});
          if (cost != kInfinite) cost = how(cost);
        }
      }
    }
  }

  std::optional<Found> fastest(double part_max) const {
    const std::vector<RangeCosts> costs = seconds(decode_step(setting_.work, 1), part_max);
    const auto stages = pointers(costs);
    const HopCosts hops = hop_costs(setting_, 1);
    return run({.pipelines = pipelines_,
                .stages = stages,
                .hops = hops,
                .layers = layers(),
                .count = count_});
  }

  std::optional<Found> roomiest() const {
    const auto stages = pointers(fit_);
    const HopCosts hops = hop_costs(setting_, 1);
    const auto found = run({.pipelines = pipelines_,
                            .stages = stages,
                            .hops = hops,
                            .layers = layers(),
                            .of = Search::Of::kLargest,
                            .count = count_});
    return found ? fastest(found->cost) : found;
  }

  /// The least time in which every stream gets a token: micro-batches go around one behind the
  /// other, so it is a round's, or the slowest stage's as often as there are micro-batches.
  std::optional<Found> fastest_together() const {
    std::optional<Found> best;
    double best_rate = 0;
    std::size_t most = 0;
    for (const auto& node : pipelines_.nodes) {
      most = std::max(most, static_cast<std::size_t>(node.count));
    }
    most = std::min(most, static_cast<std::size_t>(layers()));
    const std::size_t least = count_ == 0 ? 1 : static_cast<std::size_t>(count_);
    for (std::size_t count = least; count <= most; ++count) {
      const double bound = best_rate > 0 ? setting_.work.concurrency / best_rate : kInfinite;
      auto found = fastest_of(count, bound);
      if (!found) continue;
      best_rate = setting_.work.concurrency / found->cost;
      best = std::move(found);
    }
    return best;
  }

  /// The least round-and-bottleneck time of `count` stages, less than `bound`; its cost is that.
  std::optional<Found> fastest_of(std::size_t count, double bound) const {
    const MicroBatches batches = micro_batches(setting_.work, count);
    const Step step = decode_step(setting_.work, batches.rows);
    const std::vector<RangeCosts> costs = seconds(step, 1);
    const auto stages = pointers(costs);
    const HopCosts hops = hop_costs(setting_, batches.rows);
    const StageTimes times(setting_.model, setting_.efficiency, step);
    std::optional<Found> best;
    // Whether rounds of less than `bound` exist without a stage over `limit`; then they are better.
    const auto improve = [&](double limit) {
      auto found = run({.pipelines = pipelines_,
                        .stages = stages,
                        .hops = hops,
                        .layers = layers(),
                        .stage_limit = limit,
                        .bound = bound,
                        .count = static_cast<int>(count)});
      if (!found) return false;
      found->cost = std::max(found->cost, batches.count * largest(times, hops, found->stages));
      if (found->cost >= bound) return false;
      bound = found->cost;
      best = std::move(found);
      return true;
    };
    // Only less of both the sum and the largest is better; halving on the way saves small steps.
    while (improve(std::nextafter(bound / batches.count, 0.0))) {
      double low = bound / batches.count / 2;
      for (int i = 0; i < 4 && batches.count > 1; ++i) {
        const double middle = (low + bound / batches.count) / 2;
        if (!improve(middle)) low = middle;
      }
    }
    return best;
  }

  double largest(const StageTimes& times, const HopCosts& hops,
                 const std::vector<Placed>& stages) const {
    double most = 0;
    for (std::size_t i = 0; i < stages.size(); ++i) {
      const Machine& machine = setting_.inventory.machines[stages[i].machine];
      most = std::max(most, times.of(machine, stages[i].layers).total());
      if (i == 0) continue;
      most = std::max(most, hops.occupancy[stages[i - 1].machine][stages[i].machine]);
    }
    return most;
  }

  const Setting& setting_;
  const Pipelines& pipelines_;
  const int count_;
  std::vector<RangeCosts> fit_;  // by machine
};

std::vector<std::size_t> inventory_order(const Setting& setting) {
  std::vector<std::size_t> order(setting.inventory.machines.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  return order;
}

std::vector<Placed> stages_of(std::optional<Found> found) {
  return found ? std::move(found->stages) : std::vector<Placed>();
}

/// Empty: none fits.
std::vector<Placed> placed(const Setting& setting, Objective objective, Use use,
                           const Pipelines& pipelines) {
  const bool all = use != Use::kBest;
  const auto count = static_cast<int>(setting.inventory.machines.size());
  const Planning planning(setting, pipelines, all ? count : 0);
  if (use == Use::kEven) return stages_of(planning.most_even());
  if (objective != Objective::kLatency) return planning.best(objective);
  if (all) return stages_of(planning.evenly_fast());
  const std::vector<Placed> fastest = planning.best(objective);
  if (fastest.size() < 2) return fastest;
  std::vector<std::size_t> order;
  for (const Placed& stage : fastest) order.push_back(stage.machine);
  const Pipelines same = whole_pipeline(order);
  return stages_of(Planning(setting, same, static_cast<int>(order.size())).evenly_fast());
}

}  // namespace

Reach pipelines_of(const Setting& setting, Objective objective) {
  auto all = all_pipelines(classes_of(setting.inventory), kNodesMax);
  if (all) {
    double steps = run_steps(*all, setting.model.layer_count());
    if (objective == Objective::kThroughput) {
      steps *= kThroughputRuns;
    }
    if (steps <= kStepsMax) return {std::move(*all), true};
  }
  return {ordered_pipelines(inventory_order(setting)), false};
}

std::vector<Placed> best_in_order(const Setting& setting, Objective objective,
                                  const std::vector<std::size_t>& order) {
  const Pipelines pipelines = ordered_pipelines(order);
  return Planning(setting, pipelines).best(objective);
}

double worth(const Prediction& prediction, Objective objective) {
  if (objective == Objective::kThroughput) return prediction.concurrent_tps;
  return objective == Objective::kLatency ? prediction.decode_tps : prediction.free_part;
}

Plan make_plan(const Setting& setting, Objective objective) {
  Plan plan;
  const Reach reach = pipelines_of(setting, objective);
  plan.exact = reach.exact;
  const std::vector<Placed> stages = Planning(setting, reach.pipelines).best(objective);
  plan.fits = !stages.empty();
  if (!plan.fits) {
    const Missing missing = missing_memory(setting, reach.pipelines);
    plan.missing_bytes = missing.bytes;
    plan.advice = advice_to_fit(setting, reach.pipelines, missing);
    return plan;
  }
  plan = plan_of(setting, stages);
  plan.exact = reach.exact;
  plan.advice = advice_on(setting, objective, plan.prediction);
  return plan;
}

Plan plan_of(const Setting& setting, const std::vector<Placed>& stages) {
  Plan plan;
  for (const Placed& stage : stages) {
    const Machine& machine = setting.inventory.machines[stage.machine];
    const ModelShape& shape = setting.model.on(machine.gpu);
    const auto wanted = memory_of(shape, stage.layers, setting.work, 0).total();
    const auto usable = usable_memory(machine);
    plan.missing_bytes = std::max(plan.missing_bytes, wanted - std::min(wanted, usable));
  }
  plan.fits = plan.missing_bytes == 0;
  plan.prediction = predict(setting, stages);
  plan.context = setting.work.context;
  for (const std::size_t machine : inventory_order(setting)) {
    if (std::ranges::find(stages, machine, &Placed::machine) == stages.end()) {
      plan.unused.push_back(machine);
    }
  }
  return plan;
}

Plan place(const Setting& setting, Objective objective, Use use) {
  Setting with = setting;
  Reach reach{whole_pipeline(inventory_order(setting)), true};
  if (use == Use::kBest) reach = pipelines_of(setting, objective);
  const auto stages_with = [&](std::uint32_t pages) {
    with.work.context = std::min(setting.work.context, pages * kPageTokens);
    return placed(with, objective, use, reach.pipelines);
  };
  std::uint32_t high = (setting.work.context + kPageTokens - 1) / kPageTokens;
  std::uint32_t low = high;
  std::vector<Placed> stages = stages_with(high);
  if (stages.empty()) {
    low = 1;
    if (stages_with(low).empty()) with.work.concurrency = 1;
    stages = stages_with(low);
  }
  while (!stages.empty() && high - low > 1) {
    const std::uint32_t middle = low + (high - low) / 2;
    auto longer = stages_with(middle);
    (longer.empty() ? high : low) = middle;
    if (!longer.empty()) stages = std::move(longer);
  }
  if (stages.empty()) return {};
  with.work.context = std::min(setting.work.context, low * kPageTokens);
  Plan plan = plan_of(with, stages);
  plan.exact = reach.exact;
  return plan;
}

}  // namespace tandem::planner
