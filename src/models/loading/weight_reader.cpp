#include "models/loading/weight_reader.h"

#include <algorithm>
#include <utility>

#include "kernels/mlx_faults.h"
#include "kernels/norm.h"
#include "kernels/rows.h"
#include "models/loading/gather.h"

namespace tandem::models {

void WeightReader::advance(std::uint64_t bytes) {
  done_ = std::min(total_, done_ + bytes);
  if (progress_) progress_(done_, total_);
}

std::optional<kernels::Matrix> WeightReader::matrix(const MatrixPlan& plan) {
  if (!status_.ok()) return std::nullopt;
  // Rewritten weights are as precise as the activations that meet them.
  const bool exact = context_.activations == kernels::Activations::kF32;
  const DType dense_type = exact ? DType::kF32 : DType::kBF16;
  auto data = gather(folder_, plan, dense_type);
  if (!data.ok()) {
    status_ = data.error();
    return std::nullopt;
  }
  if (kernels::must_be_dense(kernels::cuda_generation(context_), *data)) {
    data = dense(*data, dense_type);
  }
  auto prepared = kernels::Matrix::prepare(context_, *std::move(data));
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

mx::array WeightReader::vector(const VectorPlan& plan) {
  if (!status_.ok()) return mx::array(0.0F);
  auto values = gather_vector(folder_, plan);
  if (!values.ok()) {
    status_ = values.error();
    return mx::array(0.0F);
  }
  footprint_.held += values->size() * sizeof(float);
  footprint_.per_token += values->size() * sizeof(float);
  return mx::array(values->data(), {plan.size}, mx::float32);
}

mx::array WeightReader::norm(const VectorPlan& plan) {
  const mx::array weight = vector(plan);
  return status_.ok() ? kernels::norm_weight(context_, weight) : weight;
}

kernels::RopeSpec WeightReader::rope(const kernels::RopeSpec& spec) const {
  return kernels::on_gpu(context_) ? kernels::with_periods(spec) : spec;
}

}  // namespace tandem::models
