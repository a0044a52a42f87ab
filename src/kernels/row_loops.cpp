#include "kernels/row_loops.h"

#include "base/check.h"
#include "kernels/context.h"

namespace tandem::kernels {

const RowTable& row_table(Isa isa) {
  switch (isa) {
#ifdef TANDEM_ISA_avx512
    case Isa::kAvx512Vnni:
      return avx512::kRows;
#endif
#ifdef TANDEM_ISA_avx2
    case Isa::kAvx2:
      return avx2::kRows;
#endif
#ifdef TANDEM_ISA_neon
    case Isa::kNeon:
      return neon::kRows;
#endif
    case Isa::kPortable:
      return portable::kRows;
    default:
      check(false, "the instruction set of a context is resolved and in this build");
  }
  return portable::kRows;
}

}  // namespace tandem::kernels
