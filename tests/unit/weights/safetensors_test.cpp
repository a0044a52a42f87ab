#include "weights/safetensors.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <string>

#include "support/safetensors_writer.h"

namespace tandem::weights {
namespace {

using tandem::testing::pack_safetensors;

Result<SafetensorsHeader> judge(std::string_view file) {
  const auto bytes = std::as_bytes(std::span(file.data(), file.size()));
  const auto length =
      header_length(bytes.first(std::min<std::size_t>(8, bytes.size())), bytes.size(), "f");
  if (!length.ok()) return length.error();
  return parse_header(bytes.subspan(8, static_cast<std::size_t>(*length)), bytes.size(), "f");
}

std::string error_of(std::string_view header, std::size_t data) {
  const auto result = judge(pack_safetensors(header, std::string(data, '\0')));
  return result.ok() ? "" : result.error().message;
}

constexpr std::string_view kTwo =
    R"({"__metadata__":{"format":"mlx"},"b":{"dtype":"F32","shape":[1,2],"data_offsets":[4,12]},)"
    R"("a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}})";

TEST(Safetensors, TensorsComeByOffsetWithAbsoluteBytes) {
  const auto header = judge(pack_safetensors(kTwo, std::string(12, 'x')));
  ASSERT_TRUE(header.ok()) << header.error().message;
  ASSERT_EQ(header->tensors.size(), 2U);
  EXPECT_EQ(header->tensors[0].name, "a");
  EXPECT_EQ(header->tensors[0].dtype, DType::kBF16);
  EXPECT_EQ(header->tensors[0].begin, 8 + kTwo.size());
  EXPECT_EQ(header->tensors[1].shape, (std::vector<std::int64_t>{1, 2}));
  EXPECT_EQ(header->tensors[1].end, 8 + kTwo.size() + 12);
  ASSERT_EQ(header->metadata.size(), 1U);
  EXPECT_EQ(header->metadata[0].second, "mlx");
}

TEST(Safetensors, MessagesNameTheTensorAndTheRule) {
  EXPECT_EQ(error_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", 12),
            "f: tensor \"a\" follows a hole of 4 bytes");
  EXPECT_EQ(error_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 9),
            "f: has 1 bytes after its last tensor");
  EXPECT_EQ(error_of(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8),
            "f: tensor \"a\" has 8 bytes of data, its shape and dtype need 12");
  EXPECT_EQ(error_of(R"({"a":{"dtype":"F33","shape":[2],"data_offsets":[0,8]}})", 8),
            "f: tensor \"a\" has the unknown dtype \"F33\"");
  EXPECT_EQ(
      error_of(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}})", 8),
      "f: tensor \"a\" has a shape whose size overflows 64 bits");
  EXPECT_EQ(error_of(R"({"a\nb":1})", 0), "f: tensor \"a b\" must be an object");
  EXPECT_NE(
      error_of(R"({"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}})", 4).find("truncated"),
      std::string::npos);
  EXPECT_NE(error_of(R"({"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},
                         "b":{"dtype":"U8","shape":[8],"data_offsets":[4,12]}})",
                     12)
                .find("tensor \"b\" overlaps"),
            std::string::npos);
}

TEST(Safetensors, TheHeadersLengthIsCheckedBeforeItIsRead) {
  std::byte prefix[8] = {};
  EXPECT_FALSE(header_length({prefix, 7}, 100, "f").ok());
  prefix[0] = std::byte{92};
  EXPECT_EQ(*header_length(prefix, 100, "f"), 92U);
  EXPECT_FALSE(header_length(prefix, 99, "f").ok());
  EXPECT_FALSE(header_length(prefix, 4, "f").ok());
  for (auto& byte : prefix) byte = std::byte{0xff};
  EXPECT_FALSE(header_length(prefix, 100, "f").ok());
  // 100,000,001 in a file that is long enough.
  const std::uint64_t over = kMaxHeaderBytes + 1;
  for (int i = 0; i < 8; ++i) prefix[i] = std::byte(over >> (8 * i));
  EXPECT_NE(header_length(prefix, 1'000'000'000, "f").error().message.find("limit is 100000000"),
            std::string::npos);
}

TEST(Safetensors, EveryByteChangeIsJudgedWithoutHarm) {
  const std::string good = pack_safetensors(kTwo, std::string(12, 'x'));
  int accepted = 0;
  int refused = 0;
  for (std::size_t i = 0; i < good.size() - 12; ++i) {
    for (int value = 0; value < 256; ++value) {
      std::string file = good;
      file[i] = static_cast<char>(value);
      const auto header = judge(file);
      header.ok() ? ++accepted : ++refused;
      if (!header.ok()) continue;
      // Whatever was accepted covers the data exactly.
      std::uint64_t covered = 0;
      for (const auto& tensor : header->tensors) covered += tensor.end - tensor.begin;
      ASSERT_EQ(covered, 12U) << "byte " << i << " = " << value;
    }
  }
  EXPECT_GT(accepted, 0);
  EXPECT_GT(refused, accepted);
}

TEST(Safetensors, RandomSplicesAreJudgedWithoutHarm) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const std::string good = pack_safetensors(kTwo, std::string(12, 'x'));
  const auto at = [&](std::size_t n) { return random() % n; };
  for (int round = 0; round < 20000; ++round) {
    std::string file = good;
    for (auto edits = 1 + at(4); edits > 0 && !file.empty(); --edits) {
      switch (at(3)) {
        case 0:
          file.erase(at(file.size()), 1 + at(20));
          break;
        case 1:
          file.insert(at(file.size()), good.substr(at(good.size()), at(30)));
          break;
        default:
          file[at(file.size())] = static_cast<char>(random());
          break;
      }
    }
    const auto header = judge(file);
    if (header.ok()) continue;
    EXPECT_EQ(header.error().message.find('\n'), std::string::npos);
  }
}

}  // namespace
}  // namespace tandem::weights
