#pragma once
// Gated MLPs, and how experts among them are chosen.

#include <mlx/mlx.h>

#include "kernels/gated_activation.h"
#include "kernels/matrix.h"

namespace tandem::kernels {

namespace mx = mlx::core;

/// How experts are chosen from router logits. Sources: Mixtral, Qwen3-MoE model code;
/// DeepSeek-V2 (arXiv 2405.04434) and DeepSeek-V3 (arXiv 2412.19437) section 2.1.2.
struct RouterSpec {
  enum class Score { kSoftmax, kSigmoid };
  /// kMax: a group's score is its best expert (DeepSeek-V2 group_limited_greedy);
  /// kTopTwoSum: the sum of its two best (DeepSeek-V3 noaux_tc).
  enum class GroupScore { kMax, kTopTwoSum };

  Score score = Score::kSoftmax;
  int experts = 0;
  int top_k = 0;
  int groups = 1;      // experts are split evenly over groups
  int top_groups = 1;  // groups whose experts may be chosen
  GroupScore group_score = GroupScore::kMax;
  bool softmax_after_top_k = false;  // Mixtral: softmax over the chosen logits only
  bool normalize = false;            // divide the chosen weights by their sum
  float normalize_epsilon = 0;       // added to that sum
  float scale = 1;                   // multiplies the final weights
};

/// The chosen experts of each token. Ties go to the lower id; order within a token is by
/// descending selection score.
struct Routing {
  mx::array ids;      // int32 [T, top_k]
  mx::array weights;  // float32 [T, top_k]
};

/// The matrices of one gated MLP, or of a stack of them (count > 1: experts).
struct GatedMatrices {
  const Matrix& gate;
  const Matrix& up;
  const Matrix& down;
  GatedActivation act;
};

}  // namespace tandem::kernels
