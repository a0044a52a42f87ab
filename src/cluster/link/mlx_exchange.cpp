#include "cluster/link/mlx_exchange.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "cluster/link/link_handshake.h"
#include "cluster/wire/frame.h"

namespace tandem::cluster {
namespace {

constexpr std::uint32_t kMagic = 0x584D4454;  // "TDMX"
constexpr std::uint32_t kVersion = 1;
constexpr std::uint32_t kHasFrame = 1;
constexpr std::uint32_t kClosing = 2;
constexpr std::size_t kRound = 4096;

// The header as it lies in a slot; little endian, which MLX's platforms are.
struct Wire {
  std::uint32_t magic;
  std::uint16_t version;
  std::uint16_t flags;
  std::uint64_t epoch;
  std::uint64_t number;
  std::uint32_t slot_bytes;
  std::uint32_t total;
  std::uint32_t offset;
  std::uint32_t piece;
};
static_assert(sizeof(Wire) == kSlotHeaderBytes);

std::size_t slot_for(std::size_t bytes) {
  const std::size_t wanted = (bytes + kSlotHeaderBytes + kRound - 1) / kRound * kRound;
  return std::min(wanted, kMaxSlotBytes);
}

Error broken(int group_rank, const char* what) {
  return {ErrorCode::kInternal, "mlx exchange: " + rank_name(group_rank - 1) + " " + what};
}

}  // namespace

MlxExchange::MlxExchange(std::uint64_t epoch, int group_rank, int size)
    : epoch_(epoch), rank_(group_rank), size_(size), expected_(static_cast<std::size_t>(size), 0) {
  check(size >= 2 && group_rank >= 0 && group_rank < size, "a rank of a group of two or more");
}

void MlxExchange::set_frame(std::string frame) {
  check(!busy(), "one frame at a time");
  check(frame.size() <= kMaxFrameBytes, "frames have a limit");
  outgoing_ = std::move(frame);
  sent_ = 0;
}

MlxExchange::Header MlxExchange::my_header() const {
  Header header;
  if (!outgoing_) return header;
  header.has_frame = true;
  header.total = static_cast<std::uint32_t>(outgoing_->size());
  header.offset = static_cast<std::uint32_t>(sent_);
  header.piece = static_cast<std::uint32_t>(
      std::min(outgoing_->size() - sent_, slot_bytes_ - kSlotHeaderBytes));
  return header;
}

void MlxExchange::fill(std::span<std::byte> slot, bool closing) const {
  check(slot.size() == slot_bytes_, "the slot has the agreed size");
  const Header header = my_header();
  Wire wire{};
  wire.magic = kMagic;
  wire.version = kVersion;
  wire.flags = static_cast<std::uint16_t>((header.has_frame ? kHasFrame : 0) |
                                          (closing && rank_ == 0 ? kClosing : 0));
  wire.epoch = epoch_;
  wire.number = number_;
  wire.slot_bytes = static_cast<std::uint32_t>(slot_bytes_);
  wire.total = header.total;
  wire.offset = header.offset;
  wire.piece = header.piece;
  std::memcpy(slot.data(), &wire, sizeof(wire));
  if (header.piece > 0) {
    std::memcpy(slot.data() + sizeof(wire), outgoing_->data() + sent_, header.piece);
  }
  // What is left of the slot would otherwise carry old memory to other machines.
  const std::size_t used = sizeof(wire) + header.piece;
  std::memset(slot.data() + used, 0, slot.size() - used);
}

Result<MlxExchange::Header> MlxExchange::read_header(std::span<const std::byte> slot,
                                                     int rank) const {
  Wire wire;
  std::memcpy(&wire, slot.data(), sizeof(wire));
  if (wire.magic != kMagic || wire.version != kVersion) {
    return broken(rank, "speaks another protocol");
  }
  if (wire.epoch != epoch_) return broken(rank, "is of another epoch");
  if (wire.number != number_) return broken(rank, "is in another exchange");
  if (wire.slot_bytes != slot_bytes_) return broken(rank, "counts on another slot size");
  Header header;
  header.has_frame = (wire.flags & kHasFrame) != 0;
  header.closing = (wire.flags & kClosing) != 0 && rank == 0;
  header.total = wire.total;
  header.offset = wire.offset;
  header.piece = wire.piece;
  if (!header.has_frame) return header;
  const std::uint64_t end = std::uint64_t{header.offset} + header.piece;
  if (header.total > kMaxFrameBytes || end > header.total ||
      header.piece > slot_bytes_ - kSlotHeaderBytes ||
      header.offset != expected_[static_cast<std::size_t>(rank)] ||
      (header.piece == 0 && header.total != 0)) {
    return broken(rank, "sent a piece that does not fit its frame");
  }
  return header;
}

Status MlxExchange::accept(const Header& header, std::span<const std::byte> slot) {
  if (!header.has_frame) return {};
  const int from = (rank_ + size_ - 1) % size_;
  if (!within_) {
    incoming_.clear();
    incoming_.reserve(header.total);
    incoming_total_ = header.total;
    within_ = true;
  }
  if (header.total != incoming_total_ || header.offset != incoming_.size()) {
    return broken(from, "sent a piece of another frame inside a frame");
  }
  incoming_.append(reinterpret_cast<const char*>(slot.data()) + kSlotHeaderBytes, header.piece);
  return {};
}

std::size_t MlxExchange::next_capacity(std::span<const Header> headers) {
  std::size_t wanted = 0;
  std::size_t largest = 0;
  for (std::size_t rank = 0; rank < headers.size(); ++rank) {
    const Header& header = headers[rank];
    if (!header.has_frame) continue;
    const std::size_t left = header.total - header.offset - header.piece;
    wanted = std::max(wanted, left);
    // From a stage to one that is not the last: it goes on with the same size.
    const bool goes_on = rank >= 1 && rank + 2 < headers.size();
    if (left == 0 && goes_on) wanted = std::max<std::size_t>(wanted, header.total);
    if (header.total <= kStickyBytes) largest = std::max<std::size_t>(largest, header.total);
  }
  // The largest size of the last window: several times round the ring.
  sticky_next_ = std::max(sticky_next_, largest);
  if (largest >= sticky_ || ++sticky_age_ > 8 * size_) {
    sticky_ = sticky_next_;
    sticky_next_ = 0;
    sticky_age_ = 0;
  }
  return slot_for(std::max(wanted, sticky_));
}

Result<Exchanged> MlxExchange::take(std::span<const std::byte> slots) {
  check(slots.size() == slot_bytes_ * static_cast<std::size_t>(size_), "one slot a rank");
  std::vector<Header> headers;
  for (int rank = 0; rank < size_; ++rank) {
    auto header =
        read_header(slots.subspan(static_cast<std::size_t>(rank) * slot_bytes_, slot_bytes_), rank);
    if (!header) return header.error();
    headers.push_back(*header);
    if (!header->has_frame) continue;
    const std::size_t end = std::size_t{header->offset} + header->piece;
    expected_[static_cast<std::size_t>(rank)] = end == header->total ? 0 : end;
  }
  Exchanged out;
  const auto from = static_cast<std::size_t>((rank_ + size_ - 1) % size_);
  const auto slot = slots.subspan(from * slot_bytes_, slot_bytes_);
  if (auto ok = accept(headers[from], slot); !ok) return ok.error();
  if (within_ && incoming_.size() == incoming_total_) {
    within_ = false;
    out.frame = std::exchange(incoming_, {});
  }
  sent_ += headers[static_cast<std::size_t>(rank_)].piece;
  if (outgoing_ && sent_ == outgoing_->size()) {
    outgoing_.reset();
    out.sent = true;
  }
  out.closing = headers[0].closing;
  slot_bytes_ = next_capacity(headers);
  ++number_;
  return out;
}

}  // namespace tandem::cluster
