// Row loops for AVX-512.
#define TANDEM_LOOPS avx512
#include "kernels/rows_table.h"
