#pragma once
// Every wait in the program ends at a Deadline.

#include <chrono>

namespace tandem {

using Clock = std::chrono::steady_clock;
using Deadline = Clock::time_point;

/// The deadline `wait` from now.
inline Deadline after(Clock::duration wait) { return Clock::now() + wait; }

}  // namespace tandem
