#pragma once
// Credentials as gRPC wants them. Shared by ring links and the worker service.

#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>

#include <memory>

#include "cluster/trust/credentials.h"

namespace tandem::cluster {

/// For the dialing end: mutual TLS when credentials.tls(), else plain. The cluster key is not
/// gRPC's business: the handshake above it proves it.
std::shared_ptr<grpc::ChannelCredentials> channel_credentials(const Credentials& credentials);
/// For the listening end; with TLS a client without a certificate of the CA is refused.
std::shared_ptr<grpc::ServerCredentials> server_credentials(const Credentials& credentials);

}  // namespace tandem::cluster
