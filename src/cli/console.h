#pragma once
// Standard input, output and error, with their failures as values.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "tandem/error.h"

namespace tandem::cli {

/// The three standard descriptors of the process. Answers go to output, everything else to error.
/// One thread, but for note().
class Console {
 public:
  /// Gives closed descriptors a harmless stand-in (so that no file or socket takes their number)
  /// and makes writing to a closed pipe an error instead of a signal.
  Console();

  /// kUnavailable when standard output is closed or full.
  Status write(std::string_view text);
  /// Whatever happens to standard error, there is nobody left to tell. From any thread.
  void note(std::string_view text);

  bool input_is_terminal() const;
  bool error_is_terminal() const;

  /// All of standard input, at most `max_bytes`.
  Result<std::string> read_all(std::size_t max_bytes);
  /// The next line without its end; nullopt at the end of input. kCancelled when the descriptor
  /// `wake` (Interrupt::descriptor(); -1: none) becomes readable first, kInvalidArgument when the
  /// line is longer than `max_bytes`.
  Result<std::optional<std::string>> read_line(std::size_t max_bytes, int wake);

 private:
  std::string pending_;
  bool ended_ = false;
};

}  // namespace tandem::cli
