#include "cluster/wire/frame_chunks.h"

#include <utility>

#include "cluster/wire/frame.h"

namespace tandem::cluster {
namespace {

template <class T>
T load(const char* bytes) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    value |= static_cast<T>(static_cast<std::uint8_t>(bytes[i])) << (8 * i);
  }
  return value;
}

template <class T>
void store(T value, char* bytes) {
  for (std::size_t i = 0; i < sizeof(T); ++i) bytes[i] = static_cast<char>(value >> (8 * i));
}

Error bad_chunk(const char* what) { return {ErrorCode::kInternal, std::string("link: ") + what}; }

}  // namespace

ChunkHeader make_chunk_header(std::uint64_t epoch, std::uint32_t remaining) {
  ChunkHeader header;
  store(epoch, header.data());
  store(remaining, header.data() + 8);
  return header;
}

std::string make_probe(std::uint64_t epoch, std::uint64_t number) {
  const ChunkHeader header = make_chunk_header(epoch, kProbeMark);
  std::string probe(header.data(), header.size());
  probe.resize(kProbeBytes);
  store(number, probe.data() + kChunkHeaderBytes);
  return probe;
}

std::optional<std::uint64_t> read_probe(std::string_view message, std::uint64_t epoch) {
  if (message.size() != kProbeBytes || load<std::uint64_t>(message.data()) != epoch ||
      load<std::uint32_t>(message.data() + 8) != kProbeMark) {
    return std::nullopt;
  }
  return load<std::uint64_t>(message.data() + kChunkHeaderBytes);
}

Result<bool> FrameAssembler::begin(const ChunkHeader& header, std::size_t bytes) {
  if (load<std::uint64_t>(header.data()) != epoch_) return false;
  remaining_ = load<std::uint32_t>(header.data() + 8);
  if (bytes > kMaxChunkBytes) return bad_chunk("a piece of a frame is over 1 MiB");
  if (bytes == 0 && (within_ || remaining_ != 0)) return bad_chunk("an empty piece of a frame");
  const std::uint64_t total = frame_.size() + bytes + remaining_;
  if (!within_) {
    if (total > kMaxFrameBytes) {
      return Error{ErrorCode::kResourceLimit, "link: a frame over 1 GiB"};
    }
    total_ = total;
    frame_.reserve(total);
    within_ = true;
  } else if (total != total_) {
    return bad_chunk("a piece of another frame inside a frame");
  }
  return true;
}

std::optional<std::string> FrameAssembler::end() {
  if (remaining_ != 0) return std::nullopt;
  within_ = false;
  return std::exchange(frame_, {});
}

}  // namespace tandem::cluster
