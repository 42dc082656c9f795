// SPDX-License-Identifier: MIT
/*
 * homi-bench's GPU, by CUDA.
 */
#include <stdio.h>
#include <string.h>
#include <utility>
#include <vector>

#include "../../examples/gpu.h"
#include "bench.h"

static cudaStream_t stream;

__global__ void bench_kernel(struct work work)
{
	work_shared(&work, blockIdx.x * blockDim.x + threadIdx.x);
}

static const char *gpu_open(char *name, size_t length)
{
	struct cudaDeviceProp prop;
	cudaError_t error;

	/* What is loaded when it is wanted would be measured. */
	setenv("CUDA_MODULE_LOADING", "EAGER", 1);
	error = cudaGetDeviceProperties(&prop, 0);
	if (error == cudaSuccess)
		error = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
	if (error != cudaSuccess)
		return cudaGetErrorString(error);
	snprintf(name, length, "%s", prop.name);
	return NULL;
}

static void *gpu_alloc(uint64_t length, int *fd)
{
	void *p = NULL;

	if (cudaMalloc(&p, length) != cudaSuccess || cudaMemset(p, 0, length) != cudaSuccess ||
	    cudaDeviceSynchronize() != cudaSuccess)
		return NULL;
	*fd = gpu_export(p, length);
	return *fd < 0 ? NULL : p;
}

/* What it was given, once for each start */
static std::vector<std::pair<void *, void *>> reached;

static void *gpu_reach(void *host, uint64_t length, int io)
{
	unsigned int flags = io ? cudaHostRegisterIoMemory : cudaHostRegisterMapped;
	void *device = NULL;

	for (const std::pair<void *, void *> &one : reached)
		if (one.first == host)
			return one.second;
	/* A page of doorbells is there when somebody has looked at it, as examples/gpu.h has it. */
	if (io)
		(void)*(volatile const uint32_t *)host;
	if (cudaHostRegister(host, length, flags) != cudaSuccess ||
	    cudaHostGetDevicePointer(&device, host, 0) != cudaSuccess)
		return NULL;
	reached.push_back(std::make_pair(host, device));
	return device;
}

static int gpu_put(void *to, const void *from, uint64_t length)
{
	return cudaMemcpy(to, from, length, cudaMemcpyDefault);
}

static int gpu_get(void *to, const void *from, uint64_t length)
{
	return cudaMemcpy(to, from, length, cudaMemcpyDefault);
}

static int gpu_run(const struct work *work, uint32_t threads)
{
	bench_kernel<<<threads / BENCH_GPU_THREADS, BENCH_GPU_THREADS, 0, stream>>>(*work);
	return cudaGetLastError();
}

static int gpu_wait(void)
{
	return cudaStreamSynchronize(stream);
}

static void gpu_close(void)
{
	for (const std::pair<void *, void *> &one : reached)
		cudaHostUnregister(one.first);
	reached.clear();
	cudaDeviceReset();
}

extern "C" const struct bench_gpu bench_gpu = {
	gpu_open, gpu_alloc, gpu_reach, gpu_put, gpu_get, gpu_run, gpu_wait, gpu_close,
};
