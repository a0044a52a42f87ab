#include "server/http/api_keys.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

namespace tandem::server {

ApiKeys::ApiKeys(const std::vector<std::string>& keys) {
  for (const std::string& key : keys) hashes_.push_back(hash(key));
}

ApiKeys::Hash ApiKeys::hash(std::string_view key) {
  Hash out{};
  ::SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(), out.data());
  return out;
}

int ApiKeys::find(std::string_view key) const {
  const Hash wanted = hash(key);
  int found = -1;
  for (std::size_t i = 0; i < hashes_.size(); ++i) {
    const bool same = ::CRYPTO_memcmp(hashes_[i].data(), wanted.data(), wanted.size()) == 0;
    found = same ? static_cast<int>(i) : found;
  }
  return found;
}

std::optional<std::string_view> key_of(const RequestHead& head) {
  constexpr std::string_view kScheme = "bearer ";
  if (const std::string* value = head.header("authorization")) {
    const std::string_view all = *value;
    if (same_token(all.substr(0, kScheme.size()), kScheme)) {
      return trimmed(all.substr(kScheme.size()));
    }
  }
  if (const std::string* value = head.header("x-api-key")) return *value;
  return std::nullopt;
}

}  // namespace tandem::server
