#include "kernels/cpu/cpu_run.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <exception>
#include <new>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "unit/kernels/matrices.h"

namespace tandem::kernels {
namespace {

/// A loop that copies its input, so that it shows what the loop was given.
mx::array copied(const mx::array& x) {
  return cpu_run("copy", {x}, x.shape(), x.dtype(),
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

TEST(CpuRun, LoopsSeeEveryViewInRowMajorOrder) {
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

TEST(CpuRun, HasSeveralOutputsOfTheirOwnTypes) {
  const std::vector<mx::array> out =
      cpu_run("two", {counting({3})}, {{3}, {2, 2}}, {mx::float32, mx::int32},
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

TEST(CpuRun, ChainsRunInOrderWhateverElseIsAlive) {
  mx::array x = counting({64});
  const std::vector<float> want = values(x);
  for (int i = 0; i < 300; ++i) x = copied(x);  // earlier arrays die while the chain runs
  EXPECT_EQ(values(x), want);
}

template <class Failure>
std::string text_of(const Failure& failure) {
  try {
    cpu_run("broken", {counting({64})}, {64}, mx::float32,
            [&](std::span<const mx::array>, std::span<mx::array>) { throw failure; });
  } catch (const std::exception& caught) {
    return caught.what();
  }
  return "nothing";
}

TEST(CpuRun, WhatALoopThrowsReachesTheCallerWithTheLoopsName) {
  EXPECT_EQ(text_of(std::bad_alloc()), "broken: the system has no more memory");
  EXPECT_EQ(text_of(std::out_of_range("some rule")), "broken: some rule");
}

TEST(CpuRun, OutputsHoldDataAtOnceAndInputsOfMlxAreEvaluated) {
  const mx::array lazy = mx::add(counting({5}), counting({5}), mx::Device::cpu);
  ASSERT_FALSE(lazy.is_available());
  const mx::array y = copied(lazy);
  EXPECT_TRUE(y.is_available());
  EXPECT_TRUE(lazy.is_available());
  EXPECT_EQ(y.data<float>()[4], 8.0F);
}

}  // namespace
}  // namespace tandem::kernels
