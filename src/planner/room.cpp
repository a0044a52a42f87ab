#include "planner/room.h"

#include <algorithm>
#include <vector>

#include "tandem/limits.h"

namespace tandem::planner {
namespace {

constexpr std::uint64_t kGrain = 1'000'000;

/// Up to where a machine holds the layers from `first` on; `first`: not one.
int reach_of(const Setting& setting, const Machine& machine, int first) {
  const ModelShape& shape = setting.model.on(machine.gpu);
  const std::uint64_t usable = usable_memory(machine);
  int low = first;
  int high = setting.model.layer_count();
  while (low < high) {
    const int last = low + (high - low + 1) / 2;
    if (memory_of(shape, {first, last}, setting.work, 0).total() <= usable) {
      low = last;
    } else {
      high = last - 1;
    }
  }
  return low;
}

}  // namespace

bool any_fits(const Setting& setting, const Pipelines& pipelines) {
  const int layers = setting.model.layer_count();
  // reach[machine][first]; -1: not asked for yet.
  std::vector<std::vector<int>> reach(setting.inventory.machines.size(),
                                      std::vector<int>(static_cast<std::size_t>(layers), -1));
  std::vector<int> farthest(pipelines.nodes.size(), 0);
  const auto extend = [&](std::size_t node, int first) {
    const std::size_t machine = pipelines.nodes[node].machine;
    if (first >= layers) return;
    int& last = reach[machine][static_cast<std::size_t>(first)];
    if (last < 0) last = reach_of(setting, setting.inventory.machines[machine], first);
    farthest[node] = std::max(farthest[node], last);
  };
  for (const std::size_t node : pipelines.starts) extend(node, 0);
  for (std::size_t node = 0; node < pipelines.nodes.size(); ++node) {
    if (farthest[node] == layers) return true;
    if (farthest[node] == 0) continue;
    for (const std::size_t next : pipelines.nodes[node].next) extend(next, farthest[node]);
  }
  return false;
}

Missing missing_memory(const Setting& setting, const Pipelines& pipelines) {
  Inventory changed = setting.inventory;
  const Setting with{setting.model, changed, setting.work, setting.efficiency};
  std::uint64_t whole = 0;
  for (const bool gpu : {false, true}) {
    const LayerRange all{0, setting.model.layer_count()};
    whole = std::max(whole, memory_of(setting.model.on(gpu), all, setting.work, 0).total());
  }
  Missing least{0, 2 * whole + kGrain};
  for (std::size_t i = 0; i < changed.machines.size(); ++i) {
    const std::uint64_t own = changed.machines[i].memory;
    const auto enough = [&](std::uint64_t bytes) {
      changed.machines[i].memory = own + bytes;
      return any_fits(with, pipelines);
    };
    std::uint64_t low = 0;
    std::uint64_t high = least.bytes;  // less than what was found before, or it does not count
    if (!enough(high)) {
      changed.machines[i].memory = own;
      continue;
    }
    while (high - low > kGrain) {
      const std::uint64_t middle = low + (high - low) / 2;
      (enough(middle) ? high : low) = middle;
    }
    changed.machines[i].memory = own;
    least = {i, high};
  }
  return least;
}

std::uint32_t fitting_context(const Setting& setting, const Pipelines& pipelines) {
  Setting with = setting;
  std::uint32_t low = 0;
  std::uint32_t high = (setting.work.context + kPageTokens - 1) / kPageTokens;  // pages
  while (high - low > 1) {
    const std::uint32_t middle = low + (high - low) / 2;
    with.work.context = middle * kPageTokens;
    (any_fits(with, pipelines) ? low : high) = middle;
  }
  return low * kPageTokens;
}

Model with_8bit_kv(Model model) {
  for (ModelShape* shape : {&model.cpu, &model.gpu}) {
    for (LayerShape& layer : shape->layers) {
      if (layer.kv_page_8bit != 0) layer.kv_page = layer.kv_page_8bit;
    }
  }
  return model;
}

}  // namespace tandem::planner
