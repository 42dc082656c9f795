/* SPDX-License-Identifier: MIT */
#ifndef HOMI_PORT_H
#define HOMI_PORT_H

/*
 * What differs between compilers and processors, and nothing else: the data
 * path (wire.h, ring.h, shared.h, prp.h) is the same text as C11, C++14, CUDA
 * and HIP.
 * Tests for a vendor's compiler stand in this file only.
 */

#include <stdint.h>

#if defined(__CUDA_ARCH__) || defined(__HIP_DEVICE_COMPILE__)
#define HOMI_PORT_DEVICE 1
#else
#define HOMI_PORT_DEVICE 0
#endif

/* Host and device code of one text; the third is clang's own word for CUDA. */
#if defined(__CUDACC__) || defined(__HIPCC__) || defined(__CUDA__)
#define HOMI_PORT_BOTH 1
#else
#define HOMI_PORT_BOTH 0
#endif

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 700
#error "lanes of a warp have to run independently: compute capability 7.0 or above"
#endif

/**
 * HOMI_FN - qualifier of every function of the data path
 *
 * Always inlined: a ring that is a local variable then stays in registers over
 * compiler barriers, because its address is never given away.
 */
#if HOMI_PORT_BOTH
#define HOMI_FN static inline __host__ __device__ __attribute__((always_inline, unused))
#else
#define HOMI_FN static inline __attribute__((always_inline, unused))
#endif

#define homi_likely(x) __builtin_expect(!!(x), 1)
#define homi_unlikely(x) __builtin_expect(!!(x), 0)

/* Known to be 0 when compiling; may say no where it is. */
#if HOMI_PORT_BOTH
#define homi_known_zero(x) 0
#else
#define homi_known_zero(x) (__builtin_constant_p(x) && !(x))
#endif

#ifdef __cplusplus
#define HOMI_STATIC_ASSERT(cond, text) static_assert(cond, text)
#else
#define HOMI_STATIC_ASSERT(cond, text) _Static_assert(cond, text)
#endif

/* Who measures may have each register write and each look for a completion counted. */
#ifndef HOMI_PORT_COUNT_WRITE
#define HOMI_PORT_COUNT_WRITE() ((void)0)
#define HOMI_PORT_COUNT_LOOK() ((void)0)
#endif

/* NVMe is little endian. */
#if !HOMI_PORT_DEVICE && defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define HOMI_PORT_SWAP(bits, v) __builtin_bswap##bits(v)
#else
#define HOMI_PORT_SWAP(bits, v) (v)
#endif

HOMI_FN uint16_t homi_cpu_to_le16(uint16_t v)
{
	return HOMI_PORT_SWAP(16, v);
}

HOMI_FN uint32_t homi_cpu_to_le32(uint32_t v)
{
	return HOMI_PORT_SWAP(32, v);
}

HOMI_FN uint64_t homi_cpu_to_le64(uint64_t v)
{
	return HOMI_PORT_SWAP(64, v);
}

HOMI_FN uint16_t homi_le16_to_cpu(uint16_t v)
{
	return HOMI_PORT_SWAP(16, v);
}

HOMI_FN uint32_t homi_le32_to_cpu(uint32_t v)
{
	return HOMI_PORT_SWAP(32, v);
}

HOMI_FN uint64_t homi_le64_to_cpu(uint64_t v)
{
	return HOMI_PORT_SWAP(64, v);
}

/*
 * Fences. All are of system scope: the other side is a PCIe device.
 */

/**
 * homi_fence_release_system - earlier loads and stores before later stores
 *
 * Later stores may be to device registers (MMIO).
 */
HOMI_FN void homi_fence_release_system(void)
{
#if defined(__CUDA_ARCH__)
	__asm__ __volatile__("fence.acq_rel.sys;" : : : "memory");
#elif HOMI_PORT_DEVICE
	__threadfence_system();
#elif defined(__aarch64__)
	/* The outer shareable domain: __atomic fences stop at the inner one. */
	__asm__ __volatile__("dmb osh" ::: "memory");
#elif defined(__x86_64__) || defined(__i386__)
	/* x86 keeps stores in order, write-back before uncached ones included. */
	__asm__ __volatile__("" ::: "memory");
#else
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

/** homi_fence_acquire_system - earlier loads before later loads and stores */
HOMI_FN void homi_fence_acquire_system(void)
{
#if defined(__CUDA_ARCH__)
	__asm__ __volatile__("fence.acq_rel.sys;" : : : "memory");
#elif HOMI_PORT_DEVICE
	__threadfence_system();
#elif defined(__aarch64__)
	__asm__ __volatile__("dmb oshld" ::: "memory");
#elif defined(__x86_64__) || defined(__i386__)
	__asm__ __volatile__("" ::: "memory");
#else
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

/** homi_load32 - one load that the compiler neither repeats, splits nor drops */
HOMI_FN uint32_t homi_load32(const volatile uint32_t *p)
{
	return *p;
}

/** homi_load_acquire_system32 - @p before every later access */
HOMI_FN uint32_t homi_load_acquire_system32(const volatile uint32_t *p)
{
	uint32_t v;

	HOMI_PORT_COUNT_LOOK();
#if defined(__CUDA_ARCH__)
	/* A fence would also wait for all that was stored. */
	__asm__ __volatile__("ld.acquire.sys.u32 %0, [%1];" : "=r"(v) : "l"(p) : "memory");
#else
	v = *p;
	homi_fence_acquire_system();
#endif
	return v;
}

/** homi_store32 - one store that the compiler neither repeats, splits nor drops */
HOMI_FN void homi_store32(volatile uint32_t *p, uint32_t v)
{
	*p = v;
}

/**
 * homi_store_full_system32 - earlier accesses before @p, @p before every later
 * access, loads included
 */
HOMI_FN void homi_store_full_system32(volatile uint32_t *p, uint32_t v)
{
#if !HOMI_PORT_DEVICE && (defined(__x86_64__) || defined(__i386__))
	/* xchg is a store and a full barrier in one instruction. */
	__asm__ __volatile__("xchgl %0, %1" : "+r"(v), "+m"(*p) : : "memory");
#elif !HOMI_PORT_DEVICE && defined(__aarch64__)
	homi_fence_release_system();
	*p = v;
	homi_fence_release_system();	/* dmb osh orders loads too */
#elif HOMI_PORT_DEVICE
	__threadfence_system();
	*p = v;
	__threadfence_system();
#else
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	*p = v;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

/*
 * Between the threads that share a ring: of one device, or of one host.
 */

/** homi_fence_device - for these threads: all before, but that later loads may pass stores */
HOMI_FN void homi_fence_device(void)
{
#if defined(__CUDA_ARCH__)
	__asm__ __volatile__("fence.acq_rel.gpu;" : : : "memory");
#elif HOMI_PORT_DEVICE
	__threadfence();
#else
	__atomic_thread_fence(__ATOMIC_ACQ_REL);
#endif
}

/** homi_fence_full_device - for these threads: all before all that comes */
HOMI_FN void homi_fence_full_device(void)
{
#if defined(__CUDA_ARCH__)
	__asm__ __volatile__("fence.sc.gpu;" : : : "memory");
#elif HOMI_PORT_DEVICE
	__threadfence();
#else
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

/** homi_atomic_add32 - adds; returns what was there; orders nothing by itself */
HOMI_FN uint32_t homi_atomic_add32(uint32_t *p, uint32_t v)
{
#if HOMI_PORT_DEVICE
	return atomicAdd(p, v);
#else
	return __atomic_fetch_add(p, v, __ATOMIC_RELAXED);
#endif
}

/** homi_atomic_or32 - sets bits; returns what was there; orders nothing by itself */
HOMI_FN uint32_t homi_atomic_or32(uint32_t *p, uint32_t v)
{
#if HOMI_PORT_DEVICE
	return atomicOr(p, v);
#else
	return __atomic_fetch_or(p, v, __ATOMIC_RELAXED);
#endif
}

/** homi_atomic_and32 - clears bits; returns what was there; orders nothing by itself */
HOMI_FN uint32_t homi_atomic_and32(uint32_t *p, uint32_t v)
{
#if HOMI_PORT_DEVICE
	return atomicAnd(p, v);
#else
	return __atomic_fetch_and(p, v, __ATOMIC_RELAXED);
#endif
}

/** homi_atomic_swap32 - writes; returns what was there; orders nothing by itself */
HOMI_FN uint32_t homi_atomic_swap32(uint32_t *p, uint32_t v)
{
#if HOMI_PORT_DEVICE
	return atomicExch(p, v);
#else
	return __atomic_exchange_n(p, v, __ATOMIC_RELAXED);
#endif
}

/** homi_atomic_first32 - writes if 0 was there; returns what was there; orders nothing */
HOMI_FN uint32_t homi_atomic_first32(uint32_t *p, uint32_t v)
{
#if HOMI_PORT_DEVICE
	return atomicCAS(p, 0u, v);
#else
	uint32_t was = 0;

	__atomic_compare_exchange_n(p, &was, v, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	return was;
#endif
}

/** homi_atomic_load32 - not older than what this thread has seen; orders nothing */
HOMI_FN uint32_t homi_atomic_load32(const uint32_t *p)
{
#if HOMI_PORT_DEVICE
	return *(const volatile uint32_t *)p;
#else
	return __atomic_load_n(p, __ATOMIC_RELAXED);
#endif
}

/** homi_atomic_store32 - for homi_atomic_load32(); orders nothing */
HOMI_FN void homi_atomic_store32(uint32_t *p, uint32_t v)
{
#if HOMI_PORT_DEVICE
	*(volatile uint32_t *)p = v;
#else
	__atomic_store_n(p, v, __ATOMIC_RELAXED);
#endif
}

/** homi_atomic_load64 - as homi_atomic_load32() */
HOMI_FN uint64_t homi_atomic_load64(const uint64_t *p)
{
#if HOMI_PORT_DEVICE
	return *(const volatile uint64_t *)p;
#else
	return __atomic_load_n(p, __ATOMIC_RELAXED);
#endif
}

/** homi_atomic_store64 - as homi_atomic_store32() */
HOMI_FN void homi_atomic_store64(uint64_t *p, uint64_t v)
{
#if HOMI_PORT_DEVICE
	*(volatile uint64_t *)p = v;
#else
	__atomic_store_n(p, v, __ATOMIC_RELAXED);
#endif
}

/*
 * Lanes of one warp (CUDA) or wave (HIP); a thread of a host is one by itself.
 */
#if defined(__HIPCC__)
typedef uint64_t homi_lanes;
#else
typedef uint32_t homi_lanes;
#endif

HOMI_FN uint32_t homi_lanes_count(homi_lanes lanes)
{
#if HOMI_PORT_DEVICE && defined(__CUDA_ARCH__)
	return (uint32_t)__popc(lanes);
#elif HOMI_PORT_DEVICE
	return (uint32_t)__popcll(lanes);
#else
	return (uint32_t)__builtin_popcountll(lanes);
#endif
}

/** homi_lanes_first - the lowest of @lanes, which are not none */
HOMI_FN uint32_t homi_lanes_first(homi_lanes lanes)
{
#if HOMI_PORT_DEVICE && defined(__CUDA_ARCH__)
	return (uint32_t)__ffs((int)lanes) - 1;
#elif HOMI_PORT_DEVICE
	return (uint32_t)__ffsll((unsigned long long)lanes) - 1;
#else
	return (uint32_t)__builtin_ctzll(lanes);
#endif
}

HOMI_FN uint32_t homi_lane(void)
{
#if HOMI_PORT_DEVICE && defined(__CUDA_ARCH__)
	uint32_t lane;

	__asm__("mov.u32 %0, %%laneid;" : "=r"(lane));
	return lane;
#elif HOMI_PORT_DEVICE
	return __lane_id();
#else
	return 0;
#endif
}

/** homi_noise - any number, so that not all begin with the same */
HOMI_FN uint32_t homi_noise(void)
{
#if HOMI_PORT_DEVICE
	return (uint32_t)clock64() >> 4;
#else
	/* Threads have stacks of their own. Whoever may not make system calls may not ask the clock. */
	char here;

	return (uint32_t)((uintptr_t)&here >> 12) * 0x9e3779b1u >> 16;
#endif
}

/** homi_lanes_alike - those that execute this together and have the same @key */
HOMI_FN homi_lanes homi_lanes_alike(const void *key)
{
#if HOMI_PORT_DEVICE && defined(__CUDA_ARCH__)
	return __match_any_sync(__activemask(), (unsigned long long)key);
#elif HOMI_PORT_DEVICE
	homi_lanes left = __ballot(1);

	for (;;) {
		int first = (int)homi_lanes_first(left);
		uint64_t one = (uint64_t)(uint32_t)__shfl((int)(uintptr_t)key, first) |
			       (uint64_t)(uint32_t)__shfl((int)((uintptr_t)key >> 32), first) << 32;
		homi_lanes same = __ballot(one == (uintptr_t)key);

		if (one == (uintptr_t)key)
			return same;
		left &= ~same;
	}
#else
	(void)key;
	return 1;
#endif
}

/** homi_lanes_ballot - those of @lanes, which all call this, whose @yes is not 0 */
HOMI_FN homi_lanes homi_lanes_ballot(homi_lanes lanes, int yes)
{
#if HOMI_PORT_DEVICE && defined(__CUDA_ARCH__)
	return __ballot_sync(lanes, yes);
#elif HOMI_PORT_DEVICE
	return __ballot(yes) & lanes;
#else
	return yes ? lanes : 0;
#endif
}

/** homi_lanes_share - @v of @lane, which is one of @lanes, which all call this */
HOMI_FN uint32_t homi_lanes_share(homi_lanes lanes, uint32_t v, uint32_t lane)
{
	(void)lanes;
#if HOMI_PORT_DEVICE && defined(__CUDA_ARCH__)
	return __shfl_sync(lanes, v, (int)lane);
#elif HOMI_PORT_DEVICE
	return (uint32_t)__shfl((int)v, (int)lane);
#else
	(void)lane;
	return v;
#endif
}

/** homi_lanes_sync - what one of @lanes did before, each of them sees after it */
HOMI_FN void homi_lanes_sync(homi_lanes lanes)
{
	(void)lanes;
#if HOMI_PORT_DEVICE && defined(__CUDA_ARCH__)
	__syncwarp(lanes);
#elif HOMI_PORT_DEVICE
	__builtin_amdgcn_fence(__ATOMIC_ACQ_REL, "wavefront");
	__builtin_amdgcn_wave_barrier();
#endif
}

/*
 * Neighbouring words in one instruction where there is one; 8-byte aligned
 * memory that is written before a fence.
 */
#if defined(__GNUC__) && !HOMI_PORT_BOTH
#define HOMI_PORT_VECTOR(words) \
	__attribute__((vector_size((words) * 8), aligned(8), may_alias))
#endif

/** homi_store_pair64 - stores two words */
HOMI_FN void homi_store_pair64(uint64_t *p, uint64_t low, uint64_t high)
{
#if defined(HOMI_PORT_VECTOR) && defined(__SSE2__)
	typedef uint64_t pair HOMI_PORT_VECTOR(2);
	pair v = { low, high };

	*(pair *)p = v;
#else
	p[0] = low;
	p[1] = high;
#endif
}

/** homi_store_line64 - as homi_store_pair64(), @p being 16-byte aligned */
HOMI_FN void homi_store_line64(uint64_t *p, uint64_t low, uint64_t high)
{
#if defined(__CUDA_ARCH__) || defined(__HIP_DEVICE_COMPILE__)
	*(ulonglong2 *)p = make_ulonglong2(low, high);
#else
	homi_store_pair64(p, low, high);
#endif
}

/** homi_zero_quad64 - stores four zeroes */
HOMI_FN void homi_zero_quad64(uint64_t *p)
{
#if defined(HOMI_PORT_VECTOR) && defined(__AVX__)
	typedef uint64_t quad HOMI_PORT_VECTOR(4);
	quad v = { 0, 0, 0, 0 };

	*(quad *)p = v;
#else
	homi_store_pair64(p, 0, 0);
	homi_store_pair64(p + 2, 0, 0);
#endif
}

/** homi_mmio_write32 - store to a device register; orders nothing by itself */
HOMI_FN void homi_mmio_write32(volatile uint32_t *reg, uint32_t v)
{
	HOMI_PORT_COUNT_WRITE();
	*reg = homi_cpu_to_le32(v);
}

/** homi_relax - tells the processor that this is a loop that waits */
HOMI_FN void homi_relax(void)
{
#if HOMI_PORT_DEVICE
#if defined(__CUDA_ARCH__)
	__nanosleep(20);
#endif
#elif defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ __volatile__("yield");
#endif
}

#endif /* HOMI_PORT_H */
