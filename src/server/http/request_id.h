#pragma once

#include <string>

namespace tandem::server {

/// "req_" and 32 random hexadecimal digits: nobody can guess another's.
std::string make_request_id();

}  // namespace tandem::server
