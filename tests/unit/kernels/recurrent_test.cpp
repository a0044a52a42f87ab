// Convolutions and the gated delta rule against twins in double, and the same bits however tokens
// come: in chunks, beside other sequences, on several threads.

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <memory>
#include <span>
#include <vector>

#include "kernels/ops.h"
#include "node_support.h"
#include "recurrent_checks.h"

namespace tandem::kernels {
namespace {

using test::Backend;

DeltaSpec spec_of(const RecurrentCase& c, DType element) {
  return {{c.taps - 1, static_cast<int>(channels_of(c)), element, c.heads, c.key_dim, c.value_dim},
          c.key_heads};
}

/// One sequence's part of a slot, and its arrays.
class Slot {
 public:
  explicit Slot(const StateSpec& spec) : memory_(StateLayout(spec).bytes / sizeof(Line)) {
    kept_.pages = {reinterpret_cast<std::byte*>(memory_.data())};
  }
  std::span<KvSequence> layers() { return {&kept_, 1}; }

 private:
  struct alignas(64) Line {
    std::array<float, 16> floats{};
  };
  std::vector<Line> memory_;
  KvSequence kept_;
};

/// Rows [begin, end) of a [tokens, cols] list.
mx::array rows_of(const std::vector<float>& values, int cols, int begin, int end, DType element) {
  const std::vector<float> part(values.begin() + static_cast<std::ptrdiff_t>(begin) * cols,
                                values.begin() + static_cast<std::ptrdiff_t>(end) * cols);
  return array_of(part, {end - begin, cols}, mlx_type(element));
}

void append(std::vector<float>& to, const mx::array& from) {
  const std::vector<float> values = values_of(from);
  to.insert(to.end(), values.begin(), values.end());
}

/// The convolution, or the delta rule, of one sequence in chunks of so many tokens.
std::vector<float> conv_in(const Ops& ops, const RecurrentCase& c, const RecurrentValues& v,
                           int chunk) {
  const StateSpec state = spec_of(c, ops.dtype()).state;
  const mx::array taps = array_of(v.taps, {c.taps, state.channels});
  Slot slot(state);
  std::vector<float> out;
  for (int at = 0; at < v.tokens; at += chunk) {
    const int end = std::min(at + chunk, v.tokens);
    const Batch batch{mx::array(0), {{0, end - at, at, slot.layers()}}};
    append(out, ops.causal_conv(state, rows_of(v.x, state.channels, at, end, ops.dtype()), taps,
                                batch, 0));
  }
  return out;
}

std::vector<float> delta_in(const Ops& ops, const RecurrentCase& c, const RecurrentValues& v,
                            int chunk) {
  const DeltaSpec spec = spec_of(c, ops.dtype());
  const DeltaWeights weights{array_of(v.log_decay, {c.heads}), array_of(v.bias, {c.heads})};
  Slot slot(spec.state);
  std::vector<float> out;
  for (int at = 0; at < v.tokens; at += chunk) {
    const int end = std::min(at + chunk, v.tokens);
    const Batch batch{mx::array(0), {{0, end - at, at, slot.layers()}}};
    const DType element = ops.dtype();
    const DeltaRows rows{rows_of(v.x, spec.state.channels, at, end, element),
                         rows_of(v.a, c.heads, at, end, element),
                         rows_of(v.b, c.heads, at, end, element)};
    append(out, ops.gated_delta(spec, rows, weights, batch, 0));
  }
  return out;
}

class Recurrent : public ::testing::TestWithParam<Activations> {
 protected:
  DType element() const { return GetParam() == Activations::kBF16 ? DType::kBF16 : DType::kF32; }
};

TEST_P(Recurrent, LoopsMatchDoubleOnEveryInstructionSet) {
  for (const RecurrentCase& c : kRecurrentCases) {
    for (const Isa isa : available_isas()) {
      SCOPED_TRACE(std::string(isa_name(isa)) + " " + std::to_string(c.key_dim));
      EXPECT_LE(check_recurrent(loops_of(isa).recurrent[element()], c, element(), 9), 1);
    }
  }
}

TEST_P(Recurrent, MatchesDoubleOnEveryInstructionSetAndMlx) {
  for (const RecurrentCase& c : kRecurrentCases) {
    const RecurrentValues v(c, element(), 37, 5);
    const std::vector<double> conv = conv_twin(c, v);
    const std::vector<double> delta = delta_twin(c, v);
    for (const Isa isa : available_isas()) {
      for (const Backend backend : {Backend::kCpu, Backend::kMlx}) {
        SCOPED_TRACE(std::string(isa_name(isa)) + " " + std::to_string(c.key_dim) +
                     (backend == Backend::kMlx ? " mlx" : ""));
        const auto ops = test::ops_of(isa, GetParam(), nullptr, backend);
        EXPECT_LE(worst(conv_in(*ops, c, v, 37), conv, element(), 1e-6, 2e-6), 1);
        EXPECT_LE(worst(delta_in(*ops, c, v, 37), delta, element(), 1e-5, 2e-5), 1);
      }
    }
  }
}

TEST_P(Recurrent, ChunksAndThreadsChangeNoBit) {
  ThreadPool three(3);
  for (const RecurrentCase& c : kRecurrentCases) {
    const RecurrentValues v(c, element(), 70, 6);
    for (const Isa isa : available_isas()) {
      const auto serial = test::ops_of(isa, GetParam(), nullptr);
      const auto parallel = test::ops_of(isa, GetParam(), &three);
      const std::vector<float> conv = conv_in(*serial, c, v, 70);
      const std::vector<float> delta = delta_in(*serial, c, v, 70);
      for (const int chunk : {1, 2, 3, 16, 17, 69}) {
        SCOPED_TRACE(std::string(isa_name(isa)) + " in chunks of " + std::to_string(chunk));
        EXPECT_TRUE(same_bits(conv_in(*parallel, c, v, chunk), conv));
        EXPECT_TRUE(same_bits(delta_in(*parallel, c, v, chunk), delta));
      }
    }
    const auto mlx = test::ops_of(available_isas().front(), GetParam(), nullptr, Backend::kMlx);
    const std::vector<float> conv = conv_in(*mlx, c, v, 70);
    const std::vector<float> delta = delta_in(*mlx, c, v, 70);
    EXPECT_TRUE(same_bits(conv_in(*mlx, c, v, 9), conv));
    EXPECT_TRUE(same_bits(delta_in(*mlx, c, v, 9), delta));
  }
}

TEST_P(Recurrent, SequencesOfABatchDoNotSeeEachOther) {
  const RecurrentCase c = kRecurrentCases[1];
  const DeltaSpec spec = spec_of(c, element());
  const RecurrentValues v(c, element(), 30, 7);
  ThreadPool two(2);
  const auto ops = test::ops_of(available_isas().front(), GetParam(), &two);
  const mx::array taps = array_of(v.taps, {c.taps, spec.state.channels});
  const DeltaWeights weights{array_of(v.log_decay, {c.heads}), array_of(v.bias, {c.heads})};
  Slot first(spec.state), second(spec.state);
  const Batch batch{mx::array(0), {{0, 12, 0, first.layers()}, {12, 18, 0, second.layers()}}};
  const mx::array x = rows_of(v.x, spec.state.channels, 0, 30, element());
  const std::vector<float> conv = values_of(ops->causal_conv(spec.state, x, taps, batch, 0));
  const DeltaRows rows{x, rows_of(v.a, c.heads, 0, 30, element()),
                       rows_of(v.b, c.heads, 0, 30, element())};
  const std::vector<float> delta = values_of(ops->gated_delta(spec, rows, weights, batch, 0));
  RecurrentValues tail = v;
  tail.tokens = 18;
  tail.x.erase(tail.x.begin(), tail.x.begin() + 12 * spec.state.channels);
  tail.a.erase(tail.a.begin(), tail.a.begin() + 12 * c.heads);
  tail.b.erase(tail.b.begin(), tail.b.begin() + 12 * c.heads);
  const auto behind = [](const std::vector<float>& all, std::size_t n) {
    return std::vector<float>(all.end() - static_cast<std::ptrdiff_t>(n), all.end());
  };
  const std::vector<float> conv_alone = conv_in(*ops, c, tail, 18);
  const std::vector<float> delta_alone = delta_in(*ops, c, tail, 18);
  EXPECT_TRUE(same_bits(behind(conv, conv_alone.size()), conv_alone));
  EXPECT_TRUE(same_bits(behind(delta, delta_alone.size()), delta_alone));
}

TEST(RecurrentGates, ExtremesStayInRange) {
  const RecurrentCase c{1, 1, 4, 16, 2};
  RecurrentValues v(c, DType::kF32, 8, 8);
  v.a = {-1e4F, 1e4F, -200, 200, 0, 50, -50, 1e-3F};
  v.b = {1e4F, -1e4F, 200, -200, 0, 50, -50, 1e-3F};
  v.log_decay = {20};
  const auto ops = test::ops_of(available_isas().front(), Activations::kF32, nullptr);
  EXPECT_LE(worst(delta_in(*ops, c, v, 8), delta_twin(c, v), DType::kF32, 1e-5, 1e-5), 1);
  v.log_decay = {-std::numeric_limits<float>::infinity()};
  EXPECT_LE(worst(delta_in(*ops, c, v, 8), delta_twin(c, v), DType::kF32, 1e-5, 1e-5), 1);
}

INSTANTIATE_TEST_SUITE_P(Types, Recurrent, ::testing::Values(Activations::kF32, Activations::kBF16),
                         [](const auto& tested) {
                           return tested.param == Activations::kBF16 ? "bf16" : "f32";
                         });

}  // namespace
}  // namespace tandem::kernels
