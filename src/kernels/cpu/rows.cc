// The loops over rows of elements.
#include "kernels/cpu/activation_loops.h"
#include "kernels/cpu/norm_loops.h"
#include "kernels/cpu/rope_loops.h"
#include "kernels/cpu/row_loops.h"

namespace tandem::kernels::HWY_NAMESPACE {

template <class E>
constexpr RowLoops row_loops() {
  return {gated_row<E>,     softcap_row<E>, add_row<E>,      scale_row<E>,
          gate_elements<E>, gate_row<E>,    rms_norm_row<E>, gated_rms_norm_row<E>,
          rope_angles,      rope_row<E>};
}

}  // namespace tandem::kernels::HWY_NAMESPACE

namespace tandem::kernels::TANDEM_LOOPS {

extern const RowTable kRows;
const RowTable kRows = {HWY_NAMESPACE::row_loops<float>(), HWY_NAMESPACE::row_loops<Bf16>()};

}  // namespace tandem::kernels::TANDEM_LOOPS
