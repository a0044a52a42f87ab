#pragma once
// Requests at a steady number of streams, as clients send them.

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>

#include "client/http_connection.h"
#include "client/load_report.h"
#include "client/reply_reader.h"
#include "client/workload.h"
#include "tandem/deadline.h"
#include "tandem/error.h"

namespace tandem::client {

/// Gaps between pieces that one level remembers; then it starts no further request.
inline constexpr std::size_t kGapsMax = 1U << 26;

struct LoadOptions {
  Workload workload;
  std::uint64_t seed = 0;                  // of the prompts
  std::chrono::seconds request_time{600};  // for one whole request
  std::function<bool()> cancelled;         // asked ten times a second
};

/// How much is asked at a number of streams: each sends its next request when the answer before is
/// whole. Running requests are always finished.
struct Level {
  int streams = 1;
  std::uint64_t requests = 0;    // to send, all streams together; 0: as `time` allows
  std::chrono::seconds time{0};  // after this no request is started; 0: as many as `requests`
};

/// Talks to one server. Used by one thread.
class LoadClient {
 public:
  /// `server` outlives the client.
  LoadClient(const Server& server, LoadOptions options);

  /// What the server calls its model and how large its vocabulary is (GET /models). Here and in
  /// warm_up() a status of 4xx is kInvalidArgument, all else that is not a whole answer
  /// kUnavailable or kDeadlineExceeded; kCancelled.
  Result<ModelEntry> ask_model();
  void set_model(std::string model) { options_.workload.model = std::move(model); }
  /// Ids of prompts are below this.
  void set_vocabulary(std::int32_t vocabulary) { vocabulary_ = vocabulary; }

  /// One request that is not measured. Finds how many words make the wanted number of tokens, and
  /// whether the server counts tokens.
  Status warm_up();
  /// Whether streams end in their usage. Else a word and a piece of a stream count as a token each.
  bool server_counts() const { return server_counts_; }

  /// kCancelled, or what was measured; failed requests are part of it.
  Result<LevelReport> run(const Level& level);

 private:
  class Run;
  Status drive(asio::io_context& io) const;

  const Server* server_;
  LoadOptions options_;
  int prompt_size_;  // words or ids
  std::int32_t vocabulary_ = 0;
  bool server_counts_ = true;
  std::uint64_t prompts_ = 0;  // drawn so far
};

}  // namespace tandem::client
