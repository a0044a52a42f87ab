#include "cluster/rank/worker_place.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tandem::cluster {
namespace {

using testing::HasSubstr;

v1::LoadRequest request_of(bool gpu, std::uint64_t memory, int threads) {
  v1::LoadRequest request;
  request.set_gpu(gpu);
  request.set_memory_bytes(memory);
  request.set_threads(threads);
  return request;
}

TEST(WorkerPlace, TheOwnersLimitsGoBeforeTheGateways) {
  const WorkerPlace place{.gpu = std::nullopt, .memory_bytes = 100, .threads = 4};
  const struct {
    std::uint64_t memory, memory_left;
    int threads, threads_left;
  } cases[] = {{0, 100, 0, 4}, {50, 50, 2, 2}, {200, 100, 8, 4}};
  for (const auto& each : cases) {
    v1::LoadRequest request = request_of(false, each.memory, each.threads);
    ASSERT_TRUE(keep_to(place, request).ok());
    EXPECT_EQ(request.memory_bytes(), each.memory_left);
    EXPECT_EQ(request.threads(), each.threads_left);
  }
}

TEST(WorkerPlace, WithoutLimitsARequestStays) {
  v1::LoadRequest request = request_of(true, 7, 3);
  ASSERT_TRUE(keep_to({}, request).ok());
  EXPECT_EQ(request.memory_bytes(), 7U);
  EXPECT_EQ(request.threads(), 3);
}

TEST(WorkerPlace, AnotherDeviceIsRefusedByName) {
  v1::LoadRequest request = request_of(true, 0, 0);
  const Status kept = keep_to({.gpu = false}, request);
  ASSERT_FALSE(kept.ok());
  EXPECT_EQ(kept.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(kept.error().message, HasSubstr("--device cpu"));
}

TEST(WorkerPlace, WhatWasMeasuredOfTheCpuIsSaid) {
  v1::DescribeRequest request;
  request.set_device(v1::DEVICE_KIND_CPU);
  const auto silent = describe_place({.gpu = std::nullopt, .threads = 3}, request, "");
  ASSERT_TRUE(silent.ok());
  EXPECT_EQ(silent->threads(), 3U);
  EXPECT_EQ(silent->read_rate(), 0);
  EXPECT_EQ(silent->machine(), describe_place({}, request, "")->machine());
  const auto said = describe_place(
      {.gpu = std::nullopt, .rates = stage::MachineRates{2, 3e10, 2e10, 5e10}}, request, "");
  EXPECT_EQ(said->read_rate(), 3e10);
  EXPECT_EQ(said->read_rate_single(), 2e10);
  EXPECT_EQ(said->flops(), 5e10);
}

TEST(WorkerPlace, AMachineIsMeasuredOrSaysWhyNot) {
  const auto rates = stage::measure_machine(1);
  if (!rates) {
    EXPECT_EQ(rates.error().code, ErrorCode::kResourceLimit);
    return;
  }
  EXPECT_EQ(rates->threads, 1);
  EXPECT_GT(rates->read, 1e8);
  EXPECT_EQ(rates->read, rates->read_single);
  EXPECT_GT(rates->flops, 1e8);
}

TEST(WorkerPlace, SomeThreadsReachWhatAllRead) {
  const stage::MachineRates rates{8, 5e10, 2e10, 1e11};
  EXPECT_EQ(rates.read_with(1), 2e10);
  EXPECT_EQ(rates.read_with(2), 4e10);
  EXPECT_EQ(rates.read_with(3), 5e10);
}

TEST(WorkerPlace, ACpuSaysWhatIsFree) {
  v1::DescribeRequest request;
  const auto free = describe_place({.gpu = false}, request, "");
  ASSERT_TRUE(free.ok()) << free.error().message;
  EXPECT_EQ(free->device(), v1::DEVICE_KIND_CPU);
  EXPECT_GT(free->memory_bytes(), 1U << 20);
  request.set_device(v1::DEVICE_KIND_CPU);
  const auto bounded = describe_place({.gpu = false, .memory_bytes = 1000}, request, "");
  EXPECT_EQ(bounded->memory_bytes(), 1000U);
  request.set_device(v1::DEVICE_KIND_GPU);
  EXPECT_FALSE(describe_place({.gpu = false}, request, "").ok());
  EXPECT_FALSE(describe_place({}, request, "").ok()) << "no GPU runs a model that is not there";
}

}  // namespace
}  // namespace tandem::cluster
