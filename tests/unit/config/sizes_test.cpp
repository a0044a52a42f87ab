#include "config/sizes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tandem::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Sizes, HaveDecimalUnits) {
  EXPECT_EQ(*parse_bytes("0"), 0U);
  EXPECT_EQ(*parse_bytes("4096"), 4096U);
  EXPECT_EQ(*parse_bytes("1.5G"), 1'500'000'000U);
  EXPECT_EQ(*parse_bytes("20kb"), 20'000U);
  EXPECT_EQ(*parse_bytes("3MB"), 3'000'000U);
  EXPECT_EQ(*parse_bytes("2T"), 2'000'000'000'000U);
  for (const char* bad : {"", "G", "1 G", "-1", "1GiB", "1Gx", "1e3", "1..5", ".", "9999999T",
                          "99999999999999999999"}) {
    EXPECT_FALSE(parse_bytes(bad).ok()) << bad;
  }
}

TEST(Layers, AreRangesWithBothEnds) {
  EXPECT_EQ(*parse_layers("0-19"), (LayerRange{0, 20}));
  EXPECT_EQ(*parse_layers("7"), (LayerRange{7, 8}));
  EXPECT_EQ(*parse_layers("2047"), (LayerRange{2047, 2048}));
  for (const char* bad : {"", "-", "-1", "3-", "3-2", "0--1", "1-2-3", "a", "0-2048", "1 - 2",
                          "99999999999", "0-99999999999"}) {
    EXPECT_FALSE(parse_layers(bad).ok()) << bad;
  }
}

TEST(Layers, OfRanksFollowEachOther) {
  EXPECT_THAT(*parse_layer_list("0-1,2,3-9"),
              ElementsAre(LayerRange{0, 2}, LayerRange{2, 3}, LayerRange{3, 10}));
  EXPECT_THAT(parse_layer_list("0-1,3").error().message,
              HasSubstr("rank 1 must begin with layer 2"));
  EXPECT_THAT(parse_layer_list("1-2").error().message, HasSubstr("rank 0 must begin with layer 0"));
  EXPECT_FALSE(parse_layer_list("0,,1").ok());
  EXPECT_FALSE(parse_layer_list("").ok());
}

}  // namespace
}  // namespace tandem::config
