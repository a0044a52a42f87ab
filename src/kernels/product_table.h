#pragma once
// The entry of the loops of one instruction set.

namespace tandem::kernels {
namespace {

[[maybe_unused]] void multiply_any(const Product& product, int begin, int end) {
  if (product.count <= 0) return;
  product.x != nullptr ? multiply_float(product, begin, end) : multiply_int8(product, begin, end);
}

}  // namespace
}  // namespace tandem::kernels
