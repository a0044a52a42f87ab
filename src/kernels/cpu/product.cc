// The loops of products. The lanes come first: the headers are written in them.
#include "kernels/cpu/lanes.h"
// clang-format off
#include "kernels/cpu/product_table.h"
// clang-format on

namespace tandem::kernels::TANDEM_LOOPS {

extern const ProductLoops kProduct;
constinit const ProductLoops kProduct = {multiply_any, quantize_rows};

}  // namespace tandem::kernels::TANDEM_LOOPS
