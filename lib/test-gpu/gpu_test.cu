// SPDX-License-Identifier: MIT
/*
 * The data path on a real GPU, against model controllers that threads of the host
 * are, in pinned host memory. No NVMe drive and no kernel module is needed.
 *
 * usage: gpu_test [--host] [--scale N] [--only WORD]
 *   --host	threads of the host in place of a kernel's, and no GPU
 *   --scale	N times the commands
 *   --only	tests with that in their name
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vector>

#include <cuda_runtime.h>

#include "engine.h"
#include "job.h"
#include "must.h"
#include "probe.h"

#include "../test/model_ring.h"
#include "../test/tap.h"

#define MAX_QUEUES	64u
#define POLLS		4000000ull
#define LISTS_DMA	0x10000000ull
#define SEGMENT		65536u

enum how { ALONE, TOGETHER, OWN };

static const char *const hows[] = { "threads", "warps", "a queue for each thread" };

/**
 * struct test - one row
 * @how: each thread by itself, or warps, or each thread with its own queue pair
 * @queues: queue pairs, of @depth entries
 * @spread: so many threads after each other have the same one
 * @threads: in all, a multiple of 32 if warps
 * @commands: of each
 * @flight: of them at a time, for warps
 * @bytes: of each
 * @host: data in host memory
 */
struct test {
	const char *name;
	enum how how;
	uint32_t queues, depth, spread, threads, commands, flight, bytes;
	int host, write, refuse, shadow, reorder, stall, drop;
};

/* A controller, and its queue pair as the device sees it */
struct station {
	struct model *model;
	struct homi_shared_trouble *trouble;
	const struct test *test;
	struct engine *engine;
	uint8_t *buffers;
	uint64_t length;
};

/* Of as many bytes as a command has, in the namespace */
static uint32_t units_of(const struct test *test)
{
	return test->bytes > JOB_PAGE ? 256 : 2048;
}

int on_host;
static uint32_t scale = 1;

/* --- memory --- */

void *alloc_shared(size_t size)
{
	void *p = NULL;

	if (on_host)
		p = aligned_alloc(4096, (size + 4095) & ~(size_t)4095);
	else
		MUST(cudaHostAlloc(&p, size, cudaHostAllocPortable | cudaHostAllocMapped));
	if (p)
		memset(p, 0, size);
	return p;
}

void release_shared(void *p)
{
	if (on_host)
		free(p);
	else if (p)
		cudaFreeHost(p);
}

static void *alloc_device(size_t size)
{
	void *p = NULL;

	if (on_host)
		return alloc_shared(size);
	MUST(cudaMalloc(&p, size));
	MUST(cudaMemset(p, 0, size));
	return p;
}

static void release_device(void *p)
{
	if (on_host)
		release_shared(p);
	else
		cudaFree(p);
}

/* What the controller does where a drive would do DMA: the address is the device's own. */
static bool move(void *arg, uint64_t addr, uint8_t *data, uint64_t bytes, bool to_host)
{
	struct station *st = (struct station *)arg;
	struct engine *e = st->engine;

	if (addr - (uintptr_t)st->buffers >= st->length)
		return false;
	wait_moved(e, ENGINE_DEPTH - 1);
	/* To the host's memory, as an NVMe driver says it, that is to the buffer. */
	e->pieces[e->asked % ENGINE_DEPTH].to = to_host ? addr : (uintptr_t)data;
	e->pieces[e->asked % ENGINE_DEPTH].from = to_host ? (uintptr_t)data : addr;
	e->pieces[e->asked % ENGINE_DEPTH].bytes = (uint32_t)bytes;
	__atomic_thread_fence(__ATOMIC_RELEASE);
	e->asked = e->asked + 1;
	return true;
}

static void settle(void *arg)
{
	wait_moved(((struct station *)arg)->engine, 0);
}

/* Errors, stalls, and a command that is never completed */
static uint16_t interfere(void *arg, const struct homi_sqe *sqe)
{
	struct station *st = (struct station *)arg;
	const struct test *t = st->test;

	if (t->stall && st->model->executed % 997 == 996)
		st->model->stall = 2000;
	if (t->drop && st->model->executed == (uint64_t)t->drop)
		return MODEL_DROP;
	if (t->refuse && job_is_refused(sqe->cdw10))
		return HOMI_SC_UNRECOVERED_READ;
	return MODEL_EXECUTE;
}

/* --- the initiators --- */

__global__ void run_alone(struct job job)
{
	job_alone(&job, blockIdx.x * blockDim.x + threadIdx.x, gridDim.x * blockDim.x);
}

__global__ void run_together(struct job job)
{
	job_together(&job, ~(homi_lanes)0, blockIdx.x * blockDim.x + threadIdx.x,
		     gridDim.x * blockDim.x);
}

__global__ void run_own(struct job job)
{
	job_own(&job, blockIdx.x * blockDim.x + threadIdx.x, gridDim.x * blockDim.x);
}

struct host_thread {
	const struct test *test;
	const struct job *job;
	uint32_t which;
	pthread_t thread;
};

static void *run_host(void *arg)
{
	struct host_thread *t = (struct host_thread *)arg;

	if (t->test->how == TOGETHER)
		job_together(t->job, 1, t->which, t->test->threads);
	else if (t->test->how == OWN)
		job_own(t->job, t->which, t->test->threads);
	else
		job_alone(t->job, t->which, t->test->threads);
	return NULL;
}

static const char *run_on_host(const struct test *test, const struct job *job)
{
	std::vector<struct host_thread> threads(test->threads);
	uint32_t i;

	for (i = 0; i < test->threads; i++) {
		threads[i].test = test;
		threads[i].job = job;
		threads[i].which = i;
		TAP_MUST(!pthread_create(&threads[i].thread, NULL, run_host, &threads[i]));
	}
	for (i = 0; i < test->threads; i++)
		pthread_join(threads[i].thread, NULL);
	return NULL;
}

static void run_on_device(const struct test *test, const struct job *job, float *ms)
{
	uint32_t block = test->threads < 128 ? test->threads : 128;
	cudaEvent_t begin, end;
	cudaStream_t stream;

	MUST(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
	MUST(cudaEventCreate(&begin));
	MUST(cudaEventCreate(&end));
	MUST(cudaEventRecord(begin, stream));
	if (test->how == TOGETHER)
		run_together<<<test->threads / block, block, 0, stream>>>(*job);
	else if (test->how == OWN)
		run_own<<<test->threads / block, block, 0, stream>>>(*job);
	else
		run_alone<<<test->threads / block, block, 0, stream>>>(*job);
	MUST(cudaGetLastError());
	MUST(cudaEventRecord(end, stream));
	MUST(cudaStreamSynchronize(stream));
	MUST(cudaEventElapsedTime(ms, begin, end));
	cudaEventDestroy(begin);
	cudaEventDestroy(end);
	cudaStreamDestroy(stream);
}

/* --- one test --- */

static const char *station_init(struct station *st, const struct test *test, uint8_t *buffers,
				uint64_t length, uint64_t *lists,
				struct homi_shared_config *config)
{
	struct model_config mc = {};
	uint64_t i;

	mc.depth = test->depth;
	mc.page_size = 4096;
	mc.block_size = JOB_BLOCK;
	mc.blocks = (uint64_t)units_of(test) * test->bytes / JOB_BLOCK;
	mc.shadow = test->shadow != 0;
	mc.linger = test->shadow ? 10 : 0;
	mc.reorder = (uint64_t)test->reorder;
	mc.alloc = alloc_shared;
	mc.release = release_shared;
	st->test = test;
	st->buffers = buffers;
	st->length = length;
	st->model = (struct model *)alloc_shared(sizeof(*st->model));
	st->trouble = (struct homi_shared_trouble *)alloc_shared(sizeof(*st->trouble));
	TAP_MUST(st->model && st->trouble && !model_init(st->model, &mc));
	for (i = 0; i < mc.blocks; i++)
		job_fill((uint32_t *)(st->model->data + i * JOB_BLOCK), JOB_BLOCK, i, 0);
	st->model->hook = interfere;
	st->model->hook_arg = st;
	model_map(st->model, LISTS_DMA, lists, length / test->bytes * JOB_PAGE);
	if (on_host || test->host) {
		model_map(st->model, (uintptr_t)buffers, buffers, length);
	} else {
		st->engine = (struct engine *)alloc_shared(sizeof(*st->engine));
		st->model->move = move;
		st->model->settle = settle;
		st->model->move_arg = st;
	}
	/* Of either kind of queue pair: ring.h takes ten bytes for each command. */
	config->memory = alloc_device(homi_shared_size(test->depth));
	config->ring = model_ring_config(st->model, (uint64_t *)config->memory,
					 (uint16_t *)((uint64_t *)config->memory + test->depth));
	config->trouble = st->trouble;
	return NULL;
}

/* The last of each thread's buffers, and what was written, seen by the host */
static const char *look_at_data(const struct test *test, const struct job *job,
				const uint32_t *copy, const struct station *stations)
{
	uint32_t thread, n, per = test->bytes / JOB_BLOCK;

	for (thread = 0; thread < test->threads; thread++) {
		const struct station *st = &stations[thread / job->spread % job->queue_count];

		for (n = 0; test->write && n < job->commands && n < job->units / test->threads; n++) {
			uint64_t slba = job_slba(job, thread, n, test->threads);
			uint32_t salt = !(test->refuse && job_is_refused(slba));

			TAP_MUST(job_matches((const uint32_t *)(st->model->data +
								slba * JOB_BLOCK),
					     per * JOB_BLOCK, slba, salt));
		}
		if (test->write || test->how != ALONE)
			continue;
		n = job->commands - 1;
		if (test->refuse && job_is_refused(job_slba(job, thread, n, test->threads)))
			continue;
		TAP_MUST(job_matches(copy + (uint64_t)thread * JOB_FLIGHT * (test->bytes / 4),
				     test->bytes, job_slba(job, thread, n, test->threads), 0));
	}
	return NULL;
}

static uint32_t to_be_refused(const struct test *test, const struct job *job)
{
	uint32_t thread, n, sum = 0;

	for (thread = 0; thread < test->threads; thread++)
		for (n = 0; n < job->commands; n++)
			sum += (uint32_t)job_is_refused(job_slba(job, thread, n, test->threads));
	return sum;
}

static const char *judge(const struct test *test, const struct job *job,
			 const struct job_tally *t, const struct station *stations)
{
	uint64_t wanted = (uint64_t)test->threads * job->commands, executed = 0;
	uint32_t i, told = 0;

	for (i = 0; i < test->queues; i++) {
		const struct station *st = &stations[i];

		if (st->model->violation)
			return st->model->violation;
		TAP_MUST(!st->model->dma_faults);
		executed += st->model->executed;
		told += st->trouble->what == HOMI_SHARED_TIMEOUT;
		TAP_MUST(test->drop || !st->trouble->what);
	}
	TAP_MUST(!t->wrong_data && !t->wrong_status && !t->full && !t->prp);
	if (test->drop) {
		TAP_MUST(told == test->queues && t->timeouts);
		TAP_MUST(t->timeouts + t->broken == test->threads);
		return NULL;
	}
	TAP_MUST(!t->timeouts && !t->broken);
	TAP_MUST(t->good + t->refused == wanted && executed == wanted);
	TAP_MUST(!test->refuse || t->refused == to_be_refused(test, job));
	return NULL;
}

static const char *run_queues(const struct test *test, struct station *stations, struct job *job,
			      struct homi_shared_config *configs, float *ms)
{
	struct homi_shared *queues = (struct homi_shared *)alloc_shared(MAX_QUEUES *
									sizeof(*queues));
	struct engine **engines = (struct engine **)alloc_shared(MAX_QUEUES * 8);
	int moves = !on_host && !test->host;
	cudaStream_t stream;
	const char *wrong = NULL;
	uint32_t i;

	for (i = 0; i < test->queues; i++) {
		TAP_MUST(test->how == OWN || !homi_shared_init(&queues[i], &configs[i]));
		TAP_MUST(!model_start(stations[i].model));
	}
	job->queues = queues;
	job->configs = configs;
	if (moves) {
		for (i = 0; i < test->queues; i++)
			engines[i] = stations[i].engine;
		MUST(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
		run_engines<<<test->queues, 32, 0, stream>>>(engines);
		MUST(cudaGetLastError());
	}
	if (on_host)
		wrong = run_on_host(test, job);
	else
		run_on_device(test, job, ms);
	for (i = 0; i < test->queues; i++)
		model_stop(stations[i].model);
	if (moves) {
		for (i = 0; i < test->queues; i++)
			engines[i]->stop = 1;
		MUST(cudaStreamSynchronize(stream));
		cudaStreamDestroy(stream);
	}
	release_shared(engines);
	release_shared(queues);
	return wrong;
}

static void run_test(struct test test)
{
	static struct station stations[MAX_QUEUES];
	struct homi_shared_config *configs;
	struct job_tally *tally;
	const char *wrong = NULL;
	struct homi_seg *segs;
	struct job job = {};
	uint64_t length, *lists;
	uint8_t *buffers;
	void *memory;
	float ms = 0;
	uint32_t i;

	if (on_host) {
		/* As many threads as there are processors to run them, more or less */
		test.threads = test.threads > 4 ? 4 : test.threads;
		test.spread = test.spread > 1 ? 2 : 1;
		test.queues = test.queues > 4 ? 4 : test.queues;
	}
	if (test.how == OWN)
		test.threads = test.queues;
	configs = (struct homi_shared_config *)alloc_shared(MAX_QUEUES * sizeof(*configs));
	tally = (struct job_tally *)alloc_device(sizeof(*tally));
	length = (uint64_t)test.threads * JOB_FLIGHT * test.bytes;
	memory = test.host ? alloc_shared(length + JOB_PAGE) : alloc_device(length + JOB_PAGE);
	/* Device memory is not aligned to the controller's pages by itself. */
	buffers = (uint8_t *)(((uintptr_t)memory + JOB_PAGE - 1) & ~(uintptr_t)(JOB_PAGE - 1));
	/* In pieces, as an IOMMU or the host's memory would have it */
	segs = (struct homi_seg *)alloc_shared((length / SEGMENT + 1) * sizeof(*segs));
	for (i = 0; i * (uint64_t)SEGMENT < length; i++) {
		segs[i].offset = i * (uint64_t)SEGMENT;
		segs[i].dma_addr = (uintptr_t)buffers + segs[i].offset;
		segs[i].length = length - segs[i].offset < SEGMENT ? length - segs[i].offset : SEGMENT;
	}
	lists = (uint64_t *)alloc_shared(length / test.bytes * JOB_PAGE);
	job.segs = segs;
	job.seg_count = i;
	job.lists = lists;
	job.lists_dma = LISTS_DMA;
	memset(stations, 0, sizeof(stations));
	for (i = 0; i < test.queues && !wrong; i++)
		wrong = station_init(&stations[i], &test, buffers, length, lists, &configs[i]);
	job.queue_count = test.queues;
	job.spread = test.spread;
	job.buffers = (uint32_t *)buffers;
	job.dma = (uintptr_t)buffers;
	job.bytes = test.bytes;
	job.units = units_of(&test);
	job.commands = test.drop ? test.commands : test.commands * scale;
	job.flight = test.flight ? test.flight : 1;
	job.nsid = MODEL_NSID;
	job.write = (uint32_t)test.write;
	job.refuse = (uint32_t)test.refuse;
	/* A thread of a host may not run for long, and looks all the more often when it does. */
	job.polls = test.drop ? 200000 : on_host ? POLLS * 10000 : POLLS;
	job.seed = 1;
	job.tally = tally;
	if (!wrong)
		wrong = run_queues(&test, stations, &job, configs, &ms);
	if (!wrong) {
		struct job_tally t;
		std::vector<uint32_t> copy(length / 4);

		if (on_host) {
			t = *tally;
			memcpy(copy.data(), buffers, length);
		} else {
			MUST(cudaMemcpy(&t, tally, sizeof(t), cudaMemcpyDefault));
			MUST(cudaMemcpy(copy.data(), buffers, length, cudaMemcpyDefault));
		}
		wrong = judge(&test, &job, &t, stations);
		if (!wrong && !test.drop)
			wrong = look_at_data(&test, &job, copy.data(), stations);
		printf("# %u good, %u refused, %u wrong data, %u wrong status, %u timed out, %u broken, %.0f ms\n",
		       t.good, t.refused, t.wrong_data, t.wrong_status, t.timeouts, t.broken, ms);
	}
	if (!tap_ok(!wrong, "%s: %s, %u queues of depth %u, %u threads, %u bytes in %s memory",
		    test.name, hows[test.how], test.queues, test.depth,
		    test.threads, test.bytes, test.host || on_host ? "host" : "device"))
		printf("# %s\n", wrong);
	for (i = 0; i < test.queues; i++) {
		model_destroy(stations[i].model);
		release_shared(stations[i].engine);
		release_shared(stations[i].model);
		release_shared(stations[i].trouble);
		release_device(configs[i].memory);
	}
	if (test.host)
		release_shared(memory);
	else
		release_device(memory);
	release_device(tally);
	release_shared(configs);
	release_shared(segs);
	release_shared(lists);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		/* name, how, queues, depth, spread, threads, commands, flight, bytes; host, write, refuse, shadow, reorder, stall, drop */
		{ "depth 2", ALONE, 1, 2, 32, 64, 60, 0, 512, 0, 0, 0, 0, 0, 0, 0 },
		{ "depth 2", TOGETHER, 1, 2, 32, 64, 60, 2, 512, 0, 0, 0, 0, 0, 0, 0 },
		{ "depth 8", ALONE, 2, 8, 32, 128, 100, 0, 512, 0, 0, 0, 0, 1, 0, 0 },
		{ "depth 32", TOGETHER, 4, 32, 32, 512, 100, 4, 512, 0, 0, 0, 0, 2, 0, 0 },
		{ "depth 64", ALONE, 8, 64, 1, 2048, 50, 0, 512, 0, 0, 0, 0, 3, 0, 0 },
		{ "depth 128", TOGETHER, 8, 128, 32, 2048, 50, 4, 4096, 0, 0, 0, 0, 0, 0, 0 },
		{ "depth 256", ALONE, 16, 256, 32, 4096, 50, 0, 4096, 0, 0, 0, 0, 0, 0, 0 },
		{ "depth 1024", TOGETHER, 16, 1024, 32, 8192, 30, 4, 512, 0, 0, 0, 0, 4, 0, 0 },
		{ "64 queues", ALONE, 64, 256, 32, 8192, 30, 0, 512, 0, 0, 0, 0, 0, 0, 0 },
		{ "64 queues", TOGETHER, 64, 1024, 32, 8192, 30, 4, 512, 0, 0, 0, 0, 0, 0, 0 },
		{ "own queues", OWN, 1, 2, 1, 0, 1000, 1, 512, 0, 0, 0, 0, 0, 0, 0 },
		{ "own queues", OWN, 16, 7, 1, 0, 1000, 4, 512, 0, 0, 1, 0, 3, 0, 0 },
		{ "own queues", OWN, 64, 1024, 1, 0, 500, 4, 4096, 0, 0, 0, 1, 0, 0, 0 },
		{ "PRP lists", ALONE, 4, 128, 32, 512, 20, 0, 16384, 0, 0, 0, 0, 0, 0, 0 },
		{ "PRP lists", TOGETHER, 4, 256, 32, 512, 20, 4, 65536, 0, 0, 1, 0, 2, 0, 0 },
		{ "writes", ALONE, 4, 64, 32, 512, 40, 0, 512, 0, 1, 0, 0, 0, 0, 0 },
		{ "writes", TOGETHER, 4, 128, 32, 512, 40, 4, 4096, 0, 1, 1, 0, 5, 0, 0 },
		{ "errors", ALONE, 4, 64, 32, 1024, 100, 0, 512, 0, 0, 1, 0, 6, 0, 0 },
		{ "errors", TOGETHER, 4, 256, 32, 1024, 100, 4, 512, 0, 0, 1, 0, 0, 0, 0 },
		{ "shadow doorbells", ALONE, 4, 64, 32, 512, 60, 0, 512, 0, 0, 0, 1, 0, 0, 0 },
		{ "shadow doorbells", TOGETHER, 4, 128, 32, 512, 60, 4, 512, 0, 0, 0, 1, 7, 0, 0 },
		{ "stalls", ALONE, 2, 64, 32, 512, 60, 0, 512, 0, 0, 0, 0, 0, 1, 0 },
		{ "stalls", TOGETHER, 2, 128, 32, 512, 60, 4, 512, 0, 0, 1, 1, 8, 1, 0 },
		{ "host memory", ALONE, 8, 256, 32, 4096, 100, 0, 512, 1, 0, 0, 0, 0, 0, 0 },
		{ "host memory", TOGETHER, 8, 1024, 32, 4096, 100, 4, 512, 1, 0, 1, 0, 9, 0, 0 },
		{ "a command is lost", ALONE, 1, 64, 32, 256, 1000000, 0, 512, 0, 0, 0, 0, 0, 0, 500 },
		{ "a command is lost", TOGETHER, 1, 64, 32, 256, 1000000, 4, 512, 0, 0, 0, 0, 0, 0, 500 },
	};
	static const char random_pages[] = "pages of a file at random, as the example reads them";
	const char *only = "";
	int i;

	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--host"))
			on_host = 1;
		else if (!strcmp(argv[i], "--scale") && i + 1 < argc)
			scale = (uint32_t)atoi(argv[++i]);
		else if (!strcmp(argv[i], "--only") && i + 1 < argc)
			only = argv[++i];
		else
			return fprintf(stderr, "usage: gpu_test [--host] [--scale N] [--only WORD]\n"), 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	/* A kernel that is loaded when it is launched would wait for the one that runs. */
	setenv("CUDA_MODULE_LOADING", "EAGER", 1);
	if (!on_host) {
		struct cudaDeviceProp prop;

		MUST(cudaGetDeviceProperties(&prop, 0));
		printf("# %s, %d multiprocessors\n", prop.name, prop.multiProcessorCount);
		probe_export();
		if (!*only)
			tap_try(probe_extents(), "a million searches in a table of 100,000 extents");
	}
	if (strstr(random_pages, only))
		tap_try(probe_random_read(), random_pages);
	for (i = 0; i < (int)(sizeof(tests) / sizeof(tests[0])); i++)
		if (strstr(tests[i].name, only))
			run_test(tests[i]);
	return tap_end();
}
