// Attention loops for NEON.
#define TANDEM_LOOPS neon
#include "kernels/attention_loops.h"
