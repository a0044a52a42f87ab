// Runs the checks of all kernel loops for the instruction sets of 64-bit ARM.
#include <cstdio>

#include "loop_self_check.h"
#include "product_self_check.h"

int main() {
  using namespace tandem::kernels;
  const bool products = products_pass("neon", neon::kLoops.product) &
                        products_pass("portable", portable::kLoops.product);
  const bool loops = loops_pass("neon", neon::kLoops) & loops_pass("portable", portable::kLoops);
  std::puts(products && loops ? "all loops pass" : "some loops fail");
  return products && loops ? 0 : 1;
}
