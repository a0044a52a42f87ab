#include "cluster/wire/frame.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <random>
#include <string>
#include <utility>

#include "support/frames.h"
#include "tandem.pb.h"

namespace tandem::cluster {
namespace {

using testing::down_frame;
using testing::full_sampling;
using testing::result_frame;

TEST(Frame, EveryFieldOfATickSurvives) {
  const Frame in = down_frame();
  const auto out = decode(encode(in));
  ASSERT_TRUE(out.ok()) << out.error().message;
  EXPECT_EQ(out->tick.epoch, 7u);
  EXPECT_EQ(out->tick.number, 9u);
  ASSERT_EQ(out->tick.state_ops.size(), 3u);
  EXPECT_EQ(out->tick.state_ops[0].kind, StateOp::Kind::kFree);
  EXPECT_EQ(out->tick.state_ops[1].kind, StateOp::Kind::kRewind);
  EXPECT_EQ(out->tick.state_ops[2].kind, StateOp::Kind::kFork);
  EXPECT_EQ(out->tick.state_ops[2].source, 4u);
  EXPECT_EQ(out->tick.state_ops[2].length, 6u);
  ASSERT_EQ(out->tick.entries.size(), 2u);
  const TickEntry& entry = out->tick.entries[0];
  EXPECT_EQ(entry.sequence, ~0ULL);
  EXPECT_EQ(entry.position, 11u);
  EXPECT_EQ(entry.tokens, in.tick.entries[0].tokens);
  EXPECT_EQ(entry.drawn_in, 0u);
  EXPECT_EQ(entry.prompt, 13u);
  EXPECT_FALSE(entry.refused.has_value());
  ASSERT_EQ(entry.wants.size(), 2u);
  EXPECT_EQ(entry.wants[0].kind, Want::Kind::kScore);
  EXPECT_EQ(entry.wants[0].row, 0u);
  EXPECT_EQ(entry.wants[0].token, 101);
  EXPECT_EQ(entry.wants[0].top_logprobs, 5u);
  EXPECT_EQ(entry.wants[1].kind, Want::Kind::kDraw);
  EXPECT_EQ(entry.wants[1].row, 1u);
  EXPECT_EQ(entry.wants[1].allowed, in.tick.entries[0].wants[1].allowed);
  const TickEntry& ahead = out->tick.entries[1];
  EXPECT_EQ(ahead.drawn_in, 8u);
  EXPECT_EQ(ahead.tokens, (std::vector<std::int32_t>{kDrawnToken, 5}));
  ASSERT_TRUE(ahead.refused.has_value());
  EXPECT_EQ(ahead.refused->code, ErrorCode::kNotFound);
  EXPECT_EQ(ahead.refused->message, "layers [0, 2): sequence 6 is unknown");
  ASSERT_TRUE(entry.sampling.has_value());
  const SamplingParams want = full_sampling();
  const SamplingParams& s = *entry.sampling;
  EXPECT_EQ(s.temperature, want.temperature);
  EXPECT_EQ(s.top_p, want.top_p);
  EXPECT_EQ(s.top_k, want.top_k);
  EXPECT_EQ(s.min_p, want.min_p);
  EXPECT_EQ(s.min_tokens_to_keep, want.min_tokens_to_keep);
  EXPECT_EQ(s.xtc_probability, want.xtc_probability);
  EXPECT_EQ(s.xtc_threshold, want.xtc_threshold);
  EXPECT_EQ(s.xtc_special_tokens, want.xtc_special_tokens);
  EXPECT_EQ(s.repetition_penalty, want.repetition_penalty);
  EXPECT_EQ(s.repetition_context, want.repetition_context);
  EXPECT_EQ(s.presence_penalty, want.presence_penalty);
  EXPECT_EQ(s.presence_context, want.presence_context);
  EXPECT_EQ(s.frequency_penalty, want.frequency_penalty);
  EXPECT_EQ(s.frequency_context, want.frequency_context);
  EXPECT_EQ(s.logit_bias, want.logit_bias);
  EXPECT_EQ(s.seed, want.seed);
  EXPECT_EQ(out->hidden.dtype, DType::kBF16);
  EXPECT_EQ(out->hidden.rows, 3);
  EXPECT_EQ(out->hidden.cols, 8);
  EXPECT_EQ(out->hidden.bytes, in.hidden.bytes);
}

TEST(Frame, DefaultSamplingIsGreedyOnTheOtherSide) {
  Frame frame = down_frame();
  frame.tick.entries[0].sampling = SamplingParams{};
  const auto out = decode(encode(frame));
  ASSERT_TRUE(out.ok()) << out.error().message;
  const SamplingParams& s = *out->tick.entries[0].sampling;
  EXPECT_EQ(s.temperature, 0);
  EXPECT_EQ(s.top_p, 1);
  EXPECT_EQ(s.min_tokens_to_keep, 1);
  EXPECT_EQ(s.repetition_context, 20);
}

TEST(Frame, ResultSurvives) {
  const auto out = decode(encode(result_frame()));
  ASSERT_TRUE(out.ok()) << out.error().message;
  ASSERT_TRUE(out->result.has_value());
  ASSERT_EQ(out->result->entries.size(), 2u);
  const EntryResult& good = out->result->entries[0];
  EXPECT_EQ(good.sequence, 5u);
  EXPECT_FALSE(good.error.has_value());
  ASSERT_EQ(good.tokens.size(), 2u);
  EXPECT_EQ(good.tokens[0].id, 42);
  EXPECT_EQ(good.tokens[0].top[1].id, 43);
  EXPECT_EQ(good.tokens[0].top[1].logprob, -1.5F);
  EXPECT_EQ(good.tokens[1].logprob, -2.5F);
  const EntryResult& bad = out->result->entries[1];
  EXPECT_TRUE(bad.tokens.empty());
  EXPECT_EQ(bad.error->code, ErrorCode::kResourceLimit);
  EXPECT_EQ(bad.error->message, "no memory");
}

TEST(Frame, AResultLeavesTheTicksWorkBehind) {
  Frame frame = down_frame();
  frame.result = TickResult{7, 9, {}};
  const auto out = decode(encode(frame));
  ASSERT_TRUE(out.ok()) << out.error().message;
  EXPECT_TRUE(out->tick.entries.empty());
  EXPECT_TRUE(out->hidden.bytes.empty());
  EXPECT_EQ(out->tick.number, 9u);
}

TEST(Frame, FailureBecomesOneCleanLine) {
  Frame frame;
  frame.failure =
      StageFailure{2,
                   {ErrorCode::kResourceLimit,
                    "a\nb\xff\xfe" + std::string("\xC3\xA9") + std::string(10000, 'x')}};
  const auto out = decode(encode(frame));
  ASSERT_TRUE(out.ok()) << out.error().message;
  EXPECT_EQ(out->failure->rank, 2);
  EXPECT_EQ(out->failure->error.code, ErrorCode::kResourceLimit);
  EXPECT_EQ(out->failure->error.message.substr(0, 7), "a?b??\xC3\xA9");
  EXPECT_EQ(out->failure->error.message.size(), kMaxFailureBytes);
}

TEST(Frame, HiddenStatesStayWhereTheyLie) {
  const Frame out = down_frame();
  EncodedFrame encoded = encode(out);
  EXPECT_EQ(encoded.body.data(), out.hidden.bytes.data()) << "not copied to be sent";
  std::string bytes = std::move(encoded);
  const auto* first = reinterpret_cast<const std::byte*>(bytes.data());
  const std::byte* last = first + bytes.size();
  const auto in = decode(std::move(bytes));
  ASSERT_TRUE(in.ok()) << in.error().message;
  EXPECT_EQ(in->hidden.bytes.data() + in->hidden.bytes.size(), last) << "not copied on arrival";
  EXPECT_EQ(in->hidden.bytes, out.hidden.bytes);
}

TEST(Frame, IsThePlainProtobufMessage) {
  const std::string bytes = encode(down_frame());
  v1::Frame message;
  ASSERT_TRUE(message.ParseFromString(bytes));
  EXPECT_EQ(message.hidden_data().size(), 48u);
  EXPECT_EQ(message.SerializeAsString(), bytes);
}

TEST(Frame, RandomChangesNeverCrashAndNeverBreakTheRules) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const std::string bases[] = {encode(down_frame()), encode(result_frame()),
                               encode(down_frame(1, 64, DType::kF32))};
  int accepted = 0;
  for (int round = 0; round < 30000; ++round) {
    std::string bytes = bases[random() % 3];
    const int changes = 1 + static_cast<int>(random() % 4);
    for (int i = 0; i < changes; ++i) {
      const std::size_t at = random() % bytes.size();
      switch (random() % 4) {
        case 0:
          bytes[at] = static_cast<char>(random());
          break;
        case 1:
          bytes[at] = static_cast<char>(bytes[at] ^ (1 << (random() % 8)));
          break;
        case 2:
          bytes.resize(at + 1);
          break;
        default:
          bytes.insert(at, 1, static_cast<char>(random()));
          break;
      }
    }
    const auto out = decode(bytes);
    if (!out.ok()) continue;
    ++accepted;
    EXPECT_EQ(out->hidden.bytes.size(), static_cast<std::size_t>(out->hidden.rows) *
                                            static_cast<std::size_t>(out->hidden.cols) *
                                            size_of(out->hidden.dtype));
    for (const TickEntry& entry : out->tick.entries) {
      EXPECT_FALSE(entry.tokens.empty());
      if (entry.sampling) {
        EXPECT_TRUE(std::isfinite(entry.sampling->temperature));
      }
    }
    // What was accepted can be passed on.
    EXPECT_TRUE(decode(encode(*out)).ok());
  }
  EXPECT_GT(accepted, 0);
}

}  // namespace
}  // namespace tandem::cluster
