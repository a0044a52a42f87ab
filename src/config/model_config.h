#pragma once
// config.json of a model folder: what every family has in common. What a family adds is read by its
// file in src/models.

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "config/json.h"
#include "tandem/dtype.h"
#include "tandem/error.h"
#include "tandem/quantization.h"

namespace tandem::config {

/// How fp8 checkpoints in the Hugging Face layout store a weight: `weight` in F8_E4M3 with
/// `weight_scale_inv` [ceil(rows / block_rows), ceil(cols / block_cols)] float32 that multiplies.
struct Fp8Blocks {
  int block_rows = 128;
  int block_cols = 128;
};

/// Which modules are quantized how. A module is quantized when its `.scales` tensor exists; these
/// are its parameters then.
struct QuantizationTable {
  Quantization defaults;
  /// Full module name ("model.layers.0.mlp.gate_proj") -> its own parameters.
  std::map<std::string, Quantization, std::less<>> overrides;

  const Quantization& of(std::string_view module) const;
};

/// A validated config.json. Immutable value.
struct ModelConfig {
  std::string file;        // for messages
  std::string model_type;  // of the text model: "gemma3" with a text_config gives "gemma3_text"
  nlohmann::json fields;   // the text model's object (text_config merged over where present)
  std::optional<QuantizationTable> quantization;  // MLX's "quantization"
  std::optional<Fp8Blocks> fp8;                   // "quantization_config" with quant_method fp8
  DType dtype = DType::kBF16;                     // torch_dtype or dtype; bfloat16 when absent

  /// Reads and checks `folder`/config.json. "auto_map" is ignored: no code of a model ever runs. A
  /// quantization_config of another method (awq, gptq, ...) is refused by name.
  static Result<ModelConfig> load(const std::filesystem::path& folder);
  static Result<ModelConfig> parse(std::string_view text, std::string file);

  FieldReader reader() const { return {fields, file}; }
};

}  // namespace tandem::config
