#include "server/api/stop_scanner.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace tandem::server {
namespace {

struct Scanned {
  std::string text;
  bool stopped = false;
};

/// All of `text`, pushed in pieces of the given sizes (the last one repeats).
Scanned scan(const std::vector<std::string>& stops, const std::string& text,
             const std::vector<std::size_t>& sizes) {
  StopScanner scanner(stops);
  Scanned out;
  std::size_t at = 0;
  for (std::size_t i = 0; at < text.size(); ++i) {
    const std::size_t size = std::max<std::size_t>(1, sizes[std::min(i, sizes.size() - 1)]);
    const StopScanner::Piece piece = scanner.push(text.substr(at, size));
    out.text += piece.text;
    if (piece.stopped) return {out.text, true};
    at += size;
  }
  out.text += scanner.finish();
  return out;
}

TEST(StopScanner, TextWithoutAStopStringPassesWhole) {
  const Scanned out = scan({"###", "\n\n"}, "a # b ## c\n", {1});
  EXPECT_EQ(out.text, "a # b ## c\n");
  EXPECT_FALSE(out.stopped);
}

TEST(StopScanner, AStopStringAcrossPiecesNeverShows) {
  StopScanner scanner({"STOP"});
  EXPECT_EQ(scanner.push("go S").text, "go ");
  EXPECT_EQ(scanner.push("T").text, "");
  EXPECT_EQ(scanner.push("O").text, "");
  const StopScanner::Piece last = scanner.push("P and more");
  EXPECT_EQ(last.text, "");
  EXPECT_TRUE(last.stopped);
}

TEST(StopScanner, WhatOnlyBeganLikeAStopStringComesOutLater) {
  StopScanner scanner({"aab"});
  EXPECT_EQ(scanner.push("aa").text, "");
  EXPECT_EQ(scanner.push("a").text, "a");
  const StopScanner::Piece last = scanner.push("b");
  EXPECT_EQ(last.text, "");
  EXPECT_TRUE(last.stopped);
}

TEST(StopScanner, TheFirstCompletedOfSeveralWins) {
  EXPECT_EQ(scan({"abc", "b"}, "xabc", {4}).text, "xa");
  EXPECT_EQ(scan({"bc", "abc"}, "xabc", {4}).text, "x") << "of equal ends the longer";
}

TEST(StopScanner, TheCutsDoNotMatter) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (unsigned i = 0; i < 12; ++i) text += static_cast<char>('a' + random() % 3);
    std::vector<std::string> stops;
    for (unsigned i = 0; i < 1 + random() % 3; ++i) {
      std::string stop;
      for (unsigned j = 0; j < 1 + random() % 4; ++j) stop += static_cast<char>('a' + random() % 3);
      stops.push_back(stop);
    }
    std::vector<std::size_t> sizes;
    for (int i = 0; i < 12; ++i) sizes.push_back(1 + random() % 5);
    const Scanned whole = scan(stops, text, {text.size()});
    const Scanned cut = scan(stops, text, sizes);
    ASSERT_EQ(whole.text, cut.text) << text;
    ASSERT_EQ(whole.stopped, cut.stopped) << text;
  }
}

}  // namespace
}  // namespace tandem::server
