#include "planner/advice.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "config/sizes.h"

namespace tandem::planner {
namespace {

constexpr double kWorthSaying = 1.02;
/// With more machines only the slowest stages are tried, so that advice takes seconds.
constexpr std::size_t kMachinesTried = 10;
constexpr std::size_t kSlowestTried = 4;

std::string gigabytes(std::uint64_t bytes) {
  return config::format_bytes(static_cast<double>(bytes));
}

/// Tries changes and keeps the best.
class Trials {
 public:
  Trials(const Setting& setting, Objective objective, const Prediction& now)
      : setting_(setting), objective_(objective), now_(worth(now, objective)) {
    for (const StagePrediction& stage : now.stages) order_.push_back(stage.place.machine);
    used_ = order_.size();
    for (std::size_t i = 0; i < setting.inventory.machines.size(); ++i) {
      if (std::ranges::find(order_, i) == order_.end()) order_.push_back(i);
    }
    for (std::size_t place = 0; place < order_.size(); ++place) tried_.push_back(place);
    if (order_.size() <= kMachinesTried) return;
    tried_.resize(used_);
    std::ranges::stable_sort(tried_, [&](std::size_t a, std::size_t b) {
      return now.stages[a].decode.total() > now.stages[b].decode.total();
    });
    tried_.resize(std::min(used_, kSlowestTried));
  }

  void machines() {
    for (const std::size_t place : tried_) {
      const Machine& machine = setting_.inventory.machines[order_[place]];
      if (place < used_) {
        try_machine(
            place, [](Machine& m) { m.bandwidth *= 2; },
            fmt::format("twice the memory bandwidth on {} ({:.0f} GB/s)", machine.name,
                        machine.bandwidth * 2 / 1e9));
        try_machine(
            place, [](Machine& m) { m.flops *= 2; },
            fmt::format("twice the compute on {} ({:.3g} TFLOPS)", machine.name,
                        machine.flops * 2 / 1e12));
      }
      try_machine(
          place, [](Machine& m) { m.memory *= 2; },
          fmt::format("twice the memory on {} ({})", machine.name, gigabytes(machine.memory * 2)));
      if (place < used_ && used_ > 1) try_without(place);
    }
  }

  void links() {
    const std::vector<Machine>& machines = setting_.inventory.machines;
    for (std::size_t place = 0; place <= std::min(used_, kMachinesTried); ++place) {
      // Between the gateway, the stages and the gateway.
      const bool outer = place == 0 || place == used_;
      const std::size_t a = place == 0 ? 0 : order_[place - 1];
      const std::size_t b = place == used_ ? 0 : order_[place];
      Inventory changed = setting_.inventory;
      std::string ends = machines[a].name + " and " + machines[b].name;
      Link* link = &changed.links[a][b];
      if (outer && !changed.gateway.empty()) {
        const std::size_t own = place == 0 ? b : a;
        link = &changed.gateway[own];
        ends = "the gateway and " + machines[own].name;
      } else if (a == b) {
        continue;
      }
      *link = {link->latency / 10, link->rate * 10};
      if (changed.gateway.empty() || !outer) changed.links[b][a] = *link;
      offer(setting_.model, changed, order_,
            fmt::format("a link of {:.2g} ms and {:.3g} Gbit/s between {}", link->latency * 1e3,
                        link->rate * 8 / 1e9, ends));
    }
    Inventory changed = setting_.inventory;
    for (auto& row : changed.links) {
      for (Link& link : row) link = {link.latency / 10, link.rate * 10};
    }
    for (Link& link : changed.gateway) link = {link.latency / 10, link.rate * 10};
    offer(setting_.model, changed, order_, "links ten times as good");
  }

  void kv_bits() {
    offer(with_8bit_kv(setting_.model), setting_.inventory, order_, "KV in 8 bits (--kv-bits 8)");
  }

  std::string best() const {
    if (best_ < now_ * kWorthSaying || what_.empty()) {
      return "no single change that was tried helps by more than 2 %";
    }
    const double more = 100 * (best_ / now_ - 1);
    if (objective_ == Objective::kFit) {
      return fmt::format("{}: at least {:.0f} % of memory left free instead of {:.0f} %", what_,
                         100 * best_, 100 * now_);
    }
    return fmt::format("{}: {:.3g} tok/s instead of {:.3g} (+{:.0f} %)", what_, best_, now_, more);
  }

 private:
  template <class Change>
  void try_machine(std::size_t place, const Change& change, std::string what) {
    Inventory changed = setting_.inventory;
    change(changed.machines[order_[place]]);
    offer(setting_.model, changed, order_, std::move(what));
  }

  void try_without(std::size_t place) {
    std::vector<std::size_t> order = order_;
    order.erase(order.begin() + static_cast<std::ptrdiff_t>(place));
    offer(setting_.model, setting_.inventory, order,
          "leaving out " + setting_.inventory.machines[order_[place]].name);
  }

  void offer(const Model& model, const Inventory& inventory, const std::vector<std::size_t>& order,
             std::string what) {
    const Setting with{model, inventory, setting_.work, setting_.efficiency};
    const std::vector<Placed> stages = best_in_order(with, objective_, order);
    if (stages.empty()) return;
    const double value = worth(predict(with, stages), objective_);
    if (value <= best_) return;
    best_ = value;
    what_ = std::move(what);
  }

  const Setting& setting_;
  Objective objective_;
  double now_;
  std::vector<std::size_t> order_;  // the pipeline's machines, and then the others
  std::size_t used_ = 0;
  std::vector<std::size_t> tried_;  // places in order_
  double best_ = 0;
  std::string what_;
};

}  // namespace

std::string advice_on(const Setting& setting, Objective objective, const Prediction& now) {
  Trials trials(setting, objective, now);
  trials.machines();
  trials.links();
  trials.kv_bits();
  return trials.best();
}

std::string advice_to_fit(const Setting& setting, const Pipelines& pipelines,
                          const Missing& missing) {
  std::string advice = fmt::format("{} more memory on {}", gigabytes(missing.bytes),
                                   setting.inventory.machines[missing.machine].name);
  const Model small = with_8bit_kv(setting.model);
  if (any_fits({small, setting.inventory, setting.work, setting.efficiency}, pipelines)) {
    advice += ", or KV in 8 bits (--kv-bits 8)";
  }
  if (const std::uint32_t context = fitting_context(setting, pipelines); context > 0) {
    advice += fmt::format(", or a context of {} tokens", context);
  }
  return advice + " would do";
}

}  // namespace tandem::planner
