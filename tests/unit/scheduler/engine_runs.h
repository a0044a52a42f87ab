#pragma once
// What the engine's tests share.

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "scheduler/engine.h"
#include "unit/scheduler/fake_constraint.h"
#include "unit/scheduler/fake_pipeline.h"

namespace tandem::scheduler {

inline Deadline soon() { return after(std::chrono::seconds(10)); }

inline Request request_of(std::vector<std::int32_t> prompt, int max_tokens) {
  Request request;
  request.prompt = std::move(prompt);
  request.max_tokens = max_tokens;
  return request;
}

/// What the fake model says to a prompt.
inline std::vector<std::int32_t> expected(std::vector<std::int32_t> history, int max_tokens,
                                          const std::vector<std::int32_t>& stop_ids = {}) {
  std::vector<std::int32_t> out;
  for (int i = 0; i < max_tokens; ++i) {
    out.push_back(fake_next(history, 1000));
    history.push_back(out.back());
    if (std::binary_search(stop_ids.begin(), stop_ids.end(), out.back())) break;
  }
  return out;
}

/// The same of a request alone: constraint and finish too.
inline std::pair<std::vector<std::int32_t>, FinishReason> expected(const Request& request,
                                                                   std::optional<FakeRule> rule) {
  std::optional<FakeConstraint> constraint;
  if (rule) constraint.emplace(*rule);
  std::vector<std::int32_t> history = request.prompt;
  std::vector<std::int32_t> out;
  while (out.size() < static_cast<std::size_t>(request.max_tokens)) {
    std::vector<std::uint32_t> allowed;
    if (constraint) {
      auto mask = constraint->allowed();
      if (!mask.ok()) return {out, FinishReason::kError};
      allowed = *mask;
    }
    out.push_back(fake_next(history, 1000, allowed));
    history.push_back(out.back());
    EXPECT_TRUE(!constraint || constraint->accept(out.back()).ok());
    const bool stops = std::find(request.stop_ids.begin(), request.stop_ids.end(), out.back()) !=
                       request.stop_ids.end();
    if (stops || (constraint && constraint->complete())) return {out, FinishReason::kStop};
  }
  return {out, FinishReason::kLength};
}

struct Outcome {
  std::vector<std::int32_t> ids;
  std::vector<TokenScore> scores;
  std::uint32_t prompt_done = 0;
  std::uint32_t cached = 0;
  FinishReason finish = FinishReason::kNone;
  std::optional<Error> error;
};

inline void collect(const std::vector<Event>& events, std::map<std::uint64_t, Outcome>& outcomes) {
  for (const Event& event : events) {
    Outcome& outcome = outcomes[event.sequence];
    EXPECT_EQ(outcome.finish, FinishReason::kNone) << "an event after the finish";
    EXPECT_GE(event.prompt_done, outcome.prompt_done);
    EXPECT_TRUE(outcome.prompt_done == 0 || event.cached == outcome.cached);
    EXPECT_LE(event.cached, event.prompt_done);
    outcome.prompt_done = event.prompt_done;
    outcome.cached = event.cached;
    if (event.token) outcome.ids.push_back(event.token->id);
    outcome.scores.insert(outcome.scores.end(), event.scores.begin(), event.scores.end());
    outcome.finish = event.finish;
    outcome.error = event.error;
  }
}

inline std::map<std::uint64_t, Outcome> run_all(Engine& engine) {
  std::map<std::uint64_t, Outcome> outcomes;
  while (engine.busy()) {
    auto events = engine.step(soon());
    if (!events.ok()) {
      ADD_FAILURE() << events.error().message;
      break;
    }
    collect(*events, outcomes);
  }
  return outcomes;
}

}  // namespace tandem::scheduler
