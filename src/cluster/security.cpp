#include "cluster/security.h"

namespace tandem::cluster {
namespace {

constexpr const char* kPublicKey = "tandem --insecure: this is no secret";

}  // namespace

Result<Credentials> read_security(const SecurityOptions& options) {
  auto credentials = load_credentials(
      {options.tls_cert, options.tls_key, options.tls_ca, options.cluster_key_file});
  if (!credentials || !options.insecure) return credentials;
  if (credentials->tls() || !credentials->key.empty()) {
    return invalid("--insecure contradicts a cluster key or TLS files: give one or the other");
  }
  credentials->key = kPublicKey;
  return credentials;
}

}  // namespace tandem::cluster
