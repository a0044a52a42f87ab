#include "cluster/trust/credentials.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>

#include <array>
#include <fstream>
#include <memory>
#include <system_error>

#include "base/check.h"
#include "cluster/wire/net_address.h"

namespace tandem::cluster {
namespace {

namespace fs = std::filesystem;

constexpr std::uintmax_t kMaxPemBytes = 1 << 20;
constexpr std::size_t kMinKeyBytes = 16;
constexpr std::size_t kMaxKeyBytes = 4096;

Result<std::string> read_file(const fs::path& path, bool secret) {
  std::error_code error;
  const auto status = fs::status(path, error);
  if (error || !fs::is_regular_file(status)) {
    return Error{ErrorCode::kNotFound, path.string() + ": no such file"};
  }
  const auto open_to_others = fs::perms::others_read | fs::perms::others_write;
  if (secret && (status.permissions() & open_to_others) != fs::perms::none) {
    return invalid(path.string() + ": a secret that other users may read or write; chmod 600 it");
  }
  const auto size = fs::file_size(path, error);
  if (error || size > kMaxPemBytes) return invalid(path.string() + ": over 1 MiB");
  std::ifstream file(path, std::ios::binary);
  std::string bytes(size, '\0');
  if (!file.read(bytes.data(), static_cast<std::streamsize>(size))) {
    return invalid(path.string() + ": cannot be read");
  }
  return bytes;
}

Result<std::string> read_key(const fs::path& path) {
  auto key = read_file(path, true);
  if (!key) return key;
  const auto last = key->find_last_not_of(" \t\r\n");
  key->resize(last == std::string::npos ? 0 : last + 1);
  if (key->size() < kMinKeyBytes || key->size() > kMaxKeyBytes) {
    return invalid(path.string() + ": a cluster key has 16 to 4096 bytes, this has " +
                   std::to_string(key->size()));
  }
  return key;
}

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using PrivateKey = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

Certificate parse_certificate(const std::string& pem) {
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), &BIO_free);
  return {PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr), &X509_free};
}

// No prompt for the passphrase of an encrypted key: it is refused.
int no_passphrase(char*, int, int, void*) { return -1; }

Status check_pair(const CredentialPaths& paths, const Credentials& credentials) {
  const Certificate certificate = parse_certificate(credentials.certificate);
  if (!certificate) return invalid(paths.certificate.string() + ": not a PEM certificate");
  if (!parse_certificate(credentials.ca)) {
    return invalid(paths.ca.string() + ": not a PEM certificate");
  }
  const Bio bio(BIO_new_mem_buf(credentials.private_key.data(),
                                static_cast<int>(credentials.private_key.size())),
                &BIO_free);
  const PrivateKey key(PEM_read_bio_PrivateKey(bio.get(), nullptr, &no_passphrase, nullptr),
                       &EVP_PKEY_free);
  if (!key) {
    return invalid(paths.private_key.string() + ": not a PEM private key without passphrase");
  }
  if (X509_check_private_key(certificate.get(), key.get()) != 1) {
    return invalid(paths.private_key.string() + ": not the key of " + paths.certificate.string());
  }
  return {};
}

}  // namespace

Result<Credentials> load_credentials(const CredentialPaths& paths) {
  Credentials out;
  const bool any = !paths.certificate.empty() || !paths.private_key.empty() || !paths.ca.empty();
  const bool all = !paths.certificate.empty() && !paths.private_key.empty() && !paths.ca.empty();
  if (any && !all) return invalid("TLS needs all of certificate, private key and CA");
  if (all) {
    auto certificate = read_file(paths.certificate, false);
    if (!certificate) return certificate.error();
    auto private_key = read_file(paths.private_key, true);
    if (!private_key) return private_key.error();
    auto ca = read_file(paths.ca, false);
    if (!ca) return ca.error();
    out.certificate = std::move(*certificate);
    out.private_key = std::move(*private_key);
    out.ca = std::move(*ca);
    if (auto ok = check_pair(paths, out); !ok) return ok.error();
  }
  if (!paths.key.empty()) {
    auto key = read_key(paths.key);
    if (!key) return key.error();
    out.key = std::move(*key);
  }
  return out;
}

Status check_exposure(const Credentials& credentials, const std::string& address) {
  if (credentials.tls() || !credentials.key.empty()) return {};
  if (is_loopback_name(host_of(address))) return {};
  return invalid(address + ": without a cluster key or TLS only loopback addresses are used");
}

std::string make_nonce() {
  std::string nonce(kNonceBytes, '\0');
  check(RAND_bytes(reinterpret_cast<unsigned char*>(nonce.data()), kNonceBytes) == 1,
        "the system has random numbers");
  return nonce;
}

std::string as_bytes(std::uint64_t value) {
  std::string bytes(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(value >> (8 * i));
  return bytes;
}

std::string make_proof(std::string_view key, std::string_view purpose,
                       std::initializer_list<std::string_view> parts) {
  if (key.empty()) return {};
  std::string text = as_bytes(purpose.size());
  text += purpose;
  for (const std::string_view part : parts) {
    text += as_bytes(part.size());
    text += part;
  }
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int size = 0;
  const auto* made =
      HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
           reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data(), &size);
  check(made != nullptr, "HMAC-SHA256 is always there");
  return {reinterpret_cast<const char*>(digest.data()), size};
}

bool same_proof(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace tandem::cluster
