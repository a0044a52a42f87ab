#include "server/http/response_head.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <iterator>
#include <string_view>

namespace tandem::server {
namespace {

struct Reason {
  int status;
  std::string_view text;
};

constexpr Reason kReasons[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {411, "Length Required"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {422, "Unprocessable Content"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
};

// RFC 9112 section 4 lets the reason be empty.
std::string_view reason(int status) {
  for (const Reason& known : kReasons) {
    if (known.status == status) return known.text;
  }
  return "";
}

void add(std::string& head, std::string_view name, std::string_view value) {
  head += name;
  head += ": ";
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    head += byte < 0x20 || byte == 0x7f ? ' ' : c;
  }
  head += "\r\n";
}

}  // namespace

bool has_body(int status) { return status >= 200 && status != 204 && status != 304; }

std::string response_head(const HttpResponse& response, const AnswerStyle& style,
                          std::optional<std::uint64_t> body_bytes, std::time_t now) {
  std::string head = fmt::format("HTTP/1.1 {} {}\r\n", response.status, reason(response.status));
  add(head, "Date", fmt::format("{:%a, %d %b %Y %H:%M:%S} GMT", fmt::gmtime(now)));
  if (has_body(response.status)) {
    if (!response.content_type.empty()) add(head, "Content-Type", response.content_type);
    if (body_bytes) {
      add(head, "Content-Length", std::to_string(*body_bytes));
    } else if (!style.http10) {
      add(head, "Transfer-Encoding", "chunked");
    }
  }
  add(head, "X-Request-Id", style.id);
  for (const Header& header : style.headers) add(head, header.name, header.value);
  for (const Header& header : response.headers) add(head, header.name, header.value);
  if (!style.keep_alive) add(head, "Connection", "close");
  head += "\r\n";
  return head;
}

}  // namespace tandem::server
