#include "models/loading/weight_reader.h"

#include <algorithm>
#include <utility>

#include "models/loading/gather.h"

namespace tandem::models {

void WeightReader::advance(std::uint64_t bytes) {
  done_ = std::min(total_, done_ + bytes);
  if (progress_) progress_(done_, total_);
}

std::optional<kernels::Matrix> WeightReader::matrix(const MatrixPlan& plan) {
  if (!status_.ok()) return std::nullopt;
  // Rewritten weights are as precise as the activations that meet them.
  const bool exact = ops_.activations() == kernels::Activations::kF32;
  const DType dense_type = exact ? DType::kF32 : DType::kBF16;
  auto data = gather(folder_, plan, dense_type);
  if (!data.ok()) {
    status_ = data.error();
    return std::nullopt;
  }
  if (ops_.needs_dense(*data)) {
    data = dense(*data, dense_type);
  }
  auto prepared = ops_.prepare(*std::move(data));
  if (!prepared.ok()) {
    Error error = prepared.error();
    error.message = plan.sources.front().weight + ": " + error.message;
    status_ = std::move(error);
    return std::nullopt;
  }
  footprint_.held += prepared->bytes();
  advance(stored_bytes(plan));
  return *std::move(prepared);
}

Linear WeightReader::linear(const LinearPlan& plan) {
  auto made = matrix(plan.matrix);
  if (!made) return {};
  footprint_.per_token += made->bytes();
  std::optional<mx::array> bias;
  if (plan.bias) bias = vector(*plan.bias);
  return {*std::move(made), std::move(bias)};
}

Projection WeightReader::projection(const std::vector<LinearPlan>& plans,
                                    std::span<const int> parts) {
  std::vector<Linear> linears;
  linears.reserve(plans.size());
  for (const LinearPlan& plan : plans) linears.push_back(linear(plan));
  return status_.ok() ? Projection(std::move(linears), parts) : Projection();
}

Linear WeightReader::experts(const MatrixPlan& plan, int top_k) {
  auto made = matrix(plan);
  if (!made) return {};
  footprint_.per_token +=
      made->bytes() / static_cast<std::size_t>(plan.count) * static_cast<std::size_t>(top_k);
  return {*std::move(made), std::nullopt};
}

Linear WeightReader::table(const MatrixPlan& plan) {
  auto made = matrix(plan);
  if (!made) return {};
  footprint_.per_token += made->bytes() / static_cast<std::size_t>(plan.rows);
  return {*std::move(made), std::nullopt};
}

/// Empty after a failure.
std::vector<float> WeightReader::values(const VectorPlan& plan) {
  if (!status_.ok()) return {};
  auto values = gather_vector(folder_, plan);
  if (!values.ok()) {
    status_ = values.error();
    return {};
  }
  footprint_.held += values->size() * sizeof(float);
  footprint_.per_token += values->size() * sizeof(float);
  return *std::move(values);
}

mx::array WeightReader::vector(const VectorPlan& plan) {
  const std::vector<float> elements = values(plan);
  return status_.ok() ? ops_.upload(elements) : mx::array(0.0F);
}

mx::array WeightReader::taps(const VectorPlan& plan, int channels) {
  const std::vector<float> elements = values(plan);
  if (!status_.ok()) return mx::array(0.0F);
  const auto width = static_cast<std::size_t>(channels);
  const std::size_t taps = elements.size() / width;
  std::vector<float> turned(elements.size());
  for (std::size_t c = 0; c < width; ++c) {
    for (std::size_t j = 0; j < taps; ++j) turned[j * width + c] = elements[c * taps + j];
  }
  return ops_.upload(std::as_bytes(std::span(turned)), DType::kF32,
                     {static_cast<int>(taps), channels});
}

mx::array WeightReader::norm(const VectorPlan& plan) {
  const mx::array weight = vector(plan);
  return status_.ok() ? ops_.norm_weight(weight) : weight;
}

kernels::RopeSpec WeightReader::rope(const kernels::RopeSpec& spec) const {
  return ops_.prepare_rope(spec);
}

}  // namespace tandem::models
