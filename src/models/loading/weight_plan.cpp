#include "models/loading/weight_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/check.h"
#include "kernels/row_major.h"

namespace tandem::models {
namespace {

constexpr std::string_view kFloats = "BF16, F16 or F32";

bool is_float(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF16;
}

/// [count, rows, cols], or [rows, cols] when `leading` is 0.
std::vector<std::int64_t> shape_of(int leading, std::int64_t rows, std::int64_t cols) {
  std::vector<std::int64_t> shape;
  if (leading > 0) shape.push_back(leading);
  shape.push_back(rows);
  shape.push_back(cols);
  return shape;
}

}  // namespace

bool Format::operator==(const Format& other) const {
  if (kind != other.kind || dtype != other.dtype) return false;
  if (kind == Kind::kQuantized) return quantization == other.quantization;
  return kind != Kind::kFp8 || (blocks.block_rows == other.blocks.block_rows &&
                                blocks.block_cols == other.blocks.block_cols);
}

RowBytes row_bytes(const Source& source) {
  const auto cols = static_cast<std::size_t>(source.cols);
  const Format& format = source.format;
  if (format.kind == Format::Kind::kFp8) return {cols, 0};
  const Quantization* quantization =
      format.kind == Format::Kind::kQuantized ? &format.quantization : nullptr;
  const kernels::ElementFormat elements = kernels::element_format(quantization, format.dtype);
  return {kernels::row_bytes(elements, source.cols), kernels::scale_bytes(elements, source.cols)};
}

std::uint64_t stored_bytes(const MatrixPlan& plan) {
  std::uint64_t bytes = 0;
  for (const Piece& piece : plan.pieces) {
    const RowBytes row = row_bytes(plan.sources[static_cast<std::size_t>(piece.source)]);
    bytes += static_cast<std::uint64_t>(piece.rows) * (row.weight + 2 * row.scales);
  }
  return bytes;
}

Error WeightPlanner::wrong_type(const std::string& tensor, DType dtype,
                                std::string_view wanted) const {
  return invalid(fmt::format("{}: tensor {} must be {}, not {}",
                             std::filesystem::path(config_.file).parent_path().string(), tensor,
                             wanted, dtype_name(dtype)));
}

void WeightPlanner::fail(Error error) {
  if (status_.ok()) status_ = std::move(error);
}

const weights::TensorInfo* WeightPlanner::expect(const std::string& tensor,
                                                 std::span<const std::int64_t> shape) {
  const weights::TensorInfo* info = folder_->find(tensor);
  if (info == nullptr ||
      !std::equal(shape.begin(), shape.end(), info->shape.begin(), info->shape.end())) {
    // Taking it fails with the folder's own message, which names the file.
    const auto taken = folder_->take(tensor, shape);
    check(!taken.ok(), "a tensor that is missing or misshapen cannot be taken");
    fail(taken.error());
    return nullptr;
  }
  folder_->skip(tensor);
  return info;
}

/// Converters quantize what groups divide, and keep embedding and head of fp8 checkpoints.
Format WeightPlanner::usual_format(const Source& source, const std::string& module,
                                   int count) const {
  Format format;
  format.dtype = config_.dtype;
  const bool in_layer = module.find("layers.") != std::string::npos;
  if (config_.quantization) {
    const Quantization& q = config_.quantization->of(module);
    if (source.cols % q.group != 0) return format;
    format.kind = Format::Kind::kQuantized;
    format.quantization = q;
  } else if (config_.fp8 && count == 0 && in_layer) {
    format.kind = Format::Kind::kFp8;
    format.blocks = *config_.fp8;
  }
  return format;
}

const QuantFormat* WeightPlanner::quantized(const std::string& module) const {
  for (const QuantFormat& format : kQuantFormats) {
    if (folder_->has(fmt::format("{}{}", module, format.scales))) return &format;
  }
  return nullptr;
}

void WeightPlanner::check_quantized(Source& source, const std::string& module,
                                    const QuantFormat& format, int leading) {
  source.scales = fmt::format("{}{}", module, format.scales);
  source.biases = fmt::format("{}{}", module, format.biases);
  source.format.kind = Format::Kind::kQuantized;
  const weights::TensorInfo* weight = folder_->find(source.weight);
  const weights::TensorInfo* scales = folder_->find(source.scales);
  if (weight == nullptr) {
    expect(source.weight, shape_of(leading, source.rows, -1));
    return;
  }
  if (weight->dtype != format.packed) {
    fail(wrong_type(source.weight, weight->dtype, dtype_name(format.packed)));
    return;
  }
  // What config.json does not name is read off the shapes, as mlx-lm does.
  Quantization q = config_.quantization ? config_.quantization->of(module) : Quantization{};
  const bool named = config_.quantization && config_.quantization->overrides.contains(module);
  // No more than a word a column, so that the product fits whatever a file says.
  const bool shaped = !weight->shape.empty() && weight->shape.back() <= source.cols &&
                      !scales->shape.empty() && scales->shape.back() > 0;
  if (!named && shaped) {
    const Quantization seen{static_cast<int>(weight->shape.back() * 32 / source.cols),
                            static_cast<int>(source.cols / scales->shape.back()), format.mode};
    const QuantFormat* known = find_format(seen.mode, seen.bits);
    if (known != nullptr && has_group(*known, seen.group)) q = seen;
  }
  if (source.cols % q.group != 0) {
    fail(invalid(fmt::format("{}: {} has {} columns, which groups of {} do not divide",
                             config_.file, module, source.cols, q.group)));
    return;
  }
  source.format.quantization = q;
  const std::int64_t words = static_cast<std::int64_t>(source.cols) * q.bits / 32;
  expect(source.weight, shape_of(leading, source.rows, words));
  const auto groups = shape_of(leading, source.rows, source.cols / q.group);
  expect(source.scales, groups);
  const weights::TensorInfo* biases = expect(source.biases, groups);
  source.format.dtype = scales->dtype;
  if (!is_float(scales->dtype)) {
    fail(wrong_type(source.scales, scales->dtype, kFloats));
  } else if (biases != nullptr && biases->dtype != scales->dtype) {
    fail(wrong_type(source.biases, biases->dtype, dtype_name(scales->dtype)));
  }
}

void WeightPlanner::check_fp8(Source& source) {
  source.format.kind = Format::Kind::kFp8;
  source.scale_inverse = source.weight + "_scale_inv";
  if (!config_.fp8) {
    fail(invalid(fmt::format("{}: tensor {} is F8_E4M3, but quantization_config does not say fp8",
                             config_.file, source.weight)));
    return;
  }
  source.format.blocks = *config_.fp8;
  const auto blocks = [](int size, int block) { return (size + block - 1) / block; };
  const auto shape = shape_of(0, blocks(source.rows, config_.fp8->block_rows),
                              blocks(source.cols, config_.fp8->block_cols));
  const weights::TensorInfo* scale = expect(source.scale_inverse, shape);
  if (scale == nullptr) return;
  source.format.dtype = scale->dtype;
  if (!is_float(scale->dtype)) {
    fail(wrong_type(source.scale_inverse, scale->dtype, kFloats));
  }
}

Source WeightPlanner::described(const std::string& tensor, const std::string& module, int count,
                                int rows, int cols) {
  Source source;
  source.weight = tensor;
  source.count = std::max(1, count);
  source.rows = rows;
  source.cols = cols;
  if (folder_ == nullptr) {
    source.format = usual_format(source, module, count);
    return source;
  }
  if (const QuantFormat* format = quantized(module)) {
    check_quantized(source, module, *format, count);
    return source;
  }
  const weights::TensorInfo* info = expect(tensor, shape_of(count, rows, cols));
  if (info == nullptr) return source;
  source.format.dtype = info->dtype;
  if (info->dtype == DType::kF8E4M3 && count == 0) {
    check_fp8(source);
  } else if (!is_float(info->dtype)) {
    fail(wrong_type(tensor, info->dtype, kFloats));
  }
  return source;
}

Source WeightPlanner::source(const std::string& module, int count, int rows, int cols) {
  return described(module + ".weight", module, count, rows, cols);
}

Source WeightPlanner::bare_source(const std::string& tensor, int count, int rows, int cols) {
  return described(tensor, tensor, count, rows, cols);
}

VectorPlan WeightPlanner::vector(const std::string& tensor, int size, float offset) {
  if (folder_ == nullptr) return {tensor, size, offset};
  const std::int64_t one_row[] = {1, size};
  const auto shape = std::span(one_row);
  const weights::TensorInfo* stored = folder_->find(tensor);
  const bool row = stored != nullptr && stored->shape.size() == 2;
  const weights::TensorInfo* info = expect(tensor, row ? shape : shape.subspan(1));
  if (info != nullptr && !is_float(info->dtype)) {
    fail(wrong_type(tensor, info->dtype, kFloats));
  }
  return {tensor, size, offset};
}

VectorPlan WeightPlanner::depthwise(const std::string& tensor, int channels, int taps) {
  const VectorPlan plan{tensor, channels * taps, 0};
  if (folder_ == nullptr) return plan;
  const std::int64_t huggingface[] = {channels, 1, taps};
  const std::int64_t mlx[] = {channels, taps, 1};
  const weights::TensorInfo* found = stored(tensor);
  const bool last = found != nullptr && found->shape.size() == 3 && found->shape[2] == 1;
  const weights::TensorInfo* info = expect(tensor, last ? mlx : huggingface);
  if (info != nullptr && !is_float(info->dtype)) fail(wrong_type(tensor, info->dtype, kFloats));
  return plan;
}

LinearPlan WeightPlanner::linear(const std::string& module, int rows, int cols, bool bias) {
  LinearPlan plan;
  plan.matrix = stack({source(module, 0, rows, cols)}, {{0, 0, 0, rows}}, 1, rows, cols);
  if (bias) plan.bias = vector(module + ".bias", rows);
  return plan;
}

std::vector<LinearPlan> WeightPlanner::linears(std::span<const RowsOf> modules, int cols,
                                               bool bias) {
  std::vector<LinearPlan> plans;
  for (const RowsOf& each : modules) {
    plans.push_back(linear(each.module, each.rows, cols, bias));
  }
  return plans;
}

MatrixPlan WeightPlanner::stack(std::vector<Source> sources, std::vector<Piece> pieces, int count,
                                int rows, int cols) {
  check(!sources.empty(), "a matrix has a source");
  for (const Source& source : sources) {
    if (source.format == sources.front().format) continue;
    fail(invalid(fmt::format("{}: {} and {} are parts of one matrix and must be stored alike",
                             config_.file, sources.front().weight, source.weight)));
    break;
  }
  MatrixPlan plan;
  plan.count = count;
  plan.rows = rows;
  plan.cols = cols;
  plan.sources = std::move(sources);
  plan.pieces = std::move(pieces);
  return plan;
}

}  // namespace tandem::models
