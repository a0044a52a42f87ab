#include "scheduler/prompt_queue.h"

#include <algorithm>

namespace tandem::scheduler {

std::optional<PromptQueue::Turn> PromptQueue::next() {
  std::optional<std::size_t> chosen;
  for (std::size_t i = 0; i < prompts_.size(); ++i) {
    const auto& [prompt, served] = prompts_[i];
    if (served) continue;
    if (chosen && prompt.priority != prompts_[*chosen].prompt.priority) break;
    const bool owed = prompt.passed >= kPatience;
    if (!chosen || owed || prompt.pending < prompts_[*chosen].prompt.pending) chosen = i;
    if (owed) break;
  }
  if (!chosen) return std::nullopt;
  turn_ = *chosen;
  prompts_[turn_].served = true;
  Turn turn{.index = prompts_[turn_].prompt.index};
  for (std::size_t i = 0; i < turn_; ++i) turn.kept_pages += prompts_[i].prompt.pages;
  return turn;
}

void PromptQueue::took(std::uint32_t tokens, std::uint64_t pages) {
  Prompt& served = prompts_[turn_].prompt;
  served.pages -= std::min(served.pages, pages);
  for (std::size_t i = 0; i < turn_; ++i) prompts_[i].prompt.passed += tokens;
}

}  // namespace tandem::scheduler
