#include "server/http/tls_context.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <string>
#include <system_error>

namespace tandem::server {
namespace {

// Keeps OpenSSL from asking the terminal for the passphrase of an encrypted key.
int no_passphrase(char*, int, int, void*) { return -1; }

Status check_file(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error) || error) {
    return invalid(path.string() + ": no such file");
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<boost::asio::ssl::context>> make_tls_context(const TlsFiles& files) {
  for (const auto& path : {files.certificate, files.private_key}) {
    if (auto good = check_file(path); !good) return good.error();
  }
  auto context = std::make_unique<boost::asio::ssl::context>(boost::asio::ssl::context::tls_server);
  SSL_CTX* native = context->native_handle();
  ::SSL_CTX_set_min_proto_version(native, TLS1_2_VERSION);
  ::SSL_CTX_set_options(native, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  ::SSL_CTX_set_mode(native, SSL_MODE_RELEASE_BUFFERS);
  ::SSL_CTX_set_default_passwd_cb(native, no_passphrase);
  const std::string certificate = files.certificate.string();
  const std::string key = files.private_key.string();
  ::ERR_clear_error();
  if (::SSL_CTX_use_certificate_chain_file(native, certificate.c_str()) != 1) {
    ::ERR_clear_error();
    return invalid(certificate + ": no certificate in PEM form");
  }
  if (::SSL_CTX_use_PrivateKey_file(native, key.c_str(), SSL_FILETYPE_PEM) != 1) {
    const bool unfit = ERR_GET_REASON(::ERR_peek_error()) == X509_R_KEY_VALUES_MISMATCH;
    ::ERR_clear_error();
    return invalid(key + (unfit ? ": does not fit the certificate " + certificate
                                : ": no private key in PEM form without a passphrase"));
  }
  return context;
}

}  // namespace tandem::server
