#include <limits>
#include <utility>
#include <vector>

#include "base/check.h"
#include "kernels/cpu_run.h"
#include "kernels/moe.h"
#include "kernels/route_rows.h"
#include "kernels/rows.h"

namespace tandem::kernels {
namespace {

void check_spec(const RouterSpec& spec, const mx::array& logits,
                const std::optional<mx::array>& correction) {
  check(logits.ndim() == 2 && logits.shape(1) == spec.experts, "logits are [tokens, experts]");
  check(spec.top_k > 0 && spec.top_k <= spec.experts, "top_k lies within the experts");
  check(spec.groups > 0 && spec.experts % spec.groups == 0 && spec.top_groups > 0 &&
            spec.top_groups <= spec.groups,
        "experts are split evenly over groups");
  check(!correction || (correction->ndim() == 1 && correction->shape(0) == spec.experts),
        "a correction has one value an expert");
}

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

Routing route_mlx(const Context& context, const mx::array& logits, const RouterSpec& spec,
                  const std::optional<mx::array>& correction) {
  const mx::Stream s = context.stream;
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

}  // namespace

Routing route(const Context& context, const mx::array& logits, const RouterSpec& spec,
              const std::optional<mx::array>& correction) {
  check_spec(spec, logits, correction);
  std::vector<mx::array> inputs = {as_f32(context, logits)};
  if (correction) inputs.push_back(as_f32(context, *correction));
  if (context.backend == Backend::kMlx) {
    std::optional<mx::array> added;
    if (correction) added = inputs[1];
    return route_mlx(context, inputs[0], spec, added);
  }
  const mx::Shape shape = {logits.shape(0), spec.top_k};
  std::vector<mx::array> both = cpu_run(
      "route", std::move(inputs), {shape, shape}, {mx::int32, mx::float32}, [&](auto in, auto out) {
        const auto experts = static_cast<std::size_t>(spec.experts);
        const auto top_k = static_cast<std::size_t>(spec.top_k);
        std::span<const float> added;
        if (in.size() > 1) added = {in[1].template data<float>(), experts};
        const float* rows = in[0].template data<float>();
        auto* ids = out[0].template data<std::int32_t>();
        auto* weights = out[1].template data<float>();
        for_rows(context.pool, in[0].shape(0), spec.experts * std::int64_t{spec.top_k + 1},
                 [&](std::int64_t begin, std::int64_t end) {
                   RouteScratch scratch;
                   for (auto t = static_cast<std::size_t>(begin); t < static_cast<std::size_t>(end);
                        ++t) {
                     route_token(spec, {rows + t * experts, experts}, added, scratch,
                                 {ids + t * top_k, top_k}, {weights + t * top_k, top_k});
                   }
                 });
      });
  return {both[0], both[1]};
}

}  // namespace tandem::kernels
