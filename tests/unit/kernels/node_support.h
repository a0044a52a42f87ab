#pragma once
// Contexts and arrays for tests of nodes.

#include <mlx/mlx.h>

#include <cstring>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/context.h"
#include "kernels/element.h"
#include "kernels/isa.h"

namespace tandem::kernels {

inline constexpr Element kElements[] = {Element::kF32, Element::kBF16};

inline std::string name_of(Element element) { return element == Element::kBF16 ? "bf16" : "f32"; }

inline Context test_context(Backend backend, Activations activations, Isa isa, ThreadPool* pool) {
  Context context{.backend = backend,
                  .activations = activations,
                  .isa = isa,
                  .pool = pool,
                  .stream = mx::default_stream(mx::Device::cpu)};
  return context;
}

inline mx::array array_of(const std::vector<float>& values, mx::Shape shape,
                          mx::Dtype dtype = mx::float32) {
  return mx::astype(mx::array(values.begin(), std::move(shape), mx::float32), dtype,
                    mx::Device::cpu);
}

/// The values of an array, as float32.
inline std::vector<float> values_of(const mx::array& x) {
  mx::array wide =
      mx::contiguous(mx::astype(x, mx::float32, mx::Device::cpu), false, mx::Device::cpu);
  mx::eval(wide);
  return {wide.data<float>(), wide.data<float>() + wide.size()};
}

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

inline double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double worst = a.size() == b.size() ? 0 : 1e9;
  for (std::size_t i = 0; i < a.size() && i < b.size(); ++i) {
    const double off = std::abs(static_cast<double>(a[i]) - b[i]);
    worst = off <= worst ? worst : off;
  }
  return worst;
}

}  // namespace tandem::kernels
