/* SPDX-License-Identifier: MIT */
#ifndef GPU_H
#define GPU_H

/*
 * What the examples want of a GPU, by CUDA or by HIP: memory as a dma-buf, and the
 * doorbells where its threads reach them. GPU(Malloc) is cudaMalloc or hipMalloc.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__HIPCC__)
#include <dlfcn.h>
#include <hip/hip_runtime.h>
#define GPU(name) hip##name
#else
#include <cuda.h>
#include <cuda_runtime.h>
#define GPU(name) cuda##name
#endif

#include <homi/homi.h>

/* What the GPU's driver gives out by itself, so that no two allocations share one */
#define GPU_UNIT	(2ull << 20)
#define GPU_PAGE	4096ull

/* A call without which there is nothing to be done */
#define MUST(call) do { \
	GPU(Error_t) error_ = (call); \
	if (error_ != GPU(Success)) \
		die(#call, GPU(GetErrorString)(error_)); \
} while (0)

[[noreturn]] static inline void die(const char *what, const char *why)
{
	fprintf(stderr, "%s: %s\n", what, why);
	exit(1);
}

/* @ret: 0 or a negative errno */
static inline void must(int ret, const char *what)
{
	if (ret < 0)
		die(what, strerror(-ret));
}

/**
 * struct source - a file, and the controller it is on
 * @file: open for reading
 * @size: bytes
 * @extents: of all of it
 */
struct source {
	struct homi_dev dev;
	int file;
	uint64_t size;
	struct homi_extents extents;
};

static inline void source_open(struct source *s, const char *controller, const char *path)
{
	uint32_t reason;
	struct stat st;

	must(homi_open(&s->dev, controller), controller);
	s->file = open(path, O_RDONLY | O_CLOEXEC);
	if (s->file < 0 || fstat(s->file, &st))
		die(path, strerror(errno));
	s->size = (uint64_t)st.st_size;
	if (homi_extents_open(&s->dev, s->file, 0, 0, &s->extents, &reason))
		die(path, homi_strreason(reason));
}

/* What was read is the file's if nobody wanted to change it until now. */
static inline void source_check(const struct source *s)
{
	if (homi_extent_get_state(s->extents.table) != HOMI_EXTENT_VALID)
		die("the file", "somebody wanted to change it meanwhile");
}

static inline void source_close(struct source *s)
{
	must(homi_extents_close(&s->dev, &s->extents), "closing the file's extents");
	close(s->file);
	homi_close(&s->dev);
}

/* A dma-buf of the GPU's memory, or a negative errno; the controller reaches it by the GPU's BAR. */
static inline int gpu_export(void *memory, size_t length)
{
	int fd = -1;

#if defined(__HIPCC__)
	/* ROCm 5.6 and later; 0 is success */
	typedef int export_fn(const void *, size_t, int *, uint64_t *);
	void *hsa = dlopen("libhsa-runtime64.so.1", RTLD_NOW);
	export_fn *export_range = hsa ? (export_fn *)dlsym(hsa, "hsa_amd_portable_export_dmabuf") : NULL;
	uint64_t offset = 0;

	if (!export_range || export_range(memory, length, &fd, &offset) || offset)
		return -EOPNOTSUPP;
#else
	typedef CUresult export_fn(void *, CUdeviceptr, size_t, CUmemRangeHandleType,
				   unsigned long long);
	enum cudaDriverEntryPointQueryResult found;
	void *entry = NULL;

#if CUDART_VERSION >= 12050
	cudaGetDriverEntryPointByVersion("cuMemGetHandleForAddressRange", &entry, 11070,
					 cudaEnableDefault, &found);
#else
	cudaGetDriverEntryPoint("cuMemGetHandleForAddressRange", &entry, cudaEnableDefault, &found);
#endif
	if (!entry || ((export_fn *)entry)(&fd, (CUdeviceptr)memory, length,
					   CU_MEM_RANGE_HANDLE_TYPE_DMA_BUF_FD, 0))
		return -EOPNOTSUPP;
#endif
	return fd;
}

/**
 * struct gpu_memory - memory of the GPU's that the controller reaches too
 * @base: for the GPU
 * @length: bytes
 * @mem: for the controller
 */
struct gpu_memory {
	uint8_t *base;
	uint64_t length;
	struct homi_mem mem;
};

static inline void gpu_memory_open(struct gpu_memory *m, const struct homi_dev *dev, uint64_t length)
{
	uint32_t reason;
	int fd;

	m->length = (length + GPU_UNIT - 1) / GPU_UNIT * GPU_UNIT;
	MUST(GPU(Malloc)((void **)&m->base, m->length));
	MUST(GPU(Memset)(m->base, 0, m->length));
	MUST(GPU(DeviceSynchronize)());
	fd = gpu_export(m->base, m->length);
	must(fd, "a dma-buf of the GPU's memory");
	/* BAR: host memory in its place would be an error, and not slow */
	if (homi_mem_import(dev, fd, 0, m->length, HOMI_MEM_WRITE | HOMI_MEM_BAR, NULL, &m->mem, &reason))
		die("the GPU's memory", homi_strreason(reason));
	close(fd);
}

static inline void gpu_memory_close(struct gpu_memory *m, const struct homi_dev *dev)
{
	must(homi_mem_release(dev, &m->mem), "the GPU's memory");
	MUST(GPU(Free)(m->base));
}

/* A page of doorbells, or of shadow doorbells, for the GPU; 0 stays 0. */
static inline volatile uint32_t *gpu_doorbell(volatile uint32_t *entry)
{
	uint8_t *page = (uint8_t *)((uintptr_t)entry & ~(uintptr_t)(GPU_PAGE - 1));
	void *device = NULL;

	if (!entry)
		return NULL;
	/* The page comes by a fault, and the GPU's driver wants it to be there. */
	(void)*entry;
	if (GPU(HostGetDevicePointer)(&device, page, 0) != GPU(Success)) {
		(void)GPU(GetLastError)();
		MUST(GPU(HostRegister)(page, GPU_PAGE, GPU(HostRegisterIoMemory)));
		MUST(GPU(HostGetDevicePointer)(&device, page, 0));
	}
	return (volatile uint32_t *)((uint8_t *)device + ((uintptr_t)entry - (uintptr_t)page));
}

static inline void gpu_doorbell_release(volatile uint32_t *entry)
{
	/* One page may hold several. */
	if (entry && GPU(HostUnregister)((void *)((uintptr_t)entry & ~(uintptr_t)(GPU_PAGE - 1))))
		(void)GPU(GetLastError)();
}

#endif /* GPU_H */
