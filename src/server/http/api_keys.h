#pragma once
// The keys that open the server.

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/http/head_check.h"

namespace tandem::server {

/// Keeps hashes only. Immutable, so any thread may ask.
class ApiKeys {
 public:
  explicit ApiKeys(const std::vector<std::string>& keys);

  bool empty() const { return hashes_.empty(); }
  /// The place of `key` in the list, or -1. Takes the same time wherever and whether it is there:
  /// every hash is compared, each in constant time.
  int find(std::string_view key) const;

 private:
  using Hash = std::array<unsigned char, 32>;
  static Hash hash(std::string_view key);
  std::vector<Hash> hashes_;
};

/// What the request brings in `Authorization: Bearer` or, without that, in `x-api-key`.
std::optional<std::string_view> key_of(const RequestHead& head);

}  // namespace tandem::server
