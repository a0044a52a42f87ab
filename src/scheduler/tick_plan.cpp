#include "scheduler/tick_plan.h"

#include <algorithm>
#include <cstddef>

#include "scheduler/kv_book.h"
#include "scheduler/prompt_queue.h"
#include "tandem/limits.h"

namespace tandem::scheduler {
namespace {

/// Upper bound of a result's size in a frame, bytes, with what its entry adds.
std::uint64_t result_bytes(std::uint32_t top_logprobs) {
  return 16 * (static_cast<std::uint64_t>(top_logprobs) + 2);
}

/// Upper bounds of a token's size in a frame and of what is wanted of it, bytes.
constexpr std::uint64_t kTokenBytes = 5;
constexpr std::uint64_t kScoreBytes = 24;

std::uint64_t token_bytes(const SequenceView& sequence) {
  return sequence.scored ? kTokenBytes + kScoreBytes : kTokenBytes;
}
/// Kept free in a frame for state operations: each takes under 40 bytes.
constexpr std::uint64_t kOpBytes = 4ULL << 20;

/// What a tick still has room for.
struct Room {
  std::uint64_t rows = 0;
  std::uint64_t pages = 0;
  std::uint64_t tick_bytes = kMaxFrameHeaderBytes - kOpBytes;
  std::uint64_t result_bytes = kMaxFrameHeaderBytes;
};

void take(std::uint64_t& room, std::uint64_t amount) { room -= std::min(room, amount); }

/// One tick in the making.
class Planner {
 public:
  explicit Planner(const PlanState& state)
      : state_(state), room_{state.rows_max, state.free_pages} {}

  TickPlan run() {
    if (state_.in_flight >= state_.stages) return {};
    // What is on its way is all of a suspect or all of others.
    const Turn& turn = state_.turn;
    const bool suspect_fits = state_.in_flight == 0 || turn.suspects;
    const bool others_fit = state_.in_flight == 0 || !turn.suspects;
    const auto stages = static_cast<std::uint64_t>(state_.stages);
    const std::uint64_t most = turn.suspects ? stages : kTurnTicks * stages;
    const bool suspect_first = turn.suspects == (turn.ticks < most);
    if (suspect_first) add_suspect();
    if (entries_.empty() && !preempt_) add_others();
    if (entries_.empty() && !preempt_) add_suspect();
    if (preempt_) return {{}, preempt_};
    const bool alone = !entries_.empty() && is_suspect(entries_.front());
    if (alone ? !suspect_fits : !others_fit) return {};
    return {std::move(entries_), {}};
  }

 private:
  bool is_suspect(const PlannedEntry& entry) const {
    return std::ranges::any_of(state_.sequences, [&](const SequenceView& each) {
      return each.alone && each.id == entry.sequence;
    });
  }

  void add_others() {
    const Room room = room_;
    add_decodes();
    add_chunks();
    if (entries_.empty()) room_ = room;
  }

  /// The first suspect that can go on.
  void add_suspect() {
    const Room room = room_;
    for (std::size_t i = 0; i < state_.sequences.size() && entries_.empty() && !preempt_; ++i) {
      const SequenceView& sequence = state_.sequences[i];
      if (!sequence.alone || sequence.pending() == 0) continue;
      if (sequence.decodes()) {
        add_decode(i);
      } else {
        limit_rows(state_.prefill_step_size);
        add_chunk(i, 0);
      }
    }
    if (entries_.empty()) room_ = room;
  }

  void limit_rows(std::uint32_t budget) {
    room_.rows = std::min<std::uint64_t>(room_.rows, budget);
  }

  /// Decoding sequences are spread over the stages: each micro-batch takes ceil(n / stages).
  void add_decodes() {
    const auto& all = state_.sequences;
    std::vector<std::size_t> ready;
    find_first_prompt();
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (!all[i].decodes() || all[i].alone) continue;
      ++decoding_;
      // Who waits for a page does not take the turn of another.
      if (all[i].pending() == 1 && (has_page(i) || victim_after(i))) ready.push_back(i);
    }
    const auto stages = static_cast<std::size_t>(state_.stages);
    const std::size_t share =
        std::min<std::size_t>({ready.size(), (decoding_ + stages - 1) / stages, state_.rows_max});
    std::stable_sort(ready.begin(), ready.end(), [&](std::size_t a, std::size_t b) {
      return all[a].last_tick < all[b].last_tick;
    });
    Room room = room_;
    std::vector<std::size_t> chosen;
    for (std::size_t i = 0; i < share; ++i) {
      const SequenceView& sequence = all[ready[i]];
      // What finds no room is served first next time.
      if (i > 0 && (result_bytes(sequence.top_logprobs) > room.result_bytes ||
                    sequence.entry_bytes + kTokenBytes > room.tick_bytes)) {
        break;
      }
      take(room.result_bytes, result_bytes(sequence.top_logprobs));
      take(room.tick_bytes, sequence.entry_bytes + kTokenBytes);
      chosen.push_back(ready[i]);
    }
    std::sort(chosen.begin(), chosen.end());
    for (const std::size_t index : chosen) add_decode(index);
  }

  void find_first_prompt() {
    const auto& all = state_.sequences;
    const auto first = std::find_if(all.begin(), all.end(),
                                    [](const SequenceView& each) { return each.is_prompt(); });
    if (first == all.end()) return;
    first_prompt_ = static_cast<std::size_t>(first - all.begin());
    while (tokens_in(first_page_, *first) == 0) ++first_page_;
  }

  /// Whether a decode has a place for its token.
  bool has_page(std::size_t index) const {
    const std::uint64_t kept = index > first_prompt_ ? std::min(first_page_, room_.pages) : 0;
    return tokens_in(room_.pages - kept, state_.sequences[index]) > 0;
  }

  void add_decode(std::size_t index) {
    const SequenceView& sequence = state_.sequences[index];
    if (preempt_ || !has_page(index)) return want_pages(index);
    add(index, 1, result_bytes(sequence.top_logprobs));
  }

  void add_chunks() {
    PromptQueue prompts;
    std::uint64_t waiting = 0;
    for (std::size_t i = 0; i < state_.sequences.size(); ++i) {
      const SequenceView& sequence = state_.sequences[i];
      if (!sequence.is_prompt()) continue;
      // The whole prompt counts, so that chunks keep their size while a prompt is worked off.
      waiting += sequence.total;
      prompts.add({.index = i,
                   .priority = sequence.priority,
                   .pending = sequence.pending(),
                   .passed = sequence.passed,
                   .pages = pages_for(sequence, sequence.pending()) - sequence.let_go});
    }
    limit_rows(prefill_budget(waiting, state_.stages, state_.prefill_step_size));
    if (decoding_ > 0) limit_rows(std::max<std::uint32_t>(state_.mixed_rows, 1));
    while (!preempt_ && room_.rows > 0) {
      const auto turn = prompts.next();
      if (!turn) return;
      const std::uint64_t pages = room_.pages;
      const std::uint32_t count = add_chunk(turn->index, turn->kept_pages);
      prompts.took(count, pages - room_.pages);
    }
  }

  /// The next tokens of a prompt, as many as there is room for beside the kept pages: how many.
  std::uint32_t add_chunk(std::size_t index, std::uint64_t kept_pages) {
    const SequenceView& sequence = state_.sequences[index];
    const std::uint64_t pages =
        tokens_in(room_.pages - std::min(room_.pages, kept_pages), sequence);
    if (pages == 0) {
      if (kept_pages == 0) want_pages(index);
      return 0;
    }
    const std::uint64_t least = entries_.empty() ? 1 : 0;  // a tick of one row always fits
    const std::uint64_t bytes = result_bytes(sequence.top_logprobs);
    const std::uint64_t results = room_.result_bytes / bytes;
    if (results < 1 && least == 0) return 0;
    const std::uint64_t left = room_.tick_bytes - std::min(room_.tick_bytes, sequence.entry_bytes);
    std::uint64_t most = std::min<std::uint64_t>({room_.rows, sequence.pending(), pages});
    most = std::min(most, std::max(left / token_bytes(sequence), least));
    if (sequence.to_stop > 0) most = std::min<std::uint64_t>(most, sequence.to_stop);
    if (sequence.scored) most = std::min(most, std::max(results, least));
    const auto count = static_cast<std::uint32_t>(most);
    if (count > 0) add(index, count, sequence.scored ? count * bytes : bytes);
    return count;
  }

  void add(std::size_t index, std::uint32_t count, std::uint64_t results) {
    const SequenceView& sequence = state_.sequences[index];
    const bool last = count == sequence.pending();
    entries_.push_back({.sequence = sequence.id,
                        .count = count,
                        .decode = sequence.decodes(),
                        .sample = last && sequence.samples});
    take(room_.pages, pages_for(sequence, count));
    take(room_.rows, count);
    take(room_.result_bytes, results);
    take(room_.tick_bytes, sequence.entry_bytes + count * token_bytes(sequence));
  }

  /// Pages that a sequence's next `count` tokens take, at least one token.
  static std::uint64_t pages_for(const SequenceView& sequence, std::uint32_t count) {
    const std::uint64_t end = std::uint64_t{sequence.submitted} + count;
    return pages_of(end) - pages_of(sequence.submitted) + (sequence.copies_page ? 1 : 0);
  }

  /// Tokens that a sequence can get with `pages` more pages.
  static std::uint64_t tokens_in(std::uint64_t pages, const SequenceView& sequence) {
    if (sequence.copies_page && pages == 0) return 0;
    const std::uint64_t begun = sequence.submitted % kPageTokens;
    const std::uint64_t slack = begun == 0 ? 0 : kPageTokens - begun;
    const std::uint64_t more = pages - (sequence.copies_page ? 1 : 0);
    constexpr std::uint64_t kMany = std::numeric_limits<std::uint32_t>::max();
    return slack + std::min(more, kMany) * kPageTokens;
  }

  /// The last in order that holds KV, if it comes after this one.
  std::optional<std::uint64_t> victim_after(std::size_t index) const {
    for (std::size_t i = state_.sequences.size() - 1; i > index; --i) {
      if (state_.sequences[i].submitted > 0) return state_.sequences[i].id;
    }
    return std::nullopt;
  }

  void want_pages(std::size_t index) {
    if (!preempt_) preempt_ = victim_after(index);
  }

  const PlanState& state_;
  Room room_;
  std::size_t decoding_ = 0;
  std::size_t first_prompt_ = 0;  // in order; later decodes leave it
  std::uint64_t first_page_ = 0;  // the pages that its next token takes
  std::vector<PlannedEntry> entries_;
  std::optional<std::uint64_t> preempt_;
};

}  // namespace

std::uint32_t prefill_budget(std::uint64_t waiting, int stages, std::uint32_t step_size) {
  if (stages <= 1) return step_size;
  const std::uint64_t chunks = static_cast<std::uint64_t>(stages) * kChunksPerStage;
  const std::uint64_t even = (waiting + chunks - 1) / chunks;
  return static_cast<std::uint32_t>(
      std::min<std::uint64_t>(step_size, std::max<std::uint64_t>(even, kPipelinedChunkMin)));
}

std::uint32_t tick_rows_max(std::uint64_t row_bytes) {
  const std::uint64_t room = kMaxFrameBytes - kMaxFrameHeaderBytes;
  const std::uint64_t rows = room / std::max<std::uint64_t>(row_bytes, 1);
  return static_cast<std::uint32_t>(
      std::clamp<std::uint64_t>(rows, 1, static_cast<std::uint64_t>(kMaxTickRows)));
}

TickPlan plan_tick(const PlanState& state) { return Planner(state).run(); }

}  // namespace tandem::scheduler
