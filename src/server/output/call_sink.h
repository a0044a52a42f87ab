#pragma once
// Where readers put the tool calls that they find.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "server/output/output_parser.h"

namespace tandem::server {

/// Gathers calls for the next delta. With stream_arguments each piece is given out at once, else a
/// call is when it ends.
class CallSink {
 public:
  enum class IdStyle {
    kOpenAi,   // call_ and 24 letters and digits
    kMistral,  // 9 letters and digits: Mistral's templates refuse others
  };
  CallSink(bool stream, IdStyle ids, std::function<std::uint64_t()> random);

  /// False when there are kMaxToolCalls already.
  bool begin(std::string_view name);
  void arguments(std::string_view fragment);
  void end();
  /// Gives out what there is of a call that was begun and will not end.
  void abandon();

  /// Whether a call is begun and not ended.
  bool open() const { return open_; }
  /// Calls given out, in part or whole.
  int count() const { return count_; }
  /// Says that all text read so far is accounted for: the format's own around a finished call.
  void settle() { settled_ = true; }
  /// Whether all text read so far was given out or settled since this was last asked.
  bool take_settled();
  std::vector<ToolCallDelta> take();

 private:
  std::string new_id();

  bool stream_;
  IdStyle ids_;
  std::function<std::uint64_t()> random_;
  int count_ = 0;
  bool open_ = false;
  bool settled_ = false;
  ToolCallDelta held_;  // the call that is not given out yet
  std::vector<ToolCallDelta> ready_;
};

}  // namespace tandem::server
