#include "kernels/cpu/product.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/cpu/loops.h"
#include "kernels/isa.h"
#include "product_self_check.h"

namespace tandem::kernels {
namespace {

TEST(Product, LoopsMatchDoubleOnEveryInstructionSet) {
  for (const Isa isa : available_isas()) {
    EXPECT_TRUE(products_pass(std::string(isa_name(isa)).c_str(), loops_of(isa).product));
  }
}

TEST(Product, SumsOfIntegersAreTheSameOnEveryInstructionSet) {
  Rng rng(3);
  constexpr int kCols = 256;
  const std::vector<float> x = random_values(rng, 4 * kCols, 1);
  const QuantizedRows want(loops_of(Isa::kPortable).product, x, kCols, 64);
  for (const Isa isa : available_isas()) {
    const QuantizedRows have(loops_of(isa).product, x, kCols, 64);
    EXPECT_EQ(have.q, want.q) << isa_name(isa);
    EXPECT_EQ(have.scales, want.scales) << isa_name(isa);
    EXPECT_EQ(have.counts, want.counts) << isa_name(isa);
  }
}

TEST(Product, TinyAndZeroGroupsQuantizeToZero) {
  for (const Isa isa : available_isas()) {
    std::vector<float> x(64, 0.0F);
    x[40] = 1e-38F;
    const QuantizedRows rows(loops_of(isa).product, x, 64, 32);
    EXPECT_EQ(rows.q, std::vector<std::int8_t>(64, 0));
    EXPECT_EQ(rows.scales, std::vector<float>(2, 0.0F));
  }
}

TEST(Product, SharesTheTilesOfManyProductsOverThreads) {
  Rng rng(4);
  const ProductLoops& loops = loops_of(available_isas().front()).product;
  const TiledValues large = tiled_values({nullptr, 0, 700, 64, {4, 64, DType::kBF16}}, rng);
  const TiledValues small = tiled_values({nullptr, 0, 3, 64, {0, 0, DType::kF32}}, rng);
  const std::vector<float> x = random_values(rng, 64 * 30, 1);
  const auto run = [&](ThreadPool* pool) {
    std::vector<float> y(30 * 700 + 30 * 3 + 30 * 700, -1);
    std::vector<Product> products(4);
    std::size_t at = 0;
    for (std::size_t i = 0; i < products.size(); ++i) {
      products[i].w = i == 1 ? small.w : large.w;
      products[i].x = x.data();
      products[i].count = i == 3 ? 0 : 30;  // an empty one writes nothing
      products[i].y = y.data() + (i == 3 ? 0 : at);
      products[i].y_stride = static_cast<std::size_t>(products[i].w.rows);
      if (i < 3) at += 30 * products[i].y_stride;
    }
    multiply(loops, pool, products);
    return y;
  };
  ThreadPool four(4);
  EXPECT_EQ(run(&four), run(nullptr));
}

}  // namespace
}  // namespace tandem::kernels
