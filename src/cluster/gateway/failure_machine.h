#pragma once
// When has a ring failed, which rank was it, and may an input have caused it? Pure: what happens
// and the clock come in, what to do goes out.

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "cluster/rank/silence.h"
#include "tandem/deadline.h"
#include "tandem/error.h"

namespace tandem::cluster {

enum class LossCause {
  kLink,        // it lost a neighbour, which may be the one that failed
  kConnection,  // its control connection broke: how its process ended says more
  kSilence,     // its worker says nothing any more
  kOutside,     // killed, stopped, given up
  kCompute,     // crashed, hung or failed while it computed
};

/// Why a rank is of no more use; `error` reads as the end of a sentence that begins with its name.
struct RankLoss {
  LossCause cause = LossCause::kOutside;
  Error error;
};

/// What is known of a rank at one look.
struct RankReport {
  bool running = false;                    // its heartbeats have begun
  std::optional<Clock::time_point> heard;  // its last sign of life
  std::uint64_t ticks_started = 0;
  std::uint64_t ticks_done = 0;
  std::uint64_t received_bytes = 0;  // of frames
  std::optional<RankLoss> loss;
};

// ---- what happens
/// The watch looked; one report a rank, and what the gateway itself has received of frames.
struct Looked {
  std::vector<RankReport> ranks;
  std::uint64_t received_bytes = 0;
};
/// Somebody waits for the result of tick `number` (0: nobody any more), whose frames may rest
/// between two ranks for `patience`.
struct TickAwaited {
  std::uint64_t number = 0;
  Clock::duration patience{};
};
/// The gateway's own link.
struct LinkBroke {
  Error reason;
};
/// The answer to AskHowItEnded; nullopt: its process runs.
struct ProcessEnded {
  int rank = 0;
  std::optional<std::string> how;
};
using RingEvent = std::variant<Looked, TickAwaited, LinkBroke, ProcessEnded>;

// ---- what to do
struct GoOn {};
/// Find out how the local process of this rank ended; answered by ProcessEnded.
struct AskHowItEnded {
  int rank = 0;
};
/// The ring failed, for good. kUnavailable: for a reason from outside, that no input can cause;
/// any other code: an input may have caused it. `rank` -1: it is not known which. `died`: that one
/// did, rather than a link or a frame. `unreachable` are those whose workers are gone or silent.
struct RingFailed {
  int rank = -1;
  Error error;
  bool died = false;
  std::vector<int> unreachable;
};
using RingAction = std::variant<GoOn, AskHowItEnded, RingFailed>;

/// A rank's own death or stall settles it at once. That it lost a neighbour, or that the gateway's
/// link broke, settles it after kBlame, when nothing explains it better. A tick that someone waits
/// for is lost when no rank computes and no byte of a frame moves for its patience. The watcher's
/// own pauses are held against no one.
class FailureMachine {
 public:
  struct Watched {
    std::string name;    // "rank 1 (127.0.0.1:4001, layers 8..15)"
    bool local = false;  // its process is the gateway's own
  };
  explicit FailureMachine(std::vector<Watched> ranks);

  /// After RingFailed it has nothing more to say.
  RingAction on(const RingEvent& event, Clock::time_point now);

 private:
  struct Suspicion {
    int rank = -1;
    Error error;
    Clock::time_point since;
  };

  using Losses = std::vector<std::optional<RankLoss>>;

  RingAction look(const Looked& seen, Clock::time_point now);
  RingAction judge(const Losses& losses, Clock::time_point now);
  std::optional<RankLoss> loss_of(std::size_t rank, const RankReport& seen, Clock::time_point now);
  std::uint64_t lost_tick(const Looked& seen, Clock::time_point now);
  RingAction name_lost(std::uint64_t number, const Looked& seen);
  void suspect(int rank, Error error, Clock::time_point now);
  RingAction settle(int rank, const RankLoss& loss);

  const std::vector<Watched> ranks_;
  std::vector<std::optional<SilenceDetector>> silence_;
  std::optional<Suspicion> suspicion_;
  std::optional<RankLoss> unexplained_;  // while AskHowItEnded is not answered
  std::vector<int> unreachable_;         // at the last look
  TickAwaited awaited_;
  std::uint64_t moved_so_far_ = 0;  // ticks done and bytes received, of all
  Clock::time_point moved_{};
  Clock::time_point looked_{};
};

}  // namespace tandem::cluster
