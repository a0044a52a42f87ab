#pragma once
// A chunked body (RFC 9112 section 7.1) taken apart as its bytes arrive. Strict: hexadecimal digits
// only, CR LF only, no white space after the size. Extensions and trailers are read and dropped.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "server/http/refusal.h"

namespace tandem::server {

class ChunkDecoder {
 public:
  /// Bytes of extensions and trailers that one body may have.
  static constexpr std::size_t kExtraBytesMax = 16 << 10;

  /// body_bytes_max: more than that in `body` is refused with 413.
  explicit ChunkDecoder(std::size_t body_bytes_max) : body_bytes_max_(body_bytes_max) {}

  /// Takes bytes off the front of `in` until it is empty or the body has ended, and appends the
  /// chunks' content to `body`. After a refusal the decoder is of no use.
  std::optional<Refused> feed(std::string_view& in, std::string& body);
  /// The last chunk and the trailers have been read.
  bool done() const { return state_ == State::kDone; }

 private:
  enum class State {
    kSize,
    kExtension,
    kSizeLf,
    kData,
    kDataCr,
    kDataLf,
    kTrailerBegin,
    kTrailerName,
    kTrailerValue,
    kTrailerLf,
    kEndLf,
    kDone
  };
  std::optional<Refused> step(char c);
  std::optional<Refused> step_size(char c);
  std::optional<Refused> step_trailer(char c);
  std::optional<Refused> expect(char c, char wanted, State next);

  std::size_t body_bytes_max_;
  State state_ = State::kSize;
  std::uint64_t left_ = 0;  // of the size while its digits arrive, then of the chunk's content
  int digits_ = 0;
  std::size_t extra_ = 0;  // bytes of extensions and trailers so far
};

}  // namespace tandem::server
