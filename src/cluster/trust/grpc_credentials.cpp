#include "cluster/trust/grpc_credentials.h"

#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_certificate_verifier.h>
#include <grpcpp/security/tls_credentials_options.h>

#include <vector>

namespace tandem::cluster {
namespace {

namespace tls = grpc::experimental;

std::shared_ptr<tls::StaticDataCertificateProvider> provider(const Credentials& credentials) {
  const std::vector<tls::IdentityKeyCertPair> identity = {
      {credentials.private_key, credentials.certificate}};
  return std::make_shared<tls::StaticDataCertificateProvider>(credentials.ca, identity);
}

// What both ends share: our identity, the CA, and no comparison of names (see credentials.h). The
// chain up to the CA is verified all the same, before the verifier is asked.
void set_common(const Credentials& credentials, tls::TlsCredentialsOptions& options) {
  options.set_certificate_provider(provider(credentials));
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  options.set_certificate_verifier(std::make_shared<tls::NoOpCertificateVerifier>());
  options.set_check_call_host(false);
}

}  // namespace

std::shared_ptr<grpc::ChannelCredentials> channel_credentials(const Credentials& credentials) {
  if (!credentials.tls()) return grpc::InsecureChannelCredentials();
  tls::TlsChannelCredentialsOptions options;
  set_common(credentials, options);
  options.set_verify_server_certs(true);
  return tls::TlsCredentials(options);
}

std::shared_ptr<grpc::ServerCredentials> server_credentials(const Credentials& credentials) {
  if (!credentials.tls()) return grpc::InsecureServerCredentials();
  tls::TlsServerCredentialsOptions options(provider(credentials));
  set_common(credentials, options);
  options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  return tls::TlsServerCredentials(options);
}

}  // namespace tandem::cluster
