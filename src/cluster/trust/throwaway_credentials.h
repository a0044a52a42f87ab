#pragma once
// TLS without files, for one run: benchmarks and tests.

#include "cluster/trust/credentials.h"

namespace tandem::cluster {

/// A new CA, and a certificate of it for all members of one run; both valid for a day. The CA's key
/// is gone when this returns. Members get the value by a way that is private already.
Credentials make_throwaway_credentials();

}  // namespace tandem::cluster
