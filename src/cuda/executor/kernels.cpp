#include "cuda/executor/kernels.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

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

void find_experts(Finder& find, const ModelShape& shape, ExpertKernels& to) {
  find("route", to.route);
  find("choose", to.choose);
  find("list_pairs", to.list_pairs);
  find("combine", to.combine);
  find("experts_gate_up_many", to.gate_up_many);
  find("experts_down_many", to.down_many);
  find(shape.hidden == 2048 ? "experts_gate_up_2048" : "experts_gate_up", to.gate_up);
  find(shape.inner == 768 && shape.top_k == 8 ? "experts_down_768" : "experts_down", to.down);
}

std::string decode_name(const ModelShape& shape) {
  return fmt::format("decode{}{}", shape.experts > 0 ? "_moe" : "",
                     shape.head_norms ? "_head_norm" : "");
}

}  // namespace

Result<Kernels> Kernels::load(const Device& device, const ModelShape& shape) {
  const Program built = program();
  auto module = Module::load(device, built.cubin);
  if (!module.ok()) return module.error();
  Kernels kernels;
  kernels.module = *std::move(module);
  Finder find(kernels.module, built.entries);
  find(decode_name(shape), kernels.decode);
  find("embed", kernels.embed);
  find("place", kernels.place);
  find("repack", kernels.repack);
  find("turn_heads", kernels.turn_heads);
  find("summarize", kernels.summarize);
  find("attention", kernels.attention);
  find("attention_many", kernels.attention_many);
  find("join_many", kernels.join_many);
  find("prepare", kernels.prepare);
  find("prepare_norm", kernels.prepare_norm);
  find("prepare_many", kernels.prepare_many);
  find("prepare_many_norm", kernels.prepare_many_norm);
  find_experts(find, shape, kernels.experts);
  for (std::size_t p = 0; p < kProducts; ++p) {
    for (std::size_t v = 0; v < kVariants; ++v) {
      find(fmt::format("{}_{}", kProductNames[p], kVariantNames[v]), kernels.products[p][v]);
    }
    if (p == static_cast<std::size_t>(Product::kHead)) continue;
    find(fmt::format("{}_many", kProductNames[p]), kernels.many[p]);
  }
  if (!find.status().ok()) return find.status().error();
  std::vector<const Kernel*> large = {&kernels.decode,
                                      &kernels.experts.gate_up,
                                      &kernels.experts.down,
                                      &kernels.experts.gate_up_many,
                                      &kernels.experts.down_many,
                                      &kernels.attention_many};
  for (std::size_t p = 0; p < kProducts; ++p) {
    for (const Kernel& kernel : kernels.products[p]) large.push_back(&kernel);
    if (p != static_cast<std::size_t>(Product::kHead)) large.push_back(&kernels.many[p]);
  }
  for (const Kernel* kernel : large) {
    if (Status status = allow_all(device, *kernel); !status.ok()) return status.error();
  }
  const auto taken = kernels.decode.static_shared_bytes();
  if (!taken.ok()) return taken.error();
  kernels.decode_static_bytes = *taken;
  return kernels;
}

int blocks_for(const Device& device, int units) {
  return std::min(units, device.multiprocessors());
}

Choosing choose_variant(int groups, int count, int shared_bytes_most) {
  constexpr int kDepth = 4;
  if (count == 1) return {Variant::kOne, product_shared(1, kDepth, groups, 1), 1};
  const int held = product_shared(1, kDepth, groups, count);
  if (count <= 8 && held <= shared_bytes_most) return {Variant::kHeld, held, 1};
  constexpr int kTiles = 2;
  constexpr int kPreparedDepth = 3;
  const Variant variant = count <= 8    ? Variant::k8
                          : count <= 16 ? Variant::k16
                          : count <= 32 ? Variant::k32
                                        : Variant::k64;
  return {variant, product_shared(kTiles, kPreparedDepth, groups, 0), kTiles};
}

}  // namespace tandem::cuda
