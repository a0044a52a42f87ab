#include "cluster/rank/control.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "cluster/rank/process.h"

namespace tandem::cluster {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds kLong{20};

class Control : public testing::Test {
 protected:
  void SetUp() override {
    int pair[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    left_ = Fd(pair[0]);
    right_ = Fd(pair[1]);
  }
  Fd left_;
  Fd right_;
};

TEST_F(Control, MessagesArriveWholeAndInOrder) {
  ControlChannel sender(left_.get());
  ControlChannel receiver(right_.get());
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  std::vector<std::string> sent;
  for (int i = 0; i < 60; ++i) {
    const std::size_t size = std::uniform_int_distribution<std::size_t>(0, 60'000)(random);
    sent.emplace_back(size, static_cast<char>('a' + i % 26));
  }
  sent.emplace_back(kMaxControlBytes, 'x');
  std::thread writer([&] {
    for (const std::string& payload : sent) {
      EXPECT_TRUE(sender.send(ControlKind::kProgress, payload, after(kLong)).ok());
    }
  });
  for (const std::string& payload : sent) {
    const auto message = receiver.receive(after(kLong));
    ASSERT_TRUE(message.ok()) << message.error().message;
    ASSERT_EQ(message->kind, ControlKind::kProgress);
    ASSERT_EQ(message->payload, payload);
  }
  writer.join();
}

TEST_F(Control, NothingInTimeIsADeadlineAndTheChannelLivesOn) {
  ControlChannel sender(left_.get());
  ControlChannel receiver(right_.get());
  const auto nothing = receiver.receive(after(milliseconds(10)));
  ASSERT_FALSE(nothing.ok());
  EXPECT_EQ(nothing.error().code, ErrorCode::kDeadlineExceeded);
  ASSERT_TRUE(sender.send(ControlKind::kPing, "x", after(kLong)).ok());
  EXPECT_TRUE(receiver.receive(after(kLong)).ok());
}

TEST_F(Control, FullSocketIsADeadlineNotAHang) {
  ControlChannel sender(left_.get());
  Status status;
  for (int i = 0; i < 100 && status.ok(); ++i) {
    status = sender.send(ControlKind::kLoad, std::string(kMaxControlBytes, 'x'),
                         after(milliseconds(20)));
  }
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, ErrorCode::kDeadlineExceeded);
}

TEST_F(Control, AGonePeerIsUnavailableForBothDirections) {
  ControlChannel channel(left_.get());
  right_.reset();
  EXPECT_EQ(channel.receive(after(kLong)).error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(channel.send(ControlKind::kPing, "x", after(kLong)).error().code,
            ErrorCode::kUnavailable);
}

TEST_F(Control, WhatWasSaidBeforeTheEndIsStillHeard) {
  ControlChannel channel(right_.get());
  {
    ControlChannel sender(left_.get());
    ASSERT_TRUE(sender.send(ControlKind::kFailed, "reason", after(kLong)).ok());
    left_.reset();
  }
  const auto message = channel.receive(after(kLong));
  ASSERT_TRUE(message.ok());
  EXPECT_EQ(message->payload, "reason");
  EXPECT_EQ(channel.receive(after(kLong)).error().code, ErrorCode::kUnavailable);
}

TEST_F(Control, OversizeAndUnknownMessagesAreRefusedBeforeTheyAreRead) {
  ControlChannel sender(left_.get());
  EXPECT_EQ(sender.send(ControlKind::kLoad, std::string(kMaxControlBytes + 1, 'x'), after(kLong))
                .error()
                .code,
            ErrorCode::kInvalidArgument);
  for (const std::string& bytes :
       {std::string("\xff\xff\xff\xff\x04", 5), std::string("\x00\x00\x00\x00\x00", 5),
        std::string("\x00\x00\x00\x00\x7f", 5)}) {
    int pair[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    const Fd writer(pair[0]);
    const Fd reader(pair[1]);
    ASSERT_EQ(::write(writer.get(), bytes.data(), bytes.size()), 5);
    ControlChannel channel(reader.get());
    EXPECT_EQ(channel.receive(after(kLong)).error().code, ErrorCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace tandem::cluster
