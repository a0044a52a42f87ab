#include "stage/hidden.h"

#include <mlx/mlx.h>

#include <cstring>

#include "kernels/layout.h"

namespace tandem::stage {
namespace {

mx::Dtype mlx_type(DType dtype) { return dtype == DType::kBF16 ? mx::bfloat16 : mx::float32; }

}  // namespace

DType hidden_dtype(const kernels::Context& context) {
  return context.dtype() == mx::bfloat16 ? DType::kBF16 : DType::kF32;
}

mx::array to_array(const kernels::Context& context, const Hidden& hidden) {
  const mx::Shape shape{hidden.rows, hidden.cols};
  const auto* bytes = hidden.bytes.data();
  const mx::array rows =
      hidden.dtype == DType::kBF16
          ? mx::array(reinterpret_cast<const mx::bfloat16_t*>(bytes), shape, mx::bfloat16)
          : mx::array(reinterpret_cast<const float*>(bytes), shape, mx::float32);
  return mx::astype(rows, context.dtype(), context.stream);
}

Hidden to_hidden(const kernels::Context& context, const mx::array& rows, DType dtype) {
  const mx::array ready =
      kernels::ready(context, mx::astype(rows, mlx_type(dtype), context.stream));
  Hidden hidden;
  hidden.dtype = dtype;
  hidden.rows = ready.shape(0);
  hidden.cols = ready.shape(1);
  hidden.bytes.resize(ready.nbytes());
  std::memcpy(hidden.bytes.data(), ready.data<std::byte>(), hidden.bytes.size());
  return hidden;
}

}  // namespace tandem::stage
