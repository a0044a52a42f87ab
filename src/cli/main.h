#pragma once

namespace tandem::cli {

/// The whole program. Exit codes: 0, 1 for failures, 2 for the user's mistakes, 130 after Ctrl-C.
int run(int argc, char** argv);

}  // namespace tandem::cli
