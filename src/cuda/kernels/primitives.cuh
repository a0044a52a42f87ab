#pragma once
// The few PTX instructions that the kernels share. No header of the CUDA toolkit is needed, so that
// NVRTC and nvcc both compile them.

#include "args.h"

namespace tandem::cuda {

/// A kernel launched with programmatic dependent launch may start its successor: what the successor
/// does before wait_for_predecessor() must not read what this kernel or an earlier one writes.
__device__ __forceinline__ void let_successor_start() {
  asm volatile("griddepcontrol.launch_dependents;");
}
/// Returns when all kernels before this one have ended and what they wrote is visible. Every block
/// of every kernel calls it, or a kernel would end before its predecessor.
__device__ __forceinline__ void wait_for_predecessor() {
  asm volatile("griddepcontrol.wait;" ::: "memory");
}

__device__ __forceinline__ u32 shared_address(const void* p) {
  return static_cast<u32>(__cvta_generic_to_shared(p));
}
/// 16 bytes from device memory to shared memory past the registers and L1.
__device__ __forceinline__ void copy_async(u32 to, const void* from) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(to), "l"(from)
               : "memory");
}
__device__ __forceinline__ void commit_copies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
/// Waits until at most `kPending` of this thread's last groups of copies are unfinished.
template <int kPending>
__device__ __forceinline__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}
__device__ __forceinline__ void prefetch_to_l2(const void* p) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(p));
}

__device__ __forceinline__ float low(u32 pair) { return __uint_as_float(pair << 16); }
__device__ __forceinline__ float high(u32 pair) { return __uint_as_float(pair & 0xffff0000u); }
__device__ __forceinline__ float widen(u16 bf16) { return __uint_as_float(u32{bf16} << 16); }
/// Two floats as bf16, to nearest even: `first` in the low half.
__device__ __forceinline__ u32 narrow(float first, float second) {
  u32 pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
  return pair;
}
__device__ __forceinline__ u16 narrow(float x) { return static_cast<u16>(narrow(x, 0.0f)); }
__device__ __forceinline__ float infinity() { return __uint_as_float(0x7f800000u); }
__device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// 16 x 8 += 16 x 16 times 16 x 8. Lane 4 g + t holds of A rows g (a0, a2) and g + 8 (a1, a3), of B
/// column g, of C rows g (0, 1) and g + 8 (2, 3) in columns 2 t and 2 t + 1.
__device__ __forceinline__ void multiply(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0,
                                         u32 b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}
/// The same from C = 0.
__device__ __forceinline__ void multiply_first(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3,
                                               u32 b0, u32 b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%10,%10,%10,%10};"
      : "=f"(c[0]), "=f"(c[1]), "=f"(c[2]), "=f"(c[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1), "f"(0.0f));
}

/// bf16x2 of 128 + nibble i and 128 + nibble i + 4 of a word, exact.
template <int i>
__device__ __forceinline__ u32 nibbles(u32 word) {
  u32 pair;
  asm("lop3.b32 %0, %1, 0x000f000f, 0x43004300, 0xea;" : "=r"(pair) : "r"(word >> (4 * i)));
  return pair;
}

}  // namespace tandem::cuda
