#include "scheduler/request_check.h"

#include <fmt/format.h>

#include <cstddef>

#include "rules/sampling.h"
#include "tandem/limits.h"

namespace tandem::scheduler {

Status check_request(const Request& request, std::int32_t vocabulary, int context_max) {
  if (request.prompt.empty()) return invalid("the prompt is empty");
  if (auto status = rules::check_ids("prompt", request.prompt, vocabulary); !status.ok())
    return status;
  // A generation needs room for one token; scoring does not.
  const std::size_t room = request.max_tokens > 0 ? 1 : 0;
  if (request.prompt.size() + room > static_cast<std::size_t>(context_max)) {
    return invalid(
        fmt::format("the prompt of {} tokens is longer than the context of {} tokens allows",
                    request.prompt.size(), context_max));
  }
  if (request.max_tokens < 0) {
    return invalid(fmt::format("max_tokens must be 0 or more, not {}", request.max_tokens));
  }
  if (request.stop_ids.size() > kMaxSamplingIds) {
    return invalid(fmt::format("stop_ids holds at most {} ids", kMaxSamplingIds));
  }
  if (auto status = rules::check_not_negative("stop_ids", request.stop_ids); !status.ok())
    return status;
  if (request.top_logprobs > kMaxTopLogprobs) {
    return invalid(fmt::format("top_logprobs must be at most {}, not {}", kMaxTopLogprobs,
                               request.top_logprobs));
  }
  return rules::check_sampling(request.sampling, vocabulary);
}

}  // namespace tandem::scheduler
