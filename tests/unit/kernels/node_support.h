#pragma once
// Arrays for tests of operations.

#include <mlx/mlx.h>

#include <cstring>
#include <string>
#include <vector>

#include "kernels/cpu/loops.h"
#include "tandem/dtype.h"
#include "unit/kernels/test_ops.h"

namespace tandem::kernels {

inline constexpr DType kElements[] = {DType::kF32, DType::kBF16};

inline std::string name_of(DType element) { return element == DType::kBF16 ? "bf16" : "f32"; }

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
