// `tandem bench memory`: this machine's read bandwidth.

#include <fmt/format.h>

#include <string>
#include <vector>

#include "base/memory_bandwidth.h"
#include "base/platform.h"
#include "cli/commands.h"
#include "cli/json_output.h"
#include "cli/statistics.h"
#include "cli/values.h"

namespace tandem::cli {

Status run_bench_memory(const BenchMemoryOptions& options, Console& console) {
  const std::size_t bytes = static_cast<std::size_t>(options.megabytes) * 1'000'000;
  if (bytes > platform::free_memory_bytes()) {
    return invalid(
        fmt::format("--megabytes: {} are more than this machine has free", options.megabytes));
  }
  std::vector<int> counts{options.threads};
  if (options.threads == 0) {
    counts = {1};
    if (const int cores = platform::physical_cores(); cores > 1) counts.push_back(cores);
  }
  nlohmann::ordered_json runs = nlohmann::ordered_json::array();
  for (const int threads : counts) {
    const auto rates = measure_read_bandwidth(bytes, threads, options.repeats);
    if (!rates) return rates.error();
    const Spread rate = spread_of(*rates);
    if (options.json) {
      runs.push_back({{"threads", threads}, {"read_bytes_per_second", spread_json(rate)}});
      continue;
    }
    const auto status = console.write(
        fmt::format("{} {}: {}/s  ({} to {})\n", threads, threads == 1 ? "thread" : "threads",
                    format_bytes(rate.median), format_bytes(rate.min), format_bytes(rate.max)));
    if (!status.ok()) return status;
  }
  if (!options.json) return {};
  return console.write(json_text({{"memory", {{"bytes", bytes}, {"runs", runs}}}}) + "\n");
}

}  // namespace tandem::cli
