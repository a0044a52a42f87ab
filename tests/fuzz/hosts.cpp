// Lists and files of hosts: what is accepted can be written and read again, and no host is twice.

#include "config/hosts.h"

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>

#include "fuzz/fuzz.h"

namespace {

using namespace tandem::config;
using tandem::fuzz::require;
using tandem::fuzz::require_refusal;

void check_hosts(const std::vector<Host>& hosts) {
  require(!hosts.empty() && hosts.size() <= kMaxHosts);
  std::set<std::string> seen;
  for (const Host& host : hosts) {
    const std::string text = to_string(host);
    require(seen.insert(text).second && host.port != 0);
    const auto again = parse_host(text);
    require(again.ok() && again->name == host.name && again->port == host.port);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  tandem::fuzz::Input input(data, size);
  const bool file = input.byte() % 4 != 0;
  if (file) {
    const auto read = parse_hostfile(input.rest(), "hosts.json");
    if (read) {
      check_hosts(read->hosts);
    } else {
      require_refusal(read.error());
    }
    return 0;
  }
  const auto read = parse_hosts(input.rest());
  if (read) {
    check_hosts(*read);
  } else {
    require_refusal(read.error());
  }
  return 0;
}
