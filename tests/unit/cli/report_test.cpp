#include "cli/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "cli/json_output.h"
#include "cli/progress.h"
#include "cli/statistics.h"

namespace tandem::cli {
namespace {

using ::testing::HasSubstr;

RankInfo rank_of(int rank, int first, int last) {
  RankInfo info;
  info.rank = rank;
  info.host = "local";
  info.stage.layers = {first, last};
  info.stage.layer_count = 5;
  info.stage.weight_bytes = 612'000'000;
  info.stage.states = {{StateKind::kPaged, 0, std::uint64_t{17'400} * kPageTokens}};
  info.memory_bytes = 700'000'000;
  return info;
}

TEST(Report, TheTableNamesLayersAsPeopleCountThem) {
  EXPECT_EQ(rank_table({rank_of(0, 0, 4), rank_of(1, 4, 5)}),
            "rank 0 on local: layers 0 to 3 of 5, 612 MB of weights, 17.4 kB of KV a token\n"
            "rank 1 on local: layer 4 of 5, 612 MB of weights, 17.4 kB of KV a token\n");
}

TEST(Report, JsonHasExactlyTheDocumentedFields) {
  Answer answer;
  answer.text = "h\xC3\xA9";
  answer.ids = {5, 6, 7};
  answer.finish = scheduler::FinishReason::kStop;
  answer.prompt_tokens = 10;
  answer.prompt_seconds = 2;
  answer.decode_seconds = 0.5;
  EXPECT_EQ(
      json_text(answer_json(answer, {rank_of(0, 0, 5)})),
      "{\"text\":\"h\xC3\xA9\",\"ids\":[5,6,7],\"finish_reason\":\"stop\",\"prompt_tokens\":10,"
      "\"completion_tokens\":3,\"prompt_tps\":5.0,\"decode_tps\":4.0,\"ranks\":[{\"rank\":0,"
      "\"layers\":[0,5],\"memory_bytes\":700000000}]}");
}

TEST(Report, SpeedsThatWereNotTimedAreNull) {
  Answer answer;
  answer.ids = {5};
  answer.prompt_tokens = 10;
  answer.prompt_seconds = 2;
  const auto json = answer_json(answer, {rank_of(0, 0, 5)});
  EXPECT_TRUE(json["decode_tps"].is_null());
  EXPECT_EQ(json["finish_reason"], "length");
  EXPECT_THAT(speed_lines(answer, {rank_of(0, 0, 5)}), HasSubstr("answer: 1 tokens\n"));
}

TEST(Report, ABarGrowsToItsEnd) {
  EXPECT_EQ(progress_bar(0, 1000), "loading [>                       ]   0 %  0 B of 1.00 kB");
  EXPECT_EQ(progress_bar(500, 1000), "loading [============>           ]  50 %  500 B of 1.00 kB");
  EXPECT_EQ(progress_bar(1000, 1000),
            "loading [========================] 100 %  1.00 kB of 1.00 kB");
  EXPECT_THAT(progress_bar(0, 0), HasSubstr("  0 %"));
}

TEST(Statistics, TheMedianIsTheMiddle) {
  EXPECT_EQ(spread_of({3, 1, 2}).median, 2);
  EXPECT_EQ(spread_of({4, 1, 2, 3}).median, 2.5);
  EXPECT_EQ(spread_of({4, 1, 2, 3}).min, 1);
  EXPECT_EQ(spread_of({4, 1, 2, 3}).max, 4);
  EXPECT_EQ(spread_of({7}).median, 7);
}

}  // namespace
}  // namespace tandem::cli
