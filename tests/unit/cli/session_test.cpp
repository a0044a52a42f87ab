#include "cli/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tandem::cli {
namespace {

using ::testing::HasSubstr;

TEST(PipelineOptions, LocalRanksShareTheCores) {
  ModelOptions options;
  EXPECT_EQ(pipeline_options(options, "m", 8, false)->stage.threads, 8);
  options.ranks = 3;
  const auto three = *pipeline_options(options, "m", 8, false);
  EXPECT_EQ(three.ranks, 3);
  EXPECT_EQ(three.stage.threads, 2);
  options.ranks = 100;
  EXPECT_EQ(pipeline_options(options, "m", 8, false)->stage.threads, 1);
  options.threads = 5;
  EXPECT_EQ(pipeline_options(options, "m", 8, false)->stage.threads, 5);
}

TEST(PipelineOptions, HostsUseTheirOwnCores) {
  ModelOptions options;
  options.hosts = "a,b,c";
  const auto all = *pipeline_options(options, "m", 8, false);
  EXPECT_EQ(all.hosts.size(), 3U);
  EXPECT_EQ(all.stage.threads, 0);
  options.ranks = 2;
  EXPECT_EQ(pipeline_options(options, "m", 8, false)->hosts.size(), 2U);
  options.ranks = 4;
  EXPECT_THAT(pipeline_options(options, "m", 8, false).error().message, HasSubstr("--ranks"));
}

TEST(PipelineOptions, PrecisionFollowsTheDevice) {
  ModelOptions options;
  const auto cpu = *pipeline_options(options, "m", 8, false);
  EXPECT_FALSE(cpu.stage.gpu);
  EXPECT_EQ(cpu.stage.activations, kernels::Activations::kInt8);
  const auto gpu = *pipeline_options(options, "m", 8, true);
  EXPECT_TRUE(gpu.stage.gpu);
  EXPECT_EQ(gpu.stage.activations, kernels::Activations::kBF16);
  options.devices = {Device::kCpu};
  EXPECT_FALSE(pipeline_options(options, "m", 8, true)->stage.gpu);
  options.devices = {Device::kGpu};
  EXPECT_THAT(pipeline_options(options, "m", 8, false).error().message, HasSubstr("--device"));
}

TEST(PipelineOptions, ListsAreOfEachRank) {
  ModelOptions options;
  options.devices = {Device::kCpu, Device::kGpu};
  const auto mixed = *pipeline_options(options, "m", 8, true);
  EXPECT_EQ(mixed.ranks, 2) << "a list says how many ranks there are";
  EXPECT_EQ(mixed.gpus, (std::vector<bool>{false, true}));
  EXPECT_EQ(mixed.stage.activations, kernels::Activations::kBF16) << "one type on the wire";
  options.layers = {{0, 2}, {2, 5}};
  EXPECT_EQ(pipeline_options(options, "m", 8, true)->layers, options.layers);
  options.ranks = 3;
  EXPECT_THAT(pipeline_options(options, "m", 8, true).error().message,
              HasSubstr("--layers: 2 ranges, and 3 ranks"));
  options.layers.clear();
  EXPECT_THAT(pipeline_options(options, "m", 8, true).error().message,
              HasSubstr("--device: 2 devices, and 3 ranks"));
}

TEST(PipelineOptions, KvMemoryReachesTheStages) {
  ModelOptions options;
  EXPECT_EQ(pipeline_options(options, "m", 8, false)->stage.kv_bytes_max, 0U);
  options.kv_bytes = 500'000'000;
  EXPECT_EQ(pipeline_options(options, "m", 8, false)->stage.kv_bytes_max, 500'000'000U);
}

TEST(PipelineOptions, KvBitsReachTheStagesOfCpus) {
  ModelOptions options;
  EXPECT_EQ(pipeline_options(options, "m", 8, false)->stage.kv_bits, 0);
  options.kv_bits = 8;
  EXPECT_EQ(pipeline_options(options, "m", 8, false)->stage.kv_bits, 8);
  EXPECT_THAT(pipeline_options(options, "m", 8, true).error().message, HasSubstr("--kv-bits"));
  options.devices = {Device::kCpu};
  EXPECT_EQ(pipeline_options(options, "m", 8, true)->stage.kv_bits, 8);
}

TEST(PipelineOptions, AMissingHostFileIsAnError) {
  ModelOptions options;
  options.hostfile = "/no/such/file.json";
  const auto wanted = pipeline_options(options, "m", 8, false);
  ASSERT_FALSE(wanted.ok());
  EXPECT_THAT(wanted.error().message, HasSubstr("/no/such/file.json"));
}

}  // namespace
}  // namespace tandem::cli
