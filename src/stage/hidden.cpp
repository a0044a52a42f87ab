#include "stage/hidden.h"

#include <cstring>

namespace tandem::stage {

mx::array to_array(const kernels::Ops& ops, const Hidden& hidden) {
  const mx::array rows = ops.upload(hidden.bytes, hidden.dtype, {hidden.rows, hidden.cols});
  return ops.cast(rows, ops.dtype());
}

Hidden to_hidden(const kernels::Ops& ops, const mx::array& rows, DType dtype) {
  const mx::array ready = ops.ready(ops.cast(rows, dtype));
  Hidden hidden;
  hidden.dtype = dtype;
  hidden.rows = ready.shape(0);
  hidden.cols = ready.shape(1);
  hidden.bytes.resize(ready.nbytes());
  std::memcpy(hidden.bytes.data(), ready.data<std::byte>(), hidden.bytes.size());
  return hidden;
}

}  // namespace tandem::stage
