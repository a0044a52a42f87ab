#include "cluster/trust/secrets.h"

#include <array>
#include <cstddef>
#include <cstdint>

namespace tandem::cluster {
namespace {

constexpr std::size_t kLengthBytes = 8;

std::array<std::string*, 5> fields(ChildSecrets& secrets) {
  Credentials& own = secrets.credentials;
  return {&own.certificate, &own.private_key, &own.ca, &own.key, &secrets.listen};
}

}  // namespace

std::string pack(const ChildSecrets& secrets) {
  ChildSecrets copy = secrets;
  std::string bytes;
  for (const std::string* field : fields(copy)) bytes += as_bytes(field->size()) + *field;
  return bytes;
}

Result<ChildSecrets> unpack_secrets(std::string_view bytes) {
  ChildSecrets secrets;
  for (std::string* field : fields(secrets)) {
    if (bytes.size() < kLengthBytes) return invalid("secrets: cut short");
    std::uint64_t length = 0;
    for (std::size_t i = kLengthBytes; i-- > 0;) {
      length = length << 8 | static_cast<unsigned char>(bytes[i]);
    }
    bytes.remove_prefix(kLengthBytes);
    if (length > bytes.size()) return invalid("secrets: a length over the message");
    *field = std::string(bytes.substr(0, length));
    bytes.remove_prefix(length);
  }
  if (!bytes.empty()) return invalid("secrets: bytes left over");
  return secrets;
}

}  // namespace tandem::cluster
