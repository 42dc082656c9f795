// SPDX-License-Identifier: MIT
/*
 * Where everything lies: two arenas, of the host's and of the device's memory, out of which
 * rings, PRP lists, data and, for a GPU, its book-keeping are cut.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../cli.h"
#include "bench.h"

#define PAGE	4096ull
#define UNIT	(2ull << 20)	/* of a GPU's memory */

static uint64_t round_up(uint64_t n, uint64_t unit)
{
	return (n + unit - 1) / unit * unit;
}

static struct arena *side(struct bench *b, enum bench_what what)
{
	return b->on_device[what] ? &b->device : &b->host;
}

/* Bytes of each of what there is one of for each queue or slot */
static uint64_t bytes_of(const struct bench *b, enum bench_what what)
{
	switch (what) {
	case BENCH_SQ:
		return b->queues * round_up(b->depth * sizeof(struct homi_sqe), PAGE);
	case BENCH_CQ:
		return b->queues * round_up(b->depth * sizeof(struct homi_cqe), PAGE);
	case BENCH_LISTS:
		return b->slots * WORK_LIST_BYTES;
	default:
		return b->slots * b->bytes;
	}
}

/* What threads that share a queue pair know of it */
static uint64_t book_size(const struct bench *b)
{
	return round_up(homi_shared_size(b->depth), PAGE);
}

/* Of a GPU that is what its threads alone use too; on a host that needs no arena. */
static uint64_t book_bytes(const struct bench *b)
{
	uint64_t table = b->extents.table->count * sizeof(struct homi_extent);

	return round_up(table, PAGE) + round_up(b->queues * sizeof(struct homi_shared), PAGE) +
	       round_up(b->threads * sizeof(struct work_count), PAGE) +
	       round_up(b->slots * sizeof(uint64_t), PAGE) + b->queues * book_size(b);
}

/* The device's memory: of a GPU, or a dma-buf that is mapped here. */
static void open_device(struct bench *b, uint64_t length)
{
	struct arena *a = &b->device;
	uint32_t reason, flags = HOMI_MEM_WRITE;
	int fd = b->dmabuf, ret;
	void *addr = NULL;

	a->length = round_up(length, UNIT);
	if (b->gpu) {
		a->base = b->gpu->alloc(a->length, &fd);
		if (!a->base)
			bench_die(EXIT_REFUSED, "%s gives no %llu bytes as a dma-buf", b->gpu_name,
				  (unsigned long long)a->length);
		/* What lies elsewhere is no peer, and not what is to be measured. */
		flags |= HOMI_MEM_BAR;
	} else {
		if (b->udmabuf)
			fd = homi_udmabuf(a->length);
		if (fd < 0)
			bench_die(EXIT_REFUSED, "/dev/udmabuf: %s (its module has a limit, size_limit_mb)",
				  strerror(-fd));
		addr = mmap(NULL, a->length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (addr == MAP_FAILED)
			bench_die(EXIT_REFUSED, "mapping %llu bytes of the dma-buf: %s",
				  (unsigned long long)a->length, strerror(errno));
		a->base = addr;
	}
	ret = homi_mem_import(&b->dev, fd, 0, a->length, flags, addr, &a->mem, &reason);
	if (ret)
		bench_die(EXIT_REFUSED, "the device's memory: %s",
			  reason ? homi_strreason(reason) : strerror(-ret));
	close(fd);
}

/* Shared: a process that plays the device has it too. */
static void open_host(struct bench *b, uint64_t length)
{
	struct arena *a = &b->host;
	int ret;

	a->length = length;
	a->base = bench_shared_memory(length);
	ret = homi_mem_register(&b->dev, a->base, length, HOMI_MEM_WRITE, &a->mem);
	if (ret)
		bench_die(EXIT_REFUSED, "%llu bytes of memory: %s", (unsigned long long)length,
			  strerror(-ret));
	if (b->gpu) {
		a->base = b->gpu->reach(a->base, a->length, 0);
		if (!a->base)
			bench_die(EXIT_REFUSED, "%s can't reach the host's memory", b->gpu_name);
	}
}

/* There may be a segment for each page of an arena; a GPU wants them where it is quick. */
static uint64_t seg_bytes(uint64_t length)
{
	return round_up((length / PAGE + 1) * sizeof(struct homi_seg), PAGE);
}

static uint64_t take(struct arena *a, uint64_t bytes)
{
	uint64_t at = a->used;

	a->used += round_up(bytes, PAGE);
	if (a->used > a->length)
		bench_die(EXIT_IO, "memory was not counted right");
	return at;
}

/* The kernel makes rings that lie in the host's memory, but not for a GPU. */
static bool is_kernels(const struct bench *b, enum bench_what what)
{
	return (what == BENCH_SQ || what == BENCH_CQ) && !b->on_device[what] && !b->gpu;
}

static void open_arenas(struct bench *b)
{
	uint64_t host = 0, device = 0;
	unsigned int what;

	for (what = 0; what < BENCH_WHATS; what++)
		if (!is_kernels(b, what))
			*(b->on_device[what] ? &device : &host) += round_up(bytes_of(b, what), PAGE);
	if (b->gpu) {
		device += book_bytes(b);
		device += seg_bytes(host + PAGE) + seg_bytes(2 * (device + UNIT));
	}
	if (device)
		open_device(b, device);
	if (host)
		open_host(b, host);
}

/* --- queues --- */

static volatile uint32_t *reach_word(const struct bench *b, volatile uint32_t *word)
{
	uint8_t *page = (uint8_t *)((uintptr_t)word & ~(uintptr_t)(PAGE - 1)), *there;

	if (!word || !b->gpu)
		return word;
	/* The page comes by a fault, and the GPU's driver wants it to be there. */
	(void)*word;
	there = b->gpu->reach(page, PAGE, 1);
	if (!there)
		bench_die(EXIT_REFUSED, "%s can't reach the doorbells", b->gpu_name);
	return (volatile uint32_t *)(there + ((uintptr_t)word - (uintptr_t)page));
}

static void reach_doorbells(const struct bench *b, struct homi_ring_config *ring)
{
	ring->sq_doorbell = reach_word(b, ring->sq_doorbell);
	ring->cq_doorbell = reach_word(b, ring->cq_doorbell);
	ring->sq_shadow = reach_word(b, ring->sq_shadow);
	ring->sq_event = reach_word(b, ring->sq_event);
	ring->cq_shadow = reach_word(b, ring->cq_shadow);
	ring->cq_event = reach_word(b, ring->cq_event);
}

static void make_queue(struct bench *b, uint32_t i, uint64_t sq_at, uint64_t cq_at)
{
	struct homi_ring_place sq = { &side(b, BENCH_SQ)->mem, sq_at };
	struct homi_ring_place cq = { &side(b, BENCH_CQ)->mem, cq_at };
	int ret = homi_queue_open_in(&b->dev, b->depth, is_kernels(b, BENCH_SQ) ? NULL : &sq,
				     is_kernels(b, BENCH_CQ) ? NULL : &cq, &b->queue[i]);

	if (ret)
		bench_die(EXIT_REFUSED, "queue pair %u of %u: %s%s", i + 1, b->queues, strerror(-ret),
			  ret == -ENOSPC ? "; \"homi reserve\" has the nvme driver leave some" :
			  ret == -EINVAL ? "; a ring has to lie in one piece for the controller: less --depth?" :
			  "");
}

static void make_queues(struct bench *b)
{
	uint64_t sq_bytes = bytes_of(b, BENCH_SQ) / b->queues, cq_bytes = bytes_of(b, BENCH_CQ) / b->queues;
	uint64_t sq_at = 0, cq_at = 0;
	uint32_t i;

	if (!is_kernels(b, BENCH_SQ))
		sq_at = take(side(b, BENCH_SQ), bytes_of(b, BENCH_SQ));
	if (!is_kernels(b, BENCH_CQ))
		cq_at = take(side(b, BENCH_CQ), bytes_of(b, BENCH_CQ));
	for (i = 0; i < b->queues; i++)
		make_queue(b, i, sq_at + i * sq_bytes, cq_at + i * cq_bytes);
}

static void share_queue(struct bench *b, uint32_t i, void *memory, struct homi_shared *shared)
{
	struct homi_shared_config config = { .memory = memory };

	homi_queue_get_config(&b->queue[i], &config.ring);
	if (b->gpu) {
		config.ring.sq = side(b, BENCH_SQ)->base + b->queue[i].create.sq_offset;
		config.ring.cq = side(b, BENCH_CQ)->base + b->queue[i].create.cq_offset;
		reach_doorbells(b, &config.ring);
	}
	if (homi_shared_init(shared, &config))
		bench_die(EXIT_USAGE, "a queue pair that threads share has a depth that is a power of two");
}

void bench_share(struct bench *b)
{
	uint32_t i;

	for (i = 0; i < b->queues; i++)
		share_queue(b, i, b->books + i * book_size(b), &b->shared[i]);
}

/* --- what the threads get --- */

static void put(const struct bench *b, const void *to, const void *from, uint64_t bytes)
{
	if (b->gpu->put((void *)to, from, bytes))
		bench_die(EXIT_IO, "%s takes no copy", b->gpu_name);
}

/* On a host they are where they are, and for a GPU there is a copy for each arena. */
static const struct homi_seg *reach_segs(struct bench *b, struct arena *a)
{
	uint64_t bytes = a->mem.seg_count * sizeof(struct homi_seg);

	if (!a->segs && b->gpu) {
		a->segs = (const struct homi_seg *)(b->device.base + take(&b->device, bytes));
		put(b, a->segs, a->mem.segs, bytes);
	} else if (!a->segs) {
		a->segs = a->mem.segs;
	}
	return a->segs;
}

static void describe(struct bench *b, struct work_place *place, enum bench_what what)
{
	struct arena *a = side(b, what);

	place->base = a->base;
	place->segs = reach_segs(b, a);
	place->seg_count = a->mem.seg_count;
	place->offset = take(a, bytes_of(b, what));
}

/* What is not written to is seen when it is compared, even where the file is zero. */
static void spoil_data(struct bench *b)
{
	uint64_t bytes = bytes_of(b, BENCH_DATA), at;
	uint8_t *data = b->work.data.base + b->work.data.offset, *spoilt;

	if (!b->gpu) {
		memset(data, 0xa5, bytes);
		return;
	}
	spoilt = bench_shared_memory(UNIT);
	memset(spoilt, 0xa5, UNIT);
	for (at = 0; at < bytes; at += UNIT)
		put(b, data + at, spoilt, bytes - at < UNIT ? bytes - at : UNIT);
}

/* No mapping of homi's is inherited, so a process that plays a device gets a copy of the table. */
static void describe_to_host(struct bench *b)
{
	const struct homi_extent_table *table = b->extents.table;
	uint64_t bytes = table->count * sizeof(*table->records);
	struct work *w = &b->work;
	void *records = bench_shared_memory(bytes);

	memcpy(records, table->records, bytes);
	w->records = records;
	w->counts = b->counts;
	w->last = b->last;
	w->stop = b->stop;
	if (b->initiator == BENCH_CPU)
		return;
	b->shared = bench_shared_memory(b->queues * sizeof(*b->shared));
	b->books = bench_shared_memory(b->queues * book_size(b));
	w->shared = b->shared;
}

/* All but the order to stop is in its own memory. */
static void describe_to_gpu(struct bench *b)
{
	const struct homi_extent_table *table = b->extents.table;
	struct homi_shared *shared = bench_shared_memory(b->queues * sizeof(*shared));
	struct arena *a = &b->device;
	struct work *w = &b->work;
	uint64_t bytes = table->count * sizeof(*w->records);
	uint32_t i;

	w->records = (const struct homi_extent *)(a->base + take(a, bytes));
	put(b, w->records, table->records, bytes);
	w->counts = (struct work_count *)(a->base + take(a, b->threads * sizeof(*w->counts)));
	put(b, w->counts, b->counts, b->threads * sizeof(*w->counts));
	w->last = (uint64_t *)(a->base + take(a, b->slots * sizeof(*w->last)));
	put(b, w->last, b->last, b->slots * sizeof(*w->last));
	for (i = 0; i < b->queues; i++)
		share_queue(b, i, a->base + take(a, book_size(b)), &shared[i]);
	w->shared = (const struct homi_shared *)(a->base + take(a, b->queues * sizeof(*shared)));
	put(b, w->shared, shared, b->queues * sizeof(*shared));
	w->stop = b->gpu->reach((void *)b->stop, PAGE, 0);
	if (!w->stop)
		bench_die(EXIT_REFUSED, "%s can't reach the host's memory", b->gpu_name);
}

/* Who did not come to an end says so. */
static void prepare_counts(struct bench *b)
{
	uint32_t i;

	b->counts = bench_shared_memory(b->threads * sizeof(*b->counts));
	b->last = bench_shared_memory(b->slots * sizeof(*b->last));
	b->stop = bench_shared_memory(PAGE);
	for (i = 0; i < b->threads; i++)
		b->counts[i].failed = WORK_NOT_ENDED;
	memset(b->last, 0xff, b->slots * sizeof(*b->last));
}

void bench_place(struct bench *b)
{
	const struct homi_extent_table *table = b->extents.table;
	struct work *w = &b->work;

	b->slots = b->initiator == BENCH_CPU ? (uint64_t)b->threads * (b->depth - 1) : b->threads;
	open_arenas(b);
	make_queues(b);
	w->count = table->count;
	w->units = b->size / b->bytes;
	w->queues = b->queues;
	w->bytes = b->bytes;
	w->nsid = table->nsid;
	w->block_size = table->block_size;
	w->page_size = b->dev.info.out_page_size;
	prepare_counts(b);
	describe(b, &w->data, BENCH_DATA);
	spoil_data(b);
	describe(b, &w->lists, BENCH_LISTS);
	if (b->gpu)
		describe_to_gpu(b);
	else
		describe_to_host(b);
}

void bench_unplace(struct bench *b)
{
	uint32_t i;
	int ret = 0;

	if (b->gpu)
		b->gpu->close();
	for (i = 0; i < b->queues; i++)
		ret |= homi_queue_close(&b->dev, &b->queue[i]);
	if (b->host.length)
		ret |= homi_mem_release(&b->dev, &b->host.mem);
	if (b->device.length)
		ret |= homi_mem_release(&b->dev, &b->device.mem);
	if (ret)
		bench_die(EXIT_IO, "what was lent could not be given back");
}
