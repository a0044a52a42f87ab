#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/cpu_run.h"
#include "kernels/cpu/route_rows.h"
#include "kernels/cpu/rows.h"

namespace tandem::kernels {

Routing CpuOps::run_route(const mx::array& logits, const RouterSpec& spec,
                          const std::optional<mx::array>& correction) const {
  std::vector<mx::array> inputs = {logits};
  if (correction) inputs.push_back(*correction);
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
        for_rows(pool_, in[0].shape(0), spec.experts * std::int64_t{spec.top_k + 1},
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
