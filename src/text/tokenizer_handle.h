#pragma once
// A Tokenizer's handle in the Rust library. For src/text only.

#include "tandem_text_ffi.h"
#include "text/tokenizer.h"

namespace tandem::text {

struct TokenizerHandle {
  static const tandem_text_tokenizer* of(const Tokenizer& tokenizer);
};

}  // namespace tandem::text
