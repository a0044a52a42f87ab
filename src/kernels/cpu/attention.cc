#include "kernels/cpu/attention_loops.h"

namespace tandem::kernels::TANDEM_LOOPS {

extern const AttentionLoops kAttention;
const AttentionLoops kAttention = {HWY_NAMESPACE::attend};

}  // namespace tandem::kernels::TANDEM_LOOPS
