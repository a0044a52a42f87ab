#include "cost/tick_cost.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <utility>

namespace tandem::cost {
namespace {

/// Ticks that a mean is of: each new one weighs as much as one of these.
constexpr int kMeanTicks = 8;
/// What a tick strays from what it should take beyond this share of it does not count.
constexpr double kOutlier = 0.1;
/// From this factor on a tick strays, and so many in a row are no accident.
constexpr double kStray = 1.3;
constexpr int kBelieved = 3;
/// Bits of the number of rows and of the mean depth that tell kinds apart.
constexpr int kRowKinds = 17;
constexpr int kDepthKinds = 7;
/// How much less a mean counts for each doubling of the rows between.
constexpr double kLocality = 4;
/// Where ticks do not tell the terms apart: rows are thought to take the time, rather than what is
/// fixed or drawn, and least of all depth. In the order of the terms.
constexpr double kDoubt = 1e-3;
constexpr std::array<double, 4> kUnlikely = {4, 1, 4, 16};

using Row = std::array<double, 5>;  // four factors and the right side

/// Solves by elimination; terms that are not `used`, or that the others say all of, are 0.
std::array<double, 4> solve(std::array<Row, 4> system, std::array<bool, 4> used,
                            const std::array<double, 4>& size) {
  for (std::size_t i = 0; i < 4; ++i) {
    used[i] = used[i] && system[i][i] > 1e-12 * size[i];
    if (!used[i]) continue;
    for (std::size_t j = 0; j < 4; ++j) {
      if (j == i || !used[j]) continue;
      const double factor = system[j][i] / system[i][i];
      for (std::size_t k = 0; k < 5; ++k) system[j][k] -= factor * system[i][k];
    }
  }
  std::array<double, 4> out{};
  for (std::size_t i = 0; i < 4; ++i) {
    if (used[i]) out[i] = system[i][4] / system[i][i];
  }
  return out;
}

}  // namespace

TickLoad& TickLoad::operator+=(const TickLoad& other) {
  rows += other.rows;
  draws += other.draws;
  attended += other.attended;
  return *this;
}

void TickLoad::add_rows(std::uint64_t count, std::uint64_t before) {
  rows += count;
  attended += count * before + count * (count + 1) / 2;
}

TickLoad load_of(const Tick& tick) {
  TickLoad load;
  for (const TickEntry& entry : tick.entries) {
    if (entry.refused) continue;
    load.add_rows(entry.tokens.size(), entry.position);
    for (std::size_t i = 0; i < entry.wants.size(); ++i) {
      if (i == 0 || entry.wants[i].row != entry.wants[i - 1].row) ++load.draws;
    }
  }
  return load;
}

TickCost::Kind TickCost::kind_of(const TickLoad& load) {
  const std::uint64_t depth = load.attended / std::max<std::uint64_t>(load.rows, 1);
  return {std::min(static_cast<int>(std::bit_width(load.rows)), kRowKinds),
          std::min(static_cast<int>(std::bit_width(depth / 64) + 2) / 3, kDepthKinds),
          load.draws == 0 ? 0 : (load.draws < load.rows ? 1 : 2)};
}

TickCost::Terms TickCost::terms_of(const TickLoad& load) {
  return {1, static_cast<double>(load.rows), static_cast<double>(load.draws),
          static_cast<double>(load.attended)};
}

void TickCost::Mean::take(const Terms& terms, double took) {
  ticks = std::min(ticks + 1, kMeanTicks);
  for (std::size_t i = 0; i < load.size(); ++i) load[i] += (terms[i] - load[i]) / ticks;
  seconds += (took - seconds) / ticks;
}

/// Least squares of the relative errors, with the means weighed by how near their rows are, and
/// again without a term that came out negative.
TickCost::Terms TickCost::fit(double rows) const {
  Terms size{};  // of each term, so that they can be compared
  std::array<Row, kTerms> system{};
  double weights = 0;
  for (const Mean& mean : means_) {
    const double apart = std::abs(std::log2(std::max(mean.load[1], 1.0) / std::max(rows, 1.0)));
    const double weight = mean.ticks * std::pow(kLocality, -apart);
    const double unit = 1 / std::max(mean.seconds, 1e-9);
    for (std::size_t i = 0; i < kTerms; ++i) {
      const double term = weight * mean.load[i] * unit;
      for (std::size_t j = 0; j < kTerms; ++j) system[i][j] += term * mean.load[j] * unit;
      system[i][kTerms] += term;
      size[i] += term * mean.load[i] * unit;
    }
    weights += weight;
  }
  std::array<bool, kTerms> used{};
  for (std::size_t i = 0; i < kTerms; ++i) {
    used[i] = size[i] > 0 && weights > 0;
    system[i][i] += kDoubt * kUnlikely[i] * size[i];
  }
  Terms price = solve(system, used, size);
  for (int left = kTerms; left > 0; --left) {
    const auto least = std::min_element(price.begin(), price.end());
    if (*least >= 0) break;
    used[static_cast<std::size_t>(least - price.begin())] = false;
    price = solve(system, used, size);
  }
  return price;
}

std::optional<double> TickCost::predict(const TickLoad& load) const {
  if (means_.empty()) return std::nullopt;
  const Terms terms = terms_of(load);
  const Terms price = fit(terms[1]);
  double seconds = 0;
  for (std::size_t i = 0; i < kTerms; ++i) seconds += terms[i] * price[i];
  return seconds;
}

bool TickCost::knows(const TickLoad& load) const {
  const Kind kind = kind_of(load);
  return std::any_of(means_.begin(), means_.end(), [&](const Mean& mean) {
    return mean.kind.rows == kind.rows && mean.kind.depth == kind.depth;
  });
}

/// Whether the tick was one too many: everything known of the machine, or of its kind, is changed.
bool TickCost::note_stray(Mean& mean, double ratio) {
  const int side = ratio > kStray ? 1 : (ratio * kStray < 1 ? -1 : 0);
  const auto count = [&](int& run) {
    run = side == 0 ? 0 : (run * side > 0 ? run + side : side);
    return std::abs(run);
  };
  const int of_kind = count(mean.strays);
  const int of_all = count(strays_);
  if (of_all > 0) ratios_[static_cast<std::size_t>(of_all - 1) % ratios_.size()] = ratio;
  if (of_all >= kBelieved) {
    auto sorted = ratios_;
    std::sort(sorted.begin(), sorted.end());
    for (Mean& each : means_) {
      each.seconds *= sorted[1];
      each.strays = 0;
    }
    strays_ = 0;
    return false;
  }
  if (of_kind < kBelieved) return false;
  mean.ticks = 0;
  mean.strays = 0;
  return true;
}

void TickCost::observe(const TickLoad& load, double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return;
  const Kind kind = kind_of(load);
  const Terms terms = terms_of(load);
  const auto found = std::find_if(means_.begin(), means_.end(),
                                  [&](const Mean& mean) { return mean.kind == kind; });
  if (found == means_.end()) {
    means_.push_back({kind, terms, seconds, 1, 0});
    return;
  }
  const double expected = std::max(*predict(load), 1e-9);
  double took = seconds;
  if (found->ticks == 1) {
    if (seconds * kStray < expected || seconds > kStray * expected) found->ticks = 0;
  } else if (!note_stray(*found, seconds / expected) && found->ticks >= kBelieved) {
    const double now = std::max(*predict(load), 1e-9);
    took = std::clamp(seconds, (1 - kOutlier) * now, (1 + kOutlier) * now);
  }
  found->take(terms, took);
}

}  // namespace tandem::cost
