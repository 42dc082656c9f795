/* SPDX-License-Identifier: MIT */
#ifndef HOMI_PORT_H
#define HOMI_PORT_H

/*
 * What differs between compilers and processors, and nothing else: the data
 * path (wire.h, ring.h, prp.h) is the same text as C11, C++14, CUDA and HIP.
 * Tests for a vendor's compiler stand in this file only.
 */

#include <stdint.h>

#if defined(__CUDA_ARCH__) || defined(__HIP_DEVICE_COMPILE__)
#define HOMI_PORT_DEVICE 1
#else
#define HOMI_PORT_DEVICE 0
#endif

/**
 * HOMI_FN - qualifier of every function of the data path
 *
 * Always inlined: a ring that is a local variable then stays in registers over
 * compiler barriers, because its address is never given away.
 */
#if defined(__CUDACC__) || defined(__HIPCC__)
#define HOMI_FN static inline __host__ __device__ __attribute__((always_inline, unused))
#else
#define HOMI_FN static inline __attribute__((always_inline, unused))
#endif

#define homi_likely(x) __builtin_expect(!!(x), 1)
#define homi_unlikely(x) __builtin_expect(!!(x), 0)

/* Known to be 0 when compiling; may say no where it is. */
#if defined(__CUDACC__) || defined(__HIPCC__)
#define homi_known_zero(x) 0
#else
#define homi_known_zero(x) (__builtin_constant_p(x) && !(x))
#endif

#ifdef __cplusplus
#define HOMI_STATIC_ASSERT(cond, text) static_assert(cond, text)
#else
#define HOMI_STATIC_ASSERT(cond, text) _Static_assert(cond, text)
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
#if HOMI_PORT_DEVICE
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
#if HOMI_PORT_DEVICE
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
	uint32_t v = *p;

	homi_fence_acquire_system();
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
 * Neighbouring words in one instruction where there is one; 8-byte aligned
 * memory that is written before a fence.
 */
#if defined(__GNUC__) && !defined(__CUDACC__) && !defined(__HIPCC__)
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
	*reg = homi_cpu_to_le32(v);
}

/** homi_relax - tells the processor that this is a loop that waits */
HOMI_FN void homi_relax(void)
{
#if HOMI_PORT_DEVICE
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 700
	__nanosleep(20);
#endif
#elif defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ __volatile__("yield");
#endif
}

#endif /* HOMI_PORT_H */
