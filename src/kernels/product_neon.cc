// Products in NEON.
#include "kernels/lanes_neon.h"
// The lanes come first.
#include "kernels/product_table.h"

namespace tandem::kernels {

constinit const ProductLoops kProductNeon = {multiply_any, quantize_rows};

}  // namespace tandem::kernels
