// Headers of weight files. What is accepted covers the file's data without holes and overlaps, and
// the same header written anew says the same. Small files are also opened as a model's folder.

#include "weights/safetensors.h"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

#include "cluster/split/model_hash.h"
#include "fuzz/fuzz.h"
#include "support/safetensors_writer.h"
#include "support/temp_folder.h"
#include "tandem/dtype.h"

namespace {

using namespace tandem::weights;
using tandem::fuzz::require;
using tandem::fuzz::require_refusal;
using tandem::testing::pack_safetensors;

constexpr std::uint64_t kSmallFile = 1U << 16;

auto parse(std::string_view text, std::uint64_t file_size) {
  return parse_header(std::as_bytes(std::span(text)), file_size, "model.safetensors");
}

void check_cover(const SafetensorsHeader& header, std::uint64_t begin, std::uint64_t end) {
  std::uint64_t at = begin;
  for (const TensorInfo& tensor : header.tensors) {
    require(tensor.begin == at && tensor.end >= at && tensor.end <= end);
    std::uint64_t bytes = tandem::size_of(tensor.dtype);
    for (const std::int64_t extent : tensor.shape) bytes *= static_cast<std::uint64_t>(extent);
    require(tensor.end - tensor.begin == bytes);
    at = tensor.end;
  }
  require(at == end);
}

void write_anew(const SafetensorsHeader& header, std::uint64_t data_begin, std::uint64_t data) {
  nlohmann::json json = nlohmann::json::object();
  for (const TensorInfo& tensor : header.tensors) {
    json[tensor.name] = {{"dtype", tandem::dtype_name(tensor.dtype)},
                         {"shape", tensor.shape},
                         {"data_offsets", {tensor.begin - data_begin, tensor.end - data_begin}}};
  }
  require(json.size() == header.tensors.size());
  for (const auto& [key, value] : header.metadata) json["__metadata__"][key] = value;
  const std::string text = json.dump();
  auto again = parse(text, 8 + text.size() + data);
  require(again.ok() && again->tensors.size() == header.tensors.size());
  for (std::size_t i = 0; i < header.tensors.size(); ++i) {
    require(again->tensors[i].name == header.tensors[i].name);
    require(again->tensors[i].shape == header.tensors[i].shape);
  }
}

/// A folder with such a header is a model or is refused.
void identify(std::string_view header, std::uint64_t data) {
  static const tandem::testing::TempFolder folder;
  tandem::testing::write_file(folder / "config.json",
                              R"({"model_type":"llama","num_hidden_layers":3,"hidden_size":64,
                                  "intermediate_size":96,"num_attention_heads":4,"vocab_size":96,
                                  "rms_norm_eps":1e-5,"max_position_embeddings":512})");
  tandem::testing::write_file(folder / "model.safetensors",
                              pack_safetensors(header, std::string(data, '\0')));
  const auto hash = tandem::cluster::model_hash(folder.path());
  if (!hash) return require_refusal(hash.error());
  require(hash->size() == 64);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  tandem::fuzz::Input input(data, size);
  // Bytes of data behind the header: a small number, or the length that a file says of itself.
  std::uint64_t behind = input.byte() * 4U;
  if (input.rest().size() >= 8) {
    const auto length = header_length(std::as_bytes(std::span(input.rest().substr(0, 8))), size,
                                      "model.safetensors");
    if (!length) require_refusal(length.error());
    require(!length || *length <= size - 8);
  }
  if (behind == 1020) behind = std::numeric_limits<std::uint64_t>::max() / 2;
  const std::string_view text = input.rest();
  auto header = parse(text, 8 + text.size() + behind);
  if (!header) {
    require_refusal(header.error());
    return 0;
  }
  check_cover(*header, 8 + text.size(), 8 + text.size() + behind);
  write_anew(*header, 8 + text.size(), behind);
  if (behind < kSmallFile) identify(text, behind);
  return 0;
}
