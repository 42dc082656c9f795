// SPDX-License-Identifier: MIT
/*
 * What a command costs on a GPU: commands per second, doorbells and looks for a
 * completion per command, and cycles. Against controllers that do nothing but
 * complete (lean.h), with the queues in pinned host memory, and against what one
 * would write first: a lock, and a doorbell for each command.
 *
 * usage: bench [--seconds S]
 */
#include <stdint.h>

#include <nv/target>

#ifdef BENCH_COUNTS
__device__ unsigned long long bench_writes, bench_looks;
#define HOMI_PORT_COUNT_WRITE() \
	NV_IF_TARGET(NV_IS_DEVICE, (atomicAdd(&bench_writes, 1ull);))
#define HOMI_PORT_COUNT_LOOK() \
	NV_IF_TARGET(NV_IS_DEVICE, (atomicAdd(&bench_looks, 1ull);))
#endif

#include <homi/shared.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vector>

#include "lean.h"
#include "must.h"

#define FLIGHT	4

/* --- what one would write first --- */

struct naive {
	struct homi_ring ring;
	uint32_t lock;
};

/* The thread whose command it was waits for its own word. */
__device__ void naive_poll(struct naive *n)
{
	struct homi_completion done;
	int ret;

	if (atomicExch(&n->lock, 1))
		return;
	__threadfence();
	ret = homi_ring_poll(&n->ring, &done);
	if (ret == HOMI_RING_OK) {
		homi_ring_release(&n->ring);
		__threadfence();
		*(volatile uint32_t *)done.user = 1;
	}
	__threadfence();
	atomicExch(&n->lock, 0);
}

__device__ void naive_rw(struct naive *n, const struct homi_rw *rw, uint64_t slba, uint64_t prp1,
			 uint32_t *word)
{
	int posted = 0;

	*(volatile uint32_t *)word = 0;
	__threadfence();
	while (!posted) {
		if (!atomicExch(&n->lock, 1)) {
			__threadfence();
			posted = homi_ring_post_rw(&n->ring, rw, slba, prp1, 0,
						   (uint64_t)(uintptr_t)word) >= 0;
			if (posted)
				homi_ring_ring(&n->ring);
			__threadfence();
			atomicExch(&n->lock, 0);
		}
		if (!posted)
			naive_poll(n);
	}
	while (!*(volatile uint32_t *)word)
		naive_poll(n);
}

/* --- kernels --- */

struct bench {
	struct naive *naive;
	const struct homi_shared *queues;
	uint32_t queue_count;
	uint32_t commands;
	uint32_t *words;
	unsigned long long *cycles;	/* posting, polling; sums over warps */
	uint32_t *errors;
};

__global__ void run_naive(struct bench b)
{
	uint32_t thread = blockIdx.x * blockDim.x + threadIdx.x, n;
	struct homi_rw rw;

	homi_rw_init(&rw, HOMI_OP_READ, 1, 8, 0);
	for (n = 0; n < b.commands; n++)
		naive_rw(&b.naive[thread / 32 % b.queue_count], &rw, thread + n, 4096,
			 &b.words[thread]);
}

__global__ void run_alone(struct bench b)
{
	uint32_t thread = blockIdx.x * blockDim.x + threadIdx.x, n;
	struct homi_shared s = b.queues[thread / 32 % b.queue_count];
	struct homi_completion done;
	struct homi_rw rw;

	homi_rw_init(&rw, HOMI_OP_READ, 1, 8, 0);
	for (n = 0; n < b.commands; n++)
		if (homi_shared_rw(&s, &rw, thread + n, 4096, 0, 100000000, &done))
			atomicAdd(b.errors, 1);
}

template <bool TIMED> __global__ void run_together(struct bench b)
{
	uint32_t thread = blockIdx.x * blockDim.x + threadIdx.x;
	struct homi_shared s = b.queues[thread / 32 % b.queue_count];
	struct homi_team team = homi_team_of(~(homi_lanes)0);
	uint32_t posted = 0, ended = 0;
	unsigned long long posting = 0, polling = 0, begin = 0;
	struct homi_completion done;
	int cid[FLIGHT];
	struct homi_rw rw;
	int i, ret;

	homi_rw_init(&rw, HOMI_OP_READ, 1, 8, 0);
#pragma unroll
	for (i = 0; i < FLIGHT; i++)
		cid[i] = HOMI_RING_FULL;
	while (homi_lanes_ballot(team.lanes, ended < b.commands)) {
#pragma unroll
		for (i = 0; i < FLIGHT; i++) {
			int want = cid[i] < 0 && posted < b.commands;

			if (TIMED)
				begin = clock64();
			if (homi_lanes_ballot(team.lanes, want)) {
				ret = homi_shared_post_rw(&s, &team, want, &rw, thread + posted,
							  4096, 0);
				if (want)
					cid[i] = ret;
				posted += want && ret >= 0;
				/* Ends, and is told of. */
				if (want && ret == HOMI_RING_BROKEN) {
					atomicAdd(b.errors, 1);
					posted = b.commands;
					ended = b.commands;
				}
			}
			if (TIMED) {
				posting += clock64() - begin;
				begin = clock64();
			}
			ret = homi_shared_poll(&s, &team, cid[i], &done);
			if (ret != HOMI_RING_EMPTY) {
				if (ret)
					atomicAdd(b.errors, 1);
				cid[i] = HOMI_RING_FULL;
				ended++;
			}
			if (TIMED)
				polling += clock64() - begin;
		}
	}
	if (TIMED && !team.lane) {
		atomicAdd(&b.cycles[0], posting);
		atomicAdd(&b.cycles[1], polling);
	}
}

__global__ void make_naive(const struct homi_ring_config *config, uint32_t count,
			   struct naive *naive)
{
	if (threadIdx.x < count)
		homi_ring_init(&naive[threadIdx.x].ring, &config[threadIdx.x]);
}

/* --- one measurement --- */

enum who { NAIVE, THREADS, WARPS, WARPS_TIMED };

static const char *const names[] = { "naive", "threads", "warps", "warps-timed" };

struct result {
	double seconds, commands, writes, looks, busy;
	double posting, polling;
};

static void *pinned(size_t size)
{
	void *p;

	MUST(cudaHostAlloc(&p, size, cudaHostAllocPortable | cudaHostAllocMapped));
	memset(p, 0, size);
	return p;
}

static void launch(enum who who, uint32_t warps, const struct bench &b)
{
	/* A block for each warp, so that they are spread over the multiprocessors. */
	switch (who) {
	case NAIVE:
		run_naive<<<warps, 32>>>(b);
		break;
	case THREADS:
		run_alone<<<warps, 32>>>(b);
		break;
	case WARPS:
		run_together<false><<<warps, 32>>>(b);
		break;
	case WARPS_TIMED:
		run_together<true><<<warps, 32>>>(b);
		break;
	}
	MUST(cudaGetLastError());
}

static struct result measure(enum who who, uint32_t queues, uint32_t depth, uint32_t warps,
			     uint32_t commands)
{
	struct lean *lean = (struct lean *)pinned(queues * sizeof(*lean));
	struct homi_shared *shared = (struct homi_shared *)pinned(queues * sizeof(*shared));
	struct homi_shared_config config = {};
	struct homi_ring_config *rc = (struct homi_ring_config *)pinned(queues * sizeof(*rc));
	std::vector<void *> memory;
	unsigned long long cycles[2] = {};
	struct result r = {};
	struct bench b = {};
	cudaEvent_t begin, end;
	uint32_t i, errors = 0;
	float ms;

	auto device = [&memory](size_t size) {
		void *p;

		MUST(cudaMalloc(&p, size));
		MUST(cudaMemset(p, 0, size));
		memory.push_back(p);
		return p;
	};
	for (i = 0; i < queues; i++) {
		lean[i].sq = pinned((size_t)depth * 64);
		lean[i].cq = pinned((size_t)depth * 16);
		lean[i].depth = depth;
		rc[i].sq = lean[i].sq;
		rc[i].cq = lean[i].cq;
		rc[i].sq_doorbell = &lean[i].sq_doorbell;
		rc[i].cq_doorbell = &lean[i].cq_doorbell;
		rc[i].users = (uint64_t *)device((size_t)depth * 8);
		rc[i].free_cids = (uint16_t *)device((size_t)depth * 2);
		rc[i].depth = depth;
		config.ring = rc[i];
		config.memory = device(homi_shared_size(depth));
		if (homi_shared_init(&shared[i], &config))
			exit(1);
	}
	b.queues = shared;
	b.naive = (struct naive *)device(queues * sizeof(struct naive));
	b.words = (uint32_t *)device((size_t)warps * 32 * 4);
	b.cycles = (unsigned long long *)device(16);
	b.errors = (uint32_t *)device(4);
	b.queue_count = queues;
	b.commands = commands;
	make_naive<<<1, 64>>>(rc, queues, b.naive);
	MUST(cudaDeviceSynchronize());
#ifdef BENCH_COUNTS
	unsigned long long zero = 0, count;

	MUST(cudaMemcpyToSymbol(bench_writes, &zero, 8));
	MUST(cudaMemcpyToSymbol(bench_looks, &zero, 8));
#endif
	for (i = 0; i < queues; i++)
		if (lean_start(&lean[i]))
			exit(1);
	MUST(cudaEventCreate(&begin));
	MUST(cudaEventCreate(&end));
	MUST(cudaEventRecord(begin));
	launch(who, warps, b);
	MUST(cudaEventRecord(end));
	MUST(cudaDeviceSynchronize());
	MUST(cudaEventElapsedTime(&ms, begin, end));
	for (i = 0; i < queues; i++)
		lean_stop(&lean[i]);
	MUST(cudaMemcpy(cycles, b.cycles, sizeof(cycles), cudaMemcpyDefault));
	MUST(cudaMemcpy(&errors, b.errors, 4, cudaMemcpyDefault));
	r.commands = (double)warps * 32 * commands;
	r.seconds = ms / 1e3;
	for (i = 0; i < queues; i++) {
		r.busy += 1 - (double)lean[i].idle / (double)lean[i].ticks;
		r.commands -= (double)lean[i].executed;
	}
	if (errors || r.commands != 0) {
		printf("# %u errors, %.0f commands missing\n", errors, r.commands);
		exit(1);
	}
	r.commands = (double)warps * 32 * commands;
	r.busy /= queues;
	r.posting = (double)cycles[0] / r.commands;
	r.polling = (double)cycles[1] / r.commands;
#ifdef BENCH_COUNTS
	MUST(cudaMemcpyFromSymbol(&count, bench_writes, 8));
	r.writes = (double)count / r.commands;
	MUST(cudaMemcpyFromSymbol(&count, bench_looks, 8));
	r.looks = (double)count / r.commands;
#endif
	for (i = 0; i < queues; i++) {
		cudaFreeHost(lean[i].sq);
		cudaFreeHost(lean[i].cq);
	}
	cudaFreeHost(lean);
	cudaFreeHost(shared);
	cudaFreeHost(rc);
	for (void *p : memory)
		cudaFree(p);
	cudaEventDestroy(begin);
	cudaEventDestroy(end);
	return r;
}

int main(int argc, char **argv)
{
	static const struct { uint32_t queues, depth, warps; } shapes[] = {
		{ 1, 1024, 1 }, { 1, 1024, 8 }, { 1, 1024, 32 }, { 4, 1024, 32 }, { 4, 1024, 128 },
		{ 12, 1024, 96 }, { 12, 1024, 384 },
	};
	double seconds = argc > 2 && !strcmp(argv[1], "--seconds") ? atof(argv[2]) : 0.3;
	unsigned int i, who;

	for (i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		for (who = NAIVE; who <= WARPS_TIMED; who++) {
			uint32_t commands = who == NAIVE ? 20 : 200;
			struct result r = measure((enum who)who, shapes[i].queues, shapes[i].depth,
						  shapes[i].warps, commands);
			double more = seconds / r.seconds * commands;

			/* As many as take that long */
			commands = more > 2e5 ? 200000 : more < commands ? commands : (uint32_t)more;
			r = measure((enum who)who, shapes[i].queues, shapes[i].depth,
				    shapes[i].warps, commands);
			printf("bench-gpu who=%s queues=%u depth=%u warps=%u commands=%.0f per_second=%.3e busy=%.2f",
			       names[who], shapes[i].queues, shapes[i].depth, shapes[i].warps,
			       r.commands, r.commands / r.seconds, r.busy);
#ifdef BENCH_COUNTS
			printf(" doorbells=%.3f looks=%.2f bytes=%.0f", r.writes, r.looks,
			       64 + 4 * r.writes + 16 * r.looks);
#endif
			if (who == WARPS_TIMED)
				printf(" posting=%.0f polling=%.0f", r.posting, r.polling);
			printf("\n");
		}
	}
	return 0;
}
