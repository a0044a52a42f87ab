#pragma once
// Every time constant of the cluster, with its unit and its reason.

#include <chrono>

namespace tandem::cluster::timing {

using std::chrono::milliseconds;
using std::chrono::seconds;

// ---- starting

/// A local worker's start: exec, map the libraries, bind. 0.2 s here; a cold disk needs more.
inline constexpr seconds kWorkerStart{20};
/// What a machine says of itself. MLX on a GPU takes a second to start, on a busy machine more.
inline constexpr seconds kDescribe{30};
/// Reaching a worker that should run already: connect, TLS, HTTP/2's settings, Hello: six round
/// trips, of half a second or more around the world. A lost SYN costs 1 s.
inline constexpr seconds kHello{10};
/// Looking at the delay and rate of the way to a worker.
inline constexpr milliseconds kLinkProbe{300};
/// One echo of that, on the slowest way that frames still pass.
inline constexpr seconds kEcho{10};
/// One try to connect to a neighbour, as far as HTTP/2's settings: four round trips.
inline constexpr seconds kConnect{5};
/// Looking up a host name. Resolvers ask the next server after 5 s.
inline constexpr seconds kResolve{12};
/// A compute child's start, as kWorkerStart.
inline constexpr seconds kComputeStart{20};
/// Between two tries to start a compute child that died before its first load.
inline constexpr seconds kRespawn{1};
/// A loading rank that makes no further byte ready for so long hangs. A cold disk or network mount
/// seeks for seconds, not for a minute.
inline constexpr seconds kLoadSilence{60};
/// All of a load: 1 TB at 300 MB/s takes an hour.
inline constexpr seconds kLoad{7200};
/// A rank told to leave its ring; what it computes cannot be interrupted, so it is killed then, and
/// its layers have to be loaded again. A step of a decode takes less.
inline constexpr milliseconds kLeave{1000};
/// How long a worker keeps layers for a gateway whose ring broke, as long as nobody else wants the
/// worker: a gateway waits as long for a machine that is gone.
inline constexpr seconds kKeepLayers{300};
/// Joining the ring: both neighbours dial at the same time. Time for five tries (kConnect); who
/// died meanwhile is noticed sooner, by heartbeats.
inline constexpr seconds kRingStart{30};
/// From a load's end to the gateway's first heartbeat; then the worker is free for others.
inline constexpr seconds kLease{10};

// ---- running

/// Between two heartbeats, gateway to worker and worker to compute child.
inline constexpr milliseconds kHeartbeat{250};
/// Between two looks at what only people read: free memory, and the delay of the links. A probe
/// wakes both ends of a link, which idle ranks should not be often.
inline constexpr seconds kLook{5};
/// Silence after which a process counts as stalled. Six heartbeats; a stall has to be noticed
/// within 3 s, and a busy machine may leave a thread waiting for some hundred milliseconds.
inline constexpr milliseconds kSilence{1500};
/// Silence of the gateway after which a worker gives its rank up. Longer than kSilence: the
/// gateway's machine may be a laptop under load, and giving up loses the caches.
inline constexpr seconds kGatewaySilence{10};
/// gRPC's own probes, for a peer whose machine is gone while nobody watches it. Stalls are noticed
/// sooner by heartbeats; shorter probes would only break the ring of a gateway that was paused.
inline constexpr milliseconds kKeepalive{5000};
inline constexpr milliseconds kKeepaliveTimeout{10000};
/// The same on the links of a ring, where a probe waits behind a long prompt: 4 MB at 30 kB/s take
/// 2 minutes.
inline constexpr milliseconds kLinkKeepaliveTimeout{180'000};
/// Between processes of one machine: never, so to say.
inline constexpr milliseconds kNoKeepalive = std::chrono::hours(24);
/// How often watchers look at the clock.
inline constexpr milliseconds kWatch{50};
/// A watcher that itself slept this much longer than asked (suspended machine, stopped process) has
/// no evidence about others and begins its count anew.
inline constexpr milliseconds kOwnPause{500};
/// A tick that no rank works on, and of which no byte reaches a rank for so long, is lost. The
/// delay that was measured of the links comes on top. A piece of a frame has 16 KiB on a slow link
/// (link_pace.h), so this is for links of 8 KiB/s and more.
inline constexpr seconds kLostTick{2};
/// The same where the transport does not say which bytes came: 2048 rows of 16 KB at 1 MB/s.
inline constexpr seconds kLostMlxTick{32};
/// How long a failed link waits for the reason (an exit status, a stall) before it is the reason.
inline constexpr milliseconds kBlame{120};

/// A rank that died several times within this gets no work for as long as the second: more pauses
/// of all streams would be worth less than what it adds.
inline constexpr seconds kDeathsWithin{30};
inline constexpr seconds kQuarantine{30};

/// The heartbeat stream itself, which other deadlines end: longer than any process lives.
inline constexpr std::chrono::hours kForever{24 * 365};

// ---- computing

/// A tick in which no step of a loop ends for so long hangs; a step takes microseconds, on a slow
/// core with a long prompt some hundred milliseconds.
inline constexpr milliseconds kComputeSilence{2000};
/// Shortest time after which a tick counts as stuck, once ticks like it were measured.
inline constexpr milliseconds kStepFloor{2000};
/// A tick may take this many times what one of its rows and depth should (src/cost).
inline constexpr int kStepFactor = 8;
/// First tick of a kind (its rows to a power of two, its depth to one of eight): compiling kernels,
/// which takes minutes on a GPU of a new kind, and touching cold weights. One that hangs in a loop
/// of ours is noticed by kComputeSilence.
inline constexpr seconds kFirstTick{300};
/// What the first tick of a kind may take on top for each of its tokens (a 70B model prefilled by
/// one slow core).
inline constexpr seconds kFirstTickPerToken{2};
/// Handing a frame to the successor, whose queue is full.
inline constexpr seconds kSend{30};
/// One wait for a frame, after which a rank looks whether it should stop.
inline constexpr seconds kReceivePoll{1};

// ---- ending

/// A local worker told to stop (its control socket is closed) kills its compute child and exits, or
/// is killed.
inline constexpr milliseconds kStopGrace{300};
/// From SIGKILL to the exit status; longer only in uninterruptible sleep.
inline constexpr seconds kReap{2};
/// A gateway's Stop call.
inline constexpr seconds kStop{2};
/// One control message between a worker and its compute child.
inline constexpr seconds kControl{1};

}  // namespace tandem::cluster::timing
