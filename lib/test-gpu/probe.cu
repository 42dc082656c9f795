// SPDX-License-Identifier: MIT
#include <string.h>
#include <unistd.h>
#include <vector>

#include <cuda.h>

#include <homi/extent.h>

#include "must.h"
#include "probe.h"

#include "../test/model.h"
#include "../test/tap.h"

#define BLOCK		512u

/* --- the table of a file's blocks --- */

#define RECORDS		100000u
#define SEARCHES	(1u << 20)

/* Which record each offset is in, and where in the namespace that is */
__global__ void search(const struct homi_extent *records, const uint64_t *offsets, uint64_t *found,
		       uint64_t *slba)
{
	uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
	struct homi_run run;

	found[i] = homi_extent_find(records, RECORDS, BLOCK, offsets[i]);
	run.slba = 0;
	if (found[i] < RECORDS)
		homi_extent_run(&records[found[i]], BLOCK, offsets[i], 8, &run);
	slba[i] = run.slba;
}

const char *probe_extents(void)
{
	std::vector<uint32_t> which(SEARCHES);
	uint64_t *offsets, *found, *slba;
	struct homi_extent *records;
	uint64_t at = 0, seed = 5;
	uint32_t i;

	MUST(cudaHostAlloc(&records, RECORDS * sizeof(*records), cudaHostAllocMapped));
	MUST(cudaHostAlloc(&offsets, SEARCHES * 8, cudaHostAllocMapped));
	MUST(cudaHostAlloc(&found, SEARCHES * 8, cudaHostAllocMapped));
	MUST(cudaHostAlloc(&slba, SEARCHES * 8, cudaHostAllocMapped));
	memset(records, 0, RECORDS * sizeof(*records));
	for (i = 0; i < RECORDS; i++) {
		records[i].file_offset = at * BLOCK;
		records[i].slba = model_random(&seed) >> 20;
		records[i].blocks = 1 + model_random(&seed) % 64;
		at += records[i].blocks;
	}
	for (i = 0; i < SEARCHES; i++) {
		which[i] = (uint32_t)(model_random(&seed) % (RECORDS + 1));
		offsets[i] = which[i] == RECORDS ? at * BLOCK :
			     records[which[i]].file_offset +
			     model_random(&seed) % records[which[i]].blocks * BLOCK;
	}
	search<<<SEARCHES / 256, 256>>>(records, offsets, found, slba);
	MUST(cudaDeviceSynchronize());
	for (i = 0; i < SEARCHES; i++) {
		TAP_MUST(found[i] == which[i]);
		TAP_MUST(which[i] == RECORDS ||
			 slba[i] == records[which[i]].slba +
			 (offsets[i] - records[which[i]].file_offset) / BLOCK);
	}
	cudaFreeHost(records);
	cudaFreeHost(offsets);
	cudaFreeHost(found);
	cudaFreeHost(slba);
	return NULL;
}

/* --- what the driver says to exporting its memory --- */

static void *entry(const char *name)
{
	enum cudaDriverEntryPointQueryResult found;
	void *f = NULL;

	if (cudaGetDriverEntryPointByVersion(name, &f, 12000, cudaEnableDefault, &found) !=
		    cudaSuccess || found != cudaDriverEntryPointSuccess)
		return NULL;
	return f;
}

void probe_export(void)
{
	CUresult (*attribute)(int *, CUdevice_attribute, CUdevice);
	CUresult (*export_range)(void *, CUdeviceptr, size_t, CUmemRangeHandleType,
				 unsigned long long);
	size_t size = 4u << 20;
	int fd = -1, supported = -1, ret = -1;
	void *p;

	MUST(cudaMalloc(&p, size));
	attribute = (CUresult (*)(int *, CUdevice_attribute, CUdevice))
		entry("cuDeviceGetAttribute");
	export_range = (CUresult (*)(void *, CUdeviceptr, size_t, CUmemRangeHandleType,
				     unsigned long long))entry("cuMemGetHandleForAddressRange");
	if (attribute)
		attribute(&supported, CU_DEVICE_ATTRIBUTE_DMA_BUF_SUPPORTED, 0);
	if (export_range)
		ret = export_range(&fd, (CUdeviceptr)p, size,
				   CU_MEM_RANGE_HANDLE_TYPE_DMA_BUF_FD, 0);
	printf("# dma-buf of device memory: supported %d, cuMemGetHandleForAddressRange() %d, fd %d\n",
	       supported, ret, fd);
	if (fd >= 0)
		close(fd);
	cudaFree(p);
}
