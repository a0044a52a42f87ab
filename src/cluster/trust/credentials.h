#pragma once
// How the processes of a cluster know each other.
//
// What each choice gives, on every connection between processes (ring links and worker control):
//   nothing       No secret at all. Only allowed on loopback addresses (see check_exposure): any
//                 process of the machine can join, or read and change what is sent.
//   cluster key   Both ends prove that they hold the same key file with HMAC-SHA256 over a
//                 transcript with fresh random numbers of both, the cluster id, epoch and ranks, so
//                 a recorded handshake is worth nothing later and one for another rank neither. The
//                 key never travels. It AUTHENTICATES the handshake and nothing after it: frames
//                 are neither encrypted nor signed, so whoever can read the wire reads prompts and
//                 hidden states, and whoever can change packets in flight can change them, or carry
//                 a genuine handshake through and then speak in its place. For networks where
//                 strangers can connect but not tap: a home or a switched lab network.
//   TLS           Mutual TLS, 1.2 or newer (1.3 between two of ours): encrypted, unforgeable, and
//   only holders of
//                 a certificate signed by the cluster's CA get past the TLS handshake. Every such
//                 holder is a full member: names in certificates are NOT compared with host names,
//                 because ranks move between addresses; so the CA must sign for this cluster only.
//                 No revocation lists.
//   TLS and key   Both. A stolen certificate alone does not suffice, nor a stolen key alone.
// Members trust each other: a member can stop the cluster or falsify results. What it sends is
// checked so that it cannot crash others or make them run code.

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <string>
#include <string_view>

#include "tandem/error.h"

namespace tandem::cluster {

/// Where the secrets are. All three TLS paths or none; PEM. `key` is a file of random bytes or
/// text, 16 to 4096 bytes without trailing white space.
struct CredentialPaths {
  std::filesystem::path certificate;
  std::filesystem::path private_key;
  std::filesystem::path ca;
  std::filesystem::path key;
};

/// Secrets read. A plain value; empty strings where there are none.
struct Credentials {
  std::string certificate;  // PEM chain of this process
  std::string private_key;  // PEM
  std::string ca;           // PEM of the cluster's CA
  std::string key;          // the cluster key
  bool tls() const { return !ca.empty(); }
};

/// Reads the files. A missing one, one that others may read (private key, cluster key), a
/// certificate that does not fit its key: kInvalidArgument that names the file.
Result<Credentials> load_credentials(const CredentialPaths& paths);

/// Refuses to listen on or dial `address` (host:port) without any secret, unless it is loopback.
Status check_exposure(const Credentials& credentials, const std::string& address);

inline constexpr std::size_t kNonceBytes = 32;
/// Fresh random bytes from the operating system's generator.
std::string make_nonce();
/// HMAC-SHA256 under `key` of `purpose` and `parts`, each with its length, so that no two different
/// lists give the same bytes. Empty when the key is.
std::string make_proof(std::string_view key, std::string_view purpose,
                       std::initializer_list<std::string_view> parts);
/// Whether two proofs are the same, in time that does not depend on where they differ.
bool same_proof(std::string_view a, std::string_view b);
/// `value` as 8 little-endian bytes, for the parts of a proof.
std::string as_bytes(std::uint64_t value);

}  // namespace tandem::cluster
