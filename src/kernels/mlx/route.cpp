#include <limits>

#include "kernels/mlx/mlx_ops.h"

namespace tandem::kernels {
namespace {

/// -infinity for experts outside the best groups.
mx::array mask_groups(const RouterSpec& spec, const mx::array& choice, mx::Stream s) {
  const int tokens = choice.shape(0);
  const int size = spec.experts / spec.groups;
  const mx::array grouped = mx::reshape(choice, {tokens, spec.groups, size}, s);
  const bool two = spec.group_score == RouterSpec::GroupScore::kTopTwoSum && size > 1;
  const mx::array score =
      two ? mx::sum(mx::topk(grouped, 2, -1, s), -1, false, s) : mx::max(grouped, -1, false, s);
  const mx::array order = mx::argsort(mx::negative(score, s), -1, s);
  const mx::array rank = mx::argsort(order, -1, s);
  const mx::array kept = mx::less(mx::astype(rank, mx::int32, s), mx::array(spec.top_groups), s);
  const mx::array never(-std::numeric_limits<float>::infinity());
  return mx::reshape(mx::where(mx::expand_dims(kept, -1, s), grouped, never, s),
                     {tokens, spec.experts}, s);
}

}  // namespace

Routing MlxOps::run_route(const mx::array& logits, const RouterSpec& spec,
                          const std::optional<mx::array>& correction) const {
  const mx::Stream s = stream_;
  mx::array scores = logits;
  if (spec.score == RouterSpec::Score::kSigmoid) {
    scores = mx::sigmoid(logits, s);
  } else if (!spec.softmax_after_top_k) {
    scores = mx::softmax(logits, -1, true, s);
  }
  mx::array choice = correction ? mx::add(scores, *correction, s) : scores;
  if (spec.groups > 1) choice = mask_groups(spec, choice, s);
  const mx::array order = mx::argsort(mx::negative(choice, s), -1, s);
  const mx::array ids = mx::slice(order, {0, 0}, {logits.shape(0), spec.top_k}, s);
  mx::array weights = mx::take_along_axis(scores, ids, -1, s);
  if (spec.softmax_after_top_k) weights = mx::softmax(weights, -1, true, s);
  if (spec.normalize) {
    const mx::array sum =
        mx::add(mx::sum(weights, -1, true, s), mx::array(spec.normalize_epsilon), s);
    weights = mx::divide(weights, sum, s);
  }
  return {mx::astype(ids, mx::int32, s), mx::multiply(weights, mx::array(spec.scale), s)};
}

}  // namespace tandem::kernels
