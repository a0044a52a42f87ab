// The gated MLP of chosen experts, and of the one "expert" of a dense block.
#include <algorithm>
#include <cstdint>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "base/check.h"
#include "kernels/cpu/cpu_matrix.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/cpu_run.h"
#include "kernels/cpu/prepared_rows.h"
#include "kernels/stored.h"

namespace tandem::kernels {
namespace {

// Intermediate values of one pass over the experts; more tokens are taken in several passes.
constexpr std::int64_t kScratchBytes = std::int64_t{32} << 20;
constexpr std::int64_t kGrainElements = 8192;

/// The matrices and how to multiply with them.
struct Experts {
  ProductContext context;
  const GatedMatrices& m;
  const RowLoops& rows;  // of float32
};

/// (token, expert) pairs sorted by expert, then token. A slot is a pair's place in that order.
struct Slots {
  struct Run {
    int expert = 0;
    std::int32_t first = 0;  // slot
    int count = 0;
  };
  std::vector<std::int32_t> token;     // of each slot
  std::vector<float> weight;           // of each slot
  std::vector<std::int32_t> of_token;  // the slots of token t: [t * k, (t + 1) * k), ascending
  std::vector<Run> runs;               // experts that have slots
};

Slots sort_pairs(const std::int32_t* ids, const float* weights, std::int32_t first, int tokens,
                 int k, int experts) {
  const auto pairs = static_cast<std::size_t>(tokens) * static_cast<std::size_t>(k);
  std::vector<std::int32_t> next(static_cast<std::size_t>(experts) + 1, 0);
  for (std::size_t p = 0; p < pairs; ++p) {
    check(ids[p] >= 0 && ids[p] < experts, "chosen experts exist");
    ++next[static_cast<std::size_t>(ids[p]) + 1];
  }
  Slots slots;
  for (int e = 0; e < experts; ++e) {
    const auto at = static_cast<std::size_t>(e);
    if (next[at + 1] != 0) slots.runs.push_back({e, next[at], next[at + 1]});
    next[at + 1] += next[at];
  }
  slots.token.resize(pairs);
  slots.weight.resize(pairs);
  slots.of_token.resize(pairs);
  for (std::size_t p = 0; p < pairs; ++p) {
    const std::int32_t slot = next[static_cast<std::size_t>(ids[p])]++;
    slots.token[static_cast<std::size_t>(slot)] =
        first + static_cast<std::int32_t>(p / static_cast<std::size_t>(k));
    slots.weight[static_cast<std::size_t>(slot)] = weights[p];
    slots.of_token[p] = slot;
  }
  for (int t = 0; t < tokens; ++t) {
    const auto begin = slots.of_token.begin() + std::ptrdiff_t{t} * k;
    std::sort(begin, begin + k);
  }
  return slots;
}

/// Values of one pass.
struct Scratch {
  float* gate;  // [pairs][inner]
  float* up;
  float* down;    // [pairs][outer]
  Int8Rows int8;  // of what down takes, when it takes int8
};

Scratch take_scratch(const Experts& e, Workspace& memory, std::int64_t pairs) {
  const int inner = e.m.down.cols();
  const auto values = static_cast<std::size_t>(pairs) * static_cast<std::size_t>(inner);
  Scratch scratch{memory.take<float>(values),
                  memory.take<float>(values),
                  memory.take<float>(static_cast<std::size_t>(pairs * e.m.down.rows())),
                  {}};
  const TileMatrix w = e.m.down.as<CpuMatrix>().matrix(0);
  if (e.context.int8 && w.format.bits != 0)
    scratch.int8 = take_int8_rows(memory, pairs, inner, w.format.group);
  return scratch;
}

Product product_of(const Matrix& w, const Slots::Run& run, float* y) {
  Product product;
  product.w = w.as<CpuMatrix>().matrix(run.expert);
  product.count = run.count;
  product.y = y + std::int64_t{run.first} * w.rows();
  product.y_stride = static_cast<std::size_t>(w.rows());
  return product;
}

/// gate and up of every slot, then act(gate) * up in place of gate.
void run_inner(const Experts& e, PreparedRows& rows, const Slots& slots, const Scratch& scratch) {
  std::vector<Product> products;
  products.reserve(2 * slots.runs.size());
  for (const Slots::Run& run : slots.runs) {
    for (const auto& [w, y] :
         {std::pair{&e.m.gate, scratch.gate}, std::pair{&e.m.up, scratch.up}}) {
      Product product = product_of(*w, run, y);
      rows.attach(product);
      product.in = slots.token.data() + run.first;
      products.push_back(product);
    }
  }
  multiply(*e.context.loops, e.context.pool, products);
  const int inner = e.m.gate.rows();
  const std::int64_t n = static_cast<std::int64_t>(slots.token.size()) * inner;
  in_parallel(e.context.pool, n, kGrainElements, [&](std::int64_t begin, std::int64_t end, int) {
    float* gate = scratch.gate + begin;
    e.rows.gated(gate, scratch.up + begin, gate, static_cast<std::size_t>(end - begin), e.m.act);
  });
}

/// down of every slot, into `y`.
void run_outer(const Experts& e, const Slots& slots, const Scratch& scratch, float* y) {
  const auto pairs = static_cast<std::int64_t>(slots.token.size());
  const bool int8 = scratch.int8.q != nullptr;
  if (int8) quantize(*e.context.loops, e.context.pool, scratch.gate, scratch.int8, pairs);
  std::vector<std::int32_t> index(slots.token.size());
  std::iota(index.begin(), index.end(), 0);
  std::vector<Product> products;
  products.reserve(slots.runs.size());
  for (const Slots::Run& run : slots.runs) {
    Product product = product_of(e.m.down, run, y);
    product.in = index.data() + run.first;
    if (int8) {
      product.int8 = &scratch.int8;
    } else {
      product.x = scratch.gate;
    }
    products.push_back(product);
  }
  multiply(*e.context.loops, e.context.pool, products);
}

void store_row(const float* from, mx::array& y, std::int64_t at, int n) {
  if (y.dtype() == mx::float32) {
    std::copy(from, from + n, reinterpret_cast<float*>(y.data<char>()) + at);
    return;
  }
  auto* to = reinterpret_cast<std::uint16_t*>(y.data<char>()) + at;
  for (int i = 0; i < n; ++i) to[i] = bf16_of_float(from[i]);
}

/// y[first + t] = the weighted sum of t's slots, in ascending expert id.
void combine(const Experts& e, const Slots& slots, const Scratch& scratch, std::int64_t first,
             int tokens, int k, mx::array& y) {
  const int n = e.m.down.rows();
  const std::int64_t grain = std::max<std::int64_t>(1, kGrainElements / std::max(1, n * k));
  in_parallel(e.context.pool, tokens, grain, [&](std::int64_t begin, std::int64_t end, int) {
    std::vector<float> sum(static_cast<std::size_t>(n));
    for (std::int64_t t = begin; t < end; ++t) {
      std::fill(sum.begin(), sum.end(), 0.0F);
      for (int j = 0; j < k; ++j) {
        const auto slot =
            static_cast<std::size_t>(slots.of_token[static_cast<std::size_t>(t * k + j)]);
        const float weight = slots.weight[slot];
        const float* from = scratch.down + slot * static_cast<std::size_t>(n);
        float* to = sum.data();
        for (int i = 0; i < n; ++i) to[i] += weight * from[i];
      }
      store_row(sum.data(), y, (first + t) * n, n);
    }
  });
}

/// Tokens that one pass takes, of `tokens`, with k experts each.
int pass_tokens(const Experts& e, int tokens, int k) {
  const std::int64_t bytes = std::int64_t{4} * k * (2 * e.m.down.cols() + e.m.down.rows());
  return static_cast<int>(
      std::clamp<std::int64_t>(kScratchBytes / std::max<std::int64_t>(bytes, 1), 1, tokens));
}

void run_experts(const Experts& e, std::span<const mx::array> in, mx::array& y) {
  const int tokens = in[0].shape(0);
  if (tokens == 0) return;
  const int k = in[1].shape(1);
  const auto* ids = reinterpret_cast<const std::int32_t*>(in[1].data<char>());
  const auto* weights = reinterpret_cast<const float*>(in[2].data<char>());
  LoopMemory memory(e.context.pool);
  PreparedRows rows(e.context, *memory, in[0], tokens, in[0].shape(1));
  const int most = pass_tokens(e, tokens, k);
  const Scratch scratch = take_scratch(e, *memory, std::int64_t{most} * k);
  for (int first = 0; first < tokens; first += most) {
    const int count = std::min(most, tokens - first);
    const std::int64_t at = std::int64_t{first} * k;
    const Slots slots = sort_pairs(ids + at, weights + at, first, count, k, e.m.gate.count());
    run_inner(e, rows, slots, scratch);
    run_outer(e, slots, scratch, scratch.down);
    combine(e, slots, scratch, first, count, k, y);
  }
}

/// A dense block: every token has the one expert, with no weight.
void run_dense(const Experts& e, const mx::array& x, mx::array& y) {
  const int tokens = x.shape(0);
  if (tokens == 0) return;
  LoopMemory memory(e.context.pool);
  PreparedRows rows(e.context, *memory, x, tokens, x.shape(1));
  const int most = pass_tokens(e, tokens, 1);
  const Scratch scratch = take_scratch(e, *memory, most);
  const bool in_place = y.dtype() == mx::float32;
  const int outer = e.m.down.rows();
  for (int first = 0; first < tokens; first += most) {
    const int count = std::min(most, tokens - first);
    Slots slots;
    slots.token.resize(static_cast<std::size_t>(count));
    std::iota(slots.token.begin(), slots.token.end(), first);
    slots.runs = {{0, 0, count}};
    run_inner(e, rows, slots, scratch);
    float* to = in_place ? reinterpret_cast<float*>(y.data<char>()) + std::int64_t{first} * outer
                         : scratch.down;
    run_outer(e, slots, scratch, to);
    if (in_place) continue;
    for (std::int64_t t = 0; t < count; ++t) {
      store_row(to + t * outer, y, (first + t) * outer, outer);
    }
  }
}

}  // namespace

mx::array CpuOps::run_moe_mlp(const mx::array& x, const Routing& routing,
                              const GatedMatrices& experts) const {
  const Experts e{product_context(), experts, loops_.rows[DType::kF32]};
  return cpu_run("moe_mlp", {as_rows(x), routing.ids, routing.weights},
                 {x.shape(0), experts.down.rows()}, type(),
                 [&](auto in, auto out) { run_experts(e, in, out[0]); });
}

mx::array CpuOps::run_gated_mlp(const mx::array& x, const GatedMatrices& mlp) const {
  const Experts e{product_context(), mlp, loops_.rows[DType::kF32]};
  return cpu_run("gated_mlp", {as_rows(x)}, {x.shape(0), mlp.down.rows()}, type(),
                 [&](auto in, auto out) { run_dense(e, in[0], out[0]); });
}

}  // namespace tandem::kernels
