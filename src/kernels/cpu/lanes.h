#pragma once
// The vectors of the instruction set that this is compiled for.

#if defined(HWY_COMPILE_ONLY_EMU128)
#include "kernels/cpu/lanes_portable.h"
#elif defined(__AVX512VNNI__)
#include "kernels/cpu/lanes_avx512.h"
#elif defined(__AVX2__)
#include "kernels/cpu/lanes_avx2.h"
#else
#include "kernels/cpu/lanes_neon.h"
#endif
