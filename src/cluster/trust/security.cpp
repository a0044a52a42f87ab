#include "cluster/trust/security.h"

#include <algorithm>

#include "cluster/wire/net_address.h"

namespace tandem::cluster {
namespace {

constexpr const char* kPublicKey = "tandem --insecure: this is no secret";

}  // namespace

Result<Credentials> read_security(const SecurityOptions& options) {
  if (!options.key.empty()) {
    Credentials credentials;
    credentials.key = options.key;
    return credentials;
  }
  auto credentials = load_credentials(
      {options.tls_cert, options.tls_key, options.tls_ca, options.cluster_key_file});
  if (!credentials || !options.insecure) return credentials;
  if (credentials->tls() || !credentials->key.empty()) {
    return invalid("--insecure contradicts a cluster key or TLS files: give one or the other");
  }
  credentials->key = kPublicKey;
  return credentials;
}

Status check_frame_security(const Credentials& credentials, std::string_view transport,
                            const std::vector<config::Host>& hosts) {
  const auto loopback = [](const config::Host& host) { return is_loopback_name(host.name); };
  if (transport != "mlx" || !credentials.tls()) return {};
  if (std::all_of(hosts.begin(), hosts.end(), loopback)) return {};
  return invalid(
      "--tls-cert, --tls-key and --tls-ca do not protect the frames of --transport mlx, which "
      "travel in the clear: use --transport grpc");
}

}  // namespace tandem::cluster
