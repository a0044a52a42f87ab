#include "cluster/gateway/placement.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "config/sizes.h"
#include "models/model_bytes.h"
#include "stage/budget.h"
#include "stage/memory_fit.h"

namespace tandem::cluster {
namespace {

std::string size(std::uint64_t bytes) { return config::format_bytes(static_cast<double>(bytes)); }

/// The ranges that flags or the host file name; empty: none.
std::vector<LayerRange> named_ranges(const PipelineOptions& options) {
  if (!options.layers.empty()) return options.layers;
  std::vector<LayerRange> ranges;
  for (const config::Host& host : options.hosts) {
    if (host.layers) ranges.push_back(*host.layers);
  }
  return ranges;
}

/// What the model takes on each kind of device that a member has.
struct Weighed {
  std::array<std::optional<models::ModelBytes>, 2> of;  // by Member::gpu

  const models::ModelBytes& on(const Member& member) const { return *of[member.gpu ? 1 : 0]; }
};

/// Of a member whose memory is not known nothing is weighed: any part fits it.
Result<Weighed> weigh(const Members& members, const stage::StageOptions& options) {
  Weighed weighed;
  for (const Member& member : members) {
    if (member.memory_free == 0) continue;
    auto& bytes = weighed.of[member.gpu ? 1 : 0];
    if (bytes) continue;
    stage::StageOptions own = options;
    own.gpu = member.gpu;
    auto model = stage::model_bytes_of(own);
    if (!model) return model.error();
    bytes = std::move(*model);
  }
  return weighed;
}

/// The error when no split fits: what all would need, and what each has.
Error too_little(const Members& members, const Weighed& model) {
  // There is one: where no memory is known, every split fits.
  const auto known =
      std::ranges::find_if(members, [](const Member& m) { return m.memory_free != 0; });
  const auto layers = static_cast<int>(model.on(*known).layers.size());
  const std::uint64_t wanted =
      stage::least_memory(model.on(*known), {0, layers}, stage::kLeastRows);
  std::uint64_t there = 0;
  std::string list;
  for (std::size_t i = 0; i < members.size(); ++i) {
    there += members[i].memory_free;
    list += fmt::format("{}rank {} {}", i == 0 ? "" : ", ", i, size(members[i].memory_free));
  }
  return {
      ErrorCode::kResourceLimit,
      fmt::format("memory: the model takes {} or more, and the hosts have {} free ({}), in which "
                  "no split of its layers fits: one more host, or --kv-bits 8, would help",
                  size(wanted), size(there), list)};
}

}  // namespace

Status check_split(const PipelineOptions& options, const ModelSizes& sizes, std::size_t ranks) {
  const std::vector<LayerRange> named = named_ranges(options);
  if (named.empty()) {
    const auto fits = partition(sizes, std::vector<double>(ranks, 1.0));
    return fits ? Status() : Status(fits.error());
  }
  const int count = static_cast<int>(sizes.layers.size());
  if (named.size() == ranks && named.back().last == count) return {};
  return invalid(fmt::format("layers: {} ranks up to layer {}, where {} ranks hold layers 0 to {}",
                             named.size(), named.back().last - 1, ranks, count - 1));
}

Status place_layers(Members& members, PipelineOptions& options, const ModelSizes& sizes) {
  if (!options.hosts.empty() && !options.activations_given) {
    const bool any = std::ranges::any_of(members, [](const Member& each) { return each.gpu; });
    options.stage.activations = any ? kernels::Activations::kBF16 : kernels::Activations::kInt8;
  }
  std::vector<LayerRange> ranges = named_ranges(options);
  if (ranges.empty()) {
    auto model = weigh(members, options.stage);
    if (!model) return model.error();
    const auto fits = [&](std::size_t rank, LayerRange range) {
      const Member& member = members[rank];
      return member.memory_free == 0 ||
             stage::least_memory(model->on(member), range, stage::kLeastRows) <= member.memory_free;
    };
    auto split = partition(read_by_token(sizes), std::vector<double>(members.size(), 1.0), fits);
    if (!split && split.error().code == ErrorCode::kResourceLimit) {
      return too_little(members, *model);
    }
    if (!split) return split.error();
    ranges = std::move(*split);
  }
  for (std::size_t rank = 0; rank < members.size(); ++rank) members[rank].layers = ranges[rank];
  return {};
}

}  // namespace tandem::cluster
