#pragma once
// Weights of a model, loaded.

#include <optional>
#include <span>
#include <vector>

#include "kernels/ops.h"

namespace tandem::models {

namespace mx = mlx::core;

/// A matrix and its bias, if any. Empty until loaded.
class Linear {
 public:
  Linear() = default;
  Linear(kernels::Matrix matrix, std::optional<mx::array> bias);

  const kernels::Matrix& matrix() const;
  const std::optional<mx::array>& bias() const { return bias_; }
  /// [T, cols] -> [T, rows].
  mx::array operator()(const kernels::Ops& ops, const mx::array& x) const;
  /// One matrix a head: [T, count, cols] -> [T, count, rows].
  mx::array per_head(const kernels::Ops& ops, const mx::array& x) const;

 private:
  std::optional<kernels::Matrix> matrix_;
  std::optional<mx::array> bias_;
};

/// Linears that read the same input, in one operation, cut into parts.
class Projection {
 public:
  Projection() = default;
  /// The parts' sizes follow each other over the rows of all linears; no part crosses two of them.
  Projection(std::vector<Linear> linears, std::span<const int> parts);

  /// [T, cols] -> one [T, size] a part.
  std::vector<mx::array> operator()(const kernels::Ops& ops, const mx::array& x) const;

 private:
  struct Part {
    std::size_t linear = 0;
    int begin = 0;
    int size = 0;
  };
  std::vector<Linear> linears_;
  std::vector<Part> parts_;
};

}  // namespace tandem::models
