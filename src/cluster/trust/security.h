#pragma once
// What a person says about who may join the cluster.

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "cluster/trust/credentials.h"
#include "config/hosts.h"
#include "tandem/error.h"

namespace tandem::cluster {

/// --cluster-key-file, --tls-cert, --tls-key, --tls-ca, --insecure. Empty paths: not given.
struct SecurityOptions {
  std::filesystem::path cluster_key_file;  // shared secret, both ends prove that they know it
  std::filesystem::path tls_cert;          // PEM; cert, key and ca are given together: mutual TLS
  std::filesystem::path tls_key;
  std::filesystem::path tls_ca;
  std::string key;        // the shared secret itself, of a launcher; instead of all files
  bool insecure = false;  // allows a non-loopback address without key or TLS
};

/// Reads the files (errors of load_credentials). With `insecure` and no secret the cluster key is a
/// public constant: such processes find only each other, and anyone may be one of them.
/// kInvalidArgument: insecure together with a secret.
Result<Credentials> read_security(const SecurityOptions& options);

/// Refuses TLS files with the transport "mlx", whose frames they would not protect, unless every
/// address is loopback: kInvalidArgument. A cluster key still guards the control calls.
Status check_frame_security(const Credentials& credentials, std::string_view transport,
                            const std::vector<config::Host>& hosts);

}  // namespace tandem::cluster
