#pragma once
// Every limit and default of the command line, with its unit.

#include <cstddef>
#include <cstdint>

namespace tandem::cli::limits {

inline constexpr int kRanksMax = 1024;            // processes
inline constexpr int kPrefillStepDefault = 2048;  // prompt tokens in one tick
inline constexpr int kPrefillStepMax = 1 << 16;
inline constexpr int kMaxTokensGenerate = 100;  // mlx_lm.generate's default
inline constexpr int kMaxTokensChat = 256;      // mlx_lm.chat's default
inline constexpr int kMaxTokensMax = 1 << 30;
inline constexpr int kTopKMax = 1 << 24;
inline constexpr int kExtraEosMax = 64;                    // tokens
inline constexpr std::size_t kPromptBytesMax = 64U << 20;  // of text read from standard input
inline constexpr std::size_t kIdsBytesMax = 256U << 20;    // of an --ids file
inline constexpr std::size_t kIdsMax = 16U << 20;          // ids of a prompt
inline constexpr std::size_t kChatLineBytesMax = 1U << 20;
inline constexpr int kBenchPromptDefault = 512;    // tokens
inline constexpr int kBenchGenerateDefault = 128;  // tokens
inline constexpr int kBenchRepeatsDefault = 5;
inline constexpr int kBenchContextShort = 16;  // tokens that --contexts compare with
inline constexpr std::size_t kBenchContextsMax = 16;
inline constexpr int kBenchTokensMax = 1 << 24;
inline constexpr int kBenchRepeatsMax = 10000;
inline constexpr int kBenchConcurrencyMax = 1024;    // requests at once
inline constexpr int kBenchMegabytesDefault = 1024;  // 10^6 bytes read by `bench memory`
inline constexpr int kBenchMegabytesMax = 1 << 20;
inline constexpr int kBenchRoundTripsDefault = 2000;  // of each frame size
inline constexpr int kBenchRoundTripsMax = 10'000'000;
inline constexpr std::size_t kBenchPayloadsMax = 32;  // frame sizes
inline constexpr int kBenchStreamsDefault[] = {1, 4, 16, 64};
inline constexpr int kBenchStreamsMax = 4096;  // of `bench serve`
inline constexpr std::size_t kBenchLevelsMax = 32;
inline constexpr int kBenchRequestsPerStream = 4;  // of a level that says nothing else
inline constexpr int kBenchRequestsMax = 10'000'000;
inline constexpr int kBenchSecondsMax = 86400;
inline constexpr int kBenchTimeoutDefault = 600;  // seconds of a request
inline constexpr int kPlanContextDefault = 4096;  // tokens of a stream
inline constexpr int kPlanContextMax = 1 << 24;
inline constexpr int kPlanConcurrencyMax = 4096;  // streams
inline constexpr int kDrainSecondsDefault = 30;
inline constexpr int kDrainSecondsMax = 86400;
inline constexpr int kRecoverySecondsDefault = 300;
inline constexpr int kRecoverySecondsMax = 86400;
inline constexpr int kApiKeysMax = 1024;
inline constexpr std::size_t kKeyFileBytesMax = 1U << 20;
inline constexpr int kSequencesMax = 4096;      // that hold KV together
inline constexpr int kWaitingMax = 1 << 20;     // requests
inline constexpr int kBodyMegabytesMax = 1024;  // of a request, MiB
inline constexpr int kChoicesMax = 4096;        // of a request
inline constexpr int kStopMax = 1024;           // stop strings of a request
inline constexpr int kPerKeyMax = 1 << 20;      // requests under way
inline constexpr int kTickSecondsMax =
    3600;  // backstop: the cluster notices lost ranks long before

}  // namespace tandem::cli::limits
