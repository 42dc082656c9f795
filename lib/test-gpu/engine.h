/* SPDX-License-Identifier: MIT */
#ifndef HOMI_TEST_ENGINE_H
#define HOMI_TEST_ENGINE_H

/* What moves data to and from device memory where a drive would do DMA; CUDA only. */

#include <sched.h>
#include <stdint.h>

#define ENGINE_DEPTH	1024u

/**
 * struct engine - moves data between host and device memory for a controller
 * @pieces: what to move, by @asked modulo ENGINE_DEPTH
 * @asked: how many pieces were written to
 * @moved: how many of these have arrived
 * @stop: there will be no more
 *
 * In pinned memory; a warp of the device serves it, beside those that are tested. A
 * copy by the driver might wait for the kernel that waits for it.
 */
struct engine {
	struct {
		uint64_t to, from;
		uint32_t bytes;
	} pieces[ENGINE_DEPTH];
	volatile uint32_t asked;
	volatile uint32_t moved;
	volatile uint32_t stop;
};

__global__ void run_engines(struct engine *const *engines)
{
	volatile struct engine *e = engines[blockIdx.x];
	uint32_t done = 0, asked, stop, i;

	for (;;) {
		stop = threadIdx.x ? 0 : e->stop;
		__threadfence_system();
		asked = threadIdx.x ? 0 : e->asked;
		/* One word for all lanes */
		stop = __shfl_sync(~0u, stop, 0);
		asked = __shfl_sync(~0u, asked, 0);
		if (asked == done && stop)
			return;
		__threadfence_system();
		for (; done != asked; done++) {
			volatile uint32_t *to = (volatile uint32_t *)e->pieces[done % ENGINE_DEPTH].to;
			volatile uint32_t *from =
				(volatile uint32_t *)e->pieces[done % ENGINE_DEPTH].from;
			uint32_t words = e->pieces[done % ENGINE_DEPTH].bytes / 4;

			for (i = threadIdx.x; i < words; i += blockDim.x)
				to[i] = from[i];
		}
		__threadfence_system();
		__syncwarp();
		if (!threadIdx.x)
			e->moved = done;
		__nanosleep(200);
	}
}

static void wait_moved(struct engine *e, uint32_t behind)
{
	while (e->asked - e->moved > behind)
		sched_yield();
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
}

#endif /* HOMI_TEST_ENGINE_H */
