#include "kernels/cpu/loops.h"

#include "base/check.h"
#include "kernels/isa.h"

namespace tandem::kernels {

const Loops& loops_of(Isa isa) {
#ifdef TANDEM_ISA_avx512
  if (isa == Isa::kAvx512Vnni) return avx512::kLoops;
#endif
#ifdef TANDEM_ISA_avx2
  if (isa == Isa::kAvx2) return avx2::kLoops;
#endif
#ifdef TANDEM_ISA_neon
  if (isa == Isa::kNeon) return neon::kLoops;
#endif
  check(isa == Isa::kPortable, "an instruction set without loops was not refused");
  return portable::kLoops;
}

}  // namespace tandem::kernels
