#pragma once
// Bytes of one connection in, requests out. No input or output of its own, no clock.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "server/http/chunk_decoder.h"
#include "server/http/head_check.h"
#include "server/http/options.h"

namespace tandem::server {

/// Reads the requests of one connection, one after another. feed() bytes as they arrive, then call
/// next() until it says kMore. After kRefused nothing more can be read from the connection.
class RequestReader {
 public:
  enum class Event {
    kMore,     // needs more bytes
    kHead,     // head() is complete; the body is read by the next calls, if the caller wants it
    kRequest,  // the body is complete too: take_body(), then next() goes on with the next request
    kRefused,  // refused() says why
  };
  /// Where in a request the bytes ended.
  enum class Phase { kIdle, kHead, kBody };

  explicit RequestReader(const HttpLimits& limits);
  RequestReader(const RequestReader&) = delete;
  RequestReader& operator=(const RequestReader&) = delete;

  void feed(std::string_view bytes);
  Event next();

  const RequestHead& head() const { return head_; }
  RequestHead take_head() { return std::exchange(head_, {}); }
  std::string take_body() { return std::exchange(body_, {}); }
  const Refused& refused() const { return *refused_; }
  Phase phase() const;
  /// Bytes of the body read so far.
  std::size_t body_bytes() const { return body_.size(); }
  /// Bytes fed and not yet part of a head or a body.
  std::size_t waiting_bytes() const { return in_.size() - begin_; }

 private:
  Event refuse(Refused refused);
  Event next_head();
  Event next_body();
  std::string_view waiting() const { return std::string_view(in_).substr(begin_); }
  void drop(std::size_t bytes);

  HttpLimits limits_;
  std::string in_;
  std::size_t begin_ = 0;  // of what waits in in_
  HeadScanner scanner_;
  bool in_body_ = false;
  RequestHead head_;
  std::optional<ChunkDecoder> chunks_;
  std::string body_;
  std::optional<Refused> refused_;
};

}  // namespace tandem::server
