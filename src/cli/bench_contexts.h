#pragma once
// What a context costs: decode after long prompts, each beside decode after a short one.

#include "cli/console.h"
#include "cli/options.h"
#include "cli/session.h"
#include "tandem/error.h"

namespace tandem::cli {

/// Prints, for each of options.contexts, the decode speed after so many tokens, the share of the
/// speed after kBenchContextShort tokens that it costs, and the memory read beside it. A cost is of
/// two runs that follow each other at once, because machines that are shared change their speed
/// within seconds; a prompt is computed in the first round only, its KV stays. `threads`: that read
/// memory; 0: memory is not measured.
Status bench_contexts(const BenchOptions& options, Session& session, int threads, Console& console);

}  // namespace tandem::cli
