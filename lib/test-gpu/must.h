/* SPDX-License-Identifier: MIT */
#ifndef HOMI_TEST_MUST_H
#define HOMI_TEST_MUST_H

#include <stdio.h>
#include <stdlib.h>

#include <cuda_runtime.h>

/* A call of CUDA's without which there is nothing to be tested */
#define MUST(call) do { \
	cudaError_t error_ = (call); \
	if (error_ != cudaSuccess) { \
		printf("Bail out! %s:%d: %s: %s\n", __FILE__, __LINE__, #call, \
		       cudaGetErrorString(error_)); \
		exit(1); \
	} \
} while (0)

/* Threads of the host in place of a GPU's */
extern int on_host;
/* Memory that both reach, zeroed; gpu_test.cu */
void *alloc_shared(size_t size);
void release_shared(void *p);

#endif /* HOMI_TEST_MUST_H */
