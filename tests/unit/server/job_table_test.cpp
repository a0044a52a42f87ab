#include "server/serving/job_table.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace tandem::server {
namespace {

struct Listener : JobListener {
  std::vector<std::size_t> seen;
  std::vector<std::string> errors;
  bool more = true;
  bool want = true;

  bool event(std::size_t index, const scheduler::Event&) override {
    seen.push_back(index);
    return more;
  }
  void failed(const Error& error) override { errors.push_back(error.message); }
  bool wanted(Clock::time_point) override { return want; }
};

struct JobTableTest : testing::Test {
  void deliver(std::uint64_t sequence,
               scheduler::FinishReason finish = scheduler::FinishReason::kNone) {
    scheduler::Event event;
    event.sequence = sequence;
    event.finish = finish;
    table.deliver(event, cancel);
  }

  JobTable table;
  std::vector<std::uint64_t> cancelled;
  JobTable::Cancel cancel = [this](std::uint64_t sequence) { cancelled.push_back(sequence); };
  std::shared_ptr<Listener> one = std::make_shared<Listener>();
  std::shared_ptr<Listener> two = std::make_shared<Listener>();
};

TEST_F(JobTableTest, EventsReachTheirListenerByIndex) {
  table.add(one, {4, 7});
  table.add(two, {5});
  deliver(7);
  deliver(5);
  deliver(99);
  EXPECT_EQ(one->seen, std::vector<std::size_t>{1});
  EXPECT_EQ(two->seen, std::vector<std::size_t>{0});
  EXPECT_TRUE(cancelled.empty());
}

TEST_F(JobTableTest, ASequenceThatItsListenerEndsIsCancelledOnce) {
  table.add(one, {4, 7});
  one->more = false;
  deliver(4);
  deliver(4);
  EXPECT_EQ(cancelled, std::vector<std::uint64_t>{4});
  EXPECT_EQ(one->seen.size(), 1U);
}

TEST_F(JobTableTest, ASequenceThatEndedByItselfIsNotCancelled) {
  table.add(one, {4});
  one->more = false;
  deliver(4, scheduler::FinishReason::kStop);
  EXPECT_TRUE(cancelled.empty());
  EXPECT_EQ(one.use_count(), 1) << "nothing keeps a job that is over";
}

TEST_F(JobTableTest, WhatNobodyWantsIsCancelledWhole) {
  table.add(one, {4, 7});
  table.add(two, {5});
  deliver(4, scheduler::FinishReason::kStop);
  one->want = false;
  table.drop_unwanted(Clock::now(), cancel);
  EXPECT_EQ(cancelled, std::vector<std::uint64_t>{7});
  EXPECT_EQ(one.use_count(), 1);
  deliver(5);
  EXPECT_EQ(two->seen.size(), 1U);
}

TEST_F(JobTableTest, AFailureReachesEveryJobOnce) {
  table.add(one, {4, 7});
  table.add(two, {5});
  table.fail_all({ErrorCode::kUnavailable, "rank 1 died"});
  table.fail_all({ErrorCode::kUnavailable, "again"});
  EXPECT_EQ(one->errors, std::vector<std::string>{"rank 1 died"});
  EXPECT_EQ(two->errors, std::vector<std::string>{"rank 1 died"});
}

}  // namespace
}  // namespace tandem::server
