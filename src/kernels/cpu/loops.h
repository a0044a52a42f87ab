#pragma once
// All loops of one instruction set. CMake compiles every .cc of this folder once per instruction
// set, in a namespace of its name.

#include "kernels/cpu/attention_table.h"
#include "kernels/cpu/product.h"
#include "kernels/cpu/recurrent_table.h"
#include "kernels/cpu/row_loops.h"

namespace tandem::kernels {

enum class Isa;

struct Loops {
  const ProductLoops& product;
  const RowTable& rows;
  const AttentionLoops& attention;
  const RecurrentTable& recurrent;
};

namespace avx512 {
extern const Loops kLoops;
}
namespace avx2 {
extern const Loops kLoops;
}
namespace neon {
extern const Loops kLoops;
}
namespace portable {
extern const Loops kLoops;
}

/// Those of a resolved instruction set, which this build has.
const Loops& loops_of(Isa isa);

}  // namespace tandem::kernels
