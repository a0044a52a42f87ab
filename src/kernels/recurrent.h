#pragma once
// What the operations of recurrent layers are told.

#include <mlx/mlx.h>

#include "kernels/state_spec.h"

namespace tandem::kernels {

namespace mx = mlx::core;

/// Heads of the gated delta rule (arXiv 2412.06464). Queries and keys have `key_heads`, which
/// divide the state's heads: head h reads those of h * key_heads / heads.
struct DeltaSpec {
  StateSpec state;
  int key_heads = 0;
};

/// Rows of a call: qkv [T, queries | keys | values], each head by head, and for each head of the
/// state what makes its decay and its rate, a and b [T, heads].
struct DeltaRows {
  mx::array qkv;
  mx::array a;
  mx::array b;
};

/// float32 [heads] each: A_log and dt_bias of the checkpoint.
struct DeltaWeights {
  mx::array log_decay;
  mx::array bias;
};

}  // namespace tandem::kernels
