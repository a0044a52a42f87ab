#include "kernels/linear.h"

#include <memory>
#include <utility>

#include "base/check.h"
#include "kernels/cpu_run.h"
#include "kernels/linear_mlx.h"
#include "kernels/matrix_impl.h"
#include "kernels/prepared_rows.h"
#include "kernels/stored.h"

namespace tandem::kernels {
namespace {

Stored stored_type(const mx::array& y) {
  return y.dtype() == mx::bfloat16 ? Stored::kBF16 : Stored::kF32;
}

bool is_float(const mx::array& a) {
  return a.dtype() == mx::float32 || a.dtype() == mx::bfloat16 || a.dtype() == mx::float16;
}

/// The products with a shared x. Input 0 is x; then the biases in order.
void run_linear(const ProductContext& context, const std::vector<LinearSpec>& specs,
                std::span<const mx::array> inputs, std::span<mx::array> outputs) {
  const mx::array& x = inputs[0];
  LoopMemory memory(context.pool);
  PreparedRows rows(context, *memory, x, x.shape(0), x.shape(1));
  std::vector<Product> products(specs.size());
  std::vector<std::vector<float>> biases;
  biases.reserve(inputs.size());
  std::size_t next = 1;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    Product& product = products[i];
    product.w = specs[i].w.impl().matrix(0);
    rows.attach(product);
    product.count = x.shape(0);
    product.y = outputs[i].data<char>();
    product.y_stride = static_cast<std::size_t>(specs[i].w.rows());
    product.y_type = stored_type(outputs[i]);
    if (!specs[i].bias) continue;
    const mx::array& bias = inputs[next++];
    if (bias.dtype() == mx::float32) {
      product.bias = reinterpret_cast<const float*>(bias.data<char>());
    } else {
      biases.push_back(to_floats(bias));
      product.bias = biases.back().data();
    }
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
    product.w = w.impl().matrix(h);
    rows.attach(product);
    product.in = product.out = own;
    product.count = tokens;
    product.y = y.data<char>();
    product.y_stride = static_cast<std::size_t>(w.rows());
    product.y_type = stored_type(y);
  }
  multiply(*context.loops, context.pool, products);
}

void run_embed(ThreadPool* pool, const TileMatrix& table, const mx::array& ids, mx::array& y) {
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

std::vector<mx::array> linear_many(const Context& context, const mx::array& x,
                                   const std::vector<LinearSpec>& specs) {
  check(x.ndim() == 2, "x of a product is [tokens, cols]");
  std::vector<mx::array> inputs = {as_rows(context, x)};
  std::vector<mx::Shape> shapes;
  std::vector<mx::array> results;
  for (const LinearSpec& spec : specs) {
    check(spec.w.impl().backend == context.backend && spec.w.count() == 1 &&
              spec.w.cols() == x.shape(1),
          "a product takes one matrix of its own backend with as many columns as x");
    if (context.backend == Backend::kMlx) {
      results.push_back(mlx::linear(context, x, spec.w, spec.bias));
      continue;
    }
    if (spec.bias) {
      check(spec.bias->size() == static_cast<std::size_t>(spec.w.rows()) && is_float(*spec.bias),
            "a bias has one float a row of the matrix");
      inputs.push_back(*spec.bias);
    }
    shapes.push_back({x.shape(0), spec.w.rows()});
  }
  if (context.backend == Backend::kMlx) return results;
  const std::vector<mx::Dtype> types(specs.size(), context.dtype());
  return cpu_run("linear", std::move(inputs), std::move(shapes), types,
                 [&](auto in, auto out) { run_linear(ProductContext(context), specs, in, out); });
}

mx::array linear(const Context& context, const mx::array& x, const Matrix& w,
                 const std::optional<mx::array>& bias) {
  return linear_many(context, x, {{w, bias}}).front();
}

mx::array linear_per_head(const Context& context, const mx::array& x, const Matrix& w) {
  check(x.ndim() == 3 && x.shape(1) == w.count() && x.shape(2) == w.cols(),
        "x of a product per head is [tokens, heads, cols]");
  if (context.backend == Backend::kMlx) return mlx::linear_per_head(context, x, w);
  return cpu_run(
      "linear_per_head", {as_rows(context, x)}, {x.shape(0), w.count(), w.rows()}, context.dtype(),
      [&](auto in, auto out) { run_per_head(ProductContext(context), w, in[0], out[0]); });
}

mx::array embed(const Context& context, const mx::array& ids, const Matrix& table) {
  check(ids.ndim() == 1 && ids.dtype() == mx::int32, "ids are int32 [tokens]");
  if (context.backend == Backend::kMlx) return mlx::embed(context, ids, table);
  return cpu_run(
      "embed", {ids}, {ids.shape(0), table.cols()}, context.dtype(),
      [&](auto in, auto out) { run_embed(context.pool, table.impl().matrix(0), in[0], out[0]); });
}

}  // namespace tandem::kernels
