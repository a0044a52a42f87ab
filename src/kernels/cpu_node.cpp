#include "kernels/cpu_node.h"

#include <mlx/allocator.h>
#include <mlx/backend/cpu/encoder.h>
#include <mlx/primitives.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>

#include "base/check.h"

namespace tandem::kernels {
namespace {

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

class CpuNode final : public mx::Primitive {
 public:
  CpuNode(mx::Stream stream, const char* name, std::shared_ptr<const CpuLoop> loop)
      : mx::Primitive(stream), name_(name), loop_(std::move(loop)) {}

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    auto& encoder = mx::cpu::get_command_encoder(stream());
    Call call;
    call.loop = loop_;
    call.inputs.reserve(inputs.size());
    for (const mx::array& input : inputs) call.inputs.push_back(row_major(encoder, input));
    call.outputs.reserve(outputs.size());
    for (mx::array& output : outputs) {
      output.set_data(mx::allocator::malloc(output.nbytes()));
      call.outputs.push_back(mx::array::unsafe_weak_copy(output));
    }
    encoder.dispatch(std::move(call));
  }

  void eval_gpu(const std::vector<mx::array>&, std::vector<mx::array>&) override {
    check(false, "a CPU loop was placed on a GPU stream");
  }

  const char* name() const override { return name_; }

 private:
  // MLX keeps the buffers of inputs, outputs and temporaries until the tasks of a node are done, so
  // the task itself holds weak copies.
  struct Call {
    std::shared_ptr<const CpuLoop> loop;
    std::vector<mx::array> inputs;
    std::vector<mx::array> outputs;
    void operator()() { (*loop)(inputs, outputs); }
  };

  static mx::array row_major(mx::cpu::CommandEncoder& encoder, const mx::array& input) {
    mx::array weak = mx::array::unsafe_weak_copy(input);
    if (input.flags().row_contiguous || input.size() == 0) return weak;
    mx::array copy(input.shape(), input.dtype(), nullptr, {});
    copy.set_data(mx::allocator::malloc(copy.nbytes()));
    mx::array target = mx::array::unsafe_weak_copy(copy);
    encoder.add_temporary(std::move(copy));
    encoder.dispatch([weak, target]() mutable { copy_row_major(weak, target); });
    return target;
  }

  const char* name_;
  std::shared_ptr<const CpuLoop> loop_;
};

}  // namespace

std::vector<mx::array> cpu_node(const Context& context, const char* name,
                                std::vector<mx::array> inputs, std::vector<mx::Shape> shapes,
                                std::vector<mx::Dtype> dtypes, CpuLoop loop) {
  auto node = std::make_shared<CpuNode>(context.stream, name,
                                        std::make_shared<const CpuLoop>(std::move(loop)));
  return mx::array::make_arrays(std::move(shapes), dtypes, node, inputs);
}

mx::array cpu_node(const Context& context, const char* name, std::vector<mx::array> inputs,
                   mx::Shape shape, mx::Dtype dtype, CpuLoop loop) {
  auto node = std::make_shared<CpuNode>(context.stream, name,
                                        std::make_shared<const CpuLoop>(std::move(loop)));
  return mx::array(std::move(shape), dtype, std::move(node), std::move(inputs));
}

}  // namespace tandem::kernels
