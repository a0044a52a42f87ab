#include "kernels/cpu/loops.h"

namespace tandem::kernels::TANDEM_LOOPS {

extern const ProductLoops kProduct;
extern const RowTable kRows;
extern const AttentionLoops kAttention;

const Loops kLoops = {kProduct, kRows, kAttention};

}  // namespace tandem::kernels::TANDEM_LOOPS
