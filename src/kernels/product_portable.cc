// Products in plain C++.
#include "kernels/lanes_portable.h"
// The lanes come first.
#include "kernels/product_table.h"

namespace tandem::kernels {

constinit const ProductLoops kProductPortable = {multiply_any, quantize_rows};

}  // namespace tandem::kernels
