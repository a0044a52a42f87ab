#include "server/serving/key_slots.h"

namespace tandem::server {

std::shared_ptr<void> KeySlots::take(int key) {
  const std::shared_ptr<State> state = state_;
  {
    const std::lock_guard lock(state->mutex);
    int& taken = state->taken[key];
    if (state->max > 0 && taken >= state->max) return nullptr;
    ++taken;
  }
  const auto give_back = [state, key](void*) {
    const std::lock_guard lock(state->mutex);
    if (--state->taken[key] == 0) state->taken.erase(key);
  };
  return {state.get(), give_back};
}

}  // namespace tandem::server
