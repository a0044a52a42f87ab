#include "cluster/trust/throwaway_credentials.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>

#include "base/check.h"

namespace tandem::cluster {
namespace {

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
using Extension = std::unique_ptr<X509_EXTENSION, decltype(&X509_EXTENSION_free)>;

constexpr long kDay = 24 * 60 * 60;
constexpr long kHour = 60 * 60;

Key make_key() {
  Key key(EVP_EC_gen("P-256"), &EVP_PKEY_free);
  check(key != nullptr, "OpenSSL makes P-256 keys");
  return key;
}

void add_extension(X509* certificate, int nid, const char* value) {
  const Extension extension(X509V3_EXT_conf_nid(nullptr, nullptr, nid, value),
                            &X509_EXTENSION_free);
  check(extension && X509_add_ext(certificate, extension.get(), -1) == 1,
        "OpenSSL knows the extension");
}

// A certificate of `subject` for `key`, signed by `issuer`'s key.
Certificate make_certificate(const char* subject, EVP_PKEY* key, const char* issuer,
                             EVP_PKEY* issuer_key, long serial) {
  Certificate certificate(X509_new(), &X509_free);
  X509* x = certificate.get();
  const auto name = [](X509_NAME* out, const char* text) {
    X509_NAME_add_entry_by_txt(out, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(text), -1, -1, 0);
  };
  X509_set_version(x, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(x), serial);
  X509_gmtime_adj(X509_getm_notBefore(x), -kHour);  // clocks of two machines differ
  X509_gmtime_adj(X509_getm_notAfter(x), kDay);
  X509_set_pubkey(x, key);
  name(X509_get_subject_name(x), subject);
  name(X509_get_issuer_name(x), issuer);
  const bool is_ca = key == issuer_key;
  add_extension(x, NID_basic_constraints, is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
  add_extension(x, NID_key_usage, is_ca ? "critical,keyCertSign" : "critical,digitalSignature");
  check(X509_sign(x, issuer_key, EVP_sha256()) > 0, "OpenSSL signs with P-256");
  return certificate;
}

std::string text_of(const Bio& bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

std::string to_pem(const Certificate& certificate) {
  const Bio bio(BIO_new(BIO_s_mem()), &BIO_free);
  check(PEM_write_bio_X509(bio.get(), certificate.get()) == 1, "OpenSSL writes PEM to memory");
  return text_of(bio);
}

std::string to_pem(const Key& key) {
  const Bio bio(BIO_new(BIO_s_mem()), &BIO_free);
  check(PEM_write_bio_PrivateKey(bio.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) == 1,
        "OpenSSL writes PEM to memory");
  return text_of(bio);
}

}  // namespace

Credentials make_throwaway_credentials() {
  const Key ca_key = make_key();
  const Key key = make_key();
  const auto ca =
      make_certificate("tandem throwaway CA", ca_key.get(), "tandem throwaway CA", ca_key.get(), 1);
  const auto certificate =
      make_certificate("tandem member", key.get(), "tandem throwaway CA", ca_key.get(), 2);
  Credentials out;
  out.certificate = to_pem(certificate);
  out.private_key = to_pem(key);
  out.ca = to_pem(ca);
  return out;
}

}  // namespace tandem::cluster
