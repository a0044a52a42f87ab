#pragma once
// What a person says about who may join the cluster.

#include <filesystem>

namespace tandem::cluster {

/// --cluster-key-file, --tls-cert, --tls-key, --tls-ca, --insecure. Empty paths: not given.
struct SecurityOptions {
  std::filesystem::path cluster_key_file;  // shared secret, both ends prove that they know it
  std::filesystem::path tls_cert;          // PEM; cert, key and ca are given together: mutual TLS
  std::filesystem::path tls_key;
  std::filesystem::path tls_ca;
  bool insecure = false;                   // allows a non-loopback address without key or TLS
};

}  // namespace tandem::cluster
