#include "planner/inventory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <random>
#include <string>

namespace tandem::planner {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

constexpr const char* kGood = R"(# two machines
[[host]]
name = "studio"
memory_gb = 192
bandwidth_gbs = 800.5
tflops = 27.2

[[host]]
name = "box"
memory_gb = 16
bandwidth_gbs = 60
tflops = 1
device = "cpu"

[[link]]
between = ["studio", "box"]
latency_ms = 0.3
gbit = 10
)";

std::string refusal(const std::string& text) {
  const auto read = parse_inventory(text, "f.toml");
  if (read) return "accepted";
  EXPECT_EQ(read.error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(read.error().message.find('\n'), std::string::npos);
  return read.error().message;
}

/// kGood with one line changed.
std::string with(const std::string& line, const std::string& instead) {
  std::string text = kGood;
  const std::size_t at = text.find(line);
  EXPECT_NE(at, std::string::npos) << line;
  return text.replace(at, line.size(), instead);
}

TEST(Inventory, ReadsHostsAndLinks) {
  const auto read = parse_inventory(kGood, "f.toml");
  ASSERT_TRUE(read.ok()) << read.error().message;
  ASSERT_EQ(read->machines.size(), 2U);
  EXPECT_EQ(read->machines[0].name, "studio");
  EXPECT_EQ(read->machines[0].memory, 192'000'000'000U);
  EXPECT_DOUBLE_EQ(read->machines[0].bandwidth, 800.5e9);
  EXPECT_DOUBLE_EQ(read->machines[0].flops, 27.2e12);
  EXPECT_TRUE(read->machines[0].gpu);
  EXPECT_FALSE(read->machines[1].gpu);
  EXPECT_EQ(read->links[0][1], (Link{0.0003, 1.25e9}));
  EXPECT_EQ(read->links[1][0], read->links[0][1]);
  EXPECT_EQ(read->links[0][0].latency, 0);
}

TEST(Inventory, HostsWithoutALinkAreOnAGigabitLan) {
  const auto read =
      parse_inventory(with("between = [\"studio\", \"box\"]\nlatency_ms = 0.3\ngbit = 10\n",
                           "between = [\"studio\", \"box\"]\nlatency_ms = 0.5\ngbit = 1\n"),
                      "f.toml");
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_EQ(read->links[0][1], kLan);
}

TEST(Inventory, NamesFileLineFieldAndRule) {
  EXPECT_EQ(refusal(with("memory_gb = 192\n", "")), "f.toml: line 2: host[0].memory_gb is missing");
  EXPECT_EQ(refusal(with("memory_gb = 192", "memory_gb = -1")),
            "f.toml: line 4: host[0].memory_gb must be from 0.001 to 1e+06, not -1");
  EXPECT_EQ(refusal(with("memory_gb = 192", "memory_gb = nan")),
            "f.toml: line 4: host[0].memory_gb must be from 0.001 to 1e+06, not nan");
  EXPECT_EQ(refusal(with("tflops = 1\n", "tflops = \"1\"\n")),
            "f.toml: line 12: host[1].tflops must be a number");
  EXPECT_EQ(refusal(with("tflops = 1\n", "tflop = 1\n")),
            "f.toml: line 12: host[1].tflop is not known here; known: name, memory_gb, "
            "bandwidth_gbs, tflops, device");
  EXPECT_EQ(refusal(with("name = \"box\"", "name = \"studio\"")),
            "f.toml: line 9: host[1].name is another host's already");
  EXPECT_EQ(refusal(with("name = \"box\"", "name = \"\"")),
            "f.toml: line 9: host[1].name must have 1 to 255 bytes");
  EXPECT_EQ(refusal(with("device = \"cpu\"", "device = \"tpu\"")),
            "f.toml: line 13: host[1].device must be \"cpu\" or \"gpu\"");
  EXPECT_EQ(refusal(with("[\"studio\", \"box\"]", "[\"studio\", \"bax\"]")),
            "f.toml: line 16: link[0].between names \"bax\", which no [[host]] is called");
  EXPECT_EQ(refusal(with("[\"studio\", \"box\"]", "[\"box\", \"box\"]")),
            "f.toml: line 16: link[0].between must be two different hosts");
  EXPECT_EQ(refusal(with("[\"studio\", \"box\"]", "[\"box\", 3]")),
            "f.toml: line 16: link[0].between must be two names of hosts");
  EXPECT_EQ(refusal(with("gbit = 10", "gbit = 0")),
            "f.toml: line 18: link[0].gbit must be from 1e-06 to 1e+06, not 0");
  EXPECT_THAT(
      refusal(std::string(kGood) + "[[link]]\nbetween = [\"box\", \"studio\"]\n"
                                   "latency_ms = 1\ngbit = 1\n"),
      HasSubstr("line 20: link[1].between names two hosts whose link stands there already"));
  EXPECT_THAT(refusal("host = 3\n"), StartsWith("f.toml: line 1: host must be [[host]] tables"));
  EXPECT_THAT(refusal(""), StartsWith("f.toml: line 1: host must be 1 to 32 [[host]] tables"));
  EXPECT_THAT(refusal("[hosts]\n"), HasSubstr("hosts is not known here; known: host, link"));
  EXPECT_THAT(refusal(with("tflops = 27.2", "tflops = 27.2.1")), StartsWith("f.toml: line 6: "));
  EXPECT_THAT(refusal(with("tflops = 27.2", "tflops = 27.2\ntflops = 3")),
              StartsWith("f.toml: line 7: "));
}

TEST(Inventory, WhateverAFileSaysIsReadOrRefusedInOneLine) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const std::string good = kGood;
  const std::string pieces = "[]{}=\"'\\\n\t .,-+_#0123456789eEnaif\x01\x7f\xc3\xff";
  int accepted = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string text = good;
    for (int change = std::uniform_int_distribution(1, 4)(random); change > 0; --change) {
      const auto at = std::uniform_int_distribution<std::size_t>(0, text.size() - 1)(random);
      const auto piece = std::uniform_int_distribution<std::size_t>(0, pieces.size() - 1)(random);
      switch (std::uniform_int_distribution(0, 3)(random)) {
        case 0:
          text[at] = pieces[piece];
          break;
        case 1:
          text.insert(at, 1, pieces[piece]);
          break;
        case 2:
          text.erase(at, 1 + at % 9);
          break;
        default:
          text.insert(at, good.substr(at / 2, 40));
          break;
      }
    }
    const auto read = parse_inventory(text, "f.toml");
    if (!read) {
      EXPECT_EQ(read.error().code, ErrorCode::kInvalidArgument);
      EXPECT_THAT(read.error().message, StartsWith("f.toml: line "));
      for (const char c : read.error().message) ASSERT_GE(static_cast<unsigned char>(c), 0x20);
      continue;
    }
    ++accepted;
    for (const Machine& machine : read->machines) {
      ASSERT_TRUE(machine.memory > 0 && machine.bandwidth > 0 && machine.flops > 0);
      ASSERT_TRUE(std::isfinite(machine.bandwidth) && std::isfinite(machine.flops));
    }
    ASSERT_EQ(read->links.size(), read->machines.size());
  }
  EXPECT_GT(accepted, 100);
}

TEST(Inventory, AMissingFileIsNamed) {
  const auto read = load_inventory(std::filesystem::temp_directory_path() / "no-such.toml");
  ASSERT_FALSE(read.ok());
  EXPECT_THAT(read.error().message, HasSubstr("no-such.toml"));
}

}  // namespace
}  // namespace tandem::planner
