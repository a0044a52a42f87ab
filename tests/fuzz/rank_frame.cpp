// What one rank sends to the next: frames, and the messages that they are cut into. What is
// accepted is written and read again to the same, and a frame never holds more than it was sent.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "cluster/wire/frame.h"
#include "cluster/wire/frame_chunks.h"
#include "fuzz/fuzz.h"

namespace {

using namespace tandem::cluster;
using tandem::fuzz::require;

/// A rank that breaks the rules is not the user's fault: another code, and still one line.
void check_error(const tandem::Error& error) {
  require(error.code == tandem::ErrorCode::kInternal ||
          error.code == tandem::ErrorCode::kResourceLimit);
  require(!error.message.empty() && error.message.find('\n') == std::string::npos);
}

void decode_twice(std::string_view bytes) {
  auto frame = decode(std::string(bytes));
  if (!frame) return check_error(frame.error());
  require(frame->hidden.bytes.size() <= bytes.size());
  const std::string written = encode(*frame);
  auto again = decode(written);
  require(again.ok() && std::string(encode(*again)) == written);
}

/// Messages with their headers as the bytes say: nothing but errors and whole frames.
void assemble(std::string_view bytes, std::uint8_t step) {
  FrameAssembler assembler(0);
  while (bytes.size() >= kChunkHeaderBytes) {
    ChunkHeader header;
    std::memcpy(header.data(), bytes.data(), header.size());
    bytes.remove_prefix(header.size());
    const std::string_view piece = bytes.substr(0, step);
    bytes.remove_prefix(piece.size());
    const auto mine = assembler.begin(header, piece.size());
    if (!mine) return check_error(mine.error());
    if (!*mine) continue;
    assembler.append(piece);
    if (const auto frame = assembler.end()) decode_twice(*frame);
  }
}

/// A frame that is cut comes out whole.
void cut(std::string_view bytes, std::size_t step) {
  FrameAssembler assembler(7);
  for (std::size_t at = 0; at < bytes.size(); at += step) {
    const std::string_view piece = bytes.substr(at, step);
    const auto left = static_cast<std::uint32_t>(bytes.size() - at - piece.size());
    const auto mine = assembler.begin(make_chunk_header(7, left), piece.size());
    require(mine.ok() && *mine);
    assembler.append(piece);
    const auto frame = assembler.end();
    require(frame.has_value() == (left == 0));
    require(!frame || *frame == bytes);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  tandem::fuzz::Input input(data, size);
  const std::uint8_t first = input.byte();
  if (first % 4 == 3) {
    assemble(input.rest(), input.byte());
    return 0;
  }
  decode_twice(input.rest());
  cut(input.rest(), 1 + first);
  return 0;
}
