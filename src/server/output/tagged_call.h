#pragma once
// Calls whose arguments are tagged text: GLM's and Qwen3-Coder's.

#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "server/output/argument_value.h"
#include "server/output/call_reader.h"

namespace tandem::server {

/// Reads, behind <tool_call>, `name\n<arg_key>k</arg_key>\n<arg_value>v</arg_value>…` up to and
/// without </tool_call> (GLM), or, behind <function=, `name>\n<parameter=k>\nv\n</parameter>…
/// </function>` (Qwen). The types in the function's schema decide what becomes a JSON string. Where
/// a value's closing tag is lost, it ends at the next line that is the tag of a declared argument
/// not given yet, or that closes the function or the call, or with the output, which ends the call
/// too.
class TaggedReader : public CallReader {
 public:
  enum class Style { kGlm, kQwen };
  /// `tools` outlives the reader.
  TaggedReader(Style style, const std::vector<ToolSpec>& tools) : style_(style), tools_(tools) {}
  ReadStep read(std::string_view text, CallSink& sink) override;
  void finish(std::string_view rest, CallSink& sink) override;

 private:
  enum class Place { kName, kBetween, kKey, kBeforeValue, kValue, kEnd };

  ReadStep read_function(std::string_view text);
  ReadStep read_between(std::string_view text, CallSink& sink);
  ReadStep read_key(std::string_view text, CallSink& sink);
  ReadStep read_before_value(std::string_view text, CallSink& sink);
  ReadStep read_value(std::string_view text, CallSink& sink);
  ReadStep end_call(std::size_t used, CallSink& sink);
  bool begin_call(CallSink& sink);
  bool begin_argument(CallSink& sink);
  void find_ends();
  void end_value(std::string_view rest, CallSink& sink);
  bool as_string() const { return types_ == kStringType; }

  Style style_;
  const std::vector<ToolSpec>& tools_;
  Place place_ = Place::kName;
  bool begun_ = false;
  bool value_begun_ = false;  // its first byte was seen
  int arguments_ = 0;
  std::string name_;
  std::string key_;
  JsonTypes types_ = kAnyType;     // of the argument being read
  std::string value_;              // of an argument that is not only a string: waits for its end
  std::set<std::string> given_;    // arguments that began
  std::vector<std::string> ends_;  // of the value being read: its closing tags, then lines
  std::size_t closings_ = 0;       // how many of them are closing tags
};

}  // namespace tandem::server
