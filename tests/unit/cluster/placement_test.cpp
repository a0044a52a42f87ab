#include "cluster/gateway/placement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

#include "support/temp_folder.h"
#include "support/tiny_checkpoint.h"

namespace tandem::cluster {
namespace {

using planner::Objective;
using tandem::testing::TempFolder;
using tandem::testing::TinyCheckpoint;
using ::testing::HasSubstr;
using ::testing::Not;

Member host(const std::string& name, double read_rate, double latency,
            const std::string& machine = {}) {
  Member member;
  member.host = {name, 4820, {}};
  member.memory_free = 8'000'000'000;
  member.machine = machine.empty() ? name : machine;
  member.read_rate = read_rate;
  member.flops = 1e12;
  member.way = {latency, 1e8};
  return member;
}

template <class... M>
Members members_of(M... member) {
  Members members;
  (members.push_back(std::move(member)), ...);
  return members;
}

/// A gateway's options over `hosts` for a tiny Llama of `layers`.
class PlacementTest : public ::testing::Test {
 protected:
  PipelineOptions options_for(const Members& members, int layers = 6) {
    TinyCheckpoint::llama(layers, false).write(folder_.path());
    PipelineOptions options;
    options.stage.folder = folder_.path();
    for (const Member& member : members) options.hosts.push_back(member.host);
    return options;
  }

 private:
  TempFolder folder_;
};

TEST(Inventory, WhatHostsSayAndTheWorseOfTheirWays) {
  const auto members = members_of(host("a", 1e10, 0.001), host("b", 3e10, 0.02));
  const planner::Inventory inventory = inventory_of(members, Objective::kLatency);
  EXPECT_EQ(inventory.machines[0].name, "a:4820");
  EXPECT_EQ(inventory.machines[0].bandwidth, 1e10);
  EXPECT_EQ(inventory.machines[1].flops, 1e12);
  EXPECT_EQ(inventory.machines[1].memory, 8'000'000'000U);
  EXPECT_FALSE(inventory.machines[1].gpu);
  EXPECT_EQ(inventory.links[0][1].latency, 0.02);
  EXPECT_EQ(inventory.to_gateway(0).latency, 0.001);
}

TEST(Inventory, WorkersOfOneMachineDoNotHaveItsMemoryTwice) {
  const auto members = members_of(host("a", 1e10, 0.0001, "m"), host("b", 1.1e10, 0.0001, "m"),
                                  host("c", 4e9, 0.0001, "m"), host("d", 2e10, 0.0001, "n"));
  const planner::Inventory alone = inventory_of(members, Objective::kLatency);
  EXPECT_EQ(alone.machines[0].bandwidth, 1.1e10) << "the better measurement of one memory";
  EXPECT_EQ(alone.machines[1].bandwidth, 1.1e10);
  EXPECT_EQ(alone.machines[2].bandwidth, 4e9) << "fewer threads";
  const planner::Inventory together = inventory_of(members, Objective::kThroughput);
  EXPECT_DOUBLE_EQ(together.machines[0].bandwidth, 1.1e10 / 3);
  EXPECT_EQ(together.machines[3].bandwidth, 2e10);
}

TEST(Inventory, HostsThatSayNothingCountAsUsualOnes) {
  auto members = members_of(host("a", 0, 0.001), host("b", 0, 0.001));
  members[1].gpu = true;
  members[0].memory_free = 0;
  const planner::Inventory inventory = inventory_of(members, Objective::kLatency);
  EXPECT_GT(inventory.machines[0].bandwidth, 1e9);
  EXPECT_GT(inventory.machines[1].bandwidth, 5 * inventory.machines[0].bandwidth);
  EXPECT_GT(inventory.machines[0].memory, std::uint64_t{1} << 50) << "any part fits";
}

TEST_F(PlacementTest, AHostThatMakesItSlowerIsLeftOutInALine) {
  auto members = members_of(host("far", 1e10, 0.05), host("near", 1e10, 0.0001));
  PipelineOptions options = options_for(members);
  Placement standing;
  const auto line = place_layers(members, options, standing);
  ASSERT_TRUE(line.ok()) << line.error().message;
  ASSERT_EQ(members.size(), 1U);
  EXPECT_EQ(members[0].host.name, "near");
  EXPECT_EQ(members[0].layers, (LayerRange{0, 6}));
  EXPECT_THAT(*line, HasSubstr("near:4820 layers 0-5"));
  EXPECT_THAT(*line, HasSubstr("left out, for it is faster without: far:4820"));
}

TEST_F(PlacementTest, AllHostsAreUsedInTheirOrderWhereThatIsAsked) {
  auto members = members_of(host("far", 1e10, 0.05), host("near", 1e10, 0.0001));
  PipelineOptions options = options_for(members);
  options.all_hosts = true;
  Placement standing;
  const auto line = place_layers(members, options, standing);
  ASSERT_TRUE(line.ok()) << line.error().message;
  ASSERT_EQ(members.size(), 2U);
  EXPECT_EQ(members[0].layers.first, 0);
  EXPECT_EQ(members[1].layers.last, 6);
  EXPECT_THAT(*line, Not(HasSubstr("left out")));
}

TEST_F(PlacementTest, LocalRanksHoldEvenParts) {
  Members members(3);
  PipelineOptions options = options_for({});
  options.ranks = 3;
  Placement standing;
  const auto line = place_layers(members, options, standing);
  ASSERT_TRUE(line.ok()) << line.error().message;
  ASSERT_EQ(members.size(), 3U);
  for (const Member& member : members) EXPECT_LE(member.layers.last - member.layers.first, 3);
  EXPECT_THAT(*line, HasSubstr("3 ranks of this machine"));
}

TEST_F(PlacementTest, NamedLayersGoBeforeEverything) {
  auto members = members_of(host("far", 1e10, 0.05), host("near", 1e10, 0.0001));
  PipelineOptions options = options_for(members);
  options.layers = {{0, 5}, {5, 6}};
  Placement standing;
  ASSERT_TRUE(place_layers(members, options, standing).ok());
  ASSERT_EQ(members.size(), 2U);
  EXPECT_EQ(members[0].layers, (LayerRange{0, 5}));
  EXPECT_EQ(members[1].host.name, "near");
}

TEST_F(PlacementTest, TheSameHostsKeepTheirLayersAsLongAsTheyHaveRoom) {
  auto first = members_of(host("a", 1e10, 0.0001), host("b", 1e10, 0.001));
  PipelineOptions options = options_for(first);
  Placement standing;
  ASSERT_TRUE(place_layers(first, options, standing).ok());
  ASSERT_EQ(first.front().host.name, "a");
  auto again = members_of(host("a", 1e10, 0.002), host("b", 1e10, 0.0001));
  ASSERT_TRUE(place_layers(again, options, standing).ok());
  EXPECT_EQ(again.front().host.name, "a") << "though the other way is the shorter now";
  auto full = members_of(host("a", 1e10, 0.0001), host("b", 1e10, 0.001));
  full[0].memory_free = 1'000'000;
  ASSERT_TRUE(place_layers(full, options, standing).ok());
  EXPECT_EQ(full.front().host.name, "b");
}

TEST_F(PlacementTest, WhatFitsNowhereIsRefusedWithWhatEachHas) {
  auto members = members_of(host("a", 1e10, 0.0001), host("b", 1e10, 0.001));
  for (Member& member : members) member.memory_free = 1'000'000;
  PipelineOptions options = options_for(members);
  Placement standing;
  const auto line = place_layers(members, options, standing);
  ASSERT_FALSE(line.ok());
  EXPECT_EQ(line.error().code, ErrorCode::kResourceLimit);
  EXPECT_THAT(line.error().message, HasSubstr("rank 1 1.00 MB"));
}

TEST_F(PlacementTest, MoreRanksThanLayersIsAMistakeOnlyWhereAllAreWanted) {
  const auto members = members_of(host("a", 1e10, 0.0001), host("b", 1e10, 0.001));
  PipelineOptions options = options_for(members, 1);
  EXPECT_TRUE(check_split(options).ok());
  options.all_hosts = true;
  EXPECT_THAT(check_split(options).error().message, HasSubstr("2 ranks are more than"));
}

}  // namespace
}  // namespace tandem::cluster
