#include "config/model_config.h"

#include <fmt/format.h>

#include <utility>

#include "config/python_json.h"

namespace tandem::config {
namespace {

using nlohmann::json;

/// {"group_size", "bits", "mode"} of the whole model or of one module.
Quantization read_quantization(FieldReader& reader, Quantization fallback) {
  Quantization out;
  out.bits = reader.integer_or("bits", fallback.bits, 1, 64);
  out.group = reader.integer_or("group_size", fallback.group, 1, 1 << 20);
  if (!known_bits(out.bits)) {
    reader.fail("bits", fmt::format("must be 2, 3, 4, 5, 6 or 8, not {}", out.bits));
  }
  if (!known_group(out.group)) {
    reader.fail("group_size", fmt::format("must be 32, 64 or 128, not {}", out.group));
  }
  const std::string mode = reader.string_or("mode", "affine");
  if (mode != "affine") {
    reader.fail("mode", fmt::format("\"{}\" is not supported, only \"affine\" is", mode));
  }
  return out;
}

/// Module names map to their own parameters, or to true or false; which modules are quantized is
/// read from the weights, so the booleans say nothing new.
QuantizationTable read_table(FieldReader reader, const json& object) {
  QuantizationTable table;
  reader.integer("bits", 1, 64);
  reader.integer("group_size", 1, 1 << 20);
  table.defaults = read_quantization(reader, {});
  for (const auto& [name, value] : object.items()) {
    if (!value.is_object()) continue;
    if (auto module = reader.object(name)) {
      table.overrides.emplace(name, read_quantization(*module, table.defaults));
    }
  }
  return table;
}

Fp8Blocks read_fp8(FieldReader& reader) {
  Fp8Blocks blocks;
  const std::string format = reader.string_or("fmt", "e4m3");
  if (format != "e4m3") {
    reader.fail("fmt", fmt::format("\"{}\" is not supported, only \"e4m3\" is", format));
  }
  const auto sizes = reader.integers_or_empty("weight_block_size");
  const auto good = [](std::int64_t size) { return size >= 1 && size <= 1 << 20; };
  if (sizes.size() != 2 || !good(sizes[0]) || !good(sizes[1])) {
    reader.fail("weight_block_size", "must be two positive integers (fp8 scaled by blocks)");
    return blocks;
  }
  blocks.block_rows = static_cast<int>(sizes[0]);
  blocks.block_cols = static_cast<int>(sizes[1]);
  return blocks;
}

/// MLX's own table, under either name, or Hugging Face's fp8; any other method is refused.
void read_quantization_fields(ModelConfig& config, FieldReader& reader) {
  if (auto table = reader.object("quantization")) {
    config.quantization = read_table(*table, config.fields["quantization"]);
    return;
  }
  auto other = reader.object("quantization_config");
  if (!other) return;
  if (!other->has("quant_method")) {  // mlx-lm writes its table here too
    config.quantization = read_table(*other, config.fields["quantization_config"]);
    return;
  }
  const std::string method = other->string("quant_method");
  if (method != "fp8") {
    other->fail("quant_method", fmt::format("\"{}\" is not supported; known: fp8, and MLX's affine "
                                            "\"quantization\"",
                                            method));
    return;
  }
  config.fp8 = read_fp8(*other);
}

DType read_dtype(FieldReader& reader) {
  const std::string_view field = reader.has("dtype") ? "dtype" : "torch_dtype";
  const std::string name = reader.string_or(field, "auto");
  constexpr std::string_view kPrefix = "torch.";
  const std::string_view bare =
      std::string_view(name).substr(name.starts_with(kPrefix) ? kPrefix.size() : 0);
  if (bare == "auto") return DType::kBF16;
  if (bare == "bfloat16") return DType::kBF16;
  if (bare == "float16") return DType::kF16;
  if (bare == "float32") return DType::kF32;
  reader.fail(field, fmt::format("must be auto, bfloat16, float16 or float32, not \"{}\"", name));
  return DType::kBF16;
}

/// The text model that transformers assumes where text_config names none.
void name_text_model(json& fields) {
  static constexpr std::pair<std::string_view, std::string_view> kTextModels[] = {
      {"gemma3", "gemma3_text"}, {"llava", "llama"},       {"llava_next", "llama"},
      {"mistral3", "mistral"},   {"video_llava", "llama"}, {"vipllava", "llama"}};
  const auto type = fields.find("model_type");
  for (const auto& [outer, inner] : kTextModels) {
    if (type != fields.end() && *type == outer) *type = inner;
  }
}

/// What transformers' config classes assume: it writes into a text_config only what differs
/// (llava-1.5, pixtral, gemma-3-4b), where a config of its own states every size.
void add_defaults(json& fields) {
  const json sizes = {{"llama",
                       {{"vocab_size", 32000},
                        {"hidden_size", 4096},
                        {"intermediate_size", 11008},
                        {"num_hidden_layers", 32},
                        {"num_attention_heads", 32}}},
                      {"mistral",
                       {{"vocab_size", 32000},
                        {"hidden_size", 4096},
                        {"intermediate_size", 14336},
                        {"num_hidden_layers", 32},
                        {"num_attention_heads", 32},
                        {"num_key_value_heads", 8}}},
                      {"gemma3_text",
                       {{"vocab_size", 262208},
                        {"hidden_size", 2304},
                        {"intermediate_size", 9216},
                        {"num_hidden_layers", 26}}}};
  const json type = fields.value("model_type", json());
  if (!type.is_string() || !sizes.contains(type.get<std::string>())) return;
  for (const auto& [name, value] : sizes[type.get<std::string>()].items()) {
    if (fields.value(name, json()).is_null()) fields[name] = value;
  }
}

/// Multimodal folders keep the language model's fields in text_config.
Status merge_text_config(json& fields, FieldReader& reader) {
  if (!reader.object("text_config")) return reader.status();
  json text = std::move(fields["text_config"]);
  fields.erase("text_config");
  // A null there says nothing about a field that the outer object has.
  for (auto& [name, value] : text.items()) {
    if (!value.is_null()) fields[name] = std::move(value);
  }
  name_text_model(fields);
  add_defaults(fields);
  return {};
}

}  // namespace

const Quantization& QuantizationTable::of(std::string_view module) const {
  const auto it = overrides.find(module);
  return it == overrides.end() ? defaults : it->second;
}

Result<ModelConfig> ModelConfig::load(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "config.json";
  auto text = read_text_file(file);
  if (!text.ok()) return text.error();
  return parse(*text, file.string());
}

Result<ModelConfig> ModelConfig::parse(std::string_view text, std::string file) {
  auto parsed = parse_python_json(text, file);
  if (!parsed.ok()) return parsed.error();

  ModelConfig config;
  config.file = std::move(file);
  config.fields = std::move(*parsed);
  FieldReader outer(config.fields, config.file);
  if (auto status = outer.status(); !status.ok()) return status.error();
  if (auto status = merge_text_config(config.fields, outer); !status.ok()) return status.error();

  // Alone too, Gemma 3 folders leave sizes out.
  if (config.fields.value("model_type", json()) == "gemma3_text") add_defaults(config.fields);

  FieldReader reader(config.fields, config.file);
  config.model_type = reader.string("model_type");
  read_quantization_fields(config, reader);
  config.dtype = read_dtype(reader);
  if (auto status = reader.status(); !status.ok()) return status.error();
  return config;
}

}  // namespace tandem::config
