#pragma once
// What loops over rows share: raw pointers and work sharing.

#include <mlx/mlx.h>

#include <cstddef>
#include <cstdint>

#include "base/thread_pool.h"

namespace tandem::kernels {

namespace mx = mlx::core;

inline const std::byte* bytes_at(const mx::array& x) { return x.data<std::byte>(); }
inline std::byte* bytes_at(mx::array& x) { return x.data<std::byte>(); }

/// x [.., cols] as rows of its last axis.
struct RowShape {
  std::int64_t rows;
  std::int64_t cols;
};
inline RowShape rows_of(const mx::array& x) {
  const std::int64_t cols = x.shape(-1);
  return {cols == 0 ? 0 : static_cast<std::int64_t>(x.size()) / cols, cols};
}

/// Below this many elements, waking a thread costs more than it saves.
inline constexpr std::int64_t kSerialElements = 3 << 12;

/// body(begin, end) over [0, rows), shared among threads when there is enough to do.
template <class Body>
void for_rows(ThreadPool* pool, std::int64_t rows, std::int64_t elements_per_row,
              const Body& body) {
  if (rows <= 0) return;
  if (pool == nullptr || pool->size() == 1 || rows * elements_per_row < kSerialElements) {
    return body(std::int64_t{0}, rows);
  }
  const std::int64_t grain = kSerialElements / 4 / (elements_per_row + 1) + 1;
  pool->parallel_for(rows, grain,
                     [&](std::int64_t begin, std::int64_t end, int) { body(begin, end); });
}

}  // namespace tandem::kernels
