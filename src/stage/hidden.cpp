#include "stage/hidden.h"

#include <mlx/mlx.h>

#include <cstring>
#include <memory>

#include "kernels/layout.h"

namespace tandem::stage {
namespace {

mx::Dtype mlx_type(DType dtype) { return dtype == DType::kBF16 ? mx::bfloat16 : mx::float32; }

}  // namespace

DType hidden_dtype(const kernels::Context& context) {
  return context.dtype() == mx::bfloat16 ? DType::kBF16 : DType::kF32;
}

mx::array to_array(const kernels::Context& context, const Hidden& hidden) {
  // Bytes of a frame lie at any address, an array's do not.
  mx::array rows(mx::allocator::malloc(hidden.bytes.size()), {hidden.rows, hidden.cols},
                 mlx_type(hidden.dtype));
  std::memcpy(rows.data<std::byte>(), hidden.bytes.data(), hidden.bytes.size());
  return mx::astype(rows, context.dtype(), context.stream);
}

Hidden to_hidden(const kernels::Context& context, const mx::array& rows, DType dtype) {
  const auto ready = std::make_shared<const mx::array>(
      kernels::ready(context, mx::astype(rows, mlx_type(dtype), context.stream)));
  return {dtype, ready->shape(0), ready->shape(1),
          SharedBytes(ready, {ready->data<std::byte>(), ready->nbytes()})};
}

}  // namespace tandem::stage
