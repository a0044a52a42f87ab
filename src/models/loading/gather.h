#pragma once
// The bytes of a planned matrix in the order that the kernels take.

#include "kernels/matrix.h"
#include "models/loading/weight_plan.h"
#include "tandem/error.h"
#include "weights/weight_folder.h"

namespace tandem::models {

/// Maps the plan's tensors. A plan that is a whole tensor borrows the mapping; any other is copied.
/// A transposed plan and fp8 come out dense: fp8 as bfloat16, a quantized one as `dense_type`
/// (kF32: its exact values, or kBF16: half the bytes).
Result<kernels::MatrixData> gather(weights::WeightFolder& folder, const MatrixPlan& plan,
                                   DType dense_type);

/// The elements of quantized matrices, as `type` (kF32 or kBF16).
kernels::MatrixData dense(const kernels::MatrixData& quantized, DType type);

/// The plan's elements as float32.
Result<std::vector<float>> gather_floats(weights::WeightFolder& folder, const MatrixPlan& plan);

/// The plan's vector as float32.
Result<std::vector<float>> gather_vector(weights::WeightFolder& folder, const VectorPlan& plan);

/// The value of an OCP 8-bit float with 4 bits of exponent and 3 of fraction (no infinities).
float from_e4m3(std::uint8_t bits);

}  // namespace tandem::models
