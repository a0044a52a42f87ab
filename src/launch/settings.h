#pragma once
// What a launcher and the workers that it starts tell each other, over the worker's standard input
// and output: a line of JSON each way. After its line the launcher sends an empty line now and
// then; the worker ends when its input does. Pure.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tandem/error.h"

namespace tandem::launch {

/// Longest line either way, bytes.
inline constexpr std::size_t kMaxLineBytes = 1U << 16;

/// The launcher's line. The key travels here because argv and the environment are for all to see.
struct WorkerSettings {
  std::string key;           // of the cluster
  std::string address;       // to listen at; empty: where ssh reached it, or loopback
  std::uint16_t port = 0;    // 0: any free one
  std::optional<bool> gpu;   // what it computes on; absent: as the worker likes
  std::uint64_t memory = 0;  // most bytes for weights, steps and KV; 0: what is free
  int threads = 0;           // most of a rank; 0: as the gateway says
  std::string folder;        // to work in; empty: where it was started
  std::vector<std::pair<std::string, std::string>> variables;  // of the environment
  bool operator==(const WorkerSettings&) const = default;
};

/// The worker's line: where it waits.
struct WorkerReply {
  std::string address;
  std::uint16_t port = 0;
  std::string peer;  // the launcher's machine as the worker's sees it; empty: not by ssh
  bool operator==(const WorkerReply&) const = default;
};

/// Without a line end.
std::string encode(const WorkerSettings& settings);
std::string encode(const WorkerReply& reply);
/// kInvalidArgument names the field.
Result<WorkerSettings> parse_settings(std::string_view line);
Result<WorkerReply> parse_reply(std::string_view line);

/// "NAME=value" of --env: a name of letters, digits and _ that no digit begins.
Result<std::pair<std::string, std::string>> parse_variable(std::string_view text);

}  // namespace tandem::launch
