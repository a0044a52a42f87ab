#include "kernels/cpu/recurrent_loops.h"

namespace tandem::kernels::TANDEM_LOOPS {

extern const RecurrentTable kRecurrent;
const RecurrentTable kRecurrent = {HWY_NAMESPACE::recurrent_loops<float>(),
                                   HWY_NAMESPACE::recurrent_loops<Bf16>()};

}  // namespace tandem::kernels::TANDEM_LOOPS
