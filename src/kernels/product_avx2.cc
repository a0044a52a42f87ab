// Products in AVX2.
#include "kernels/lanes_avx2.h"
// The lanes come first.
#include "kernels/product_table.h"

namespace tandem::kernels {

constinit const ProductLoops kProductAvx2 = {multiply_any, quantize_rows};

}  // namespace tandem::kernels
