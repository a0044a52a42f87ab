#include "planner/planner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "planner/room.h"
#include "unit/planner/clusters.h"

namespace tandem::planner {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::MatchesRegex;

std::vector<std::size_t> order_of(const Plan& plan) {
  std::vector<std::size_t> order;
  for (const StagePrediction& stage : plan.prediction.stages) {
    order.push_back(stage.place.machine);
  }
  return order;
}

/// Each machine holds `share` of the model; fast links, so that all are used where they must be.
Inventory fast(std::vector<Machine> machines) {
  return connected(std::move(machines), {0.0001, 1e9});
}

TEST(MakePlan, LosesNoneOf61LayersOver2To8Machines) {
  const Model model = even_model(61, 100 * kMB);
  for (int count = 2; count <= 8; ++count) {
    // Nothing fits on one machine less.
    const auto memory = static_cast<std::uint64_t>(61 * 100 / count + 300) * kMB;
    Inventory inventory = fast(machines(count, machine("m", memory, 100)));
    for (std::size_t i = 0; i < inventory.machines.size(); ++i) {
      inventory.machines[i].bandwidth += static_cast<double>(i) * 1e9;  // no two alike
    }
    const Setting setting{model, inventory, {.context = 64}};
    for (const auto objective : {Objective::kLatency, Objective::kThroughput, Objective::kFit}) {
      const Plan plan = make_plan(setting, objective);
      ASSERT_TRUE(plan.fits) << count << " machines, " << plan.advice;
      int done = 0;
      for (const StagePrediction& stage : plan.prediction.stages) {
        ASSERT_EQ(stage.place.layers.first, done);
        done = stage.place.layers.last;
        const Machine& each = inventory.machines[stage.place.machine];
        EXPECT_LE(stage.memory.total(), usable_memory(each));
      }
      EXPECT_EQ(done, 61);
    }
  }
}

TEST(MakePlan, SplitsAModelOverTwoMachinesNeitherOfWhichHoldsIt) {
  const Model model = even_model(50, 22 * kMB);  // 1.1 GB
  const Inventory inventory =
      fast({machine("small", 300 * kMB, 100), machine("large", 900 * kMB, 100)});
  const Plan plan = make_plan({model, inventory, {.context = 64}}, Objective::kLatency);
  ASSERT_TRUE(plan.fits) << plan.advice;
  ASSERT_EQ(plan.prediction.stages.size(), 2U);
  for (const StagePrediction& stage : plan.prediction.stages) {
    EXPECT_LT(stage.memory.total(), inventory.machines[stage.place.machine].memory);
  }
  const Inventory smaller =
      fast({machine("small", 250 * kMB, 100), machine("large", 850 * kMB, 100)});
  const Plan none = make_plan({model, smaller, {.context = 64}}, Objective::kLatency);
  EXPECT_FALSE(none.fits);
  EXPECT_THAT(none.advice, HasSubstr("more memory on "));
  // The least addition to one machine does, and two megabytes less do not.
  const Setting setting{model, smaller, {.context = 64}};
  const Missing missing = missing_memory(setting, pipelines_of(setting, Objective::kFit).pipelines);
  EXPECT_EQ(missing.bytes, none.missing_bytes);
  for (const bool enough : {true, false}) {
    Inventory changed = smaller;
    changed.machines[missing.machine].memory += missing.bytes - (enough ? 0 : 2 * kMB);
    EXPECT_EQ(make_plan({model, changed, {.context = 64}}, Objective::kFit).fits, enough);
  }
}

TEST(MakePlan, LeavesAMachineOutWhereItsLinkCostsMoreThanItReads) {
  const Model model = even_model(20, 100 * kMB);
  Inventory inventory = fast({machine("near", 8000 * kMB, 100), machine("far", 8000 * kMB, 200)});
  inventory.links[0][1] = inventory.links[1][0] = {0.1, 1e9};
  const Plan alone = make_plan({model, inventory, {}}, Objective::kLatency);
  EXPECT_THAT(order_of(alone), ElementsAre(0U));
  EXPECT_THAT(alone.unused, ElementsAre(1U));
  inventory.links[0][1] = inventory.links[1][0] = {0.0001, 1e9};
  const Plan far = make_plan({model, inventory, {}}, Objective::kLatency);
  EXPECT_THAT(order_of(far), ElementsAre(1U));
}

TEST(MakePlan, FollowsTheFastLinks) {
  const Model model = even_model(40, 100 * kMB);
  Inventory inventory = connected(machines(4, machine("m", 1200 * kMB, 100)), {0.02, 1e9});
  const std::size_t ring[] = {0, 2, 1, 3, 0};
  for (int i = 0; i < 4; ++i) {
    inventory.links[ring[i]][ring[i + 1]] = inventory.links[ring[i + 1]][ring[i]] = {0.0001, 1e9};
  }
  const Plan plan = make_plan({model, inventory, {.context = 64}}, Objective::kLatency);
  ASSERT_EQ(plan.prediction.stages.size(), 4U);
  for (const StagePrediction& stage : plan.prediction.stages) EXPECT_LT(stage.hop, 0.001);
  EXPECT_LT(inventory.links[order_of(plan).back()][0].latency, 0.001);
}

TEST(MakePlan, GivesTheFasterMachineTheLayersThatItHasRoomFor) {
  const Model model = even_model(20, 100 * kMB);
  const Inventory inventory =
      fast({machine("slow", 1600 * kMB, 50), machine("quick", 1600 * kMB, 400)});
  const Plan plan = make_plan({model, inventory, {.context = 64}}, Objective::kLatency);
  ASSERT_TRUE(plan.fits);
  for (const StagePrediction& stage : plan.prediction.stages) {
    const int layers = stage.place.layers.last - stage.place.layers.first;
    EXPECT_EQ(layers > 10, stage.place.machine == 1) << layers;
  }
  EXPECT_THAT(plan.prediction.limited_by,
              MatchesRegex("reading weights and KV .* most of it on slow .*"));
}

TEST(MakePlan, ThroughputBalancesStagesWhereLatencyDoesNot) {
  // Either machine holds nearly all of it: latency wants the quick one to, throughput both to work.
  const Model model = even_model(40, 50 * kMB);
  const Inventory inventory =
      fast({machine("slow", 1900 * kMB, 100), machine("quick", 1900 * kMB, 300)});
  const Setting setting{model, inventory, {.context = 64, .concurrency = 8}};
  const Plan latency = make_plan(setting, Objective::kLatency);
  const Plan throughput = make_plan(setting, Objective::kThroughput);
  ASSERT_TRUE(latency.fits && throughput.fits);
  EXPECT_GT(throughput.prediction.concurrent_tps, 1.1 * latency.prediction.concurrent_tps);
  EXPECT_GT(latency.prediction.decode_tps, throughput.prediction.decode_tps);
}

TEST(MakePlan, CountsTheKvOfEveryStream) {
  const Model model = even_model(20, 10 * kMB);  // KV: 20 kB a token
  const Inventory inventory = fast({machine("m", 1000 * kMB, 100)});
  EXPECT_TRUE(make_plan({model, inventory, {.context = 8192}}, Objective::kFit).fits);
  const Setting many{model, inventory, {.context = 8192, .concurrency = 8}};
  const Plan plan = make_plan(many, Objective::kFit);
  EXPECT_FALSE(plan.fits);
  EXPECT_THAT(plan.advice, HasSubstr("a context of "));
  const std::uint32_t context =
      fitting_context(many, pipelines_of(many, Objective::kFit).pipelines);
  for (const std::uint32_t more : {0U, 64U}) {
    const Work work{.context = context + more, .concurrency = 8};
    EXPECT_EQ(make_plan({model, inventory, work}, Objective::kFit).fits, more == 0) << context;
  }
}

TEST(MakePlan, EightBitsOfKvAreAdvisedWhereTheyHelp) {
  Model model = even_model(20, 10 * kMB);
  for (ModelShape* shape : {&model.cpu, &model.gpu}) {
    for (LayerShape& layer : shape->layers) layer.kv_page_8bit = layer.kv_page / 2;
  }
  const Inventory inventory = fast({machine("m", 1000 * kMB, 100)});
  const Work work{.context = 8192, .concurrency = 8};
  EXPECT_THAT(make_plan({model, inventory, work}, Objective::kFit).advice,
              HasSubstr("--kv-bits 8"));
}

TEST(MakePlan, WindowsBoundTheKvOfTheirLayers) {
  Model model = even_model(20, 10 * kMB);
  for (LayerShape& layer : model.cpu.layers) layer.window = 512;
  Machine cpu = machine("m", 1000 * kMB, 100);
  cpu.gpu = false;
  const Work work{.context = 65536};
  const Inventory windows = fast({cpu});
  EXPECT_TRUE(make_plan({model, windows, work}, Objective::kFit).fits);
  cpu.gpu = true;  // whose shape has none
  const Inventory none = fast({cpu});
  EXPECT_FALSE(make_plan({model, none, work}, Objective::kFit).fits);
}

TEST(MakePlan, AdviceIsTheChangeThatHelpsMost) {
  const Model model = even_model(20, 100 * kMB);
  Inventory inventory = fast({machine("a", 1300 * kMB, 100), machine("b", 1300 * kMB, 100)});
  inventory.links[0][1] = inventory.links[1][0] = {0.5, 1e9};
  EXPECT_THAT(make_plan({model, inventory, {.context = 64}}, Objective::kLatency).advice,
              HasSubstr("twice the memory on "));  // then no link is needed
  // A gateway without room for a layer, far from the machine that has it.
  inventory.machines = {machine("a", 100 * kMB, 100), machine("b", 4000 * kMB, 100)};
  EXPECT_THAT(make_plan({model, inventory, {.context = 64}}, Objective::kLatency).advice,
              HasSubstr("a link of 50 ms and 80 Gbit/s between a and b: "));
  inventory.machines = {machine("a", 4000 * kMB, 100)};
  inventory = connected(inventory.machines);
  EXPECT_THAT(make_plan({model, inventory, {.context = 64}}, Objective::kLatency).advice,
              HasSubstr("twice the memory bandwidth on a (200 GB/s): "));
}

TEST(MakePlan, ManySlowHopsLimitTogether) {
  const Model model = even_model(40, 100 * kMB);
  const Inventory inventory = connected(machines(8, machine("m", 620 * kMB, 100)), {0.01, 1e9});
  const Plan plan = make_plan({model, inventory, {.context = 64}}, Objective::kLatency);
  EXPECT_EQ(plan.prediction.stages.size(), 8U);
  EXPECT_THAT(plan.prediction.limited_by, MatchesRegex("hops .*most of it from m.*"));
  EXPECT_THAT(plan.advice, HasSubstr("links ten times as good: "));
}

TEST(MakePlan, ManyAlikeMachinesAreSearchedExactly) {
  const Model model = even_model(126, 100 * kMB);
  const Inventory inventory = fast(machines(16, machine("m", 1200 * kMB, 100)));
  const Setting setting{model, inventory, {.context = 64}};
  const Plan plan = make_plan(setting, Objective::kLatency);
  ASSERT_TRUE(plan.fits) << plan.advice;
  EXPECT_TRUE(plan.exact);
}

TEST(MakePlan, SaysWhereItKeptTheInventorysOrder) {
  const Model model = even_model(40, 100 * kMB);
  Inventory inventory = fast(machines(16, machine("m", 700 * kMB, 100)));
  for (std::size_t i = 0; i < inventory.machines.size(); ++i) {
    inventory.machines[i].bandwidth += static_cast<double>(i) * 1e9;
  }
  const Plan plan = make_plan({model, inventory, {.context = 64}}, Objective::kLatency);
  ASSERT_TRUE(plan.fits) << plan.advice;
  EXPECT_FALSE(plan.exact);
  EXPECT_TRUE(std::ranges::is_sorted(order_of(plan)));
}

TEST(Experts, AStepReadsThoseThatItsRowsChoose) {
  LayerShape layer;
  layer.experts = 128;
  layer.chosen = 8;
  EXPECT_NEAR(expected_experts(layer, 1), 8, 1e-9);
  EXPECT_NEAR(expected_experts(layer, 2), 15.5, 1e-9);
  EXPECT_NEAR(expected_experts(layer, 2048), 128, 1e-9);
}

TEST(Experts, WeighByWhatATokenReadsNotByWhatTheyHold) {
  // Mixtures and dense layers of the same bytes: a machine with the mixtures is soon done.
  Model dense = even_model(20, 100 * kMB);
  Model routed = dense;
  for (ModelShape* shape : {&routed.cpu, &routed.gpu}) {
    for (LayerShape& layer : shape->layers) {
      layer.experts = 90;
      layer.chosen = 9;
      layer.expert = kMB;
      layer.weights.read = 10 * kMB;
    }
  }
  const Inventory inventory = fast({machine("m", 4000 * kMB, 100)});
  const Work work{.context = 64, .concurrency = 1};
  const double dense_tps =
      make_plan({dense, inventory, work}, Objective::kLatency).prediction.decode_tps;
  const double routed_tps =
      make_plan({routed, inventory, work}, Objective::kLatency).prediction.decode_tps;
  // 19 of 100 MB, and the fixed time of routed layers.
  const Pace pace = Efficiency{}.gpu;
  const double fixed = 21 * pace.layer + pace.stage;
  const double read = 1 / dense_tps - fixed;
  EXPECT_NEAR(1 / routed_tps, 0.19 * read + fixed + 20 * pace.routed_layer, 0.01 * read);
}

TEST(Predict, APromptFlowsThroughStagesInStepsThatFit) {
  const Model model = even_model(20, 100 * kMB);
  const Inventory two = fast({machine("a", 1300 * kMB, 100), machine("b", 1300 * kMB, 100)});
  const Setting setting{model, two, {.context = 8192}};
  const Prediction prediction = predict(setting, {{0, {0, 10}}, {1, {10, 20}}});
  EXPECT_EQ(prediction.prompt_rows, 1024U);
  const Inventory one = fast({machine("a", 2600 * kMB, 100)});
  const Prediction alone = predict({model, one, {.context = 8192}}, {{0, {0, 20}}});
  EXPECT_EQ(alone.prompt_rows, 2048U);
  // Both stages work at once but for the first and the last step: 8 steps in 9 half-steps.
  EXPECT_NEAR(prediction.prompt_tps / alone.prompt_tps, 16.0 / 9, 0.05);
  // Without room for the large step the small one is taken.
  const std::uint64_t tight = memory_of(model.gpu, {0, 20}, {.context = 8192}, 0).total() + kMB;
  const Inventory little = fast({machine("a", tight * 20 / 19, 100)});
  EXPECT_EQ(predict({model, little, {.context = 8192}}, {{0, {0, 20}}}).prompt_rows, 64U);
}

TEST(Classes, TwinsAreOneAndTheGatewayIsNobodysTwin) {
  Inventory inventory = fast(machines(5, machine("m", 1000 * kMB, 100)));
  EXPECT_EQ(classes_of(inventory).members.size(), 2U);
  inventory.links[1][2] = inventory.links[2][1] = {1, 1e9};
  // 1 and 2 still change places with each other, and so do 3 and 4.
  EXPECT_EQ(classes_of(inventory).members.size(), 3U);
  inventory.machines[4].memory += 1;
  EXPECT_EQ(classes_of(inventory).members.size(), 4U);
}

}  // namespace
}  // namespace tandem::planner
