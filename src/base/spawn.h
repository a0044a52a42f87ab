#pragma once
// Starting another program.

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

namespace tandem {

/// What a program finds under its descriptors besides what is not closed on exec.
struct SpawnFiles {
  bool null_input = false;                // standard input is /dev/null
  std::vector<std::pair<int, int>> ours;  // (a descriptor here, its number there)
  std::vector<int> inherited;             // that stay what they are, where others close by default
};

/// Starts argv[0], found on the PATH unless it has a slash, with default signals and nothing
/// blocked, whatever this process took over; in a process group of its own when `own_group`.
/// Returns 0 and the process, or errno's value.
int spawn(const std::vector<std::string>& argv, const SpawnFiles& files, bool own_group,
          pid_t& pid);

}  // namespace tandem
