#include "server/http/head_check.h"

#include <algorithm>
#include <charconv>
#include <string>

namespace tandem::server {
namespace {

Refused bad(std::string message) { return {400, std::move(message)}; }

bool is_alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

bool is_token_char(char c) {
  return is_alpha(c) || is_digit(c) ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

// Visible, space, tab or beyond ASCII.
bool is_text(char c) { return c == '\t' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f); }

// The line that begins `rest`, without its CRLF, which is taken off too.
std::string_view take_line(std::string_view& rest) {
  const std::size_t end = rest.find("\r\n");
  const std::string_view line = rest.substr(0, end);
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 2);
  return line;
}

int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  const char small = lower(c);
  return small >= 'a' && small <= 'f' ? small - 'a' + 10 : -1;
}

std::optional<std::string> percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    const int high = hex_digit(text[i + 1]);
    const int low = hex_digit(text[i + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    const char byte = static_cast<char>(high * 16 + low);
    if (!is_text(byte) || byte == '\t') return std::nullopt;
    out += byte;
    i += 2;
  }
  return out;
}

bool is_authority(std::string_view host) {
  if (host.starts_with('[')) {
    const std::size_t end = host.find(']');
    if (end == std::string_view::npos) return false;
    const auto literal = [](char c) { return hex_digit(c) >= 0 || c == ':' || c == '.'; };
    if (!std::ranges::all_of(host.substr(1, end - 1), literal)) return false;
    host.remove_prefix(end + 1);
    if (!host.empty() && host.front() != ':') return false;
  }
  const std::size_t colon = host.find(':');
  const auto name = [](char c) {
    return is_alpha(c) || is_digit(c) ||
           std::string_view("-._~%!$&'()*+,;=").find(c) != std::string_view::npos;
  };
  if (!std::ranges::all_of(host.substr(0, colon), name)) return false;
  return colon == std::string_view::npos || std::ranges::all_of(host.substr(colon + 1), is_digit);
}

// The absolute form, as it is sent to proxies and as every server must read it (RFC 9112, 3.2.2):
// its authority stands for the Host header's, whatever that says.
std::optional<Refused> take_authority(std::string_view& target, std::string_view& authority) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (target.size() <= scheme.size() || !same_token(target.substr(0, scheme.size()), scheme)) {
      continue;
    }
    target.remove_prefix(scheme.size());
    const std::size_t end = std::min(target.find_first_of("/?"), target.size());
    authority = target.substr(0, end);
    if (authority.empty() || !is_authority(authority)) {
      return bad("the request target has no host[:port]");
    }
    target.remove_prefix(end);
    if (target.empty()) target = "/";
    if (target.starts_with('?')) return bad("the request target has no path");
    return std::nullopt;
  }
  return bad("the request target must begin with '/' or http://");
}

std::optional<Refused> read_target(std::string_view target, RequestHead& head,
                                   std::string_view& authority) {
  const auto visible = [](char c) { return c > 0x20 && c < 0x7f && c != '#'; };
  if (!std::ranges::all_of(target, visible)) return bad("the request target has a forbidden byte");
  if (target == "*" && head.method == "OPTIONS") {
    head.path.assign(1, '*');
    return std::nullopt;
  }
  if (!target.starts_with('/')) {
    if (auto refused = take_authority(target, authority)) return refused;
  }
  const std::size_t mark = target.find('?');
  auto path = percent_decoded(target.substr(0, mark));
  if (!path) return bad("the request target has a wrong percent escape");
  head.path = std::move(*path);
  if (mark != std::string_view::npos) head.query = target.substr(mark + 1);
  return std::nullopt;
}

std::optional<Refused> read_version(std::string_view version, RequestHead& head) {
  const bool shape = version.size() == 8 && version.starts_with("HTTP/") && is_digit(version[5]) &&
                     version[6] == '.' && is_digit(version[7]);
  if (!shape) return bad("the request line must be METHOD TARGET HTTP/1.1");
  if (version != "HTTP/1.1" && version != "HTTP/1.0") {
    return Refused{505, "this server speaks HTTP/1.1 and HTTP/1.0"};
  }
  head.http10 = version == "HTTP/1.0";
  return std::nullopt;
}

// `authority`: of a target in absolute form.
std::optional<Refused> read_request_line(std::string_view line, RequestHead& head,
                                         std::string_view& authority) {
  const std::size_t first = line.find(' ');
  const std::size_t last = line.rfind(' ');
  if (first == std::string_view::npos || last == first) {
    return bad("the request line must be METHOD TARGET HTTP/1.1");
  }
  head.method = line.substr(0, first);
  if (!is_token(head.method)) return bad("the method has a forbidden byte");
  if (auto refused = read_version(line.substr(last + 1), head)) return refused;
  if (auto refused = read_target(line.substr(first + 1, last - first - 1), head, authority))
    return refused;
  constexpr std::string_view kMethods[] = {"GET",   "HEAD",   "POST",   "PUT",
                                           "PATCH", "DELETE", "OPTIONS"};
  if (std::ranges::find(kMethods, head.method) == std::end(kMethods)) {
    return Refused{501, "this server does not know the method"};
  }
  return std::nullopt;
}

std::optional<Refused> read_field(std::string_view line, RequestHead& head) {
  if (line.front() == ' ' || line.front() == '\t') return bad("a header is folded over two lines");
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return bad("a header has no colon");
  const std::string_view name = line.substr(0, colon);
  if (!is_token(name)) return bad("a header's name has a forbidden byte");
  const std::string_view value = trimmed(line.substr(colon + 1));
  if (!std::ranges::all_of(value, is_text)) return bad("a header's value has a forbidden byte");
  head.headers.push_back({std::string(name), std::string(value)});
  return std::nullopt;
}

// Headers that change what a request is; with two of them two readers may obey different ones.
std::optional<Refused> check_single(const RequestHead& head) {
  for (const std::string_view name :
       {"host", "content-length", "transfer-encoding", "authorization", "x-api-key", "content-type",
        "content-encoding", "origin", "expect"}) {
    const auto same = [&](const Header& header) { return same_token(header.name, name); };
    if (std::ranges::count_if(head.headers, same) > 1) {
      return bad("the header " + std::string(name) + " is there twice");
    }
  }
  return std::nullopt;
}

std::optional<Refused> check_host(RequestHead& head, std::string_view authority) {
  const std::string* host = head.header("host");
  if (host == nullptr && !head.http10) return bad("an HTTP/1.1 request needs a Host header");
  if (host != nullptr && !is_authority(*host)) return bad("the Host header is no host[:port]");
  if (authority.empty()) return std::nullopt;
  const auto same = [](const Header& header) { return same_token(header.name, "host"); };
  const auto header = std::ranges::find_if(head.headers, same);
  if (header == head.headers.end()) {
    head.headers.push_back({"Host", std::string(authority)});
  } else {
    header->value = authority;
  }
  return std::nullopt;
}

// Codings that end in chunked frame the body, but none of the others is known here. Without chunked
// at the end nobody knows where the body ends, and with it twice, or with an empty element, proxies
// may read it differently (RFC 9112, 6.1 and 6.3).
Refused other_coding(std::string_view coding) {
  const std::size_t comma = coding.rfind(',');
  bool framed =
      comma != std::string_view::npos && same_token(trimmed(coding.substr(comma + 1)), "chunked");
  for (std::size_t begin = 0; framed && begin <= comma;) {
    const std::size_t end = coding.find(',', begin);
    const std::string_view each = trimmed(coding.substr(begin, end - begin));
    framed = is_token(each) && !same_token(each, "chunked");
    begin = end + 1;
  }
  if (!framed) return bad("Transfer-Encoding must be chunked");
  return {501, "this server knows no Transfer-Encoding but chunked"};
}

std::optional<Refused> read_framing(RequestHead& head) {
  const std::string* coding = head.header("transfer-encoding");
  const std::string* length = head.header("content-length");
  if (coding != nullptr) {
    if (length != nullptr) return bad("both Transfer-Encoding and Content-Length");
    if (head.http10) return bad("Transfer-Encoding in an HTTP/1.0 request");
    if (!same_token(*coding, "chunked")) return other_coding(*coding);
    head.chunked = true;
    return std::nullopt;
  }
  if (length != nullptr) {
    if (length->empty() || !std::ranges::all_of(*length, is_digit)) {
      return bad("Content-Length must be one number");
    }
    const auto bytes = read_number(*length);
    if (!bytes) return Refused{413, "the body is too large"};
    head.content_length = *bytes;
    return std::nullopt;
  }
  const bool has_body = head.method == "POST" || head.method == "PUT" || head.method == "PATCH";
  if (head.http10 && has_body) return Refused{411, "an HTTP/1.0 body needs a Content-Length"};
  return std::nullopt;
}

// RFC 9110, 15.5.16: the answer says which codings would do.
std::optional<Refused> check_coding(const RequestHead& head) {
  const std::string* coding = head.header("content-encoding");
  if (coding == nullptr || coding->empty() || same_token(*coding, "identity")) return std::nullopt;
  return Refused{415,
                 "this server reads no compressed bodies: send it without Content-Encoding",
                 "unsupported_media_type",
                 {{"Accept-Encoding", "identity"}}};
}

std::optional<Refused> read_wishes(RequestHead& head) {
  head.keep_alive = !head.http10;
  for (const Header& header : head.headers) {
    if (!same_token(header.name, "connection")) continue;
    std::string_view rest = header.value;
    while (!rest.empty()) {
      const std::size_t comma = rest.find(',');
      const std::string_view option = trimmed(rest.substr(0, comma));
      if (!option.empty() && !is_token(option)) return bad("the Connection header is no list");
      if (same_token(option, "close")) head.keep_alive = false;
      rest.remove_prefix(comma == std::string_view::npos ? rest.size() : comma + 1);
    }
  }
  const std::string* expect = head.header("expect");
  if (expect == nullptr || head.http10) return std::nullopt;
  if (!same_token(*expect, "100-continue")) {
    return Refused{417, "the only expectation this server knows is 100-continue"};
  }
  head.expects_continue = head.chunked || head.content_length > 0;
  return std::nullopt;
}

}  // namespace

const std::string* RequestHead::header(std::string_view name) const {
  const auto found = std::ranges::find_if(
      headers, [&](const Header& header) { return same_token(header.name, name); });
  return found == headers.end() ? nullptr : &found->value;
}

Checked<std::optional<std::size_t>> HeadScanner::find_end(std::string_view bytes) {
  for (; seen_ < bytes.size(); ++seen_) {
    const char c = bytes[seen_];
    const char before = seen_ > 0 ? bytes[seen_ - 1] : '\0';
    if ((before == '\r') != (c == '\n')) return bad("a line must end with CR LF");
    if (!is_text(c) && c != '\r' && c != '\n') return bad("a control character in the head");
    if (lines_ == 0 && seen_ >= limits_->line_bytes) {
      return Refused{414,
                     "the request line is over " + std::to_string(limits_->line_bytes) + " bytes"};
    }
    if (seen_ >= limits_->head_bytes) {
      return Refused{431, "the head is over " + std::to_string(limits_->head_bytes) + " bytes"};
    }
    if (c != '\n') continue;
    if (seen_ - line_begin_ == 1) return std::optional<std::size_t>(seen_ + 1);
    line_begin_ = seen_ + 1;
    if (++lines_ > limits_->fields + 1) {
      return Refused{431, "more than " + std::to_string(limits_->fields) + " headers"};
    }
  }
  return std::optional<std::size_t>();
}

void HeadScanner::reset() { seen_ = line_begin_ = lines_ = 0; }

Checked<RequestHead> read_head(std::string_view bytes) {
  RequestHead head;
  std::string_view rest = bytes;
  std::string_view authority;
  if (auto refused = read_request_line(take_line(rest), head, authority)) return *refused;
  for (;;) {
    if (rest.empty()) return bad("the head does not end");
    const std::string_view line = take_line(rest);
    if (line.empty()) break;
    if (auto refused = read_field(line, head)) return *refused;
  }
  if (!rest.empty()) return bad("bytes after the head");
  if (auto refused = check_single(head)) return *refused;
  if (auto refused = check_host(head, authority)) return *refused;
  if (auto refused = read_framing(head)) return *refused;
  if (auto refused = check_coding(head)) return *refused;
  if (auto refused = read_wishes(head)) return *refused;
  return head;
}

bool same_token(std::string_view name, std::string_view other) {
  return std::ranges::equal(name, other, [](char a, char b) { return lower(a) == lower(b); });
}

bool is_token(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, is_token_char);
}

std::optional<std::uint64_t> read_number(std::string_view digits) {
  std::uint64_t value = 0;
  if (digits.empty() || !std::ranges::all_of(digits, is_digit)) return std::nullopt;
  const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (code != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

std::string_view trimmed(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

}  // namespace tandem::server
