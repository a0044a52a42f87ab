// What decode() refuses, and in which words.

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <limits>
#include <string>

#include "cluster/wire/frame.h"
#include "support/frames.h"
#include "tandem.pb.h"

namespace tandem::cluster {
namespace {

using testing::down_frame;
using testing::result_frame;

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

TEST(Frame, RefusesWrongShapesAndValues) {
  const Frame down = down_frame();
  using M = v1::Frame;
  expect_refused(down, [](M& m) { m.set_version(1); }, "version is 1");
  expect_refused(down, [](M& m) { m.mutable_hidden()->set_rows(4); }, "rows x cols x size");
  expect_refused(down, [](M& m) { m.mutable_hidden()->set_rows(-3); }, "negative");
  expect_refused(down, [](M& m) { m.mutable_hidden()->set_dtype(v1::DTYPE_UNSPECIFIED); }, "dtype");
  expect_refused(
      down, [](M& m) { m.mutable_hidden()->set_dtype(static_cast<v1::DType>(77)); }, "dtype");
  expect_refused(
      down, [](M& m) { m.mutable_tick()->mutable_entries(0)->add_tokens(1); }, "number of tokens");
  expect_refused(
      down, [](M& m) { m.mutable_tick()->mutable_entries(0)->clear_tokens(); }, "no tokens");
  expect_refused(
      down, [](M& m) { m.mutable_tick()->mutable_entries(0)->set_position(0xFFFFFFFF); },
      "position");
  expect_refused(
      down,
      [](M& m) {
        m.mutable_tick()->mutable_state_ops(0)->set_kind(static_cast<v1::StateOp::Kind>(9));
      },
      "unknown kind");
  expect_refused(down, [](M& m) { m.mutable_result()->set_epoch(1); }, "still work to do");
  expect_refused(result_frame(), [](M& m) { m.mutable_result()->set_number(1); }, "another tick");
  expect_refused(result_frame(), [](M& m) { m.mutable_failure()->set_rank(1); }, "unknown code");
  expect_refused(
      result_frame(),
      [](M& m) { m.mutable_result()->mutable_entries(0)->mutable_tokens(0)->set_logprob(NAN); },
      "logprob of a result");
  expect_refused(
      result_frame(), [](M& m) { m.mutable_result()->mutable_entries(1)->add_tokens(); },
      "tokens and an error");
  expect_refused(
      result_frame(),
      [](M& m) { m.mutable_result()->mutable_entries(1)->mutable_error()->clear_code(); },
      "unknown code");
  expect_refused(
      down, [](M& m) { m.mutable_tick()->mutable_entries(1)->mutable_refused()->clear_code(); },
      "unknown code");
  expect_refused(
      down, [](M& m) { m.mutable_tick()->mutable_entries(0)->mutable_wants(1)->clear_kind(); },
      "want has an unknown kind");
  expect_refused(
      down, [](M& m) { m.mutable_tick()->mutable_entries(1)->clear_refused(); },
      "number of tokens");
}

TEST(Frame, RefusesSamplingThatIsNotFinite) {
  const Frame down = down_frame();
  const auto with = [&](auto change, const char* words) {
    expect_refused(
        down,
        [&](v1::Frame& m) { change(*m.mutable_tick()->mutable_entries(0)->mutable_sampling()); },
        words);
  };
  using S = v1::SamplingParams;
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), INFINITY, -INFINITY}) {
    with([&](S& s) { s.set_temperature(bad); }, "finite");
    with([&](S& s) { s.set_top_p(bad); }, "finite");
    with([&](S& s) { s.set_min_p(bad); }, "finite");
    with([&](S& s) { s.set_xtc_probability(bad); }, "finite");
    with([&](S& s) { s.set_xtc_threshold(bad); }, "finite");
    with([&](S& s) { s.set_repetition_penalty(bad); }, "finite");
    with([&](S& s) { s.set_presence_penalty(bad); }, "finite");
    with([&](S& s) { s.set_frequency_penalty(bad); }, "finite");
    with([&](S& s) { s.mutable_logit_bias(0)->set_bias(bad); }, "logit_bias");
  }
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

}  // namespace
}  // namespace tandem::cluster
