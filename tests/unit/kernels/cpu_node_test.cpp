#include "kernels/cpu_node.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <new>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/node_failure.h"
#include "unit/kernels/matrices.h"

namespace tandem::kernels {
namespace {

Context context() { return test::context_of(Isa::kPortable, Activations::kF32, nullptr); }

/// A node that copies its input, so that it shows what the loop was given.
mx::array copied(const mx::array& x) {
  return cpu_node(context(), "copy", {x}, x.shape(), x.dtype(),
                  [](std::span<const mx::array> in, std::span<mx::array> out) {
                    std::memcpy(out[0].data<char>(), in[0].data<char>(), in[0].nbytes());
                  });
}

std::vector<float> values(const mx::array& x) { return test::floats(x); }

mx::array counting(mx::Shape shape) {
  std::size_t n = 1;
  for (const int size : shape) n *= static_cast<std::size_t>(size);
  return mx::reshape(mx::arange(static_cast<double>(n), mx::float32, mx::Device::cpu),
                     std::move(shape), mx::Device::cpu);
}

TEST(CpuNode, LoopsSeeEveryViewInRowMajorOrder) {
  const mx::Device cpu = mx::Device::cpu;
  const mx::array x = counting({4, 6, 10});
  const mx::array views[] = {
      x,
      mx::transpose(x, {2, 0, 1}, cpu),
      mx::transpose(x, {1, 0, 2}, cpu),
      mx::slice(x, {0, 0, 3}, {4, 6, 9}, cpu),
      mx::slice(x, {1, 2, 0}, {3, 5, 10}, cpu),
      mx::slice(x, {0, 0, 0}, {4, 6, 10}, {2, 3, 4}, cpu),
      mx::slice(x, {3, 5, 9}, {-5, -7, -11}, {-1, -1, -1}, cpu),
      mx::slice(x, {0, 2, 0}, {4, 3, 10}, cpu),
      mx::broadcast_to(mx::slice(x, {0, 0, 0}, {4, 1, 10}, cpu), {4, 5, 10}, cpu),
      mx::broadcast_to(mx::array(3.0F), {2, 3}, cpu),
      mx::array(5.0F),
      mx::astype(mx::transpose(x, {2, 1, 0}, cpu), mx::bfloat16, cpu),
      mx::transpose(mx::astype(x, mx::bfloat16, cpu), {0, 2, 1}, cpu),
      mx::slice(x, {0, 0, 0}, {4, 6, 0}, cpu),
  };
  for (const mx::array& view : views) {
    const mx::array y = copied(view);
    EXPECT_EQ(y.shape(), view.shape());
    EXPECT_EQ(values(y), values(view));
  }
}

TEST(CpuNode, HasSeveralOutputsOfTheirOwnTypes) {
  const std::vector<mx::array> out =
      cpu_node(context(), "two", {counting({3})}, {{3}, {2, 2}}, {mx::float32, mx::int32},
               [](std::span<const mx::array> in, std::span<mx::array> y) {
                 for (int i = 0; i < 3; ++i) {
                   y[0].data<float>()[i] = in[0].data<float>()[i] * 2;
                 }
                 for (int i = 0; i < 4; ++i) y[1].data<std::int32_t>()[i] = i;
               });
  ASSERT_EQ(out.size(), 2U);
  EXPECT_EQ(values(out[0]), (std::vector<float>{0, 2, 4}));
  EXPECT_EQ(values(out[1]), (std::vector<float>{0, 1, 2, 3}));
  EXPECT_EQ(out[1].dtype(), mx::int32);
}

TEST(CpuNode, ChainsRunInOrderWhateverElseIsAlive) {
  mx::array x = counting({64});
  const std::vector<float> want = values(x);
  for (int i = 0; i < 300; ++i) x = copied(x);  // earlier arrays die while the chain runs
  EXPECT_EQ(values(x), want);
}

/// A node that fills its output with ones, then throws.
template <class Failure>
mx::array throwing(const mx::array& x, const Failure& failure) {
  return cpu_node(context(), "broken", {x}, x.shape(), x.dtype(),
                  [failure](std::span<const mx::array>, std::span<mx::array> out) {
                    std::fill_n(out[0].data<float>(), out[0].size(), 1.0F);
                    throw failure;
                  });
}

/// What failed while x was evaluated.
std::string failure_of(const mx::array& x) {
  mx::eval(x);
  return take_node_failure(context().stream).value_or("nothing");
}

TEST(CpuNode, WhatALoopThrowsIsKeptUntilItIsTaken) {
  for (int after = 0; after < 200; ++after) {
    mx::array memory = throwing(counting({64}), std::bad_alloc());
    mx::array other = throwing(counting({64}), std::out_of_range("some rule"));
    for (int i = 0; i < after; ++i) {
      memory = copied(memory);
      other = copied(other);
    }
    ASSERT_EQ(failure_of(memory), "broken: the system has no more memory") << after;
    ASSERT_EQ(failure_of(other), "broken: some rule") << after;
    ASSERT_EQ(values(other), std::vector<float>(64, 0.0F)) << after;
    ASSERT_EQ(failure_of(copied(counting({8}))), "nothing") << after;
  }
}

}  // namespace
}  // namespace tandem::kernels
