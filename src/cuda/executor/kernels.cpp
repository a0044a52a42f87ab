#include "cuda/executor/kernels.h"

#include <fmt/format.h>

#include <string>
#include <string_view>

#include "cuda/program.h"

namespace tandem::cuda {
namespace {

constexpr std::array<const char*, kProducts> kProductNames = {"qkv", "residual", "gate_up", "head"};
constexpr std::array<const char*, kVariants> kVariantNames = {"1", "held", "8", "16", "32", "64"};

/// Takes kernels out of a module by their names in program.txt; keeps the first failure.
class Finder {
 public:
  Finder(const Module& module, std::span<const ProgramEntry> entries)
      : module_(module), entries_(entries) {}

  void operator()(std::string_view name, Kernel& to) {
    if (!status_.ok()) return;
    for (const ProgramEntry& entry : entries_) {
      if (name != entry.name) continue;
      auto kernel = module_.kernel(entry.symbol);
      if (kernel.ok()) {
        to = *kernel;
      } else {
        status_ = kernel.error();
      }
      return;
    }
    status_ = Error{ErrorCode::kInternal, fmt::format("GPU: the program has no kernel {}", name)};
  }
  const Status& status() const { return status_; }

 private:
  const Module& module_;
  std::span<const ProgramEntry> entries_;
  Status status_;
};

/// Lets a kernel have all that the device gives a block.
Status allow_all(const Device& device, const Kernel& kernel) {
  const auto taken = kernel.static_shared_bytes();
  if (!taken.ok()) return taken.error();
  return kernel.allow_shared_bytes(device.shared_bytes_most() - *taken);
}

}  // namespace

Result<Kernels> Kernels::load(const Device& device, bool head_norms) {
  const Program built = program();
  auto module = Module::load(device, built.cubin);
  if (!module.ok()) return module.error();
  Kernels kernels;
  kernels.module = *std::move(module);
  Finder find(kernels.module, built.entries);
  find(head_norms ? "decode_head_norm" : "decode", kernels.decode);
  find("embed", kernels.embed);
  find("place", kernels.place);
  find("repack", kernels.repack);
  find("turn_heads", kernels.turn_heads);
  find("summarize", kernels.summarize);
  find("attention", kernels.attention);
  find("prepare", kernels.prepare);
  find("prepare_norm", kernels.prepare_norm);
  for (std::size_t p = 0; p < kProducts; ++p) {
    for (std::size_t v = 0; v < kVariants; ++v) {
      find(fmt::format("{}_{}", kProductNames[p], kVariantNames[v]), kernels.products[p][v]);
    }
  }
  if (!find.status().ok()) return find.status().error();
  for (const auto& variants : kernels.products) {
    for (const Kernel& kernel : variants) {
      if (Status status = allow_all(device, kernel); !status.ok()) return status.error();
    }
  }
  if (Status status = allow_all(device, kernels.decode); !status.ok()) return status.error();
  const auto taken = kernels.decode.static_shared_bytes();
  if (!taken.ok()) return taken.error();
  kernels.decode_static_bytes = *taken;
  return kernels;
}

Choosing choose_variant(int groups, int count, int shared_bytes_most) {
  constexpr int kDepth = 4;
  if (count == 1) return {Variant::kOne, product_shared(1, kDepth, groups, 1), 1};
  const int held = product_shared(1, kDepth, groups, count);
  if (count <= 8 && held <= shared_bytes_most) return {Variant::kHeld, held, 1};
  constexpr int kTiles = 2;
  constexpr int kWideDepth = 3;
  const Variant variant = count <= 8    ? Variant::k8
                          : count <= 16 ? Variant::k16
                          : count <= 32 ? Variant::k32
                                        : Variant::k64;
  return {variant, product_shared(kTiles, kWideDepth, groups, 0), kTiles};
}

}  // namespace tandem::cuda
