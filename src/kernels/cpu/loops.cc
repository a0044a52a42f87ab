#include "kernels/cpu/loops.h"

namespace tandem::kernels::TANDEM_LOOPS {

extern const ProductLoops kProduct;
extern const RowTable kRows;
extern const AttentionLoops kAttention;
extern const RecurrentTable kRecurrent;

const Loops kLoops = {kProduct, kRows, kAttention, kRecurrent};

}  // namespace tandem::kernels::TANDEM_LOOPS
