#pragma once
// Element-wise operations. The functions of one vector are what fused kernels share, so that a
// value has the same bits wherever it is computed.

#include "kernels/cpu/row_loops.h"
#include "kernels/cpu/simd.h"
#include "kernels/gated_activation.h"

namespace tandem::kernels::HWY_NAMESPACE {

/// 1 / (1 + e^-x), within 3 ulp.
HWY_INLINE Vec sigmoid(Vec x) {
  const Vec one = set(1.0f);
  const Vec e = exp_nonpositive(hn::Neg(hn::Abs(x)));
  const Vec top = hn::IfThenElse(hn::Lt(x, hn::Zero(kF32)), e, one);
  return hn::Div(top, hn::Add(one, e));
}

/// x / (1 + e^-x).
HWY_INLINE Vec silu(Vec x) { return hn::Mul(x, sigmoid(x)); }

/// x / 2 (1 + tanh(u)) = x sigmoid(2u), u = sqrt(2 / pi) (x + 0.044715 x^3).
HWY_INLINE Vec gelu_tanh(Vec x) {
  const Vec cubic = hn::MulAdd(hn::Mul(x, x), set(0.044715f), set(1.0f));
  return hn::Mul(x, sigmoid(hn::Mul(hn::Mul(x, set(1.59576912f)), cubic)));
}

/// x Phi(x), Phi the normal distribution; absolute error under 2e-7 max(1, |x|). erfc(a) is
/// e^(-a^2) t P(t) with t = 1 / (1 + 0.3 a); P is a fit with relative error 2.4e-8.
HWY_INLINE Vec gelu_erf(Vec x) {
  const Vec one = set(1.0f);
  const Vec a = hn::Mul(hn::Abs(x), set(0.707106781f));
  const Vec t = hn::Div(one, hn::MulAdd(a, set(0.3f), one));
  Vec p = set(-0.13055858f);
  p = hn::MulAdd(p, t, set(0.49073562f));
  p = hn::MulAdd(p, t, set(-0.523299158f));
  p = hn::MulAdd(p, t, set(0.560781002f));
  p = hn::MulAdd(p, t, set(-0.104048647f));
  p = hn::MulAdd(p, t, set(0.219122514f));
  p = hn::MulAdd(p, t, set(0.147205472f));
  p = hn::MulAdd(p, t, set(0.170884416f));
  p = hn::MulAdd(p, t, set(0.169177338f));
  const Vec e = exp_nonpositive(hn::Neg(hn::Mul(a, a)));
  const Vec tail = hn::Mul(hn::Mul(set(0.5f), e), hn::Mul(p, t));
  const Vec phi = hn::IfThenElse(hn::Lt(x, hn::Zero(kF32)), tail, hn::Sub(one, tail));
  return hn::Mul(x, phi);
}

/// act(gate) * up.
template <GatedActivation kAct>
HWY_INLINE Vec gated(Vec gate, Vec up) {
  if constexpr (kAct == GatedActivation::kSwiGlu) return hn::Mul(silu(gate), up);
  if constexpr (kAct == GatedActivation::kGeGluTanh) return hn::Mul(gelu_tanh(gate), up);
  return hn::Mul(gelu_erf(gate), up);
}

/// cap tanh(x / cap), with inverse = 1 / cap; within 6 ulp.
HWY_INLINE Vec softcap(Vec x, Vec cap, Vec inverse) {
  return hn::Mul(cap, hn::Tanh(kF32, hn::Mul(x, inverse)));
}

template <class E, GatedActivation kAct>
void gated_elements(const E* gate, const E* up, E* out, std::size_t n) {
  for_vectors(n, [&](std::size_t i, auto part) {
    store(gated<kAct>(load(gate + i, part), load(up + i, part)), out + i, part);
  });
}

template <class E>
void gated_row(const void* gate, const void* up, void* out, std::size_t n, GatedActivation act) {
  const auto* g = static_cast<const E*>(gate);
  const auto* u = static_cast<const E*>(up);
  auto* o = static_cast<E*>(out);
  switch (act) {
    case GatedActivation::kSwiGlu:
      return gated_elements<E, GatedActivation::kSwiGlu>(g, u, o, n);
    case GatedActivation::kGeGluTanh:
      return gated_elements<E, GatedActivation::kGeGluTanh>(g, u, o, n);
    case GatedActivation::kGeGlu:
      return gated_elements<E, GatedActivation::kGeGlu>(g, u, o, n);
  }
}

template <class E>
void softcap_row(const void* x, void* out, std::size_t n, float cap) {
  const Vec top = set(cap);
  const Vec inverse = set(1.0f / cap);
  for_vectors(n, [&](std::size_t i, auto part) {
    store(softcap(load(static_cast<const E*>(x) + i, part), top, inverse), static_cast<E*>(out) + i,
          part);
  });
}

template <class E>
void add_row(const void* a, const void* b, void* out, std::size_t n) {
  for_vectors(n, [&](std::size_t i, auto part) {
    store(
        hn::Add(load(static_cast<const E*>(a) + i, part), load(static_cast<const E*>(b) + i, part)),
        static_cast<E*>(out) + i, part);
  });
}

template <class E>
void gate_elements(const void* x, const void* gate, void* out, std::size_t n) {
  for_vectors(n, [&](std::size_t i, auto part) {
    const Vec share = sigmoid(load(static_cast<const E*>(gate) + i, part));
    store(hn::Mul(load(static_cast<const E*>(x) + i, part), share), static_cast<E*>(out) + i, part);
  });
}

template <class E>
void gate_row(const void* x, const void* gate, void* out, std::size_t n) {
  const Vec share = set(hn::GetLane(sigmoid(load(static_cast<const E*>(gate), Part{1}))));
  for_vectors(n, [&](std::size_t i, auto part) {
    store(hn::Mul(load(static_cast<const E*>(x) + i, part), share), static_cast<E*>(out) + i, part);
  });
}

template <class E>
void scale_row(const void* x, void* out, std::size_t n, float factor) {
  for_vectors(n, [&](std::size_t i, auto part) {
    store(hn::Mul(load(static_cast<const E*>(x) + i, part), set(factor)), static_cast<E*>(out) + i,
          part);
  });
}

}  // namespace tandem::kernels::HWY_NAMESPACE
