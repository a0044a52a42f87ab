#pragma once
// What a process tells its child before anything else: kept out of argv and environment.

#include <string>
#include <string_view>

#include "cluster/trust/credentials.h"
#include "tandem/error.h"

namespace tandem::cluster {

/// Payload of ControlKind::kSecret.
struct ChildSecrets {
  Credentials credentials;
  std::string listen = "127.0.0.1:0";  // where a compute child listens for frames
};

std::string pack(const ChildSecrets& secrets);
/// kInvalidArgument when a length does not fit.
Result<ChildSecrets> unpack_secrets(std::string_view bytes);

}  // namespace tandem::cluster
