#include "kernels/cpu/prepared_rows.h"

#include "base/check.h"
#include "base/thread_pool.h"
#include "kernels/stored.h"

namespace tandem::kernels {
namespace {

constexpr std::int64_t kConvertGrain = 32768;  // elements

template <class T>
const T* data(const mx::array& x) {
  return reinterpret_cast<const T*>(x.data<char>());
}

}  // namespace

LoopMemory::LoopMemory(ThreadPool* pool) : memory_(pool != nullptr ? &pool->workspace() : &own_) {
  memory_->reset();
}

Int8Rows take_int8_rows(Workspace& memory, std::int64_t rows, int cols, int group) {
  const auto elements = static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols);
  const std::size_t groups = elements / static_cast<std::size_t>(group);
  return {memory.take<std::int8_t>(elements),
          memory.take<float>(groups),
          memory.take<float>(groups),
          memory.take<std::int32_t>(groups),
          cols,
          group};
}

PreparedRows::PreparedRows(const ProductContext& context, Workspace& memory, const mx::array& x,
                           std::int64_t rows, int cols)
    : context_(context), memory_(memory), rows_(rows), cols_(cols) {
  if (x.dtype() == mx::float32) {
    x_ = data<float>(x);
    return;
  }
  const std::int64_t n = rows * cols;
  const auto* from = data<std::uint16_t>(x);
  float* to = memory.take<float>(static_cast<std::size_t>(n));
  in_parallel(context.pool, n, kConvertGrain, [=](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i) to[i] = float_of_bf16(from[i]);
  });
  x_ = to;
}

void PreparedRows::attach(Product& product) {
  check(product.w.cols == cols_, "a row has as many elements as the matrix has columns");
  if (product.w.format.bits == 0 || !context_.int8) {
    product.x = x_;
    return;
  }
  for (const Int8Rows& rows : int8_) {
    if (rows.group == product.w.format.group) {
      product.int8 = &rows;
      return;
    }
  }
  int8_.push_back(take_int8_rows(memory_, rows_, cols_, product.w.format.group));
  product.int8 = &int8_.back();
  quantize(*context_.loops, context_.pool, x_, *product.int8, rows_);
}

}  // namespace tandem::kernels
