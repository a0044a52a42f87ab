#pragma once
// Owners of what the Rust text library hands out. For src/text only.

#include <string>
#include <string_view>

#include "tandem/error.h"
#include "tandem_text_ffi.h"

namespace tandem::text {

inline tandem_text_view view_of(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

/// A buffer of the library; freed at the end.
class FfiBuffer {
 public:
  FfiBuffer() = default;
  ~FfiBuffer() { tandem_text_buffer_free(buffer_); }
  FfiBuffer(const FfiBuffer&) = delete;
  FfiBuffer& operator=(const FfiBuffer&) = delete;

  tandem_text_buffer* out() { return &buffer_; }
  std::string str() const {
    return buffer_.size == 0
               ? std::string()
               : std::string(reinterpret_cast<const char*>(buffer_.data), buffer_.size);
  }

 private:
  tandem_text_buffer buffer_{};
};

/// The Error of a call that did not return TANDEM_TEXT_OK; `prefix` names the file or field.
inline Error ffi_error(tandem_text_status status, const FfiBuffer& message,
                       std::string_view prefix) {
  const ErrorCode code = status == TANDEM_TEXT_INVALID ? ErrorCode::kInvalidArgument
                         : status == TANDEM_TEXT_LIMIT ? ErrorCode::kResourceLimit
                                                       : ErrorCode::kInternal;
  return {code, std::string(prefix) + message.str()};
}

}  // namespace tandem::text
