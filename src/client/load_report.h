#pragma once
// What a server did under a number of streams. Pure.

#include <cstdint>
#include <string>
#include <vector>

namespace tandem::client {

/// One request as the client saw it. Times in seconds.
struct RequestSample {
  double first_piece = 0;   // from sending it to the first piece of its answer (TTFT)
  double whole = 0;         // from sending it to the end of the stream
  double last_piece = 0;    // from sending it to the last piece
  std::vector<float> gaps;  // between pieces that follow each other (ITL)
  std::uint64_t prompt_tokens = 0;
  std::uint64_t cached_tokens = 0;
  std::uint64_t output_tokens = 0;
  std::string error;  // why there is no whole answer; then the rest has no meaning
};

/// Percentiles interpolate linearly between the two nearest values, as numpy's and vLLM's do.
struct Distribution {
  double mean = 0;
  double p50 = 0;
  double p90 = 0;
  double p95 = 0;
  double p99 = 0;
  double max = 0;
};

/// Of no values: all 0.
Distribution distribution(std::vector<double> values);

struct LevelReport {
  int streams = 0;
  double seconds = 0;  // from the first request's start to the last one's end
  std::uint64_t completed = 0;
  std::uint64_t failed = 0;
  std::uint64_t prompt_tokens = 0;  // here and below: of requests that completed
  std::uint64_t cached_tokens = 0;
  std::uint64_t output_tokens = 0;
  double requests_per_second = 0;
  double output_tps = 0;  // tokens a second
  double total_tps = 0;   // with the prompts' tokens
  Distribution ttft;      // seconds
  Distribution itl;       // seconds between pieces of a stream
  Distribution tpot;      // seconds from the first to the last piece, by tokens after the first
  Distribution latency;   // seconds of whole requests
  std::string first_error;
};

LevelReport summarize(int streams, double seconds, const std::vector<RequestSample>& samples);

}  // namespace tandem::client
