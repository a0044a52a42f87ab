#include "kernels/cpu_node.h"

#include <mlx/allocator.h>
#include <mlx/backend/cpu/encoder.h>
#include <mlx/primitives.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <utility>

#include "base/check.h"
#include "kernels/node_failure.h"

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

/// First failures by stream. One for the process, as MLX's streams are. An exception on a stream's
/// thread would reach eval, but MLX 0.32.4 loses count of its tasks then, and a later eval hangs.
class Failures {
 public:
  void add(int stream, std::string text) {
    const std::lock_guard lock(mutex_);
    first_.emplace(stream, std::move(text));
  }
  std::optional<std::string> take(int stream) {
    const std::lock_guard lock(mutex_);
    auto node = first_.extract(stream);
    if (node.empty()) return std::nullopt;
    return std::move(node.mapped());
  }

 private:
  std::mutex mutex_;
  std::map<int, std::string> first_;
};

Failures& failures() {
  static Failures all;
  return all;
}

class CpuNode final : public mx::Primitive {
 public:
  CpuNode(mx::Stream stream, const char* name, std::shared_ptr<const CpuLoop> loop)
      : mx::Primitive(stream), name_(name), loop_(std::move(loop)) {}

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    auto& encoder = mx::cpu::get_command_encoder(stream());
    Call call;
    call.stream = stream().index;
    call.name = name_;
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
    int stream = 0;
    const char* name = "";
    std::shared_ptr<const CpuLoop> loop;
    std::vector<mx::array> inputs;
    std::vector<mx::array> outputs;

    void operator()() {
      try {
        (*loop)(inputs, outputs);
      } catch (const std::bad_alloc&) {
        fail("the system has no more memory");
      } catch (const std::exception& failure) {
        fail(failure.what());
      }
    }

    /// The nodes that follow still run; zeros are ids and numbers that do no harm there.
    void fail(const char* why) {
      for (mx::array& output : outputs) std::memset(output.data<char>(), 0, output.nbytes());
      failures().add(stream, std::string(name) + ": " + why);
    }
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

std::optional<std::string> take_node_failure(const mx::Stream& stream) {
  return failures().take(stream.index);
}

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
