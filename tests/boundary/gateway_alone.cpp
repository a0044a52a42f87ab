// Every object file of scheduler and server, linked with no stage: that it links is the test.

#include <cstdio>

#include "scheduler/tick_plan.h"

int main() {
  const tandem::scheduler::Plan nothing = tandem::scheduler::plan({});
  std::printf("%zu entries\n", nothing.entries.size());
  return nothing.entries.empty() ? 0 : 1;
}
