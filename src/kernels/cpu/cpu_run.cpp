#include "kernels/cpu/cpu_run.h"

#include <mlx/allocator.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

namespace tandem::kernels {
namespace {

mx::array uninitialized(mx::Shape shape, mx::Dtype dtype) {
  std::size_t bytes = mx::size_of(dtype);
  for (const int size : shape) bytes *= static_cast<std::size_t>(size);
  return mx::array(mx::allocator::malloc(bytes), std::move(shape), dtype);
}

/// Copies a strided array to row-major order, in runs that are contiguous in both.
void copy_row_major(const mx::array& from, mx::array& to) {
  int dims = static_cast<int>(from.ndim());
  std::int64_t run = 1;  // elements
  for (; dims > 0 && (from.shape(dims - 1) == 1 || from.strides(dims - 1) == run); --dims) {
    run *= from.shape(dims - 1);
  }
  const auto item = static_cast<std::int64_t>(from.itemsize());
  const auto bytes = static_cast<std::size_t>(run * item);
  const char* source = from.data<char>();
  char* target = to.data<char>();
  std::vector<int> index(static_cast<std::size_t>(dims), 0);
  std::int64_t offset = 0;
  for (std::size_t done = 0; done < from.nbytes(); done += bytes) {
    std::memcpy(target + done, source + offset * item, bytes);
    for (int d = dims - 1; d >= 0; --d) {
      const auto axis = static_cast<std::size_t>(d);
      offset += from.strides(d);
      if (++index[axis] < from.shape(d)) break;
      offset -= from.strides(d) * from.shape(d);
      index[axis] = 0;
    }
  }
}

void make_ready(mx::array& input) {
  if (!input.is_available()) input.eval();
  if (input.flags().row_contiguous || input.size() == 0) return;
  mx::array copy = uninitialized(input.shape(), input.dtype());
  copy_row_major(input, copy);
  input = std::move(copy);
}

void run(std::vector<mx::array>& inputs, std::vector<mx::array>& outputs,
         std::vector<mx::Shape> shapes, const std::vector<mx::Dtype>& dtypes, const CpuLoop& loop) {
  for (mx::array& input : inputs) make_ready(input);
  outputs.reserve(shapes.size());
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    outputs.push_back(uninitialized(std::move(shapes[i]), dtypes[i]));
  }
  loop(inputs, outputs);
}

}  // namespace

std::vector<mx::array> cpu_run(const char* name, std::vector<mx::array> inputs,
                               std::vector<mx::Shape> shapes, const std::vector<mx::Dtype>& dtypes,
                               const CpuLoop& loop) {
  std::vector<mx::array> outputs;
  try {
    run(inputs, outputs, std::move(shapes), dtypes, loop);
  } catch (const std::bad_alloc&) {
    throw std::runtime_error(std::string(name) + ": the system has no more memory");
  } catch (const std::exception& failure) {
    throw std::runtime_error(std::string(name) + ": " + failure.what());
  }
  return outputs;
}

mx::array cpu_run(const char* name, std::vector<mx::array> inputs, mx::Shape shape, mx::Dtype dtype,
                  const CpuLoop& loop) {
  std::vector<mx::Shape> shapes = {std::move(shape)};
  return cpu_run(name, std::move(inputs), std::move(shapes), std::vector{dtype}, loop).front();
}

}  // namespace tandem::kernels
