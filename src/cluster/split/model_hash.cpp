#include "cluster/split/model_hash.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "config/model_config.h"
#include "models/architecture.h"
#include "models/meaning.h"
#include "tandem/dtype.h"
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

}  // namespace

Result<std::string> model_hash(const std::filesystem::path& folder) {
  auto config = config::ModelConfig::load(folder);
  if (!config) return config.error();
  auto model = models::architecture_of(*config);
  if (!model) return model.error();
  auto weights = weights::WeightFolder::open(folder, weights::Alignment::kAny);
  if (!weights) return weights.error();
  Sha256 hash;
  hash.add(models::meaning(*config, *model));
  if (auto added = add_content(*weights, hash); !added) return added.error();
  return hash.hex();
}

}  // namespace tandem::cluster
