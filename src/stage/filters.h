#pragma once
// Which tokens may be drawn: top_p, min_p, xtc and top_k, in mlx-lm's order and meaning.

#include <span>
#include <vector>

#include "stage/distribution.h"
#include "tandem/tick.h"

namespace tandem::stage {

/// The tokens that the filters of `params` leave of a row of log-probabilities, by ascending id;
/// never empty when one value is finite. xtc_draw in [0, 1) decides whether xtc takes place.
std::vector<Candidate> filter(std::span<const float> logprobs, const SamplingParams& params,
                              double xtc_draw);

}  // namespace tandem::stage
