#include "stage/machine_rates.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/memory_bandwidth.h"
#include "base/pages.h"
#include "base/platform.h"
#include "base/thread_pool.h"
#include "kernels/cpu/loops.h"
#include "kernels/isa.h"
#include "tandem/deadline.h"

namespace tandem::stage {
namespace {

constexpr int kRuns = 2;
/// A product as large models have: 4 bits, groups of 64, rows as of a prompt.
constexpr int kSize = 1024;
constexpr int kRows = 64;
constexpr int kGroup = 64;
constexpr std::chrono::milliseconds kProductTime{80};

/// The fastest of some runs: others may take part of the machine meanwhile.
Result<double> read_rate(int threads) {
  const auto rates = measure_read_bandwidth(kProbeBytes, threads, kRuns);
  if (!rates) return rates.error();
  return *std::ranges::max_element(*rates);
}

Result<double> product_rate(int threads) {
  const auto isa = kernels::resolve_isa(kernels::Isa::kBest);
  if (!isa) return isa.error();
  kernels::TileMatrix matrix;
  matrix.rows = kSize;
  matrix.cols = kSize;
  matrix.format = {.bits = 4, .group = kGroup, .type = DType::kBF16};
  matrix.tile_bytes = kernels::tile_bytes(matrix);
  const auto tiles = static_cast<std::size_t>(kernels::tile_count(kSize));
  const auto weights = Pages::allocate(matrix.tile_bytes * tiles);
  if (!weights) return weights.error();
  matrix.tiles = weights->data();
  constexpr std::size_t kGroups = std::size_t{kRows} * kSize / kGroup;
  std::vector<std::int8_t> q(std::size_t{kRows} * kSize);
  std::vector<float> scales(kGroups);
  std::vector<float> sums(kGroups);
  std::vector<std::int32_t> counts(kGroups);
  std::vector<float> y(std::size_t{kRows} * kSize);
  const kernels::Int8Rows x{q.data(), scales.data(), sums.data(), counts.data(), kSize, kGroup};
  kernels::Product product;
  product.w = matrix;
  product.int8 = &x;
  product.count = kRows;
  product.y = y.data();
  product.y_stride = kSize;
  ThreadPool pool(threads);
  const kernels::ProductLoops& loops = kernels::loops_of(*isa).product;
  constexpr double kFlops = 2.0 * kRows * kSize * kSize;
  double best = 0;
  for (const Deadline end = after(kProductTime); best == 0 || Clock::now() < end;) {
    const auto begin = Clock::now();
    kernels::multiply(loops, &pool, std::span(&product, 1));
    const std::chrono::duration<double> took = Clock::now() - begin;
    best = std::max(best, kFlops / std::max(took.count(), 1e-9));
  }
  return best / threads;
}

}  // namespace

double MachineRates::read_with(int count) const { return std::min(read, read_single * count); }

Result<MachineRates> measure_machine(int threads) {
  if (platform::free_memory_bytes() / 2 < kProbeBytes) {
    return Error{ErrorCode::kResourceLimit, "too little memory is free to measure its speed"};
  }
  const auto all = read_rate(threads);
  if (!all) return all.error();
  const auto single = threads == 1 ? all : read_rate(1);
  if (!single) return single.error();
  const auto flops = product_rate(threads);
  if (!flops) return flops.error();
  return MachineRates{threads, *all, *single, *flops};
}

}  // namespace tandem::stage
