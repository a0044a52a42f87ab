#include "kernels/rope.h"

#include <gtest/gtest.h>

#include "node_support.h"
#include "row_checks.h"

namespace tandem::kernels {
namespace {

RopeSpec spec_of(int half, int begin, bool interleaved, float magnitude) {
  RopeSpec spec{
      .begin = begin, .interleaved = interleaved, .magnitude = magnitude, .inverse_frequency = {}};
  for (int i = 0; i < half; ++i) {
    spec.inverse_frequency.push_back(
        static_cast<float>(std::pow(500000.0, -static_cast<double>(i) / half)));
  }
  return spec;
}

TEST(Rope, LoopsMatchDoubleOnEveryInstructionSet) {
  for (const Isa isa : available_isas()) {
    EXPECT_LE(check_rope_angles(loops_of(isa).rows[DType::kF32]), 1) << isa_name(isa);
    for (const DType element : kElements) {
      SCOPED_TRACE(std::string(isa_name(isa)) + " " + name_of(element));
      EXPECT_LE(check_rope(loops_of(isa).rows[element], element, false, 31), 1);
      EXPECT_LE(check_rope(loops_of(isa).rows[element], element, true, 32), 1);
    }
  }
}

TEST(Rope, NodeMatchesMlxAtAnyPositionAndPassesTheRestThrough) {
  ThreadPool one(1);
  ThreadPool three(3);
  Rng rng(33);
  const int tokens = 41;
  const int heads = 13;
  for (const auto& [dim, half, begin] : std::vector<std::array<int, 3>>{
           {64, 32, 0}, {80, 16, 0}, {20, 5, 3}, {192, 32, 128}, {12, 6, 0}}) {
    std::vector<std::int32_t> at(tokens);
    for (int t = 0; t < tokens; ++t) at[t] = t < 8 ? t : static_cast<int>(rng() % 131073);
    const mx::array positions(at.begin(), {tokens}, mx::int32);
    for (const bool interleaved : {false, true}) {
      const RopeSpec spec = spec_of(half, begin, interleaved, 1.125f);
      for (const Isa isa : available_isas()) {
        for (const Activations activations : {Activations::kF32, Activations::kBF16}) {
          SCOPED_TRACE(std::string(isa_name(isa)) + " dim " + std::to_string(dim));
          const auto serial = test::ops_of(isa, activations, &one);
          const auto parallel = test::ops_of(isa, activations, &three);
          const auto mlx = test::ops_of(isa, activations, nullptr, test::Backend::kMlx);
          const mx::array x = array_of(random_values(rng, tokens * heads * dim),
                                       {tokens, heads, dim}, mlx_type(serial->dtype()));
          const std::vector<float> got = values_of(parallel->rope(x, positions, spec));
          EXPECT_TRUE(same_bits(got, values_of(serial->rope(x, positions, spec))));
          EXPECT_LE(largest_difference(got, values_of(mlx->rope(x, positions, spec))),
                    activations == Activations::kBF16 ? 0.04 : 1e-5);
          // On a CPU MLX's one operation has angles in the type of x.
          if (activations == Activations::kF32) {
            RopeSpec with_periods = spec;
            std::vector<float> periods;
            for (const float f : spec.inverse_frequency) periods.push_back(1 / f);
            with_periods.periods = array_of(periods, {half});
            const mx::array fast = mlx->rope(x, positions, with_periods);
            EXPECT_EQ(fast.dtype(), mlx_type(mlx->dtype()));
            EXPECT_LE(largest_difference(got, values_of(fast)), 0.02);
          }
          const std::vector<float> before = values_of(x);
          for (std::size_t i = 0; i < got.size(); ++i) {
            const auto d = static_cast<int>(i) % dim;
            if (d < begin || d >= begin + 2 * half) {
              ASSERT_EQ(got[i], before[i]);
            }
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace tandem::kernels
