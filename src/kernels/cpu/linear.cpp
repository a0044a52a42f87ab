#include <span>
#include <utility>

#include "base/check.h"
#include "kernels/cpu/cpu_matrix.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/cpu_run.h"
#include "kernels/cpu/prepared_rows.h"
#include "kernels/stored.h"

namespace tandem::kernels {
namespace {

DType type_of(const mx::array& y) { return y.dtype() == mx::bfloat16 ? DType::kBF16 : DType::kF32; }

/// The products with a shared x. Input 0 is x; then the biases in order.
void run_products(const ProductContext& context, const std::vector<LinearSpec>& specs,
                  std::span<const mx::array> inputs, std::span<mx::array> outputs) {
  const mx::array& x = inputs[0];
  LoopMemory memory(context.pool);
  PreparedRows rows(context, *memory, x, x.shape(0), x.shape(1));
  std::vector<Product> products(specs.size());
  std::size_t next = 1;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    Product& product = products[i];
    product.w = specs[i].w.as<CpuMatrix>().matrix(0);
    rows.attach(product);
    product.count = x.shape(0);
    product.y = outputs[i].data<char>();
    product.y_stride = static_cast<std::size_t>(specs[i].w.rows());
    product.y_type = type_of(outputs[i]);
    if (specs[i].bias) product.bias = inputs[next++].data<float>();
  }
  multiply(*context.loops, context.pool, products);
}

/// One product a head: row t * heads + h of x meets matrix h.
void run_per_head(const ProductContext& context, const Matrix& w, const mx::array& x,
                  mx::array& y) {
  const int tokens = x.shape(0);
  const int heads = x.shape(1);
  LoopMemory memory(context.pool);
  PreparedRows rows(context, *memory, x, std::int64_t{tokens} * heads, x.shape(2));
  std::vector<std::int32_t> index(static_cast<std::size_t>(tokens) *
                                  static_cast<std::size_t>(heads));
  std::vector<Product> products(static_cast<std::size_t>(heads));
  for (int h = 0; h < heads; ++h) {
    std::int32_t* own = index.data() + std::int64_t{h} * tokens;
    for (int t = 0; t < tokens; ++t) own[t] = t * heads + h;
    Product& product = products[static_cast<std::size_t>(h)];
    product.w = w.as<CpuMatrix>().matrix(h);
    rows.attach(product);
    product.in = product.out = own;
    product.count = tokens;
    product.y = y.data<char>();
    product.y_stride = static_cast<std::size_t>(w.rows());
    product.y_type = type_of(y);
  }
  multiply(*context.loops, context.pool, products);
}

void run_rows(ThreadPool* pool, const TileMatrix& table, const mx::array& ids, mx::array& y) {
  const auto* id = reinterpret_cast<const std::int32_t*>(ids.data<char>());
  const auto cols = static_cast<std::size_t>(table.cols);
  constexpr std::int64_t kGrain = 4;
  in_parallel(pool, ids.shape(0), kGrain, [&](std::int64_t begin, std::int64_t end, int) {
    std::vector<float> row(y.dtype() == mx::float32 ? 0 : cols);
    for (std::int64_t t = begin; t < end; ++t) {
      check(id[t] >= 0 && id[t] < table.rows, "token ids are inside the embedding table");
      const std::size_t at = static_cast<std::size_t>(t) * cols;
      if (y.dtype() == mx::float32) {
        unpack_row(table, id[t], reinterpret_cast<float*>(y.data<char>()) + at);
        continue;
      }
      unpack_row(table, id[t], row.data());
      auto* out = reinterpret_cast<std::uint16_t*>(y.data<char>()) + at;
      for (std::size_t i = 0; i < cols; ++i) out[i] = bf16_of_float(row[i]);
    }
  });
}

}  // namespace

ProductContext CpuOps::product_context() const {
  return {&loops_.product, pool_, activations() == Activations::kInt8};
}

mx::array CpuOps::as_rows(const mx::array& x) const {
  return x.dtype() == mx::bfloat16 ? x : as_f32(x);
}

std::vector<mx::array> CpuOps::run_linear(const mx::array& x,
                                          const std::vector<LinearSpec>& specs) const {
  std::vector<mx::array> inputs = {as_rows(x)};
  std::vector<mx::Shape> shapes;
  for (const LinearSpec& spec : specs) {
    if (spec.bias) inputs.push_back(as_f32(*spec.bias));
    shapes.push_back({x.shape(0), spec.w.rows()});
  }
  const std::vector<mx::Dtype> types(specs.size(), type());
  return cpu_run("linear", std::move(inputs), std::move(shapes), types,
                 [&](auto in, auto out) { run_products(product_context(), specs, in, out); });
}

mx::array CpuOps::run_linear_per_head(const mx::array& x, const Matrix& w) const {
  return cpu_run("linear_per_head", {as_rows(x)}, {x.shape(0), w.count(), w.rows()}, type(),
                 [&](auto in, auto out) { run_per_head(product_context(), w, in[0], out[0]); });
}

mx::array CpuOps::run_embed(const mx::array& ids, const Matrix& table) const {
  const TileMatrix tiles = table.as<CpuMatrix>().matrix(0);
  return cpu_run("embed", {ids}, {ids.shape(0), table.cols()}, type(),
                 [&](auto in, auto out) { run_rows(pool_, tiles, in[0], out[0]); });
}

}  // namespace tandem::kernels
