#pragma once
// What the one kernel of decode.cuh is given.

#include "attention.cuh"
#include "moe.cuh"
#include "step.cuh"

namespace tandem::cuda {

struct DecodeLayer {
  const u16* norm[2];  // before attention and before the MLP
  u16* pages;
};

struct DecodeArgs {
  const Weights* matrices;    // qkv, o, gate and up, down of each layer, then the head
  const DecodeLayer* layers;  // and one more, whose norms are the head's
  int layer_count, steps;
  float epsilon;
  StepArgs step;
  AttentionArgs attention;
  int splits;      // room for
  u16 *q, *mixed;  // see RopeToPages, AttentionArgs::out
  u16* inner;      // what SwiGlu gives
  float* logits;
  Choice* choices;  // [blocks]
  u64* barrier;     // counts arrivals; a launch adds a multiple of (blocks * barriers)
  // Of a mixture of experts, whose gate, up and down are of the first expert and the others follow:
  const uint4* router = nullptr;  // [layers][experts][8 * groups]: see RouterArgs
  float* router_logits = nullptr;
  int experts = 0, top_k = 0;
};

}  // namespace tandem::cuda
