// Attention loops for AVX-512.
#define TANDEM_LOOPS avx512
#include "kernels/attention_loops.h"
