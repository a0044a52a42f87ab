#pragma once
// Splits what a model writes into content, reasoning and tool calls, as it arrives.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "server/output/output_format.h"

namespace tandem::server {

/// A piece of one tool call. `id` and `name` are set in a call's first piece only; the `arguments`
/// of all its pieces together are one JSON object, as text.
struct ToolCallDelta {
  int index = 0;  // of the call in this output, from 0
  std::string id;
  std::string name;
  std::string arguments;
};

struct OutputDelta {
  std::string content;
  std::string reasoning;
  std::vector<ToolCallDelta> tools;

  bool empty() const { return content.empty() && reasoning.empty() && tools.empty(); }
};

/// A function that the model may call.
struct ToolSpec {
  std::string name;
  nlohmann::ordered_json parameters;  // JSON schema; null when the request gave none
  bool strict = false;
};

struct OutputOptions {
  /// Empty: tool calls are not looked for (no tools, or tool_choice "none"), all is content.
  std::vector<ToolSpec> tools;
  /// The prompt ended inside a reasoning block; see prompt_opens_reasoning().
  bool starts_in_reasoning = false;
  /// False: reasoning blocks stay in the content, markers and all.
  bool split_reasoning = true;
  /// True: arguments are given out while they are written. False: a call appears when it ends; for
  /// answers that are not streamed. A call that breaks or is cut off behind its name is given out
  /// as far as it came, and the rest of its block is dropped.
  bool stream_arguments = true;
  /// Random bits for the calls' ids; called once or more a call.
  std::function<std::uint64_t()> random;
};

/// Longest part of a call that is held back before it becomes content, bytes.
inline constexpr std::size_t kMaxHeldCallBytes = 1U << 20;
/// Most calls of one output; what follows them is content.
inline constexpr int kMaxToolCalls = 128;

/// One output's parser. Pieces may be cut anywhere between characters: the deltas add up to the
/// same content, reasoning and calls however the text is cut. Holds back only white space and what
/// may be the beginning of a marker or of a call. White space around reasoning blocks and tool
/// calls belongs to the format and is dropped; nothing else is. Malformed calls are content. One
/// thread.
class OutputParser {
 public:
  OutputParser(const OutputFormat& format, OutputOptions options);
  ~OutputParser();
  OutputParser(OutputParser&&) noexcept;
  OutputParser& operator=(OutputParser&&) noexcept;

  OutputDelta push(std::string_view text);
  /// What is left when the output ended.
  OutputDelta finish();

  /// How many calls were given out, 0 if one is not whole; any makes finish_reason "tool_calls".
  int tool_calls() const;
  /// Whether the text so far ends inside a reasoning block.
  bool in_reasoning() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tandem::server
