#pragma once
// What the routes work with, and the two routes that generate.

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "server/api/reply_format.h"
#include "server/api/request_rules.h"
#include "server/serving/engine_loop.h"
#include "server/serving/metrics.h"
#include "server/serving/model_text.h"
#include "server/serving/recorded_answer.h"

namespace tandem::server {

/// Of one server; outlives its requests. Everything is const or may be used from any thread.
struct Service {
  const ModelText& text;
  const RequestRules& rules;
  EngineLoop& loop;
  Metrics& metrics;
  std::string fingerprint;                // of version and model
  std::function<std::uint64_t()> random;  // from any thread
  std::function<std::time_t()> now;       // from any thread
  bool log_prompts = false;
};

/// Read, check, tokenize and submit. Takes as long as that does; the answer comes later. `key`: of
/// the request, or -1.
void answer_chat(const Service& service, const std::string& body, int key,
                 std::shared_ptr<RecordedAnswer> answer);
void answer_completion(const Service& service, const std::string& body, int key,
                       std::shared_ptr<RecordedAnswer> answer);

/// The JSON of a request's body; an error in OpenAI's words.
ApiResult<Json> parse_body(const std::string& body);

}  // namespace tandem::server
