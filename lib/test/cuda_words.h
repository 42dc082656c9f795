/* SPDX-License-Identifier: MIT */
#ifndef HOMI_TEST_CUDA_WORDS_H
#define HOMI_TEST_CUDA_WORDS_H

/*
 * Those words of CUDA that the data path uses, for clang where there is no CUDA: by
 * these it makes PTX of it, and of nothing else. What they mean is in the CUDA C++ programming guide.
 */

#include <stdint.h>

#define __host__ __attribute__((host))
#define __device__ __attribute__((device))
#define __global__ __attribute__((global))
#define WORD static inline __device__ __attribute__((always_inline, unused))

struct __attribute__((aligned(16))) ulonglong2 {
	unsigned long long x, y;
};

WORD ulonglong2 make_ulonglong2(unsigned long long x, unsigned long long y)
{
	return { x, y };
}

WORD void __threadfence_system() { __nvvm_membar_sys(); }
WORD void __threadfence() { __nvvm_membar_gl(); }
WORD unsigned int atomicAdd(unsigned int *p, unsigned int v)
{
	return (unsigned int)__nvvm_atom_add_gen_i((int *)p, (int)v);
}
WORD unsigned int atomicOr(unsigned int *p, unsigned int v)
{
	return (unsigned int)__nvvm_atom_or_gen_i((int *)p, (int)v);
}
WORD unsigned int atomicAnd(unsigned int *p, unsigned int v)
{
	return (unsigned int)__nvvm_atom_and_gen_i((int *)p, (int)v);
}
WORD unsigned int atomicExch(unsigned int *p, unsigned int v)
{
	return (unsigned int)__nvvm_atom_xchg_gen_i((int *)p, (int)v);
}
WORD unsigned int atomicCAS(unsigned int *p, unsigned int was, unsigned int v)
{
	return (unsigned int)__nvvm_atom_cas_gen_i((int *)p, (int)was, (int)v);
}
WORD int __popc(unsigned int v) { return __builtin_popcount(v); }
WORD int __ffs(int v) { return __builtin_ffs(v); }
WORD unsigned int __activemask()
{
	unsigned int mask;

	__asm__ volatile("activemask.b32 %0;" : "=r"(mask));
	return mask;
}
WORD unsigned int __ballot_sync(unsigned int mask, int yes)
{
	return __nvvm_vote_ballot_sync(mask, yes);
}
WORD unsigned int __match_any_sync(unsigned int mask, unsigned long long v)
{
	return __nvvm_match_any_sync_i64(mask, (long)v);
}
WORD unsigned int __shfl_sync(unsigned int mask, unsigned int v, int lane)
{
	return (unsigned int)__nvvm_shfl_sync_idx_i32(mask, (int)v, lane, 0x1f);
}
WORD void __syncwarp(unsigned int mask) { __nvvm_bar_warp_sync(mask); }
WORD void __nanosleep(unsigned int ns) { __asm__ volatile("nanosleep.u32 %0;" : : "r"(ns)); }
WORD long long clock64()
{
	long long v;

	__asm__ volatile("mov.u64 %0, %%clock64;" : "=l"(v));
	return v;
}

#endif /* HOMI_TEST_CUDA_WORDS_H */
