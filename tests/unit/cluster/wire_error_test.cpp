#include "cluster/wire/wire_error.h"

#include <gtest/gtest.h>

#include <string>

#include "cluster/wire/frame.h"
#include "tandem.pb.h"

namespace tandem::cluster {
namespace {

TEST(OneLine, KeepsTextAndReplacesTheRest) {
  EXPECT_EQ(one_line("gr\xC3\xBC\xC3\x9F \xE4\xBD\xA0 \xF0\x9F\x98\x80", 100),
            "gr\xC3\xBC\xC3\x9F \xE4\xBD\xA0 \xF0\x9F\x98\x80");
  EXPECT_EQ(one_line("a\tb\x7F", 100), "a?b?");
  EXPECT_EQ(one_line("\xC0\xAF", 100), "??");            // overlong
  EXPECT_EQ(one_line("\xED\xA0\x80", 100), "???");       // surrogate
  EXPECT_EQ(one_line("\xF4\x90\x80\x80", 100), "????");  // over U+10FFFF
  EXPECT_EQ(one_line("\xE4\xBD", 100), "??");            // cut
  EXPECT_EQ(one_line("ab\xE4\xBD\xA0", 4), "ab");        // no half character at the limit
}

TEST(WireError, EveryCodeSurvivesAndOthersAreRefused) {
  for (const auto code :
       {ErrorCode::kInvalidArgument, ErrorCode::kNotFound, ErrorCode::kResourceLimit,
        ErrorCode::kUnavailable, ErrorCode::kDeadlineExceeded, ErrorCode::kCancelled,
        ErrorCode::kInternal}) {
    v1::Error wire;
    to_wire({code, "why"}, wire);
    const auto back = from_wire(wire);
    ASSERT_TRUE(back.has_value());
    EXPECT_EQ(back->code, code);
    EXPECT_EQ(back->message, "why");
  }
  v1::Error wire;
  EXPECT_FALSE(from_wire(wire).has_value());
  wire.set_code(static_cast<v1::ErrorCode>(99));
  EXPECT_FALSE(from_wire(wire).has_value());
  wire.set_code(v1::ERROR_CODE_INTERNAL);
  wire.set_message(std::string(kMaxFailureBytes + 1, 'x'));
  EXPECT_FALSE(from_wire(wire).has_value());
}

}  // namespace
}  // namespace tandem::cluster
