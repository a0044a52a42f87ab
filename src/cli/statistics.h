#pragma once
// Median and range of repeated measurements.

#include <nlohmann/json.hpp>
#include <vector>

namespace tandem::cli {

struct Spread {
  double median = 0;
  double min = 0;
  double max = 0;
};

/// `values` is not empty. Pure.
Spread spread_of(std::vector<double> values);
/// {"median", "min", "max"}
nlohmann::ordered_json spread_json(const Spread& spread);

}  // namespace tandem::cli
