#include "cluster/wire/frame.h"

#include <google/protobuf/io/coded_stream.h>

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "cluster/wire/frame_messages.h"

namespace tandem::cluster {
namespace {

using google::protobuf::io::CodedInputStream;
using google::protobuf::io::CodedOutputStream;

// The tag of Frame.hidden_data: length-delimited.
constexpr std::uint8_t kHiddenDataTag = (v1::Frame::kHiddenDataFieldNumber << 3) | 2;

v1::DType to_message(DType dtype) {
  check(dtype == DType::kF32 || dtype == DType::kBF16, "hidden states are f32 or bf16");
  return dtype == DType::kF32 ? v1::DTYPE_F32 : v1::DTYPE_BF16;
}

// A frame in two parts: the messages, and the hidden states where they lie in the input.
struct Parts {
  std::string_view messages;
  std::string_view hidden;
};

// Walks the top-level fields up to hidden_data, which is the last.
Result<Parts> split(std::string_view bytes) {
  const auto* data = reinterpret_cast<const std::uint8_t*>(bytes.data());
  CodedInputStream in(data, static_cast<int>(bytes.size()));
  while (true) {
    const int at = in.CurrentPosition();
    if (at == static_cast<int>(bytes.size())) return Parts{bytes, {}};
    const std::uint32_t tag = in.ReadTag();
    std::uint32_t length = 0;
    if (tag == kHiddenDataTag) {
      if (!in.ReadVarint32(&length)) return malformed("its hidden_data has no length");
      const auto start = static_cast<std::size_t>(in.CurrentPosition());
      if (length != bytes.size() - start) {
        return malformed("its hidden_data does not reach from its place to the end");
      }
      return Parts{bytes.substr(0, static_cast<std::size_t>(at)), bytes.substr(start)};
    }
    const std::uint32_t type = tag & 7;
    bool skipped = false;
    std::uint64_t value = 0;
    if (tag == 0) return malformed("it has a field of number 0");
    if (type == 0) skipped = in.ReadVarint64(&value);
    if (type == 1) skipped = in.Skip(8);
    if (type == 5) skipped = in.Skip(4);
    if (type == 2 && in.ReadVarint32(&length) && length <= bytes.size()) {
      skipped = in.Skip(static_cast<int>(length));
    }
    if (!skipped) return malformed("a field ends past the frame");
  }
}

// `data` is a part of what `owner` keeps.
Result<stage::Hidden> take_hidden(const v1::Hidden& in, std::string_view data,
                                  std::shared_ptr<const void> owner) {
  stage::Hidden hidden;
  if (in.dtype() == v1::DTYPE_F32) {
    hidden.dtype = DType::kF32;
  } else if (in.dtype() == v1::DTYPE_BF16) {
    hidden.dtype = DType::kBF16;
  } else {
    return malformed("hidden.dtype is neither F32 nor BF16");
  }
  if (in.rows() < 0 || in.cols() < 0) return malformed("hidden.rows or cols is negative");
  // Below 2^31 each, so the product of three fits in 64 bits.
  const std::uint64_t wanted = static_cast<std::uint64_t>(in.rows()) *
                               static_cast<std::uint64_t>(in.cols()) * size_of(hidden.dtype);
  if (wanted != data.size()) return malformed("hidden_data is not rows x cols x size bytes");
  hidden.rows = in.rows();
  hidden.cols = in.cols();
  hidden.bytes = SharedBytes(std::move(owner), std::as_bytes(std::span(data)));
  return hidden;
}

Status check_shape(const Frame& frame, bool has_hidden) {
  if (frame.result && frame.failure) return malformed("it has a result and a failure");
  const bool done = frame.result.has_value() || frame.failure.has_value();
  if (done && (!frame.tick.entries.empty() || !frame.tick.state_ops.empty() || has_hidden)) {
    return malformed("it has a result or failure and still work to do");
  }
  if (frame.result &&
      (frame.result->epoch != frame.tick.epoch || frame.result->number != frame.tick.number)) {
    return malformed("its result is of another tick");
  }
  std::size_t tokens = 0;
  for (const TickEntry& entry : frame.tick.entries) {
    if (!entry.refused) tokens += entry.tokens.size();
  }
  if (frame.hidden.rows != 0 && static_cast<std::size_t>(frame.hidden.rows) != tokens) {
    return malformed("hidden.rows is not the number of tokens");
  }
  return {};
}

}  // namespace

EncodedFrame encode(const Frame& frame) {
  v1::Frame message;
  message.set_version(kFrameVersion);
  message.mutable_tick()->set_epoch(frame.tick.epoch);
  message.mutable_tick()->set_number(frame.tick.number);
  const bool done = frame.result.has_value() || frame.failure.has_value();
  if (!done) put(frame.tick, *message.mutable_tick());
  if (frame.result) put(*frame.result, *message.mutable_result());
  if (frame.failure) put(*frame.failure, *message.mutable_failure());
  const auto& data = frame.hidden.bytes;
  if (!done && !data.empty()) {
    message.mutable_hidden()->set_dtype(to_message(frame.hidden.dtype));
    message.mutable_hidden()->set_rows(frame.hidden.rows);
    message.mutable_hidden()->set_cols(frame.hidden.cols);
  }
  std::string out;
  const std::size_t head = message.ByteSizeLong();
  // 1 byte of tag, up to 10 of length.
  out.reserve(head + 11);
  message.AppendToString(&out);
  if (done || data.empty()) return {std::move(out), {}};
  std::uint8_t prefix[11] = {kHiddenDataTag};
  const std::uint8_t* end = CodedOutputStream::WriteVarint64ToArray(data.size(), prefix + 1);
  out.append(reinterpret_cast<const char*>(prefix), static_cast<std::size_t>(end - prefix));
  return {std::move(out), data};
}

Result<Frame> decode(std::string given) {
  const auto owner = std::make_shared<const std::string>(std::move(given));
  const std::string_view bytes = *owner;
  if (bytes.size() > kMaxFrameBytes) {
    return Error{ErrorCode::kResourceLimit, "frame: over 1 GiB"};
  }
  auto parts = split(bytes);
  if (!parts) return parts.error();
  if (parts->messages.size() > kMaxFrameHeaderBytes) {
    return Error{ErrorCode::kResourceLimit, "frame: over 16 MiB besides the hidden states"};
  }
  v1::Frame message;
  if (!message.ParseFromArray(parts->messages.data(), static_cast<int>(parts->messages.size()))) {
    return malformed("it is not a protobuf Frame");
  }
  if (message.version() != kFrameVersion) {
    return malformed("its version is " + std::to_string(message.version()) + ", ours is " +
                     std::to_string(kFrameVersion));
  }
  Frame frame;
  auto tick = take(message.tick());
  if (!tick) return tick.error();
  frame.tick = std::move(*tick);
  if (message.has_hidden() || !parts->hidden.empty()) {
    auto hidden = take_hidden(message.hidden(), parts->hidden, owner);
    if (!hidden) return hidden.error();
    frame.hidden = std::move(*hidden);
  }
  if (message.has_result()) {
    auto result = take(message.result());
    if (!result) return result.error();
    frame.result = std::move(*result);
  }
  if (message.has_failure()) {
    auto failure = take(message.failure());
    if (!failure) return failure.error();
    frame.failure = std::move(*failure);
  }
  if (auto shape = check_shape(frame, message.has_hidden()); !shape) return shape.error();
  return frame;
}

}  // namespace tandem::cluster
