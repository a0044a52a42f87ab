// What a gateway does with the machines that it is given.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "planner/planner.h"
#include "unit/planner/clusters.h"

namespace tandem::planner {
namespace {

using testing::ElementsAre;

std::vector<Placed> stages_of(const Plan& plan) {
  std::vector<Placed> stages;
  for (const StagePrediction& stage : plan.prediction.stages) stages.push_back(stage.place);
  return stages;
}

std::vector<int> counts_of(const Plan& plan) {
  std::vector<int> counts;
  for (const StagePrediction& stage : plan.prediction.stages) {
    counts.push_back(stage.place.layers.last - stage.place.layers.first);
  }
  return counts;
}

Inventory equal(int count, std::uint64_t memory = 100'000 * kMB) {
  return connected(machines(count, machine("m", memory, 100)), {0.0001, 1e9});
}

TEST(Place, EvenPartsForRanksOfOneMachine) {
  const Model model = even_model(10, 100 * kMB);
  const Inventory four = equal(4);
  const Setting setting{model, four, {.context = 64}};
  EXPECT_THAT(counts_of(place(setting, Objective::kLatency, Use::kEven)), ElementsAre(3, 3, 2, 2));
  // A head that weighs as two layers, and an embedding that no token reads.
  Model heavy = even_model(6, 100 * kMB);
  for (ModelShape* shape : {&heavy.cpu, &heavy.gpu}) {
    shape->head = {200 * kMB, 0, 200 * kMB, 4e8};
    shape->embedding = {200 * kMB, 0, 0, 0};
  }
  const Inventory two = equal(2);
  const Setting with_head{heavy, two, {.context = 64}};
  EXPECT_THAT(counts_of(place(with_head, Objective::kLatency, Use::kEven)), ElementsAre(4, 2));
}

/// The least longest stage over all cuts in order.
double least_longest(const StageTimes& times, const Inventory& inventory, std::size_t index,
                     int first, int layers) {
  const Machine& machine = inventory.machines[index];
  if (index + 1 == inventory.machines.size()) return times.of(machine, {first, layers}).total();
  const int behind = static_cast<int>(inventory.machines.size() - index) - 1;
  double best = kInfinite;
  for (int last = first + 1; last <= layers - behind; ++last) {
    best = std::min(best, std::max(times.of(machine, {first, last}).total(),
                                   least_longest(times, inventory, index + 1, last, layers)));
  }
  return best;
}

TEST(Place, TheLongestEvenPartIsTheShortestPossible) {
  const unsigned seed = std::random_device{}();
  for (unsigned round = 0; round < 200 && !testing::Test::HasFailure(); ++round) {
    SCOPED_TRACE(testing::Message() << "seed " << seed << " round " << round);
    Dice dice(seed + round);
    const int count = dice.whole(1, 4);
    const Model model = random_model(dice, dice.whole(count, 9));
    const Inventory inventory = equal(count);
    const Setting setting{model, inventory, {.context = 64}};
    const Plan plan = place(setting, Objective::kThroughput, Use::kEven);
    ASSERT_EQ(stages_of(plan).size(), static_cast<std::size_t>(count));
    const StageTimes times(model, setting.efficiency, {1, 1, 64});
    double longest = 0;
    for (const Placed& stage : stages_of(plan)) {
      longest = std::max(longest, times.of(inventory.machines[0], stage.layers).total());
    }
    EXPECT_NEAR(longest, least_longest(times, inventory, 0, 0, model.layer_count()),
                1e-5 * longest);
  }
}

TEST(Place, AllHostsHoldLayersInTheirOrderWhereThatIsAsked) {
  const Model model = even_model(12, 100 * kMB);
  Inventory three = equal(3);
  three.machines[1].bandwidth /= 10;  // worth no layer
  const Setting setting{model, three, {.context = 64}};
  const Plan all = place(setting, Objective::kLatency, Use::kAll);
  ASSERT_TRUE(all.fits);
  EXPECT_THAT(counts_of(all), ElementsAre(testing::Gt(3), 1, testing::Gt(3)));
  const Plan best = place(setting, Objective::kLatency, Use::kBest);
  EXPECT_THAT(best.unused, testing::Contains(1U));
  EXPECT_FALSE(place(setting, Objective::kLatency, Use::kAll).unused.size() > 0);
  const Model small = even_model(2, kMB);
  const Setting too_many{small, three, {.context = 64}};
  EXPECT_FALSE(place(too_many, Objective::kLatency, Use::kAll).fits);
}

TEST(Place, EqualHostsHoldEqualPartsThoughAnyCutIsAsFast) {
  const Model model = even_model(20, 100 * kMB);
  Inventory two = equal(2, 1'500 * kMB);  // neither holds all
  two.machines[1].bandwidth *= 1.03;      // as a measurement may say
  const Setting setting{model, two, {.context = 64}};
  const auto counts = counts_of(place(setting, Objective::kLatency, Use::kBest));
  ASSERT_EQ(counts.size(), 2U);
  EXPECT_LE(std::abs(counts[0] - counts[1]), 4);
}

TEST(Place, IsAtMostAFewPercentSlowerThanTheFastest) {
  const unsigned seed = std::random_device{}();
  for (unsigned round = 0; round < 300 && !testing::Test::HasFailure(); ++round) {
    SCOPED_TRACE(testing::Message() << "seed " << seed << " round " << round);
    Dice dice(seed + round);
    const Model model = random_model(dice, dice.whole(1, 8));
    const Inventory inventory = random_inventory(dice, dice.whole(1, 4));
    const Setting setting{model, inventory, {.context = 1000}};
    const Plan fastest = make_plan(setting, Objective::kLatency);
    const Plan placed = place(setting, Objective::kLatency, Use::kBest);
    if (!fastest.fits) {
      EXPECT_LT(placed.context, 1000U);
      continue;
    }
    EXPECT_EQ(placed.context, 1000U);
    EXPECT_GT(placed.prediction.decode_tps, 0.9 * fastest.prediction.decode_tps);
    EXPECT_LE(placed.prediction.decode_tps, 1.0001 * fastest.prediction.decode_tps);
  }
}

TEST(Place, WhereTheContextHasNoRoomTheLongestThatHasIsPlanned) {
  const Model model = even_model(10, 100 * kMB);  // KV of a token: 10 kB
  const Inventory one = equal(1, 1'120 * kMB);
  const Setting setting{model, one, {.context = 100'000}};
  const Plan plan = place(setting, Objective::kLatency, Use::kBest);
  ASSERT_TRUE(plan.fits);
  EXPECT_LT(plan.context, 100'000U);
  EXPECT_GE(plan.context, 64U);
  Setting longer = setting;
  longer.work.context = plan.context + 64;
  EXPECT_FALSE(make_plan(longer, Objective::kLatency).fits);
  const Inventory none = equal(1, 900 * kMB);
  EXPECT_FALSE(place({model, none, {.context = 64}}, Objective::kLatency, Use::kBest).fits);
}

TEST(Place, GivenRangesSayWhatIsMissing) {
  const Model model = even_model(10, 100 * kMB);
  const Inventory two = equal(2, 700 * kMB);
  const Setting setting{model, two, {.context = 64}};
  EXPECT_TRUE(plan_of(setting, {{0, {0, 5}}, {1, {5, 10}}}).fits);
  const Plan plan = plan_of(setting, {{0, {0, 9}}, {1, {9, 10}}});
  EXPECT_FALSE(plan.fits);
  EXPECT_GT(plan.missing_bytes, 200 * kMB);
  EXPECT_GT(plan.prediction.decode_tps, 0);
}

TEST(Place, AGatewayOfItsOwnIsNoMachine) {
  const Model model = even_model(10, 100 * kMB);
  Inventory two = equal(2);
  two.gateway = {{0.2, 1e9}, {0.0001, 1e9}};  // the first is far
  const Setting setting{model, two, {.context = 64}};
  const Plan plan = place(setting, Objective::kLatency, Use::kBest);
  EXPECT_THAT(plan.unused, ElementsAre(0U));
}

}  // namespace
}  // namespace tandem::planner
