#include <gtest/gtest.h>

#include <cstddef>
#include <random>
#include <vector>

#include "kernels/isa.h"
#include "kernels/ops.h"
#include "unit/kernels/node_support.h"

namespace tandem::kernels {
namespace {

/// What MLX's own operations make of the same arrays.
class Layout : public testing::TestWithParam<bool> {
 protected:
  std::unique_ptr<Ops> ours_ = test::ops_of(Isa::kPortable, Activations::kF32, nullptr);
  std::unique_ptr<Ops> oracle_ =
      test::ops_of(Isa::kPortable, Activations::kF32, nullptr, test::Backend::kMlx);

  /// Lazy or with its data.
  mx::array random(mx::Shape shape, mx::Dtype dtype) {
    std::size_t n = 1;
    for (const int size : shape) n *= static_cast<std::size_t>(size);
    std::vector<float> values(n);
    for (float& value : values) value = static_cast<float>(draws_() % 1000);
    mx::array x =
        mx::add(array_of(values, std::move(shape), dtype), mx::array(1.0F, dtype), mx::Device::cpu);
    if (GetParam()) x.eval();
    return x;
  }
  void expect_equal(const mx::array& got, const mx::array& want) {
    EXPECT_EQ(got.shape(), want.shape());
    EXPECT_EQ(got.dtype(), want.dtype());
    EXPECT_EQ(values_of(got), values_of(want));
  }

 private:
  std::mt19937 draws_{7};
};

TEST_P(Layout, ReshapeKeepsTheElementsInOrder) {
  for (const mx::Dtype dtype : {mx::float32, mx::bfloat16}) {
    const mx::array x = random({4, 6, 10}, dtype);
    const mx::array turned = mx::transpose(x, {2, 0, 1}, mx::Device::cpu);
    for (const mx::Shape& shape : {mx::Shape{240}, mx::Shape{24, 10}, mx::Shape{2, 3, 4, 10}}) {
      expect_equal(ours_->reshape(x, shape), oracle_->reshape(x, shape));
      expect_equal(ours_->reshape(turned, shape), oracle_->reshape(turned, shape));
    }
    // A view of a view, and what is left when the first is gone.
    mx::array part = ours_->slice_last(ours_->reshape(x, {1, 240}), 40, 100);
    expect_equal(ours_->reshape(part, {6, 10}),
                 mx::slice(mx::reshape(x, {24, 10}), {4, 0}, {10, 10}, mx::Device::cpu));
  }
}

TEST_P(Layout, SlicesAndJoinsOfTheLastAxisAreMlxs) {
  for (const mx::Dtype dtype : {mx::float32, mx::bfloat16}) {
    for (const mx::Shape& shape : {mx::Shape{1, 12}, mx::Shape{5, 12}, mx::Shape{3, 4, 12}}) {
      const mx::array x = random(shape, dtype);
      for (int begin = 0; begin < 12; begin += 5) {
        for (const int end : {begin, begin + 1, 12}) {
          const mx::array part = ours_->slice_last(x, begin, end);
          expect_equal(part, oracle_->slice_last(x, begin, end));
          expect_equal(ours_->join_last(part, x), oracle_->join_last(part, x));
          expect_equal(ours_->join_last(x, part), oracle_->join_last(x, part));
        }
      }
    }
  }
}

TEST_P(Layout, ReadyIsRowMajorAndHoldsData) {
  const mx::array x = random({3, 7}, mx::float32);
  for (const mx::array& view : {x, mx::transpose(x, {1, 0}, mx::Device::cpu)}) {
    const mx::array held = ours_->ready(view);
    EXPECT_TRUE(held.is_available());
    EXPECT_TRUE(held.flags().row_contiguous);
    expect_equal(held, view);
  }
}

INSTANTIATE_TEST_SUITE_P(LazyAndEvaluated, Layout, testing::Bool());

}  // namespace
}  // namespace tandem::kernels
