#include "cluster/split/partition.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace tandem::cluster {
namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();

// Bytes of layers [0, i) for every i.
std::vector<std::uint64_t> prefix_bytes(const ModelSizes& model) {
  std::vector<std::uint64_t> prefix(model.layers.size() + 1, 0);
  for (std::size_t i = 0; i < model.layers.size(); ++i) {
    prefix[i + 1] = prefix[i] + model.layers[i] + model.kv_per_layer;
  }
  return prefix;
}

// The ranks' loads as a function of where their ranges end.
struct Loads {
  const ModelSizes& model;
  std::span<const double> shares;
  const Fits& fits;
  std::vector<std::uint64_t> prefix = prefix_bytes(model);

  int layers() const { return static_cast<int>(model.layers.size()); }
  int ranks() const { return static_cast<int>(shares.size()); }
  double of(int rank, int first, int last) const {
    if (fits && !fits(static_cast<std::size_t>(rank), {first, last})) return kInfinite;
    std::uint64_t bytes = prefix[last] - prefix[first];
    if (first == 0) bytes += model.embedding;
    if (last == layers()) bytes += model.head;
    return static_cast<double>(bytes) / shares[rank];
  }
};

// table[r][i]: the least cost when ranks r.. hold the layers i.., the last of them all.
using Table = std::vector<std::vector<double>>;

template <class Cost>
Table least_costs(const Loads& loads, const Cost& cost) {
  Table table(loads.ranks() + 1, std::vector<double>(loads.layers() + 1, kInfinite));
  table[loads.ranks()][loads.layers()] = 0;
  for (int rank = loads.ranks() - 1; rank >= 0; --rank) {
    for (int first = 0; first < loads.layers(); ++first) {
      for (int last = first + 1; last <= loads.layers(); ++last) {
        const double total = cost(loads.of(rank, first, last), table[rank + 1][last]);
        table[rank][first] = std::min(table[rank][first], total);
      }
    }
  }
  return table;
}

}  // namespace

ModelSizes read_by_token(ModelSizes model) {
  model.embedding = 0;
  return model;
}

std::uint64_t range_bytes(const ModelSizes& model, LayerRange range) {
  const auto prefix = prefix_bytes(model);
  std::uint64_t bytes = prefix[range.last] - prefix[range.first];
  if (range.first == 0) bytes += model.embedding;
  if (range.last == static_cast<int>(model.layers.size())) bytes += model.head;
  return bytes;
}

Result<std::vector<LayerRange>> partition(const ModelSizes& model, std::span<const double> shares,
                                          const Fits& fits) {
  const int count = static_cast<int>(model.layers.size());
  const int ranks = static_cast<int>(shares.size());
  if (ranks < 1) return invalid("a model needs at least 1 rank");
  if (ranks > count) {
    return invalid(
        fmt::format("{} ranks are more than the model's {} layers: every rank holds at "
                    "least one layer",
                    ranks, count));
  }
  for (const double share : shares) {
    if (!(share > 0) || share == kInfinite) return invalid("a rank's share must be positive");
  }
  const Loads loads{model, shares, fits};
  const double limit =
      least_costs(loads, [](double load, double rest) { return std::max(load, rest); })[0][0];
  if (limit == kInfinite) {
    return Error{ErrorCode::kResourceLimit, "no split of the layers fits every rank's memory"};
  }
  const auto squares = [limit](double load, double rest) {
    const double relative = limit > 0 ? load / limit : 0;
    return load > limit ? kInfinite : relative * relative + rest;
  };
  const Table table = least_costs(loads, squares);
  std::vector<LayerRange> ranges;
  int first = 0;
  for (int rank = 0; rank < ranks; ++rank) {
    int last = count - (ranks - rank - 1);
    while (squares(loads.of(rank, first, last), table[rank + 1][last]) > table[rank][first]) --last;
    ranges.push_back({first, last});
    first = last;
  }
  return ranges;
}

}  // namespace tandem::cluster
