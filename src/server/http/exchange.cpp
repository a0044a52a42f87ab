#include "server/http/exchange.h"

#include <algorithm>

namespace tandem::server {

namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

}  // namespace

const std::string* HttpRequest::header(std::string_view name) const {
  const auto same = [](char a, char b) { return lower(a) == lower(b); };
  const auto found = std::ranges::find_if(
      headers, [&](const Header& header) { return std::ranges::equal(header.name, name, same); });
  return found == headers.end() ? nullptr : &found->value;
}

}  // namespace tandem::server
