// What an engine does when its pipeline was opened anew: everything but the token log is lost.

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "scheduler/engine_state.h"

namespace tandem::scheduler {
namespace {

/// Pipelines that may fail with a sequence on its way, without its getting on, before it ends.
constexpr int kFailuresMax = 3;
/// Failures for reasons from outside in a row, without its getting on, from which a sequence is a
/// suspect.
constexpr int kOutagesMax = 3;

bool is_suspect(const std::pair<const QueuePosition, Sequence>& item) {
  return item.second.suspicions > 0;
}

Error too_long(const Sequence& sequence, std::uint64_t tokens) {
  return {ErrorCode::kUnavailable, "the model was loaded again with room for " +
                                       std::to_string(tokens) + " tokens, and the request has " +
                                       std::to_string(sequence.total()) + " already"};
}

}  // namespace

/// The sequences of the ticks that were on their way, each once. There are no flights any more.
std::vector<Sequence*> Engine::State::take_under_way() {
  std::vector<Sequence*> under_way;
  for (const Flight& flight : std::exchange(flights, {})) {
    for (const FlightEntry& entry : flight.entries) {
      const auto found = by_kv.find(entry.planned.sequence);
      if (found != by_kv.end()) under_way.push_back(found->second);
    }
  }
  std::sort(under_way.begin(), under_way.end());
  under_way.erase(std::unique(under_way.begin(), under_way.end()), under_way.end());
  return under_way;
}

/// Any sequence on its way may be what the pipeline failed over. If one of them was suspected
/// before, it is that one: suspects run one after the other. What came from outside is nobody's
/// fault, unless it comes again and again before a sequence gets further: an input that takes all
/// memory is killed from outside too.
void Engine::State::blame(const Error& reason) {
  const std::vector<Sequence*> under_way = take_under_way();
  if (reason.code == ErrorCode::kUnavailable) {
    for (Sequence* sequence : under_way) {
      if (++sequence->outages >= kOutagesMax) ++sequence->suspicions;
    }
    return;
  }
  const auto suspected = [](const Sequence* sequence) { return sequence->suspicions > 0; };
  const bool known = std::any_of(under_way.begin(), under_way.end(), suspected);
  for (Sequence* sequence : under_way) {
    if (!known || suspected(sequence)) ++sequence->suspicions;
  }
}

void Engine::State::rebuild(const Error& reason, PipelineLimits offered) {
  limits = offered;
  memory = KvMemory(kv_limits());
  blame(reason);
  by_kv.clear();
  while (!running.empty()) {
    auto node = running.extract(running.begin());
    node.mapped().lose_kv(next_id++);
    node.mapped().replays = true;
    waiting.insert(std::move(node));
  }
  waiting.merge(held);
  std::erase_if(waiting, [&](const auto& item) {
    const Sequence& sequence = item.second;
    const bool fits = sequence.total() <= limits.kv_tokens;
    if (fits && sequence.suspicions < kFailuresMax) return false;
    Event event = event_of(sequence);
    event.finish = FinishReason::kError;
    event.error = fits ? reason : too_long(sequence, limits.kv_tokens);
    events.push_back(std::move(event));
    return true;
  });
  for (auto next = waiting.begin(); next != waiting.end();) {
    const auto item = next++;
    if (is_suspect(*item)) held.insert(waiting.extract(item));
  }
  dead.reset();
}

/// The next suspect may run once no other one does or waits for it.
void Engine::State::release_held() {
  if (held.empty() || std::any_of(waiting.begin(), waiting.end(), is_suspect) ||
      std::any_of(running.begin(), running.end(), is_suspect)) {
    return;
  }
  waiting.insert(held.extract(held.begin()));
}

}  // namespace tandem::scheduler
