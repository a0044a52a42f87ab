#include "kernels/mlx_stream.h"

#include <exception>

namespace tandem::kernels {

void settle(const mlx::core::Stream& stream) {
  constexpr int kAttempts = 3;  // MLX keeps one failure a stream
  for (int i = 0; i < kAttempts; ++i) {
    try {
      return mlx::core::synchronize(stream);
    } catch (const std::exception&) {
      continue;  // what failed first is known already
    }
  }
}

}  // namespace tandem::kernels
