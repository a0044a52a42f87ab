#pragma once
// Both implementations of the operations, for tests.

#include <mlx/mlx.h>

#include <memory>

#include "base/thread_pool.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/isa.h"
#include "kernels/mlx/mlx_ops.h"

namespace tandem::kernels::test {

enum class Backend { kCpu, kMlx };

inline std::unique_ptr<Ops> ops_of(Isa isa, Activations activations, ThreadPool* pool,
                                   Backend backend = Backend::kCpu) {
  const mx::Stream stream = mx::default_stream(mx::Device::cpu);
  if (backend == Backend::kMlx) return std::make_unique<MlxOps>(activations, stream);
  return std::make_unique<CpuOps>(activations, isa, pool, stream);
}

}  // namespace tandem::kernels::test
