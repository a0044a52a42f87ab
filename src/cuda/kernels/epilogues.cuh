#pragma once
// What becomes of a product's sums. prepare() runs before they are there and loads what store()
// needs; store() gets two of them: a of row Place::row, b of the row 8 * per further on.

#include "product.cuh"

namespace tandem::cuda {

/// y = sums, float32 [tokens][rows].
struct StoreFloat : StoreFloatArgs {
  using Ready = u64;
  __device__ Ready prepare(const Weights&, const Place& at) const {
    return static_cast<u64>(at.token) * rows + at.row;
  }
  __device__ void store(const Weights& w, float a, float b, Ready at) const {
    y[at] = a;
    y[at + 8 * w.per] = b;
  }
};

/// y += sums in place, bf16 [tokens][rows]: the residual stream.
struct AddResidual : AddResidualArgs {
  struct Ready {  // bits as loaded: to widen them here would wait for them
    u16* to;
    u16 a, b;
  };
  __device__ Ready prepare(const Weights& w, const Place& at) const {
    u16* to = y + at.token * rows + at.row;
    return {to, __ldcg(to), __ldcg(to + 8 * w.per)};
  }
  __device__ void store(const Weights& w, float a, float b, Ready x) const {
    x.to[0] = narrow(widen(x.a) + a);
    x.to[8 * w.per] = narrow(widen(x.b) + b);
  }
};

/// silu(gate) * up, bf16 [tokens][rows / 2]; gates are the first half of the weights' rows.
struct SwiGlu : SwiGluArgs {
  using Ready = int;
  __device__ Ready prepare(const Weights& w, const Place& at) const {
    return at.token * w.tiles * 8 + at.row;
  }
  __device__ void store(const Weights&, float gate, float up, Ready at) const {
    const float silu = gate / (1.0f + exp2_fast(-1.4426950408889634f * gate));
    y[at] = narrow(silu * up);
  }
};

/// Rows q | k | v: rope on q and k (pairs i, i + dim / 2), q to [tokens][heads][dim] bf16, k and v
/// to their page. Weights::per is dim / 16. Where heads are normalized first, attention turns them.
struct RopeToPages : RopeToPagesArgs {
  struct Ready {
    float2 turn;
    int slot, block, pair, token;
  };
  __device__ Ready prepare(const Weights& w, const Place& at) const {
    return {__ldcg(kv.turns + at.token * 8 * w.per + at.pair), __ldcg(kv.slots + at.token),
            at.block, at.pair, at.token};
  }
  __device__ void store(const Weights& w, float a, float b, const Ready& at) const {
    const int half = 8 * w.per, plane = at.block - heads;  // K of every head, then V of every head
    u16* to = q + (static_cast<u64>(at.token) * heads + at.block) * 2 * half + at.pair;
    if (plane >= 0) {
      if (at.slot < 0) return;
      const u64 page = static_cast<u64>(at.slot >> 6) * 2 * kv_heads + plane;
      to = kv.pages + (page * 64 + (at.slot & 63)) * 2 * half + at.pair;
    }
    const bool turned = turns && plane < kv_heads;
    // Rounded as written here in every kernel: a compiler may contract either product.
    const float x = fmaf(a, at.turn.x, -__fmul_rn(b, at.turn.y));
    const float y = fmaf(b, at.turn.x, __fmul_rn(a, at.turn.y));
    to[0] = narrow(turned ? x : a);
    to[half] = narrow(turned ? y : b);
  }
};

}  // namespace tandem::cuda
