#pragma once
// What is remembered of one request, for the log and the metrics.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "tandem/deadline.h"

namespace tandem::server {

inline double milliseconds(Clock::duration time) {
  return std::chrono::duration<double, std::milli>(time).count();
}

struct RequestRecord {
  std::string id;
  std::string method;
  std::string path;
  std::string peer;
  int status = 0;  // 0: the client went away before there was one
  bool stream = false;
  std::uint64_t prompt_tokens = 0;
  std::uint64_t cached_tokens = 0;
  std::uint64_t completion_tokens = 0;
  std::optional<double> queue_ms;        // since the request came, until it was computed
  std::optional<double> first_token_ms;  // since the request came
  double total_ms = 0;
  std::string finish;  // "stop", ..., of the last choice; "gone": the client went away
  std::string error;
  std::string prompt;  // only where prompts are logged
};

/// One line without its end; `time` is RFC 3339. Control characters are escaped.
std::string log_text(const RequestRecord& record, const std::string& time);
/// The same as one JSON object.
std::string log_json(const RequestRecord& record, const std::string& time);

}  // namespace tandem::server
