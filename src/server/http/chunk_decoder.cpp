#include "server/http/chunk_decoder.h"

#include <algorithm>

#include "server/http/head_check.h"

namespace tandem::server {
namespace {

constexpr int kSizeDigitsMax = 15;  // so that no size overflows 64 bits

Refused bad(std::string message) { return {400, std::move(message)}; }

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool is_text(char c) { return c == '\t' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f); }

}  // namespace

std::optional<Refused> ChunkDecoder::feed(std::string_view& in, std::string& body) {
  while (!in.empty() && !done()) {
    if (state_ != State::kData) {
      const char c = in.front();
      in.remove_prefix(1);
      if (auto refused = step(c)) return refused;
      if (state_ == State::kData && left_ > body_bytes_max_ - body.size()) {
        return Refused{413, "the body is over " + std::to_string(body_bytes_max_) + " bytes"};
      }
      continue;
    }
    const auto taken = static_cast<std::size_t>(std::min<std::uint64_t>(left_, in.size()));
    body.append(in.substr(0, taken));
    in.remove_prefix(taken);
    left_ -= taken;
    if (left_ == 0) state_ = State::kDataCr;
  }
  return std::nullopt;
}

std::optional<Refused> ChunkDecoder::expect(char c, char wanted, State next) {
  if (c != wanted) return bad("a chunk must end with CR LF");
  state_ = next;
  return std::nullopt;
}

std::optional<Refused> ChunkDecoder::step_size(char c) {
  const int digit = hex_digit(c);
  if (digit >= 0) {
    if (++digits_ > kSizeDigitsMax) return bad("a chunk size has too many digits");
    left_ = left_ * 16 + static_cast<std::uint64_t>(digit);
    return std::nullopt;
  }
  if (digits_ == 0 || (c != ';' && c != '\r'))
    return bad("a chunk size must be hexadecimal digits");
  state_ = c == ';' ? State::kExtension : State::kSizeLf;
  return std::nullopt;
}

std::optional<Refused> ChunkDecoder::step_trailer(char c) {
  if (c == '\r') {
    if (state_ == State::kTrailerName) return bad("a trailer has no colon");
    state_ = state_ == State::kTrailerBegin ? State::kEndLf : State::kTrailerLf;
    return std::nullopt;
  }
  if (++extra_ > kExtraBytesMax) return bad("chunk extensions or trailers are too long");
  if (state_ == State::kTrailerValue) {
    return is_text(c) ? std::nullopt : std::optional(bad("a trailer has a forbidden byte"));
  }
  if (c == ':' && state_ == State::kTrailerName) {
    state_ = State::kTrailerValue;
    return std::nullopt;
  }
  if (!is_token({&c, 1})) return bad("a trailer's name has a forbidden byte");
  state_ = State::kTrailerName;
  return std::nullopt;
}

std::optional<Refused> ChunkDecoder::step(char c) {
  switch (state_) {
    case State::kSize:
      return step_size(c);
    case State::kExtension:
      if (c == '\r') {
        state_ = State::kSizeLf;
        return std::nullopt;
      }
      if (++extra_ > kExtraBytesMax) return bad("chunk extensions or trailers are too long");
      return is_text(c) ? std::nullopt
                        : std::optional(bad("a chunk extension has a forbidden byte"));
    case State::kSizeLf:
      digits_ = 0;
      return expect(c, '\n', left_ > 0 ? State::kData : State::kTrailerBegin);
    case State::kDataCr:
      return expect(c, '\r', State::kDataLf);
    case State::kDataLf:
      return expect(c, '\n', State::kSize);
    case State::kTrailerLf:
      return expect(c, '\n', State::kTrailerBegin);
    case State::kEndLf:
      return expect(c, '\n', State::kDone);
    case State::kTrailerBegin:
    case State::kTrailerName:
    case State::kTrailerValue:
      return step_trailer(c);
    case State::kData:
    case State::kDone:
      break;
  }
  return std::nullopt;
}

}  // namespace tandem::server
