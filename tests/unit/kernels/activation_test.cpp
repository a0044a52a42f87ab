#include "kernels/activation.h"

#include <gtest/gtest.h>

#include <limits>

#include "node_support.h"
#include "row_checks.h"

namespace tandem::kernels {
namespace {

constexpr GatedActivation kActs[] = {GatedActivation::kSwiGlu, GatedActivation::kGeGluTanh,
                                     GatedActivation::kGeGlu};

TEST(Activation, LoopsMatchDoubleOnEveryInstructionSet) {
  for (const Isa isa : available_isas()) {
    for (const Element element : kElements) {
      SCOPED_TRACE(std::string(isa_name(isa)) + " " + name_of(element));
      const RowLoops& loops = row_table(isa)[element];
      for (const GatedActivation act : kActs) EXPECT_LE(check_gated(loops, element, act, 21), 1);
      EXPECT_LE(check_softcap(loops, element, 22), 1);
      EXPECT_LE(check_scale(loops, element, 23), 1);
    }
  }
}

TEST(Activation, ExtremeAndUndefinedGatesStayWhatTheyAre) {
  const float inf = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const Isa isa : available_isas()) {
    SCOPED_TRACE(isa_name(isa));
    const Context context = test_context(Backend::kCpu, Activations::kF32, isa, nullptr);
    for (const GatedActivation act : kActs) {
      const std::vector<float> out =
          values_of(gated(context, array_of({1e30f, -1e30f, nan, inf, 0}, {5}),
                          array_of({1, 1, 1, 1, 1}, {5}), act));
      EXPECT_EQ(out[0], 1e30f);
      EXPECT_EQ(out[1], 0);
      EXPECT_TRUE(std::isnan(out[2]));
      EXPECT_EQ(out[3], inf);
      EXPECT_EQ(out[4], 0);
    }
    const std::vector<float> capped =
        values_of(softcap(context, array_of({1e30f, -1e30f, nan, 0}, {4}), 30));
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
      const Context serial = test_context(Backend::kCpu, activations, isa, &one);
      const Context parallel = test_context(Backend::kCpu, activations, isa, &three);
      const Context mlx = test_context(Backend::kMlx, activations, isa, nullptr);
      const mx::array a =
          array_of(random_values(rng, rows * cols, 2), {rows, cols}, serial.dtype());
      const mx::array b = array_of(random_values(rng, rows * cols), {rows, cols}, serial.dtype());
      const double tolerance = activations == Activations::kBF16 ? 0.13 : 2e-5;
      const auto compare = [&](const auto& op) {
        const std::vector<float> got = values_of(op(parallel));
        EXPECT_EQ(op(parallel).dtype(), serial.dtype());
        EXPECT_TRUE(same_bits(got, values_of(op(serial))));
        EXPECT_LE(largest_difference(got, values_of(op(mlx))), tolerance);
      };
      for (const GatedActivation act : kActs) {
        compare([&](const Context& context) { return gated(context, a, b, act); });
      }
      compare([&](const Context& context) { return softcap(context, a, 5); });
      compare([&](const Context& context) { return add(context, a, b); });
      compare([&](const Context& context) { return scale(context, a, 45.25f / 16); });
    }
  }
}

TEST(Activation, NoCapIsNoNode) {
  const Context context = test_context(Backend::kCpu, Activations::kF32, Isa::kPortable, nullptr);
  const mx::array x = array_of({1, 200}, {2});
  EXPECT_EQ(softcap(context, x, 0).id(), x.id());
}

}  // namespace
}  // namespace tandem::kernels
