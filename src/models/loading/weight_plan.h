#pragma once
// Which tensors of a folder make up each matrix and vector of a model. Planning looks at names,
// shapes and types only: it covers the whole model without mapping a byte.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/model_config.h"
#include "tandem/dtype.h"
#include "tandem/error.h"
#include "tandem/quantization.h"
#include "weights/weight_folder.h"

namespace tandem::models {

/// How the elements of a matrix are stored.
struct Format {
  enum class Kind : std::uint8_t { kDense, kQuantized, kFp8 };
  Kind kind = Kind::kDense;
  DType dtype = DType::kF32;  // of dense elements; of scales and biases
  Quantization quantization;  // kQuantized
  config::Fp8Blocks blocks;   // kFp8
  bool operator==(const Format& other) const;
};

/// One module of the folder: `count` stacked matrices [rows, cols]. Names are empty where the
/// format has no such tensor.
struct Source {
  std::string weight;
  std::string scales;
  std::string biases;
  std::string scale_inverse;
  int count = 1;
  int rows = 0;
  int cols = 0;
  Format format;
};

/// Rows [first, first + rows) of matrix `index` of a source.
struct Piece {
  int source = 0;
  int index = 0;
  int first = 0;
  int rows = 0;
};

/// `count` matrices [rows, cols] whose rows are the pieces' rows one after another. With
/// `transposed` the pieces make matrices [cols, rows] that are turned at load.
struct MatrixPlan {
  int count = 1;
  int rows = 0;
  int cols = 0;
  bool transposed = false;
  std::vector<Source> sources;
  std::vector<Piece> pieces;
};

/// Bytes of one row in the folder; `scales` of the scales and as many of the biases.
struct RowBytes {
  std::size_t weight = 0;
  std::size_t scales = 0;
};
RowBytes row_bytes(const Source& source);

/// Bytes of the plan in the folder.
std::uint64_t stored_bytes(const MatrixPlan& plan);

/// float32 [size]: the tensor plus `offset`.
struct VectorPlan {
  std::string tensor;
  int size = 0;
  float offset = 0;
};

struct LinearPlan {
  MatrixPlan matrix;
  std::optional<VectorPlan> bias;
};

/// A module and how many rows it has.
struct RowsOf {
  std::string module;
  int rows = 0;
};

/// Finds tensors and checks them. The first failure is kept: plans made after one are not used.
class WeightPlanner {
 public:
  /// Both outlive the planner. Without a folder (null) every tensor that is asked for is taken to
  /// be there, stored as config.json says that converters store it; has() knows none.
  WeightPlanner(const config::ModelConfig& config, weights::WeightFolder* folder)
      : config_(config), folder_(folder) {}

  bool has(std::string_view tensor) const { return folder_ != nullptr && folder_->has(tensor); }
  void fail(Error error);
  const Status& status() const { return status_; }

  /// `module`.weight, as [rows, cols] when count is 0, else as [count, rows, cols].
  Source source(const std::string& module, int count, int rows, int cols);
  /// The same of a tensor whose name has no ".weight".
  Source bare_source(const std::string& tensor, int count, int rows, int cols);

  LinearPlan linear(const std::string& module, int rows, int cols, bool bias);
  /// Modules that read the same input.
  std::vector<LinearPlan> linears(std::span<const RowsOf> modules, int cols, bool bias);
  VectorPlan vector(const std::string& tensor, int size, float offset = 0);
  /// A depthwise convolution's taps: [channels, 1, taps] (Hugging Face) or [channels, taps, 1]
  /// (mlx-lm), the same bytes.
  VectorPlan depthwise(const std::string& tensor, int channels, int taps);
  /// The tensor's shape, if there is one of that name; not planned by that.
  const weights::TensorInfo* stored(const std::string& tensor) const {
    return folder_ == nullptr ? nullptr : folder_->find(tensor);
  }
  /// Pieces of several sources as one stack; they must be stored alike.
  MatrixPlan stack(std::vector<Source> sources, std::vector<Piece> pieces, int count, int rows,
                   int cols);

 private:
  Source described(const std::string& tensor, const std::string& module, int count, int rows,
                   int cols);
  Format usual_format(const Source& source, const std::string& module, int count) const;
  /// A format whose scales the module has; null: it is not quantized.
  const QuantFormat* quantized(const std::string& module) const;
  void check_quantized(Source& source, const std::string& module, const QuantFormat& format,
                       int leading);
  void check_fp8(Source& source);
  /// Expects a tensor with this shape; marks it known.
  const weights::TensorInfo* expect(const std::string& tensor, std::span<const std::int64_t> shape);

  Error wrong_type(const std::string& tensor, DType dtype, std::string_view wanted) const;

  const config::ModelConfig& config_;
  weights::WeightFolder* folder_;
  Status status_;
};

}  // namespace tandem::models
