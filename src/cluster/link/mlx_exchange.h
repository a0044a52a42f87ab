#pragma once
// One rank's part in a series of all_gathers that move frames round the ring, without any IO.
//
// Group rank 0 is the gateway, group rank i + 1 is stage i; frames go from g to g + 1, round. In an
// exchange every rank contributes one slot, a header and a piece of at most one frame, and takes
// the piece of its predecessor out of the gathered slots. An all_gather wants slots of the same
// size on all ranks, and an MLX rank that waits for another size than its neighbour hangs for ever.
// So:
//
//   No rank can use another size. The size of exchange 0 is a constant. The size of exchange k + 1
//   is a pure function of the headers of exchanges 0 to k (next_capacity and the state it keeps),
//   and an all_gather leaves the same headers on every rank. Nothing that a rank knows alone (its
//   queue, its clock, when it was called) enters it. Every header carries the number of the
//   exchange and the slot size that its rank counted on; a rank that sees a difference stops with
//   an error.
//
//   No frame waits for room. A frame that is larger than the slot goes in pieces over several
//   exchanges; the header says how much is left, so the next exchange has room for all of it (up to
//   kMaxSlotBytes). A failure frame in the place of a small result is just such a frame.
//
//   Few frames need pieces. Frames move one rank an exchange, and a stage in the middle sends on
//   what it was sent, hidden states of the same rows: the next slot has room for the largest frame
//   on its way to a stage that is not the last. Sizes up to kStickyBytes seen in the last exchanges
//   are also kept, so that decoding, where the same small frames go round and round, needs one
//   exchange a hop.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tandem/error.h"

namespace tandem::cluster {

inline constexpr std::size_t kSlotHeaderBytes = 40;
inline constexpr std::size_t kFirstSlotBytes = 16 << 10;
inline constexpr std::size_t kMaxSlotBytes = 32 << 20;
inline constexpr std::size_t kStickyBytes = 256 << 10;

/// What an exchange brought this rank.
struct Exchanged {
  std::optional<std::string> frame;  // the predecessor's, when its last piece came
  bool sent = false;                 // this rank's frame is out
  bool closing = false;              // the gateway ends the ring: there is no next exchange
};

/// Not thread-safe. slot_bytes(), fill(), [all_gather], take(), and again.
class MlxExchange {
 public:
  /// group_rank in [0, size), size at least 2.
  MlxExchange(std::uint64_t epoch, int group_rank, int size);

  /// Slot size of the next exchange, the same on all ranks.
  std::size_t slot_bytes() const { return slot_bytes_; }
  /// A frame is set and not yet out.
  bool busy() const { return outgoing_.has_value(); }
  /// Sets the next frame to send, at most kMaxFrameBytes; not while busy().
  void set_frame(std::string frame);
  /// Writes this rank's slot. `closing` counts on the gateway only.
  void fill(std::span<std::byte> slot, bool closing) const;
  /// Takes all slots, in the order of the ranks. After an error the series is over.
  Result<Exchanged> take(std::span<const std::byte> slots);

 private:
  struct Header {
    bool has_frame = false;
    bool closing = false;
    std::uint32_t total = 0;   // bytes of the frame
    std::uint32_t offset = 0;  // of this piece in it
    std::uint32_t piece = 0;   // bytes of this piece
  };
  Result<Header> read_header(std::span<const std::byte> slot, int rank) const;
  Header my_header() const;
  Status accept(const Header& header, std::span<const std::byte> slot);
  std::size_t next_capacity(std::span<const Header> headers);

  std::uint64_t epoch_;
  int rank_;
  int size_;
  std::uint64_t number_ = 0;  // of the next exchange
  std::size_t slot_bytes_ = kFirstSlotBytes;
  std::optional<std::string> outgoing_;
  std::size_t sent_ = 0;  // bytes of outgoing_ that are out
  std::string incoming_;
  std::size_t incoming_total_ = 0;
  bool within_ = false;
  std::vector<std::size_t> expected_;  // of each rank: the offset of its next piece
  std::size_t sticky_ = kFirstSlotBytes - kSlotHeaderBytes;
  std::size_t sticky_next_ = 0;  // largest size of the window that is under way
  int sticky_age_ = 0;           // exchanges of it so far
};

}  // namespace tandem::cluster
