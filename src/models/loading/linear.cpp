#include "models/loading/linear.h"

#include <utility>

#include "base/check.h"

namespace tandem::models {

Linear::Linear(kernels::Matrix matrix, std::optional<mx::array> bias)
    : matrix_(std::move(matrix)), bias_(std::move(bias)) {}

const kernels::Matrix& Linear::matrix() const {
  check(matrix_.has_value(), "a linear is used after it is loaded");
  return *matrix_;
}

mx::array Linear::operator()(const kernels::Ops& ops, const mx::array& x) const {
  return ops.linear(x, matrix(), bias_);
}

mx::array Linear::per_head(const kernels::Ops& ops, const mx::array& x) const {
  return ops.linear_per_head(x, matrix());
}

Projection::Projection(std::vector<Linear> linears, std::span<const int> parts)
    : linears_(std::move(linears)) {
  std::size_t linear = 0;
  int begin = 0;
  for (const int size : parts) {
    if (begin == linears_[linear].matrix().rows()) {
      ++linear;
      begin = 0;
    }
    parts_.push_back({linear, begin, size});
    begin += size;
  }
  check(linear + 1 == linears_.size() && begin == linears_[linear].matrix().rows(),
        "the parts of a projection cover its rows");
}

std::vector<mx::array> Projection::operator()(const kernels::Ops& ops, const mx::array& x) const {
  std::vector<kernels::LinearSpec> specs;
  specs.reserve(linears_.size());
  for (const Linear& linear : linears_) specs.push_back({linear.matrix(), linear.bias()});
  const std::vector<mx::array> wholes = ops.linear_many(x, specs);
  std::vector<mx::array> out;
  out.reserve(parts_.size());
  for (const Part& part : parts_) {
    out.push_back(ops.slice_last(wholes[part.linear], part.begin, part.begin + part.size));
  }
  return out;
}

}  // namespace tandem::models
