// Runs the checks of all kernel loops for the instruction sets of 64-bit ARM.
#include <cstdio>

#include "loop_self_check.h"
#include "product_self_check.h"

int main() {
  using namespace tandem::kernels;
  const bool products =
      products_pass("neon", kProductNeon) & products_pass("portable", kProductPortable);
  const bool loops = loops_pass("neon", neon::kRows, neon::kAttention) &
                     loops_pass("portable", portable::kRows, portable::kAttention);
  std::puts(products && loops ? "all loops pass" : "some loops fail");
  return products && loops ? 0 : 1;
}
