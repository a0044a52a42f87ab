// Row loops for NEON.
#define TANDEM_LOOPS neon
#include "kernels/rows_table.h"
