#include "stage/hidden.h"

#include <memory>
#include <span>

namespace tandem::stage {

mx::array to_array(const kernels::Ops& ops, const Hidden& hidden) {
  const std::span<const std::byte> bytes(hidden.bytes.data(), hidden.bytes.size());
  return ops.cast(ops.upload(bytes, hidden.dtype, {hidden.rows, hidden.cols}), ops.dtype());
}

Hidden to_hidden(const kernels::Ops& ops, const mx::array& rows, DType dtype) {
  const auto ready = std::make_shared<const mx::array>(ops.ready(ops.cast(rows, dtype)));
  return {dtype, ready->shape(0), ready->shape(1),
          SharedBytes(ready, {ready->data<std::byte>(), ready->nbytes()})};
}

}  // namespace tandem::stage
