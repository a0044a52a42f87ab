#pragma once
// Calls whose arguments are JSON already.

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/output/call_reader.h"
#include "server/output/json_scanner.h"

namespace tandem::server {

/// Longest name of a function, bytes (OpenAI's limit is 64; models may prefix one).
inline constexpr std::size_t kMaxNameBytes = 256;

/// Whether a name can be a function's: not empty, within the limit, no control characters.
bool valid_name(std::string_view name);

/// Gathers a name up to one of `ends`, which is not read. kMore: not ended yet; kAgain: `name` is
/// complete, trimmed and valid; kFailed: it is no name.
struct NameStep {
  ReadStep step;
  int end = -1;  // index of the end
};
NameStep read_name(std::string_view text, std::span<const std::string_view> ends,
                   std::string& name);

/// JSON text as it is passed on: control characters inside strings are escaped.
void append_json_byte(std::string& out, char byte, bool in_string);

/// One JSON object as the arguments of the sink's open call, which it ends.
class ArgumentsReader {
 public:
  /// From the '{' on. Never kDone: see done().
  ReadStep read(std::string_view text, CallSink& sink);
  bool done() const { return scanner_.done(); }

 private:
  JsonScanner scanner_;
};

/// One object {"name": …, "arguments": {…}}; "parameters" stands for "arguments" too, the order is
/// free, further members are skipped, and arguments may be a string that holds the object.
class EnvelopeReader : public CallReader {
 public:
  /// `known`: the object is a call only with one of these names and arguments, and no members that
  /// calls do not have; null: it was announced as a call. Outlives the reader.
  explicit EnvelopeReader(const std::vector<ToolSpec>* known) : known_(known) {}
  ReadStep read(std::string_view text, CallSink& sink) override;
  void finish(std::string_view, CallSink&) override {}
  /// Whether its first byte was read.
  bool begun() const { return scanner_.depth() > 0; }

 private:
  enum class Role { kSkip, kName, kArguments };

  /// What one byte means; kMore: go on with the next.
  ReadStep::State take(char byte, CallSink& sink);
  ReadStep::State begin_value(char byte, CallSink& sink);
  ReadStep::State end_value(CallSink& sink);
  ReadStep::State end_object(CallSink& sink);
  ReadStep::State whole_call(std::string_view arguments, CallSink& sink);
  ReadStep stream(std::string_view text, CallSink& sink);
  bool take_key();
  bool take_name();
  std::optional<std::string> captured_object() const;

  const std::vector<ToolSpec>* known_;
  JsonScanner scanner_;
  Role role_ = Role::kSkip;
  bool capturing_ = false;  // a key, the name, or arguments that must wait for it
  bool streaming_ = false;  // the arguments go to the sink as they come
  bool called_ = false;     // a call was begun
  std::string captured_;    // JSON text of what is captured
  std::string name_;
  std::optional<std::string> held_;  // arguments that came before the name
};

}  // namespace tandem::server
