// Everything that the executor launches, as one translation unit: cmake/compile_cuda.py builds the
// instances that program.txt names.

#include "attention_many.cuh"
#include "decode.cuh"
#include "draw.cuh"
#include "repack.cuh"
#include "wide.cuh"

using namespace tandem::cuda;  // of the names in program.txt
