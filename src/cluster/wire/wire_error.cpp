#include "cluster/wire/wire_error.h"

#include <algorithm>
#include <cstdint>

#include "base/check.h"
#include "cluster/wire/frame.h"

namespace tandem::cluster {
namespace {

// Bytes of the UTF-8 character that starts `text`; 0 when it is not a valid one (overlong,
// surrogate, over U+10FFFF, cut).
std::size_t character(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const std::uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  const std::size_t size = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < size) return 0;
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  const std::uint8_t second = byte(1);
  if (lead == 0xE0 && second < 0xA0) return 0;
  if (lead == 0xED && second > 0x9F) return 0;
  if (lead == 0xF0 && second < 0x90) return 0;
  if (lead == 0xF4 && second > 0x8F) return 0;
  return size;
}

struct Code {
  ErrorCode ours;
  v1::ErrorCode wire;
};
constexpr Code kCodes[] = {
    {ErrorCode::kInvalidArgument, v1::ERROR_CODE_INVALID_ARGUMENT},
    {ErrorCode::kNotFound, v1::ERROR_CODE_NOT_FOUND},
    {ErrorCode::kResourceLimit, v1::ERROR_CODE_RESOURCE_LIMIT},
    {ErrorCode::kUnavailable, v1::ERROR_CODE_UNAVAILABLE},
    {ErrorCode::kDeadlineExceeded, v1::ERROR_CODE_DEADLINE_EXCEEDED},
    {ErrorCode::kCancelled, v1::ERROR_CODE_CANCELLED},
    {ErrorCode::kInternal, v1::ERROR_CODE_INTERNAL},
};

}  // namespace

std::string one_line(std::string_view text, std::size_t limit) {
  std::string out;
  out.reserve(std::min(text.size(), limit));
  while (!text.empty()) {
    const std::size_t size = character(text);
    const auto first = static_cast<std::uint8_t>(text[0]);
    const bool printable = size > 1 || (size == 1 && first >= 0x20 && first != 0x7F);
    if (out.size() + std::max<std::size_t>(size, 1) > limit) break;
    if (printable) {
      out.append(text.substr(0, size));
    } else {
      out.push_back('?');
    }
    text.remove_prefix(std::max<std::size_t>(size, 1));
  }
  return out;
}

void to_wire(const Error& error, v1::Error& out) {
  for (const Code& code : kCodes) {
    if (code.ours == error.code) out.set_code(code.wire);
  }
  check(out.code() != v1::ERROR_CODE_UNSPECIFIED, "every ErrorCode has a wire code");
  out.set_message(one_line(error.message, kMaxFailureBytes));
}

std::optional<Error> from_wire(const v1::Error& in) {
  if (in.message().size() > kMaxFailureBytes) return std::nullopt;
  for (const Code& code : kCodes) {
    if (code.wire == in.code()) return Error{code.ours, one_line(in.message(), kMaxFailureBytes)};
  }
  return std::nullopt;
}

}  // namespace tandem::cluster
