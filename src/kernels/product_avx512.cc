// Products in AVX-512.
#include "kernels/lanes_avx512.h"
// The lanes come first.
#include "kernels/product_table.h"

namespace tandem::kernels {

constinit const ProductLoops kProductAvx512 = {multiply_any, quantize_rows};

}  // namespace tandem::kernels
