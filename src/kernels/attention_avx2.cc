// Attention loops for AVX2 with FMA.
#define TANDEM_LOOPS avx2
#include "kernels/attention_loops.h"
