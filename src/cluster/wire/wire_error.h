#pragma once
// Error as proto/tandem.proto's Error message.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "tandem.pb.h"
#include "tandem/error.h"

namespace tandem::cluster {

/// `text` as one line of valid UTF-8 of at most `limit` bytes: control characters and broken UTF-8
/// become '?'. What came from the network is passed through this before people see it.
std::string one_line(std::string_view text, std::size_t limit);
/// The limit for a reason that a peer or a library gave, bytes.
inline constexpr std::size_t kMaxReasonBytes = 1000;

void to_wire(const Error& error, v1::Error& out);
/// nullopt for an unknown code or a message over kMaxFailureBytes.
std::optional<Error> from_wire(const v1::Error& in);

}  // namespace tandem::cluster
