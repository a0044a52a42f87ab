#pragma once
// The head of a request, read strictly: RFC 9112 without any of its leniencies, because each of
// them lets a proxy in front and this server see different requests in the same bytes. Pure
// functions.
//
// Refused with 400 although other parsers let them pass: bare LF or CR, NUL and other control
// characters, obs-fold, white space around a field name, Content-Length together with
// Transfer-Encoding or twice (even if equal) or as a list or signed, any Transfer-Encoding but
// "chunked", two Hosts, absolute-form and authority-form targets, more than one space in the
// request line.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/http/exchange.h"
#include "server/http/options.h"
#include "server/http/refusal.h"

namespace tandem::server {

struct RequestHead {
  std::string method;
  std::string path;   // percent-decoded; "*" for OPTIONS *
  std::string query;  // as sent
  std::vector<Header> headers;
  std::uint64_t content_length = 0;  // of a body that is not chunked
  bool chunked = false;
  bool http10 = false;
  bool keep_alive = true;         // the client allows another request after this one
  bool expects_continue = false;  // waits for 100 before it sends the body

  const std::string* header(std::string_view name) const;
};

/// Finds the end of a head while its bytes arrive, and refuses bytes that cannot be in one at once,
/// so that a client of another protocol is answered before its time is up.
class HeadScanner {
 public:
  explicit HeadScanner(const HttpLimits& limits) : limits_(&limits) {}

  /// Looks at `bytes` (all since the head's first) from where the last call stopped. The head's
  /// length with its empty line; nullopt when more bytes are needed; or a refusal.
  Checked<std::optional<std::size_t>> find_end(std::string_view bytes);
  void reset();

 private:
  const HttpLimits* limits_;
  std::size_t seen_ = 0;
  std::size_t line_begin_ = 0;
  std::size_t lines_ = 0;
};

/// Reads a whole head, the empty line included.
Checked<RequestHead> read_head(std::string_view head);

/// Whether `name` and `other` are the same, letters in any case.
bool same_token(std::string_view name, std::string_view other);
/// 1 or more of the characters that RFC 9110 allows in a method or field name.
bool is_token(std::string_view text);
/// The number, or nullopt unless it is nothing but digits and fits.
std::optional<std::uint64_t> read_number(std::string_view digits);
/// `text` without spaces and tabs around it.
std::string_view trimmed(std::string_view text);

}  // namespace tandem::server
