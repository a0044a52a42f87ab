#include "cluster/frame.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>

#include "cluster/wire_error.h"
#include "tandem.pb.h"

namespace tandem::cluster {
namespace {

SamplingParams full_sampling() {
  SamplingParams s;
  s.temperature = 0.7F;
  s.top_p = 0.9F;
  s.top_k = 40;
  s.min_p = 0.05F;
  s.min_tokens_to_keep = 3;
  s.xtc_probability = 0.5F;
  s.xtc_threshold = 0.2F;
  s.xtc_special_tokens = {1, 2};
  s.repetition_penalty = 1.1F;
  s.repetition_context = 64;
  s.presence_penalty = -0.5F;
  s.presence_context = 65;
  s.frequency_penalty = 0.25F;
  s.frequency_context = 66;
  s.logit_bias = {{7, -100.0F}, {9, 3.5F}};
  s.seed = 0xFEDCBA9876543210ULL;
  return s;
}

Frame down_frame(int rows = 3, int cols = 8, DType dtype = DType::kBF16) {
  Frame frame;
  frame.tick.epoch = 7;
  frame.tick.number = 9;
  frame.tick.kv_ops = {{KvOp::Kind::kFree, 1, 0, 0},
                       {KvOp::Kind::kTruncate, 2, 0, 5},
                       {KvOp::Kind::kCopyPrefix, 3, 4, 6}};
  TickEntry entry;
  entry.sequence = ~0ULL;
  entry.position = 11;
  for (int i = 0; i < rows; ++i) entry.tokens.push_back(100 + i);
  entry.sample = true;
  entry.score = true;
  entry.top_logprobs = 5;
  entry.sampling = full_sampling();
  frame.tick.entries = {entry};
  frame.hidden = {dtype, rows, cols, {}};
  frame.hidden.bytes.resize(static_cast<std::size_t>(rows * cols) * size_of(dtype));
  for (std::size_t i = 0; i < frame.hidden.bytes.size(); ++i) {
    frame.hidden.bytes[i] = static_cast<std::byte>(i * 31 + 7);
  }
  return frame;
}

Frame result_frame() {
  Frame frame;
  frame.tick.epoch = 7;
  frame.tick.number = 9;
  frame.result = TickResult{7, 9, {{5, 42, -0.5F, {{42, -0.5F}, {43, -1.5F}}}},
                            {{5, 12, 40, -2.5F, {{41, -0.1F}}}}};
  return frame;
}

void expect_error(const Result<Frame>& got, const char* words) {
  ASSERT_FALSE(got.ok());
  EXPECT_NE(got.error().message.find(words), std::string::npos) << got.error().message;
}

// A valid frame's message, changed by `change`, must be refused with `words`.
template <class Change>
void expect_refused(const Frame& base, Change change, const char* words) {
  v1::Frame message;
  ASSERT_TRUE(message.ParseFromString(encode(base)));
  change(message);
  expect_error(decode(message.SerializeAsString()), words);
}

TEST(Frame, EveryFieldOfATickSurvives) {
  const Frame in = down_frame();
  const auto out = decode(encode(in));
  ASSERT_TRUE(out.ok()) << out.error().message;
  EXPECT_EQ(out->tick.epoch, 7u);
  EXPECT_EQ(out->tick.number, 9u);
  ASSERT_EQ(out->tick.kv_ops.size(), 3u);
  EXPECT_EQ(out->tick.kv_ops[0].kind, KvOp::Kind::kFree);
  EXPECT_EQ(out->tick.kv_ops[1].kind, KvOp::Kind::kTruncate);
  EXPECT_EQ(out->tick.kv_ops[2].kind, KvOp::Kind::kCopyPrefix);
  EXPECT_EQ(out->tick.kv_ops[2].source, 4u);
  EXPECT_EQ(out->tick.kv_ops[2].length, 6u);
  ASSERT_EQ(out->tick.entries.size(), 1u);
  const TickEntry& entry = out->tick.entries[0];
  EXPECT_EQ(entry.sequence, ~0ULL);
  EXPECT_EQ(entry.position, 11u);
  EXPECT_EQ(entry.tokens, in.tick.entries[0].tokens);
  EXPECT_TRUE(entry.sample && entry.score);
  EXPECT_EQ(entry.top_logprobs, 5u);
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
  ASSERT_EQ(out->result->sampled.size(), 1u);
  EXPECT_EQ(out->result->sampled[0].id, 42);
  EXPECT_EQ(out->result->sampled[0].top[1].id, 43);
  EXPECT_EQ(out->result->sampled[0].top[1].logprob, -1.5F);
  ASSERT_EQ(out->result->scores.size(), 1u);
  EXPECT_EQ(out->result->scores[0].position, 12u);
  EXPECT_EQ(out->result->scores[0].logprob, -2.5F);
}

TEST(Frame, AResultLeavesTheTicksWorkBehind) {
  Frame frame = down_frame();
  frame.result = TickResult{7, 9, {}, {}};
  const auto out = decode(encode(frame));
  ASSERT_TRUE(out.ok()) << out.error().message;
  EXPECT_TRUE(out->tick.entries.empty());
  EXPECT_TRUE(out->hidden.bytes.empty());
  EXPECT_EQ(out->tick.number, 9u);
}

TEST(Frame, FailureBecomesOneCleanLine) {
  Frame frame;
  frame.failure = StageFailure{2, {ErrorCode::kResourceLimit, "a\nb\xff\xfe" + std::string("\xC3\xA9") +
                                                                  std::string(10000, 'x')}};
  const auto out = decode(encode(frame));
  ASSERT_TRUE(out.ok()) << out.error().message;
  EXPECT_EQ(out->failure->rank, 2);
  EXPECT_EQ(out->failure->error.code, ErrorCode::kResourceLimit);
  EXPECT_EQ(out->failure->error.message.substr(0, 7), "a?b??\xC3\xA9");
  EXPECT_EQ(out->failure->error.message.size(), kMaxFailureBytes);
}

TEST(Frame, IsThePlainProtobufMessage) {
  const std::string bytes = encode(down_frame());
  v1::Frame message;
  ASSERT_TRUE(message.ParseFromString(bytes));
  EXPECT_EQ(message.hidden_data().size(), 48u);
  EXPECT_EQ(message.SerializeAsString(), bytes);
}

TEST(Frame, RefusesWrongShapesAndValues) {
  const Frame down = down_frame();
  using M = v1::Frame;
  expect_refused(down, [](M& m) { m.set_version(2); }, "version is 2");
  expect_refused(down, [](M& m) { m.mutable_hidden()->set_rows(4); }, "rows x cols x size");
  expect_refused(down, [](M& m) { m.mutable_hidden()->set_rows(-3); }, "negative");
  expect_refused(down, [](M& m) { m.mutable_hidden()->set_dtype(v1::DTYPE_UNSPECIFIED); }, "dtype");
  expect_refused(down, [](M& m) { m.mutable_hidden()->set_dtype(static_cast<v1::DType>(77)); },
                 "dtype");
  expect_refused(down, [](M& m) { m.mutable_tick()->mutable_entries(0)->add_tokens(1); },
                 "number of tokens");
  expect_refused(down, [](M& m) { m.mutable_tick()->mutable_entries(0)->set_tokens(1, -1); },
                 "token id is negative");
  expect_refused(down, [](M& m) { m.mutable_tick()->mutable_entries(0)->clear_tokens(); },
                 "no tokens");
  expect_refused(down,
                 [](M& m) { m.mutable_tick()->mutable_entries(0)->set_position(0xFFFFFFFF); },
                 "position");
  expect_refused(down,
                 [](M& m) {
                   m.mutable_tick()->mutable_kv_ops(0)->set_kind(static_cast<v1::KvOp::Kind>(9));
                 },
                 "unknown kind");
  expect_refused(down, [](M& m) { m.mutable_result()->set_epoch(1); }, "still work to do");
  expect_refused(result_frame(), [](M& m) { m.mutable_result()->set_number(1); }, "another tick");
  expect_refused(result_frame(), [](M& m) { m.mutable_failure()->set_rank(1); }, "unknown code");
  expect_refused(result_frame(),
                 [](M& m) { m.mutable_result()->mutable_sampled(0)->set_logprob(NAN); },
                 "logprob of a result");
}

TEST(Frame, RefusesSamplingOutOfRange) {
  const Frame down = down_frame();
  const auto with = [&](auto change, const char* words) {
    expect_refused(
        down,
        [&](v1::Frame& m) {
          change(*m.mutable_tick()->mutable_entries(0)->mutable_sampling());
        },
        words);
  };
  using S = v1::SamplingParams;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  for (const float bad : {nan, inf, -0.1F}) {
    with([&](S& s) { s.set_temperature(bad); }, "temperature");
    with([&](S& s) { s.set_repetition_penalty(bad); }, "repetition_penalty");
  }
  for (const float bad : {nan, inf, -0.1F, 0.0F, 1.1F}) with([&](S& s) { s.set_top_p(bad); }, "top_p");
  for (const float bad : {nan, 1.1F, -0.1F}) {
    with([&](S& s) { s.set_min_p(bad); }, "min_p");
    with([&](S& s) { s.set_xtc_probability(bad); }, "xtc_probability");
  }
  with([&](S& s) { s.set_xtc_threshold(0.6F); }, "xtc_threshold");
  with([&](S& s) { s.set_presence_penalty(inf); }, "penalty");
  with([&](S& s) { s.set_frequency_penalty(nan); }, "penalty");
  with([](S& s) { s.set_top_k(-1); }, "top_k");
  with([](S& s) { s.set_min_tokens_to_keep(0); }, "min_tokens_to_keep");
  with([](S& s) { s.set_repetition_context(-1); }, "context");
  with([](S& s) { s.add_xtc_special_tokens(-1); }, "xtc_special_tokens");
  with([](S& s) { s.mutable_logit_bias(0)->set_id(-1); }, "logit_bias");
  with([&](S& s) { s.mutable_logit_bias(0)->set_bias(inf); }, "logit_bias");
}

TEST(Frame, LimitsAreCheckedBeforeAnythingIsParsed) {
  std::string header_bomb(kMaxFrameHeaderBytes + 1, '\x12');
  // One unknown field of number 16 that claims the rest.
  header_bomb[0] = '\x82';
  header_bomb[1] = '\x01';
  const std::size_t rest = header_bomb.size() - 6;
  for (int i = 0; i < 4; ++i) {
    header_bomb[static_cast<std::size_t>(2 + i)] =
        static_cast<char>(((rest >> (7 * i)) & 0x7F) | (i < 3 ? 0x80 : 0));
  }
  const auto got = decode(header_bomb);
  ASSERT_FALSE(got.ok());
  EXPECT_EQ(got.error().code, ErrorCode::kResourceLimit) << got.error().message;
}

TEST(Frame, HiddenDataMustBeLastAndWhole) {
  const std::string bytes = encode(down_frame());
  expect_error(decode(bytes + "x"), "hidden_data");
  expect_error(decode(bytes.substr(0, bytes.size() - 1)), "hidden_data");
  expect_error(decode(std::string("\x7A", 1)), "no length");
  expect_error(decode(std::string("\x12\xFF\xFF\xFF\xFF\x0F", 6)), "past the frame");
  expect_error(decode(std::string("\x00\x00", 2)), "number 0");
  expect_error(decode(""), "version is 0");
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
        case 0: bytes[at] = static_cast<char>(random()); break;
        case 1: bytes[at] = static_cast<char>(bytes[at] ^ (1 << (random() % 8))); break;
        case 2: bytes.resize(at + 1); break;
        default: bytes.insert(at, 1, static_cast<char>(random())); break;
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

TEST(OneLine, KeepsTextAndReplacesTheRest) {
  EXPECT_EQ(one_line("gr\xC3\xBC\xC3\x9F \xE4\xBD\xA0 \xF0\x9F\x98\x80", 100),
            "gr\xC3\xBC\xC3\x9F \xE4\xBD\xA0 \xF0\x9F\x98\x80");
  EXPECT_EQ(one_line("a\tb\x7F", 100), "a?b?");
  EXPECT_EQ(one_line("\xC0\xAF", 100), "??");                  // overlong
  EXPECT_EQ(one_line("\xED\xA0\x80", 100), "???");             // surrogate
  EXPECT_EQ(one_line("\xF4\x90\x80\x80", 100), "????");        // over U+10FFFF
  EXPECT_EQ(one_line("\xE4\xBD", 100), "??");                  // cut
  EXPECT_EQ(one_line("ab\xE4\xBD\xA0", 4), "ab");              // no half character at the limit
}

}  // namespace
}  // namespace tandem::cluster
