// Row loops for AVX2 with FMA.
#define TANDEM_LOOPS avx2
#include "kernels/rows_table.h"
