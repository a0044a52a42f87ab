// Attention loops for any CPU: vectors emulated in plain C++.
#define HWY_COMPILE_ONLY_EMU128
#define TANDEM_LOOPS portable
#include "kernels/attention_loops.h"
