#include "text/token_bytes.h"

#include "text/ffi.h"
#include "text/tokenizer_handle.h"

namespace tandem::text {

std::optional<std::string> token_bytes(const Tokenizer& tokenizer, std::int32_t id) {
  if (id < 0) return std::nullopt;
  FfiBuffer bytes;
  const bool known = tandem_text_tokenizer_token_bytes(TokenizerHandle::of(tokenizer),
                                                       static_cast<std::uint32_t>(id), bytes.out());
  return known ? std::optional(bytes.str()) : std::nullopt;
}

}  // namespace tandem::text
