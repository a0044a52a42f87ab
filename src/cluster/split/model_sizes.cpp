#include "cluster/split/model_sizes.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <array>
#include <charconv>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "config/json.h"
#include "config/model_config.h"
#include "models/architecture.h"
#include "models/meaning.h"
#include "tandem/dtype.h"
#include "tandem/limits.h"
#include "weights/weight_folder.h"

namespace tandem::cluster {
namespace {

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new(), &EVP_MD_CTX_free) {
    EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr);
  }
  void add(std::string_view bytes) { EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()); }
  std::string hex() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int size = 0;
    EVP_DigestFinal_ex(context_.get(), digest.data(), &size);
    std::string text;
    for (unsigned int i = 0; i < size; ++i) text += fmt::format("{:02x}", digest[i]);
    return text;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

// Whole when it is no longer than its samples.
void add_samples(std::span<const std::byte> bytes, Sha256& hash) {
  const auto add = [&](std::size_t begin, std::size_t size) {
    hash.add({reinterpret_cast<const char*>(bytes.data()) + begin, size});
  };
  if (bytes.size() <= 3 * kSampleBytes) return add(0, bytes.size());
  add(0, kSampleBytes);
  add(bytes.size() / 2, kSampleBytes);
  add(bytes.size() - kSampleBytes, kSampleBytes);
}

Status add_content(weights::WeightFolder& weights, Sha256& hash) {
  const std::vector<std::string> names = weights.names();
  const std::size_t every = (names.size() + kSampledTensors - 1) / kSampledTensors;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const weights::TensorInfo* info = weights.find(names[i]);
    hash.add(fmt::format("\n{} {}", names[i], dtype_name(info->dtype)));
    for (const std::int64_t extent : info->shape) hash.add(fmt::format(" {}", extent));
    hash.add("\n");
    if (i % every != 0) continue;
    auto tensor = weights.take(names[i]);
    if (!tensor) return tensor.error();
    add_samples(tensor->bytes, hash);
  }
  return {};
}

// The n of "layers.<n>." in a name.
std::optional<int> layer_of(std::string_view name) {
  constexpr std::string_view kMark = "layers.";
  const std::size_t at = name.find(kMark);
  if (at == std::string_view::npos || (at > 0 && name[at - 1] != '.')) return std::nullopt;
  const std::string_view rest = name.substr(at + kMark.size());
  int layer = 0;
  const auto [end, code] = std::from_chars(rest.data(), rest.data() + rest.size(), layer);
  if (code != std::errc() || end == rest.data() + rest.size() || *end != '.') return std::nullopt;
  if (layer < 0) return std::nullopt;
  return layer;
}

// Layers past the count are extra heads (multi-token prediction) that no rank loads.
void add_tensor(const weights::TensorInfo& tensor, ModelSizes& sizes) {
  const std::uint64_t bytes = tensor.end - tensor.begin;
  if (const auto layer = layer_of(tensor.name)) {
    if (*layer < static_cast<int>(sizes.layers.size())) sizes.layers[*layer] += bytes;
  } else if (tensor.name.find("embed_tokens") != std::string::npos) {
    sizes.embedding += bytes;
  } else {
    sizes.head += bytes;
  }
}

}  // namespace

Result<ModelSummary> summarize_model(const std::filesystem::path& folder) {
  auto config = config::ModelConfig::load(folder);
  if (!config) return config.error();
  config::FieldReader reader = config->reader();
  const int layers = reader.integer("num_hidden_layers", 1, kMaxLayers);
  if (auto status = reader.status(); !status) return status.error();
  auto model = models::architecture_of(*config);
  if (!model) return model.error();
  auto weights = weights::WeightFolder::open(folder, weights::Alignment::kAny);
  if (!weights) return weights.error();

  ModelSummary summary;
  summary.sizes.layers.assign(static_cast<std::size_t>(layers), 0);
  bool tied = true;
  for (const std::string& name : weights->names()) {
    const weights::TensorInfo* tensor = weights->find(name);
    add_tensor(*tensor, summary.sizes);
    if (name.find("lm_head") != std::string::npos) tied = false;
  }
  if (tied) summary.sizes.head += summary.sizes.embedding;
  Sha256 hash;
  hash.add(models::meaning(*config, *model));
  if (auto added = add_content(*weights, hash); !added) return added.error();
  summary.hash = hash.hex();
  return summary;
}

}  // namespace tandem::cluster
