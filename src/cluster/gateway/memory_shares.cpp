#include "cluster/gateway/memory_shares.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <utility>

#include "config/sizes.h"
#include "stage/budget.h"
#include "stage/memory_fit.h"

namespace tandem::cluster {
namespace {

/// What a worker and its compute child take for themselves after they have said Hello.
constexpr std::uint64_t kProcesses = std::uint64_t{24} << 20;

std::string size(std::uint64_t bytes) { return config::format_bytes(static_cast<double>(bytes)); }

}  // namespace

Result<std::vector<std::uint64_t>> memory_shares(const models::ModelBytes& model,
                                                 std::span<const LayerRange> ranges,
                                                 std::uint64_t memory, std::uint32_t rows) {
  std::vector<std::uint64_t> shares;
  std::uint64_t least = 0;
  std::uint64_t layers = 0;
  for (const LayerRange& range : ranges) {
    shares.push_back(stage::least_memory(model, range, rows));
    least += shares.back() + kProcesses;
    layers += static_cast<std::uint64_t>(range.last - range.first);
  }
  if (least > memory) {
    return Error{ErrorCode::kResourceLimit,
                 fmt::format("memory: {} ranks here need {} and {} are free, {} too few: fewer "
                             "ranks on this machine, or one more host, would help",
                             ranges.size(), size(least), size(memory), size(least - memory))};
  }
  const std::uint64_t per_layer = (memory - least) / std::max<std::uint64_t>(layers, 1);
  for (std::size_t i = 0; i < shares.size(); ++i) {
    shares[i] += per_layer * static_cast<std::uint64_t>(ranges[i].last - ranges[i].first);
  }
  return shares;
}

Status share_memory(Members& members, const stage::StageOptions& options) {
  for (const bool gpu : {false, true}) {
    std::vector<LayerRange> ranges;
    std::uint64_t held = 0;
    for (const Member& member : members) {
      if (member.gpu != gpu) continue;
      ranges.push_back(member.layers);
      // A stage on a GPU may keep nothing. Processes that have loaded take no more for themselves.
      const std::uint64_t weights = gpu ? 0 : member.client->hello().held_bytes();
      if (weights != 0) held += weights + kProcesses;
    }
    if (ranges.empty()) continue;
    stage::StageOptions own = options;
    own.gpu = gpu;
    const auto model = stage::model_bytes_of(own);
    if (!model) return model.error();
    const auto shares =
        memory_shares(*model, ranges, stage::memory_for(own, held), stage::kLeastRows);
    if (!shares) return shares.error();
    auto next = shares->begin();
    for (Member& member : members) {
      if (member.gpu == gpu) member.memory_share = *next++;
    }
  }
  return {};
}

}  // namespace tandem::cluster
