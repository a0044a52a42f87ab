#include "server/output/call_sink.h"

#include <utility>

#include "base/check.h"

namespace tandem::server {

CallSink::CallSink(bool stream, IdStyle ids, std::function<std::uint64_t()> random)
    : stream_(stream), ids_(ids), random_(std::move(random)) {}

bool CallSink::begin(std::string_view name) {
  check(!open_, "a tool call begins inside another");
  if (count_ == kMaxToolCalls) return false;
  open_ = true;
  ToolCallDelta call{.index = count_, .id = new_id(), .name = std::string(name), .arguments = ""};
  if (!stream_) {
    held_ = std::move(call);
    return true;
  }
  ++count_;
  settled_ = true;
  ready_.push_back(std::move(call));
  return true;
}

void CallSink::arguments(std::string_view fragment) {
  check(open_, "arguments of no tool call");
  if (!stream_) {
    held_.arguments += fragment;
    return;
  }
  if (fragment.empty()) return;
  settled_ = true;
  if (ready_.empty() || ready_.back().index != count_ - 1) {
    ready_.push_back({.index = count_ - 1, .id = "", .name = "", .arguments = ""});
  }
  ready_.back().arguments += fragment;
}

void CallSink::end() {
  check(open_, "the end of no tool call");
  open_ = false;
  settled_ = true;
  if (stream_) return;
  ++count_;
  ready_.push_back(std::exchange(held_, {}));
}

void CallSink::abandon() {
  if (open_ && !stream_) {
    ++count_;
    ready_.push_back(std::exchange(held_, {}));
  }
  open_ = false;
}

bool CallSink::take_settled() { return std::exchange(settled_, false); }

std::vector<ToolCallDelta> CallSink::take() { return std::exchange(ready_, {}); }

std::string CallSink::new_id() {
  static constexpr std::string_view kLetters =
      "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  const bool mistral = ids_ == IdStyle::kMistral;
  std::string id = mistral ? "" : "call_";
  for (int i = 0; i < (mistral ? 9 : 24); ++i) {
    id += kLetters[static_cast<std::size_t>(random_() % kLetters.size())];
  }
  return id;
}

}  // namespace tandem::server
