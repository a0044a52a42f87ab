// Every pipeline of small clusters, weighed by formulas of its own, against the planner's search.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "planner/planner.h"
#include "unit/planner/clusters.h"

namespace tandem::planner {
namespace {

/// A pipeline's figures, straight from the definitions.
class Naive {
 public:
  explicit Naive(const Setting& setting) : setting_(setting) {}

  double fullest(const std::vector<Placed>& stages) const {
    double most = 0;
    for (const Placed& stage : stages) {
      const Machine& machine = machine_of(stage);
      const double limit = static_cast<double>(machine.memory);
      const double usable = limit - std::max(12.0 * 1024 * 1024, std::floor(limit / 20));
      most = std::max(most, bytes(stage) / usable);
    }
    return most;
  }

  double round(const std::vector<Placed>& stages, double rows) const {
    const auto& links = setting_.inventory.links;
    double sum = links[0][stages.front().machine].latency;
    for (std::size_t i = 0; i < stages.size(); ++i) {
      sum += seconds(stages[i], rows);
      if (i == 0) continue;
      const Link& link = links[stages[i - 1].machine][stages[i].machine];
      sum += link.latency + carried(stages[i - 1], rows) / link.rate;
    }
    return sum + links[stages.back().machine][0].latency;
  }

  double slowest(const std::vector<Placed>& stages, double rows) const {
    double most = 0;
    for (std::size_t i = 0; i < stages.size(); ++i) {
      most = std::max(most, seconds(stages[i], rows));
      if (i == 0) continue;
      const Link& link = setting_.inventory.links[stages[i - 1].machine][stages[i].machine];
      most = std::max(most, carried(stages[i - 1], rows) / link.rate);
    }
    return most;
  }

 private:
  const Machine& machine_of(const Placed& stage) const {
    return setting_.inventory.machines[stage.machine];
  }
  const ModelShape& shape(const Placed& stage) const {
    return setting_.model.on(machine_of(stage).gpu);
  }
  bool last(const Placed& stage) const { return stage.layers.last == setting_.model.layer_count(); }
  double carried(const Placed& stage, double rows) const {
    return rows * static_cast<double>(shape(stage).hop_row);
  }

  double bytes(const Placed& stage) const {
    double sum = 0;
    double loading = 0;
    const auto add = [&](const Weights& weights) {
      sum += static_cast<double>(weights.bytes);
      loading = std::max(loading, static_cast<double>(weights.loading));
    };
    for (int i = stage.layers.first; i < stage.layers.last; ++i) {
      const LayerShape& layer = shape(stage).layers[static_cast<std::size_t>(i)];
      add(layer.weights);
      double pages = std::ceil(setting_.work.context / 64.0);
      if (layer.window > 0) pages = std::min(pages, std::ceil((layer.window + 128.0) / 64.0) + 1);
      sum += setting_.work.concurrency * pages * static_cast<double>(layer.kv_page);
    }
    if (stage.layers.first == 0 && !(last(stage) && shape(stage).tied)) {
      add(shape(stage).embedding);
    }
    if (last(stage)) add(shape(stage).head);
    const StepBytes& step = shape(stage).steps.front();
    return sum + std::max(loading, static_cast<double>(last(stage) ? step.last : step.bytes));
  }

  double seconds(const Placed& stage, double rows) const {
    const Machine& machine = machine_of(stage);
    const Pace& pace = machine.gpu ? setting_.efficiency.gpu : setting_.efficiency.cpu;
    double read = 0;
    double flops = 0;
    double fixed = pace.stage;
    for (int i = stage.layers.first; i < stage.layers.last; ++i) {
      const LayerShape& layer = shape(stage).layers[static_cast<std::size_t>(i)];
      double depth = setting_.work.context;
      if (layer.window > 0) depth = std::min<double>(depth, layer.window);
      read += static_cast<double>(layer.weights.read);
      read += rows * depth * static_cast<double>(layer.kv_page) / 64;
      flops += rows * (layer.weights.flops + depth * layer.depth_flops);
      fixed += pace.layer;
      if (layer.experts == 0) continue;
      const double part = static_cast<double>(layer.chosen) / layer.experts;
      read += static_cast<double>(layer.expert) * layer.experts * (1 - std::pow(1 - part, rows));
      fixed += pace.routed_layer;
    }
    if (last(stage)) {
      read += static_cast<double>(shape(stage).head.read);
      flops += rows * shape(stage).head.flops;
      fixed += pace.layer;
    }
    return std::max(read / (machine.bandwidth * pace.read),
                    flops / (machine.flops * pace.compute)) +
           fixed;
  }

  const Setting& setting_;
};

struct Best {
  bool fits = false;
  double decode_tps = 0;
  double concurrent_tps = 0;
  double free_part = 0;
};

class EveryPipeline {
 public:
  explicit EveryPipeline(const Setting& setting) : setting_(setting), naive_(setting) {
    std::vector<Placed> stages;
    go_on(stages, 0);
  }
  const Best& best() const { return best_; }

 private:
  void go_on(std::vector<Placed>& stages, int first) {
    if (first == setting_.model.layer_count()) {
      weigh(stages);
      return;
    }
    for (std::size_t i = 0; i < setting_.inventory.machines.size(); ++i) {
      if (std::ranges::find(stages, i, &Placed::machine) != stages.end()) continue;
      for (int last = first + 1; last <= setting_.model.layer_count(); ++last) {
        stages.push_back({i, {first, last}});
        go_on(stages, last);
        stages.pop_back();
      }
    }
  }

  void weigh(const std::vector<Placed>& stages) {
    const double fullest = naive_.fullest(stages);
    if (fullest > 1) return;
    best_.fits = true;
    best_.free_part = std::max(best_.free_part, 1 - fullest);
    best_.decode_tps = std::max(best_.decode_tps, 1 / naive_.round(stages, 1));
    const int concurrency = setting_.work.concurrency;
    const int batches = std::min(concurrency, static_cast<int>(stages.size()));
    const double rows = std::ceil(static_cast<double>(concurrency) / batches);
    const double seconds =
        std::max(naive_.round(stages, rows), batches * naive_.slowest(stages, rows));
    best_.concurrent_tps = std::max(best_.concurrent_tps, concurrency / seconds);
  }

  const Setting& setting_;
  Naive naive_;
  Best best_;
};

void expect_all_layers(const Plan& plan, int layers) {
  int done = 0;
  for (const StagePrediction& stage : plan.prediction.stages) {
    EXPECT_EQ(stage.place.layers.first, done);
    EXPECT_GT(stage.place.layers.last, done);
    done = stage.place.layers.last;
  }
  EXPECT_EQ(done, layers);
}

TEST(MakePlan, IsTheBestOfAllPipelinesOfAThousandClusters) {
  const unsigned seed = std::random_device{}();
  int fitting = 0;
  for (unsigned round = 0; round < 1000 && !testing::Test::HasFailure(); ++round) {
    SCOPED_TRACE(testing::Message() << "seed " << seed << " round " << round);
    Dice dice(seed + round);
    const Model model = random_model(dice, dice.whole(1, 6));
    const Inventory inventory = random_inventory(dice, dice.whole(1, 4));
    Setting setting{model, inventory, {}};
    setting.work.context = static_cast<std::uint32_t>(dice.whole(1, 4000));
    setting.work.concurrency = dice.whole(1, 9);
    const EveryPipeline every(setting);
    const Best& best = every.best();
    for (const auto& [objective, value] : {std::pair{Objective::kLatency, best.decode_tps},
                                           std::pair{Objective::kThroughput, best.concurrent_tps},
                                           std::pair{Objective::kFit, best.free_part}}) {
      const Plan plan = make_plan(setting, objective);
      ASSERT_EQ(plan.fits, best.fits);
      EXPECT_TRUE(plan.exact);
      EXPECT_FALSE(plan.advice.empty());
      if (!best.fits) {
        EXPECT_GT(plan.missing_bytes, 0U);
        continue;
      }
      expect_all_layers(plan, model.layer_count());
      EXPECT_NEAR(worth(plan.prediction, objective), value, 1e-9 * std::max(1.0, value));
    }
    fitting += best.fits ? 1 : 0;
  }
  // Else most rounds would have proved little.
  EXPECT_GT(fitting, 300);
  EXPECT_LT(fitting, 1000);
}

}  // namespace
}  // namespace tandem::planner
