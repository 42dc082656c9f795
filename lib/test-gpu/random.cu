// SPDX-License-Identifier: MIT
/*
 * What examples/gpu_random_read.cu lets each thread do, against a model controller.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <vector>

#include "must.h"
#include "probe.h"

#include "../../examples/random_read.h"
#include "../test/model_ring.h"
#include "../test/tap.h"

#define BLOCK		512u
#define BLOCKS		8192u		/* of the namespace */
#define PAGES		128u		/* of the file */
#define PER_PAGE	(RANDOM_READ_PAGE / BLOCK)
#define DEPTH		128u
#define SEGMENTS	4u		/* of the memory, as an IOMMU would have it */
#define DMA		0x40000000ull
#define GAP		0x1000000ull	/* from one segment's address to the next one's */

__global__ void random_read_kernel(struct random_read r)
{
	random_read_thread(&r, blockIdx.x * blockDim.x + threadIdx.x);
}

struct reader {
	const struct random_read *r;
	uint32_t which;
	pthread_t thread;
};

static void *read_on_host(void *arg)
{
	struct reader *reader = (struct reader *)arg;

	random_read_thread(reader->r, reader->which);
	return NULL;
}

static const char *run(const struct random_read *r, uint32_t threads)
{
	std::vector<struct reader> readers(threads);
	cudaStream_t stream;
	uint32_t i;

	if (!on_host) {
		MUST(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
		random_read_kernel<<<threads / 128, 128, 0, stream>>>(*r);
		MUST(cudaGetLastError());
		MUST(cudaStreamSynchronize(stream));
		cudaStreamDestroy(stream);
		return NULL;
	}
	for (i = 0; i < threads; i++) {
		readers[i].r = r;
		readers[i].which = i;
		TAP_MUST(!pthread_create(&readers[i].thread, NULL, read_on_host, &readers[i]));
	}
	for (i = 0; i < threads; i++)
		pthread_join(readers[i].thread, NULL);
	return NULL;
}

/* A file in pieces of some blocks, here and there, and not there; and what is in it */
static uint64_t make_file(const struct model *m, struct homi_extent *records,
			  std::vector<uint64_t> &file)
{
	uint64_t at, count = 0, seed = 3;

	for (at = 0; at < PAGES * PER_PAGE; at += records[count++].blocks) {
		struct homi_extent *e = &records[count];

		e->file_offset = at * BLOCK;
		e->blocks = 1 + model_random(&seed) % 40;
		if (e->blocks > PAGES * PER_PAGE - at)
			e->blocks = PAGES * PER_PAGE - at;
		e->flags = model_random(&seed) % 7 ? 0 : HOMI_EXTENT_HOLE;
		e->slba = model_random(&seed) % (BLOCKS - e->blocks);
		if (!e->flags)
			memcpy((uint8_t *)file.data() + at * BLOCK, m->data + e->slba * BLOCK,
			       e->blocks * BLOCK);
	}
	return count;
}

static const char *look(const struct random_read *r, uint32_t threads,
			const std::vector<uint64_t> &file)
{
	uint32_t thread, n;

	for (thread = 0; thread < threads; thread++) {
		uint64_t sum = 0;

		TAP_MUST(!r->errors[thread]);
		for (n = 0; n < r->reads; n++)
			sum = random_read_sum(sum, file.data() + random_read_page(PAGES, thread, n) *
							   (RANDOM_READ_PAGE / 8));
		TAP_MUST(sum == r->sums[thread]);
	}
	return NULL;
}

static const char *make_queue(struct model *m, struct homi_shared *queue, void *memory)
{
	struct homi_shared_config config = {};
	struct model_config mc = {};
	uint64_t i;

	mc.depth = DEPTH;
	mc.page_size = 4096;
	mc.block_size = BLOCK;
	mc.blocks = BLOCKS;
	mc.reorder = 11;
	mc.alloc = alloc_shared;
	mc.release = release_shared;
	TAP_MUST(!model_init(m, &mc));
	for (i = 0; i < BLOCKS * BLOCK / 8; i++)
		((uint64_t *)m->data)[i] = i * 0x9e3779b97f4a7c15ull;
	config.ring = model_ring_config(m, NULL, NULL);
	config.memory = memory;
	TAP_MUST(!homi_shared_init(queue, &config));
	return NULL;
}

const char *probe_random_read(void)
{
	uint32_t threads = on_host ? 4 : 1024, i;
	uint64_t length = (uint64_t)threads * RANDOM_READ_PAGE, part = length / SEGMENTS;
	struct homi_extent *records;
	std::vector<uint64_t> file(PAGES * RANDOM_READ_PAGE / 8);
	struct random_read r = {};
	struct homi_seg *segs;
	const char *wrong;
	struct model *m;
	void *memory;

	m = (struct model *)alloc_shared(sizeof(*m));
	memory = alloc_shared(homi_shared_size(DEPTH));
	records = (struct homi_extent *)alloc_shared(PAGES * PER_PAGE * sizeof(*records));
	segs = (struct homi_seg *)alloc_shared(SEGMENTS * sizeof(*segs));
	wrong = make_queue(m, &r.queue, memory);
	if (wrong)
		return wrong;
	r.data = (uint8_t *)alloc_shared(length);
	for (i = 0; i < SEGMENTS; i++) {
		segs[i].offset = i * part;
		segs[i].dma_addr = DMA + i * GAP;
		segs[i].length = part;
		model_map(m, segs[i].dma_addr, r.data + i * part, part);
	}
	r.records = records;
	r.count = make_file(m, records, file);
	r.segs = segs;
	r.seg_count = SEGMENTS;
	r.page_size = 4096;
	r.nsid = MODEL_NSID;
	r.block_size = BLOCK;
	r.pages = PAGES;
	r.reads = on_host ? 500 : 200;
	r.polls = on_host ? 1ull << 40 : 50000000;
	r.sums = (uint64_t *)alloc_shared(threads * 8ull);
	r.errors = (int32_t *)alloc_shared(threads * 4ull);
	TAP_MUST(!model_start(m));
	wrong = run(&r, threads);
	model_stop(m);
	if (!wrong)
		wrong = m->violation;
	if (!wrong)
		wrong = look(&r, threads, file);
	printf("# %llu commands for %u reads\n", (unsigned long long)m->executed, threads * r.reads);
	model_destroy(m);
	release_shared(m);
	release_shared(memory);
	release_shared(records);
	release_shared(segs);
	release_shared(r.data);
	release_shared(r.sums);
	release_shared(r.errors);
	return wrong;
}
