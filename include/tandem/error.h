#pragma once
// Errors as values. Expected failures (bad input, a lost rank, a full disk) travel as Result<T>;
// a broken invariant of the program itself is check() in src/base/check.h.

#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace tandem {

/// What went wrong, coarse enough to choose an exit code or an HTTP status.
enum class ErrorCode {
  kInvalidArgument,   // the caller's mistake: exit code 2, HTTP 400
  kNotFound,          // a file, model or sequence that does not exist: exit code 2, HTTP 404
  kResourceLimit,     // a stated limit or the memory would be exceeded
  kUnavailable,       // a rank, port or link is gone: exit code 1, HTTP 503
  kDeadlineExceeded,  // a wait reached its deadline: exit code 1
  kCancelled,         // the caller went away
  kInternal,          // anything else: exit code 1, HTTP 500
};

/// One failure. `message` is one line that names the file, field or rank and the rule it broke.
struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
};

/// The caller's mistake.
inline Error invalid(std::string message) {
  return {ErrorCode::kInvalidArgument, std::move(message)};
}

/// A value or an Error. Move-only values are fine. Reading the wrong side throws
/// std::bad_variant_access, which is a bug of the reader.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  T& value() & { return std::get<0>(state_); }
  const T& value() const& { return std::get<0>(state_); }
  T&& value() && { return std::get<0>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const Error& error() const { return std::get<1>(state_); }

 private:
  std::variant<T, Error> state_;
};

/// Success or an Error.
template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}

  bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  const Error& error() const { return error_.value(); }

 private:
  std::optional<Error> error_;
};

using Status = Result<void>;

}  // namespace tandem
