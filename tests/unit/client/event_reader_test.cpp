#include "client/event_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

namespace tandem::client {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> events_of(std::string_view text) {
  EventReader reader;
  std::vector<std::string> events;
  EXPECT_TRUE(reader.feed(text, events).ok());
  return events;
}

TEST(EventReader, OneEventABlankLine) {
  EXPECT_THAT(events_of("data: {\"a\": 1}\n\ndata: [DONE]\n\n"),
              ElementsAre("{\"a\": 1}", "[DONE]"));
}

TEST(EventReader, EveryLineEnd) {
  EXPECT_THAT(events_of("data: a\r\n\r\ndata: b\r\rdata: c\n\n"), ElementsAre("a", "b", "c"));
}

TEST(EventReader, CommentsAndOtherFieldsAreDropped) {
  EXPECT_THAT(events_of(": keepalive 1/2\n\nevent: x\nid: 7\ndatabase: y\ndata: a\n\n"),
              ElementsAre("a"));
}

TEST(EventReader, LinesOfOneEventAreJoined) {
  EXPECT_THAT(events_of("data: a\ndata:b\ndata\ndata:  c\n\n"), ElementsAre("a\nb\n\n c"));
}

TEST(EventReader, AnEventWithoutItsBlankLineIsNone) {
  EXPECT_THAT(events_of("data: a\n"), IsEmpty());
}

TEST(EventReader, AnyCutGivesTheSameEvents) {
  const std::string text = ": x\r\n\r\ndata: one\r\ndata: two\n\ndata:3\r\rdata: [DONE]\n\n";
  const auto whole = events_of(text);
  ASSERT_EQ(whole.size(), 3U);
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 500; ++round) {
    EventReader reader;
    std::vector<std::string> events;
    std::string_view rest = text;
    while (!rest.empty()) {
      const std::size_t size = std::min<std::size_t>(rest.size(), random() % 4);
      ASSERT_TRUE(reader.feed(rest.substr(0, size), events).ok());
      rest.remove_prefix(size);
    }
    ASSERT_EQ(events, whole);
  }
}

TEST(EventReader, EventsAndLinesHaveALimit) {
  std::vector<std::string> events;
  EventReader line;
  ASSERT_TRUE(line.feed(std::string(kEventBytesMax, 'a'), events).ok());
  EXPECT_EQ(line.feed("a", events).error().code, ErrorCode::kResourceLimit);
  EventReader event;
  const std::string half = "data: " + std::string(kEventBytesMax / 2 - 1, 'a') + "\n";
  ASSERT_TRUE(event.feed(half, events).ok());
  ASSERT_TRUE(event.feed(half, events).ok());
  EXPECT_EQ(event.feed("data: a\n", events).error().code, ErrorCode::kResourceLimit);
  EXPECT_THAT(events, IsEmpty());
}

}  // namespace
}  // namespace tandem::client
