// SPDX-License-Identifier: MIT
/*
 * homi-bench's library for a GPU, on one, against the model controller: neither a drive nor
 * a kernel module is needed. Data is in the host's memory: a model writes nowhere else.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../bench.h"

#include "../../../lib/test/model_ring.h"
#include "../../../lib/test/tap.h"

#define BLOCK	512u
#define BYTES	16384u		/* of a command: with a PRP list */
#define UNITS	64u
#define DEPTH	256u
#define THREADS	(4 * BENCH_GPU_THREADS)
#define DMA	0x10000000ull

static const struct bench_gpu *gpu;

static void *shared(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void keep(void *p)
{
	(void)p;
}

/* Where the GPU has a word of the host's */
static volatile uint32_t *reach_word(volatile uint32_t *word)
{
	uintptr_t page = (uintptr_t)word & ~4095ul;

	return (volatile uint32_t *)((uint8_t *)gpu->reach((void *)page, 4096, 0) +
				     ((uintptr_t)word - page));
}

static void *to_gpu(const void *from, uint64_t bytes)
{
	int fd = -1;
	void *to = gpu->alloc(2 << 20, &fd);

	if (to && from && gpu->put(to, from, bytes))
		to = NULL;
	close(fd);
	return to;
}

static const char *make_queue(struct model *m, struct homi_shared *queue)
{
	struct homi_shared_config config = { 0 };
	struct model_config mc = {
		.depth = DEPTH, .page_size = 4096, .block_size = BLOCK, .shadow = true,
		.blocks = UNITS * BYTES / BLOCK, .alloc = shared, .release = keep,
	};
	uint64_t i;

	TAP_MUST(!model_init(m, &mc));
	for (i = 0; i < UNITS * BYTES / 8; i++)
		((uint64_t *)m->data)[i] = i * 0x9e3779b97f4a7c15ull;
	config.ring = model_ring_config(m, NULL, NULL);
	config.ring.sq = gpu->reach(m->sq, DEPTH * 64, 0);
	config.ring.cq = gpu->reach(m->cq, DEPTH * 16, 0);
	config.ring.sq_doorbell = reach_word(config.ring.sq_doorbell);
	config.ring.cq_doorbell = reach_word(config.ring.cq_doorbell);
	config.ring.sq_shadow = reach_word(config.ring.sq_shadow);
	config.ring.sq_event = reach_word(config.ring.sq_event);
	config.ring.cq_shadow = reach_word(config.ring.cq_shadow);
	config.ring.cq_event = reach_word(config.ring.cq_event);
	config.memory = to_gpu(NULL, 0);
	TAP_MUST(config.ring.sq && config.ring.cq && config.memory);
	TAP_MUST(!homi_shared_init(queue, &config));
	return NULL;
}

/* A place in the host's memory */
static const char *make_place(struct work_place *place, struct model *m, uint64_t bytes, uint64_t dma,
			      void **host)
{
	struct homi_seg seg = { 0, dma, bytes };

	*host = shared(bytes);
	TAP_MUST(*host);
	place->base = gpu->reach(*host, bytes, 0);
	place->segs = to_gpu(&seg, sizeof(seg));
	place->seg_count = 1;
	TAP_MUST(place->base && place->segs);
	model_map(m, dma, *host, bytes);
	return NULL;
}

static const char *look(const struct work *w, const struct model *m, const uint8_t *data)
{
	static struct work_count counts[THREADS];
	static uint64_t last[THREADS];
	uint64_t reads = 0;
	uint32_t i;

	TAP_MUST(!gpu->get(counts, w->counts, sizeof(counts)) && !gpu->get(last, w->last, sizeof(last)));
	for (i = 0; i < THREADS; i++) {
		TAP_MUST(!counts[i].failed);
		reads += counts[i].reads;
		if (last[i] == WORK_NOTHING)
			continue;
		TAP_MUST(!memcmp(data + i * (uint64_t)BYTES, m->data + last[i], BYTES));
	}
	printf("# %llu reads\n", (unsigned long long)reads);
	TAP_MUST(reads > THREADS && reads == m->executed && !m->violation);
	return NULL;
}

static const char *run(void)
{
	static struct work_count counts[THREADS];
	static uint64_t last[THREADS];
	struct homi_extent file = { .blocks = UNITS * BYTES / BLOCK };
	struct model *m = shared(sizeof(*m));
	volatile uint32_t *stop = shared(4096);
	struct homi_shared queue;
	struct work w = {
		.count = 1, .units = UNITS, .polls = 1 << 25, .queues = 1, .bytes = BYTES,
		.nsid = MODEL_NSID, .block_size = BLOCK, .page_size = 4096,
	};
	const char *wrong = make_queue(m, &queue);
	void *data, *lists;

	if (!wrong)
		wrong = make_place(&w.data, m, THREADS * (uint64_t)BYTES, DMA, &data);
	if (!wrong)
		wrong = make_place(&w.lists, m, THREADS * WORK_LIST_BYTES, 2 * DMA, &lists);
	if (wrong)
		return wrong;
	memset(last, 0xff, sizeof(last));
	memset(counts, 0xff, sizeof(counts));
	w.records = to_gpu(&file, sizeof(file));
	w.shared = to_gpu(&queue, sizeof(queue));
	w.counts = to_gpu(counts, sizeof(counts));
	w.last = to_gpu(last, sizeof(last));
	w.stop = gpu->reach((void *)stop, 4096, 0);
	TAP_MUST(w.records && w.shared && w.counts && w.last && w.stop);
	TAP_MUST(!model_start(m));
	TAP_MUST(!gpu->run(&w, THREADS));
	sleep(1);
	*stop = 1;
	TAP_MUST(!gpu->wait());
	model_stop(m);
	return look(&w, m, data);
}

int main(int argc, char **argv)
{
	void *library = dlopen(argc > 1 ? argv[1] : BENCH_GPU_LIBRARY, RTLD_NOW);
	const char *wrong = library ? NULL : dlerror();
	char name[64];

	setenv("CUDA_MODULE_LOADING", "EAGER", 1);
	if (!wrong) {
		gpu = dlsym(library, "bench_gpu");
		wrong = gpu->open(name, sizeof(name));
	}
	if (!wrong)
		printf("# %s\n", name);
	if (!wrong)
		wrong = run();
	tap_try(wrong, "threads of a GPU, by homi-bench's library");
	return tap_end();
}
