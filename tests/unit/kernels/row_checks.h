#pragma once
// Row loops against twins in plain double arithmetic. Each check returns the worst distance (see
// loop_values.h) over sizes and misalignments, or 1e9 when something was written out of bounds.

#include <functional>

#include "kernels/cpu/row_loops.h"
#include "loop_values.h"

namespace tandem::kernels {

inline constexpr std::size_t kSizes[] = {1,  2,  3,  7,  8,  15,  16,  17,
                                         31, 33, 63, 64, 65, 100, 517, 2048};
inline constexpr std::size_t kShifts[] = {0, 1, 3, 5};

inline double act_twin(double x, GatedActivation act) {
  switch (act) {
    case GatedActivation::kSwiGlu:
      return x / (1 + std::exp(-x));
    case GatedActivation::kGeGluTanh:
      return x / 2 * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)));
    case GatedActivation::kGeGlu:
      return x / 2 * std::erfc(-x / std::sqrt(2.0));
  }
  return 0;
}

/// Worst distance of run(a, b, out, n) from twin(a[i], b[i]) over sizes and misalignments.
inline double check_elements(
    DType element, unsigned seed, float size, double relative, double absolute,
    const std::function<void(const std::byte*, const std::byte*, std::byte*, std::size_t)>& run,
    const std::function<double(double, double)>& twin) {
  Rng rng(seed);
  double worst = 0;
  for (const std::size_t n : kSizes) {
    for (const std::size_t shift : kShifts) {
      std::vector<float> first = random_values(rng, n, size);
      if (n > 8) first[0] = 0, first[1] = -100, first[2] = 100, first[3] = -1e-6f;
      const Buffer a(element, first, shift);
      const Buffer b(element, random_values(rng, n), shift + 1);
      Buffer out(element, n, shift);
      run(a.data(), b.data(), out.data(), n);
      for (std::size_t i = 0; i < n; ++i) {
        const double slack = absolute * std::max(1.0, std::abs(static_cast<double>(b[i])));
        worst = std::max(worst, distance(out[i], twin(a[i], b[i]), element, relative, slack));
      }
      if (!out.guards_hold()) return 1e9;
    }
  }
  return worst;
}

inline double check_gated(const RowLoops& loops, DType element, GatedActivation act,
                          unsigned seed) {
  return check_elements(
      element, seed, 3, 2e-6, 1e-6,
      [&](const std::byte* a, const std::byte* b, std::byte* out, std::size_t n) {
        loops.gated(a, b, out, n, act);
      },
      [&](double a, double b) { return act_twin(a, act) * b; });
}

inline double check_gate(const RowLoops& loops, DType element, unsigned seed) {
  const auto sigmoid = [](double x) { return 1 / (1 + std::exp(-x)); };
  const double each = check_elements(
      element, seed, 3, 2e-6, 1e-6,
      [&](const std::byte* a, const std::byte* b, std::byte* out, std::size_t n) {
        loops.gate(a, b, out, n);
      },
      [&](double a, double b) { return a * sigmoid(b); });
  const Buffer one(element, std::vector<float>{0.7F}, 1);
  const double row = check_elements(
      element, seed, 3, 2e-6, 1e-6,
      [&](const std::byte* a, const std::byte*, std::byte* out, std::size_t n) {
        loops.gate_row(a, one.data(), out, n);
      },
      [&](double a, double) { return a * sigmoid(one[0]); });
  return std::max(each, row);
}

inline double check_softcap(const RowLoops& loops, DType element, unsigned seed) {
  return check_elements(
      element, seed, 40, 1e-6, 1e-12,
      [&](const std::byte* a, const std::byte*, std::byte* out, std::size_t n) {
        loops.softcap(a, out, n, 30.0f);
      },
      [](double a, double) { return 30 * std::tanh(a / 30); });
}

inline double check_add(const RowLoops& loops, DType element, unsigned seed) {
  return check_elements(
      element, seed, 1, 6e-8, 0,
      [&](const std::byte* a, const std::byte* b, std::byte* out, std::size_t n) {
        loops.add(a, b, out, n);
      },
      [](double a, double b) { return a + b; });
}

inline double check_scale(const RowLoops& loops, DType element, unsigned seed) {
  return check_elements(
      element, seed, 1, 6e-8, 0,
      [&](const std::byte* a, const std::byte*, std::byte* out, std::size_t n) {
        loops.scale(a, out, n, 1.7f);
      },
      [](double a, double) { return a * static_cast<double>(1.7f); });
}

inline double check_rms_norm(const RowLoops& loops, DType element, unsigned seed) {
  Rng rng(seed);
  double worst = 0;
  for (const std::size_t n : kSizes) {
    for (const std::size_t shift : kShifts) {
      const Buffer x(element, random_values(rng, n, 5), shift);
      const std::vector<float> weight = random_values(rng, n);
      Buffer out(element, n, shift);
      loops.rms_norm(x.data(), weight.data(), out.data(), n, 1e-5f);
      double sum = 0;
      for (std::size_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * x[i];
      const double root = std::sqrt(sum / static_cast<double>(n) + 1e-5f);
      for (std::size_t i = 0; i < n; ++i) {
        worst = std::max(worst, distance(out[i], x[i] / root * weight[i], element, 5e-7, 0));
      }
      if (!out.guards_hold()) return 1e9;
    }
  }
  return worst;
}

inline double check_gated_rms_norm(const RowLoops& loops, DType element, unsigned seed) {
  Rng rng(seed);
  double worst = 0;
  for (const std::size_t n : kSizes) {
    const Buffer x(element, random_values(rng, n, 5), 3);
    const Buffer gate(element, random_values(rng, n, 3), 1);
    const std::vector<float> weight = random_values(rng, n);
    Buffer out(element, n, 5);
    loops.gated_rms_norm(x.data(), gate.data(), weight.data(), out.data(), n, 1e-5f);
    double sum = 0;
    for (std::size_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * x[i];
    const double root = std::sqrt(sum / static_cast<double>(n) + 1e-5f);
    for (std::size_t i = 0; i < n; ++i) {
      const double open = gate[i] / (1 + std::exp(-static_cast<double>(gate[i])));
      worst =
          std::max(worst, distance(out[i], x[i] / root * weight[i] * open, element, 2e-6, 1e-6));
    }
    if (!out.guards_hold()) return 1e9;
  }
  return worst;
}

/// Angles are the float32 product that mlx-lm and transformers take, to any position.
inline double check_rope_angles(const RowLoops& loops) {
  double worst = 0;
  for (const std::size_t half : {1, 3, 4, 10, 32, 64}) {
    std::vector<float> frequency(half);
    for (std::size_t i = 0; i < half; ++i) {
      frequency[i] = static_cast<float>(
          std::pow(10000.0, -static_cast<double>(i) / static_cast<double>(half)));
    }
    for (const int position : {0, 1, 2, 63, 64, 1000, 4097, 40000, 131071, 131072, 1 << 20}) {
      std::vector<float> cos(half), sin(half);
      const auto turn = static_cast<float>(position);
      loops.rope_angles(frequency.data(), half, turn, 1.25f, cos.data(), sin.data());
      for (std::size_t i = 0; i < half; ++i) {
        const double angle = static_cast<double>(turn * frequency[i]);
        worst = std::max({worst, distance(cos[i], 1.25 * std::cos(angle), DType::kF32, 0, 3e-7),
                          distance(sin[i], 1.25 * std::sin(angle), DType::kF32, 0, 3e-7)});
      }
    }
  }
  return worst;
}

inline double check_rope(const RowLoops& loops, DType element, bool interleaved, unsigned seed) {
  Rng rng(seed);
  double worst = 0;
  for (const std::size_t half : {1, 2, 3, 4, 5, 8, 10, 16, 20, 32, 48, 64}) {
    for (const std::size_t shift : kShifts) {
      const Buffer x(element, random_values(rng, 2 * half), shift);
      const std::vector<float> cos = random_values(rng, half), sin = random_values(rng, half);
      Buffer out(element, 2 * half, shift + 2);
      loops.rope(x.data(), out.data(), half, interleaved, cos.data(), sin.data());
      for (std::size_t i = 0; i < half; ++i) {
        const std::size_t a = interleaved ? 2 * i : i;
        const std::size_t b = interleaved ? 2 * i + 1 : i + half;
        const double c = cos[i], s = sin[i], u = x[a], v = x[b];
        const double size = (std::abs(u) + std::abs(v)) * (std::abs(c) + std::abs(s));
        worst = std::max({worst, distance(out[a], u * c - v * s, element, 0, 1e-7 * size),
                          distance(out[b], v * c + u * s, element, 0, 1e-7 * size)});
      }
      if (!out.guards_hold()) return 1e9;
    }
  }
  return worst;
}

}  // namespace tandem::kernels
