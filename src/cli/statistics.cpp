#include "cli/statistics.h"

#include <algorithm>
#include <cstddef>

#include "base/check.h"

namespace tandem::cli {

Spread spread_of(std::vector<double> values) {
  check(!values.empty(), "a spread needs measurements");
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  const double median =
      values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
  return {median, values.front(), values.back()};
}

nlohmann::ordered_json spread_json(const Spread& spread) {
  return {{"median", spread.median}, {"min", spread.min}, {"max", spread.max}};
}

}  // namespace tandem::cli
