#pragma once
// Turns plans into weights ready to multiply: maps, decodes and gathers tensors.

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "kernels/ops.h"
#include "models/decoder.h"
#include "models/loading/linear.h"
#include "models/loading/weight_plan.h"
#include "weights/weight_folder.h"

namespace tandem::models {

/// Bytes of weights held, and read for one token.
struct Footprint {
  std::uint64_t held = 0;
  std::uint64_t per_token = 0;

  friend Footprint operator-(const Footprint& a, const Footprint& b) {
    return {a.held - b.held, a.per_token - b.per_token};
  }
  Footprint& operator+=(const Footprint& other) {
    held += other.held;
    per_token += other.per_token;
    return *this;
  }
};

/// Keeps the first failure; what it returns after one is empty. A mapping lives only while its
/// matrix is made, unless the matrix multiplies straight from it. fp8 becomes bfloat16, twice the
/// bytes of the folder: value times scale rounded to bfloat16, as mlx-lm does; a folder that mlx-lm
/// quantized is the one to use where that does not fit.
class WeightReader {
 public:
  /// `total`: stored bytes of everything that will be read, for progress.
  WeightReader(const kernels::Ops& ops, weights::WeightFolder& folder, const LoadProgress& progress,
               std::uint64_t total)
      : ops_(ops), folder_(folder), progress_(progress), total_(total) {}

  /// A matrix that every token reads whole.
  Linear linear(const LinearPlan& plan);
  /// The plans' rows, cut into parts of these sizes.
  Projection projection(const std::vector<LinearPlan>& plans, std::span<const int> parts);
  /// Stacked experts of which a token reads `top_k`.
  Linear experts(const MatrixPlan& plan, int top_k);
  /// A table of which a token reads one row.
  Linear table(const MatrixPlan& plan);
  mx::array vector(const VectorPlan& plan);
  /// A depthwise convolution's taps, float32 [taps, channels].
  mx::array taps(const VectorPlan& plan, int channels);
  /// What the activations of the layers are.
  DType activation_type() const { return ops_.dtype(); }
  /// The weight of a norm.
  mx::array norm(const VectorPlan& plan);
  /// A table of angles, ready for the backend.
  kernels::RopeSpec rope(const kernels::RopeSpec& spec) const;

  const Status& status() const { return status_; }
  const Footprint& footprint() const { return footprint_; }

 private:
  std::vector<float> values(const VectorPlan& plan);
  std::optional<kernels::Matrix> matrix(const MatrixPlan& plan);
  void advance(std::uint64_t bytes);

  const kernels::Ops& ops_;
  weights::WeightFolder& folder_;
  const LoadProgress& progress_;
  std::uint64_t total_;
  std::uint64_t done_ = 0;
  Footprint footprint_;
  Status status_;
};

}  // namespace tandem::models
