#include "cluster/wire/frame_chunks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "cluster/wire/frame.h"

namespace tandem::cluster {
namespace {

// A frame as its messages: headers and pieces.
std::vector<std::pair<ChunkHeader, std::string>> cut(const std::string& frame, std::uint64_t epoch,
                                                     std::size_t most) {
  std::vector<std::pair<ChunkHeader, std::string>> out;
  std::size_t at = 0;
  do {
    const std::size_t size = std::min(most, frame.size() - at);
    const auto left = static_cast<std::uint32_t>(frame.size() - at - size);
    out.emplace_back(make_chunk_header(epoch, left), frame.substr(at, size));
    at += size;
  } while (at < frame.size());
  return out;
}

TEST(FrameAssembler, PutsFramesOfAnySizeTogether) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  FrameAssembler assembler(3);
  for (int round = 0; round < 500; ++round) {
    std::string frame(random() % 300, '\0');
    for (char& c : frame) c = static_cast<char>(random());
    std::vector<std::string> got;
    for (const auto& [header, piece] : cut(frame, 3, 1 + random() % 100)) {
      const auto ours = assembler.begin(header, piece.size());
      ASSERT_TRUE(ours.ok()) << ours.error().message;
      ASSERT_TRUE(*ours);
      assembler.append(piece);
      if (auto whole = assembler.end()) got.push_back(*whole);
    }
    ASSERT_EQ(got.size(), 1u);
    EXPECT_EQ(got[0], frame);
  }
}

TEST(FrameAssembler, DropsPiecesOfAnotherEpoch) {
  FrameAssembler assembler(3);
  EXPECT_FALSE(*assembler.begin(make_chunk_header(2, 0), 5));
  EXPECT_FALSE(*assembler.begin(make_chunk_header(4, 0), 5));
  ASSERT_TRUE(*assembler.begin(make_chunk_header(3, 0), 2));
  assembler.append("ab");
  EXPECT_EQ(assembler.end(), "ab");
}

TEST(FrameAssembler, RefusesWhatDoesNotFitTogether) {
  const auto big = static_cast<std::uint32_t>(kMaxFrameBytes);
  EXPECT_EQ(FrameAssembler(1).begin(make_chunk_header(1, big), 1).error().code,
            ErrorCode::kResourceLimit);
  EXPECT_FALSE(FrameAssembler(1).begin(make_chunk_header(1, 0), kMaxChunkBytes + 1).ok());
  EXPECT_FALSE(FrameAssembler(1).begin(make_chunk_header(1, 5), 0).ok());
  FrameAssembler assembler(1);
  ASSERT_TRUE(assembler.begin(make_chunk_header(1, 5), 5).ok());
  assembler.append("12345");
  EXPECT_EQ(assembler.end(), std::nullopt);
  EXPECT_FALSE(assembler.begin(make_chunk_header(1, 1), 5).ok());
}

}  // namespace
}  // namespace tandem::cluster
