#pragma once
// What loops over rows share: element types, raw pointers and work sharing.

#include <cstddef>
#include <cstdint>

#include "base/thread_pool.h"
#include "kernels/context.h"
#include "kernels/element.h"

namespace tandem::kernels {

/// The type of arrays between operations, as loops know it.
inline Element element_of(const Context& context) {
  return context.dtype() == mx::bfloat16 ? Element::kBF16 : Element::kF32;
}
inline std::size_t bytes_of(Element element) { return element == Element::kBF16 ? 2 : 4; }

/// x in the type of arrays between operations (x itself when it is already).
inline mx::array activation(const Context& context, const mx::array& x) {
  return x.dtype() == context.dtype() ? x : mx::astype(x, context.dtype(), context.stream);
}
inline mx::array as_f32(const Context& context, const mx::array& x) {
  return x.dtype() == mx::float32 ? x : mx::astype(x, mx::float32, context.stream);
}

inline bool on_gpu(const Context& context) { return context.stream.device == mx::Device::gpu; }

inline const std::byte* bytes_at(const mx::array& x) { return x.data<std::byte>(); }
inline std::byte* bytes_at(mx::array& x) { return x.data<std::byte>(); }

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
