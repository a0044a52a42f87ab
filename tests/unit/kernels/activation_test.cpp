#include <gtest/gtest.h>

#include <limits>

#include "kernels/ops.h"
#include "node_support.h"
#include "row_checks.h"

namespace tandem::kernels {
namespace {

constexpr GatedActivation kActs[] = {GatedActivation::kSwiGlu, GatedActivation::kGeGluTanh,
                                     GatedActivation::kGeGlu};

TEST(Activation, LoopsMatchDoubleOnEveryInstructionSet) {
  for (const Isa isa : available_isas()) {
    for (const DType element : kElements) {
      SCOPED_TRACE(std::string(isa_name(isa)) + " " + name_of(element));
      const RowLoops& loops = loops_of(isa).rows[element];
      for (const GatedActivation act : kActs) EXPECT_LE(check_gated(loops, element, act, 21), 1);
      EXPECT_LE(check_softcap(loops, element, 22), 1);
      EXPECT_LE(check_gate(loops, element, 24), 1);
      EXPECT_LE(check_scale(loops, element, 23), 1);
    }
  }
}

TEST(Activation, ExtremeAndUndefinedGatesStayWhatTheyAre) {
  const float inf = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const Isa isa : available_isas()) {
    SCOPED_TRACE(isa_name(isa));
    const auto ops = test::ops_of(isa, Activations::kF32, nullptr);
    for (const GatedActivation act : kActs) {
      const std::vector<float> out = values_of(ops->gated(
          array_of({1e30f, -1e30f, nan, inf, 0}, {5}), array_of({1, 1, 1, 1, 1}, {5}), act));
      EXPECT_EQ(out[0], 1e30f);
      EXPECT_EQ(out[1], 0);
      EXPECT_TRUE(std::isnan(out[2]));
      EXPECT_EQ(out[3], inf);
      EXPECT_EQ(out[4], 0);
    }
    const std::vector<float> capped =
        values_of(ops->softcap(array_of({1e30f, -1e30f, nan, 0}, {4}), 30));
    EXPECT_EQ(capped[0], 30);
    EXPECT_EQ(capped[1], -30);
    EXPECT_TRUE(std::isnan(capped[2]));
    EXPECT_EQ(capped[3], 0);
  }
}

TEST(Activation, NodesMatchMlxWhateverTheThreads) {
  ThreadPool one(1);
  ThreadPool three(3);
  Rng rng(24);
  const int rows = 9;
  const int cols = 11003;
  for (const Activations activations :
       {Activations::kF32, Activations::kBF16, Activations::kInt8}) {
    for (const Isa isa : available_isas()) {
      SCOPED_TRACE(isa_name(isa));
      const auto serial = test::ops_of(isa, activations, &one);
      const auto parallel = test::ops_of(isa, activations, &three);
      const auto mlx = test::ops_of(isa, activations, nullptr, test::Backend::kMlx);
      const mx::array a =
          array_of(random_values(rng, rows * cols, 2), {rows, cols}, mlx_type(serial->dtype()));
      const mx::array b =
          array_of(random_values(rng, rows * cols), {rows, cols}, mlx_type(serial->dtype()));
      const double tolerance = activations == Activations::kBF16 ? 0.13 : 2e-5;
      const auto compare = [&](const auto& op) {
        const std::vector<float> got = values_of(op(*parallel));
        EXPECT_EQ(op(*parallel).dtype(), mlx_type(serial->dtype()));
        EXPECT_TRUE(same_bits(got, values_of(op(*serial))));
        EXPECT_LE(largest_difference(got, values_of(op(*mlx))), tolerance);
      };
      for (const GatedActivation act : kActs) {
        compare([&](const Ops& o) { return o.gated(a, b, act); });
      }
      compare([&](const Ops& o) { return o.softcap(a, 5); });
      compare([&](const Ops& o) { return o.add(a, b); });
      compare([&](const Ops& o) { return o.scale(a, 45.25f / 16); });
    }
  }
}

TEST(Activation, NoCapIsNoOperation) {
  const auto ops = test::ops_of(Isa::kPortable, Activations::kF32, nullptr);
  const mx::array x = array_of({1, 200}, {2});
  EXPECT_EQ(ops->softcap(x, 0).id(), x.id());
}

}  // namespace
}  // namespace tandem::kernels
