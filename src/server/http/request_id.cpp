#include "server/http/request_id.h"

#include <fmt/format.h>
#include <openssl/rand.h>

#include <array>

#include "base/check.h"

namespace tandem::server {

std::string make_request_id() {
  std::array<unsigned char, 16> bytes{};
  check(::RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) == 1,
        "the system has random numbers");
  std::string id = "req_";
  for (const unsigned char byte : bytes) id += fmt::format("{:02x}", byte);
  return id;
}

}  // namespace tandem::server
