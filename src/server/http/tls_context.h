#pragma once
// The server's certificate.

#include <boost/asio/ssl/context.hpp>
#include <memory>

#include "server/http/options.h"
#include "tandem/error.h"

namespace tandem::server {

/// TLS 1.2 and newer, without renegotiation. kInvalidArgument that names the file which is missing,
/// is no PEM, or does not fit the other.
Result<std::unique_ptr<boost::asio::ssl::context>> make_tls_context(const TlsFiles& files);

}  // namespace tandem::server
