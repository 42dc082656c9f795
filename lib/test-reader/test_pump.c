// SPDX-License-Identifier: MIT
/*
 * Extent search against a walk from the front, and the pump against the model
 * controller: scattered memory, fragmented files, and everything that can go
 * wrong. Long because each of these is a case of one table of tests.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "pump_rig.h"
#include "tap.h"

/* --- extent.h --- */

static const char *try_find(uint32_t count, uint32_t block)
{
	static struct homi_extent records[MAX_RECORDS];
	uint64_t start = below(100) * block;
	uint64_t end = make_records(records, count, block, start);
	uint64_t offset, want;
	int i;

	for (i = 0; i < 2000; i++) {
		offset = i == 0 ? start : i == 1 ? end - 1 : i == 2 ? end :
			 i == 3 ? start - 1 : i == 4 ? UINT64_MAX : below(end + 2 * block);
		for (want = 0; want < count; want++)
			if (offset >= records[want].file_offset &&
			    offset < records[want].file_offset + records[want].blocks * block)
				break;
		TAP_MUST(homi_extent_find(records, count, block, offset) == want);
	}
	return NULL;
}

static const char *find_agrees(void)
{
	uint32_t count;

	for (count = 0; count < MAX_RECORDS; count += 1 + count / 4) {
		const char *wrong = try_find(count, below(2) ? 512 : 4096);

		if (wrong)
			return wrong;
	}
	return NULL;
}

static const char *find_table(void)
{
	static const struct homi_extent records[] = {
		{ .file_offset = 8192, .slba = 100, .blocks = 1 },
		{ .file_offset = 12288, .blocks = 3, .flags = HOMI_EXTENT_HOLE },
		{ .file_offset = 24576, .slba = 7, .blocks = 2 },
	};
	static const struct {
		uint64_t count, offset, want;
	} c[] = {
		{ 0, 0, 0 }, { 0, 8192, 0 }, { 0, UINT64_MAX, 0 },
		{ 1, 8191, 1 }, { 1, 8192, 0 }, { 1, 12287, 0 }, { 1, 12288, 1 },
		{ 2, 12287, 0 }, { 2, 12288, 1 }, { 2, 24575, 1 }, { 2, 24576, 2 },
		{ 3, 0, 3 }, { 3, 8191, 3 }, { 3, 8192, 0 }, { 3, 12288, 1 },
		{ 3, 24575, 1 }, { 3, 24576, 2 }, { 3, 32767, 2 }, { 3, 32768, 3 },
		{ 3, UINT64_MAX, 3 },
	};
	unsigned int i;

	for (i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		uint64_t got = homi_extent_find(records, c[i].count, 4096, c[i].offset);

		if (got != c[i].want) {
			printf("# row %u: %llu\n", i, (unsigned long long)got);
			return "table";
		}
	}
	return NULL;
}

/* The last block of the address space is found, and no product overflows. */
static const char *find_at_the_end(void)
{
	struct homi_extent e = { .file_offset = 4096, .blocks = UINT64_MAX >> 12 };

	TAP_MUST(homi_extent_find(&e, 1, 4096, UINT64_MAX) == 0);
	TAP_MUST(homi_extent_find(&e, 1, 4096, 4095) == 1);
	return NULL;
}

static const char *run_is_cut(void)
{
	struct homi_extent e = { .file_offset = 8192, .slba = 1000, .blocks = 10 };
	struct homi_run run;

	homi_extent_run(&e, 512, 8192, 100, &run);
	TAP_MUST(run.slba == 1000 && run.blocks == 10 && !run.hole);
	homi_extent_run(&e, 512, 8192 + 3 * 512, 100, &run);
	TAP_MUST(run.slba == 1003 && run.blocks == 7);
	homi_extent_run(&e, 512, 8192 + 3 * 512, 2, &run);
	TAP_MUST(run.slba == 1003 && run.blocks == 2);
	e.flags = HOMI_EXTENT_HOLE;
	homi_extent_run(&e, 512, 8192, 4, &run);
	TAP_MUST(run.hole && run.blocks == 4);
	return NULL;
}

/* --- what was delivered --- */

struct taker {
	const struct rig *rig;
	uint8_t *seen;
	uint64_t next;
	uint64_t calls;
	bool in_order;
	bool wrong;
	uint64_t stop_after;	/* calls */
	unsigned int slow_us;
};

static int take(void *arg, uint64_t offset, const void *data, size_t length)
{
	struct taker *t = arg;
	size_t i;

	t->wrong |= !length || offset + length > t->rig->source.file_size ||
		    (t->in_order && offset != t->next);
	if (t->wrong)
		return -EBADMSG;
	t->wrong |= memcmp(data, t->rig->file + offset, length) != 0;
	for (i = 0; i < length; i++) {
		t->wrong |= t->seen[offset + i];
		t->seen[offset + i] = 1;
	}
	t->next = offset + length;
	if (t->slow_us)
		usleep(t->slow_us);
	return ++t->calls == t->stop_after ? -ECANCELED : 0;
}

/* Reads a range, and holds what came against what should have. */
static const char *read_range(struct rig *rig, uint64_t from, uint64_t length, bool in_order)
{
	uint64_t size = rig->source.file_size, to = from + length < size ? from + length : size;
	struct taker t = { .rig = rig, .next = from, .in_order = in_order };
	struct homi_pump_stats stats;
	uint64_t i, missing = 0;
	int ret;

	t.seen = calloc(1, size + 1);
	ret = homi_pump_read(rig->pump, &rig->source, from, length,
			     in_order ? 0 : HOMI_PUMP_ANY_ORDER, take, &t);
	for (i = 0; i < size; i++)
		missing += t.seen[i] != (i >= from && i < to);
	free(t.seen);
	homi_pump_get_stats(rig->pump, &stats);
	TAP_MUST(ret == 0);
	TAP_MUST(!t.wrong);
	TAP_MUST(missing == 0);
	TAP_MUST(stats.bytes == (to > from ? to - from : 0));
	TAP_MUST(stats.status == 0);
	TAP_MUST(homi_ring_outstanding(&rig->ring) == 0);
	return NULL;
}

static const char *model_is_content(const struct rig *rig)
{
	TAP_MUST(rig->model.violations == 0);
	TAP_MUST(rig->model.dma_faults == 0);
	return NULL;
}

/* Makes a rig with its model running, lets @test use it, and looks for violations. */
static const char *with_rig(const struct shape *shape, const char *(*test)(struct rig *rig))
{
	static struct rig rig;
	const char *wrong;

	TAP_MUST(!make_rig(&rig, shape));
	TAP_MUST(!homi_pump_new(&rig.pump, &rig.config));
	TAP_MUST(!model_start(&rig.model));
	wrong = test(&rig);
	model_stop(&rig.model);
	if (!wrong)
		wrong = model_is_content(&rig);
	free_rig(&rig);
	return wrong;
}

static const char *read_all_ways(struct rig *rig)
{
	uint64_t size = rig->source.file_size;
	const char *wrong;
	int i;

	wrong = read_range(rig, 0, UINT64_MAX, true);
	for (i = 0; i < 8 && !wrong; i++)
		wrong = read_range(rig, below(size + 10), below(size), below(2));
	if (!wrong)
		wrong = read_range(rig, 0, size, false);
	if (!wrong)
		wrong = read_range(rig, size, 1, true);
	return wrong;
}

/* Of any shape, one after the other */
static const char *with_any_rig(int count, const char *(*test)(struct rig *rig))
{
	static const uint64_t transfer[] = { 0, 4096, 8192, 16384, 524288 };
	const char *wrong = NULL;
	int i;

	for (i = 0; i < count && !wrong; i++) {
		struct shape shape = {
			.block = below(2) ? 512 : 4096,
			.depth = 1 + (uint32_t)below(i & 1 ? 4 : 128),
			.chunk = (uint32_t)(4096 << below(6)),
			.max_transfer = transfer[below(5)],
			.records = 1 + (uint32_t)below(MAX_RECORDS / 8),
			.shadow = below(2),
		};

		wrong = with_rig(&shape, test);
	}
	return wrong;
}

/* --- writing --- */

struct giver {
	struct rig *rig;
	uint64_t next;
	uint64_t stop_at;
	bool wrong;
};

/* New data, which are then what the file has. */
static int give(void *arg, uint64_t offset, void *data, size_t length)
{
	struct giver *g = arg;
	size_t i;

	g->wrong |= !length || offset != g->next;
	if (g->stop_at && offset >= g->stop_at)
		return -ECANCELED;
	for (i = 0; i < length; i++)
		((uint8_t *)data)[i] = (uint8_t)model_random(&seed);
	if (offset + length <= g->rig->covered)
		memcpy(g->rig->file + offset, data, length);
	g->next = offset + length;
	return 0;
}

struct flushes {
	uint64_t writes, flushes, after;	/* @after: writes after a Flush */
};

static uint16_t count_flushes(void *arg, const struct homi_sqe *sqe)
{
	struct flushes *f = arg;

	if (sqe->opcode == HOMI_OP_FLUSH) {
		f->flushes++;
	} else if (sqe->opcode == HOMI_OP_WRITE) {
		f->writes++;
		f->after += f->flushes;
	}
	return MODEL_EXECUTE;
}

/* A file without holes; @from and @length in blocks */
static const char *write_range(struct rig *rig, uint64_t from, uint64_t length)
{
	uint64_t block = rig->source.block_size;
	struct giver g = { .rig = rig, .next = from * block };
	struct homi_pump_stats stats;
	struct flushes f = { 0 };

	model_stop(&rig->model);
	rig->model.hook = count_flushes;
	rig->model.hook_arg = &f;
	model_start(&rig->model);
	TAP_MUST(!homi_pump_write(rig->pump, &rig->source, from * block, length * block, give, &g));
	homi_pump_get_stats(rig->pump, &stats);
	TAP_MUST(!g.wrong && g.next == (from + length) * block);
	TAP_MUST(stats.bytes == length * block && stats.status == 0);
	TAP_MUST(homi_ring_outstanding(&rig->ring) == 0);
	TAP_MUST(f.flushes == (length != 0) && f.after == 0);
	TAP_MUST(stats.ios == f.writes + f.flushes);
	return read_range(rig, 0, UINT64_MAX, below(2));
}

/* As the kernel lends it: all there, and whole blocks only */
static void fill_holes(struct rig *rig)
{
	uint32_t i, block = rig->source.block_size;
	uint64_t top = 0;

	for (i = 0; i < rig->source.count; i++) {
		struct homi_extent *e = &rig->records[i];

		e->flags = 0;
		e->slba = top;
		top += e->blocks;
		memcpy(rig->file + e->file_offset, rig->model.data + e->slba * block,
		       e->blocks * block);
	}
	rig->source.file_size = rig->covered;
}

static const char *write_all_ways(struct rig *rig)
{
	uint64_t blocks = rig->covered / rig->source.block_size;
	const char *wrong;
	int i;

	fill_holes(rig);
	wrong = write_range(rig, 0, blocks);
	for (i = 0; i < 8 && !wrong; i++) {
		uint64_t from = below(blocks);

		wrong = write_range(rig, from, below(blocks - from + 1));
	}
	return wrong;
}

/* Nothing is written for a range that can't be, and no byte outside of one that is stopped. */
static const char *write_refusals(struct rig *rig)
{
	uint64_t block = rig->source.block_size;
	struct giver g = { .rig = rig };
	uint64_t size;

	fill_holes(rig);
	size = rig->source.file_size;
	TAP_MUST(homi_pump_write(rig->pump, &rig->source, 1, block, give, &g) == -EINVAL);
	TAP_MUST(homi_pump_write(rig->pump, &rig->source, 0, block + 1, give, &g) == -EINVAL);
	TAP_MUST(homi_pump_write(rig->pump, &rig->source, 0, size + block, give, &g) == -EINVAL);
	TAP_MUST(homi_pump_write(rig->pump, &rig->source, size + block, 0, give, &g) == -EINVAL);
	TAP_MUST(homi_pump_write(rig->pump, &rig->source, size, 0, give, &g) == 0);
	TAP_MUST(g.next == 0 && !g.wrong);
	g.stop_at = size / 2;
	TAP_MUST(homi_pump_write(rig->pump, &rig->source, 0, size, give, &g) == -ECANCELED);
	TAP_MUST(!homi_pump_is_broken(rig->pump) && homi_ring_outstanding(&rig->ring) == 0);
	rig->records[rig->source.count - 1].flags = HOMI_EXTENT_HOLE;
	g = (struct giver){ .rig = rig };
	TAP_MUST(homi_pump_write(rig->pump, &rig->source, 0, size, give, &g) == -EINVAL);
	rig->records[rig->source.count - 1].flags = 0;
	return write_range(rig, 0, size / block);
}

/* --- what goes wrong --- */

static const struct shape plain = {
	.block = 512, .depth = 8, .chunk = 4096, .records = 60, .timeout_ms = 300,
};

struct fault {
	uint64_t slba;		/* first block of the command that it hits */
	uint16_t answer;
	uint64_t hits;
};

static uint16_t inject(void *arg, const struct homi_sqe *sqe)
{
	struct fault *f = arg;

	if ((sqe->cdw10 | (uint64_t)sqe->cdw11 << 32) != f->slba)
		return MODEL_EXECUTE;
	__atomic_add_fetch(&f->hits, 1, __ATOMIC_RELAXED);
	return f->answer;
}

/* Some record that is data and has others around it. */
static const struct homi_extent *victim(const struct rig *rig)
{
	const struct homi_extent *e = &rig->records[rig->source.count / 3];

	while (e->flags)
		e++;
	return e;
}

/* The hook is set while the model looks at nothing. */
static void set_fault(struct rig *rig, struct fault *f, uint16_t answer)
{
	model_stop(&rig->model);
	memset(f, 0, sizeof(*f));
	f->slba = victim(rig)->slba;
	f->answer = answer;
	rig->model.hook = inject;
	rig->model.hook_arg = f;
	model_start(&rig->model);
}

static int read_with(struct rig *rig, struct taker *t, unsigned int flags)
{
	int ret;

	t->rig = rig;
	t->in_order = !flags;
	t->seen = calloc(1, rig->source.file_size + 1);
	ret = homi_pump_read(rig->pump, &rig->source, 0, UINT64_MAX, flags, take, t);
	free(t->seen);
	return ret;
}

static const char *status_case(struct rig *rig)
{
	struct homi_pump_stats stats;
	struct taker t = { 0 };
	struct fault f;

	set_fault(rig, &f, HOMI_SC_UNRECOVERED_READ);
	TAP_MUST(read_with(rig, &t, 0) == -EIO);
	homi_pump_get_stats(rig->pump, &stats);
	TAP_MUST(!t.wrong && f.hits == 1);
	TAP_MUST(HOMI_STATUS_CODE(stats.status) == HOMI_SC_UNRECOVERED_READ);
	TAP_MUST(stats.error_offset == victim(rig)->file_offset);
	TAP_MUST(stats.error_slba == victim(rig)->slba);
	TAP_MUST(t.next <= stats.error_offset);
	TAP_MUST(!homi_pump_is_broken(rig->pump) && homi_ring_outstanding(&rig->ring) == 0);
	set_fault(rig, &f, MODEL_EXECUTE);
	return read_range(rig, 0, UINT64_MAX, true);
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static const char *dropped_case(struct rig *rig)
{
	struct taker t = { 0 };
	struct fault f;
	double begin;

	set_fault(rig, &f, MODEL_DROP);
	begin = seconds();
	TAP_MUST(read_with(rig, &t, 0) == -ETIMEDOUT);
	begin = seconds() - begin;
	TAP_MUST(begin >= 0.3 && begin < 30);
	TAP_MUST(!t.wrong && t.next == victim(rig)->file_offset);
	TAP_MUST(homi_pump_is_broken(rig->pump));
	t.calls = 0;
	TAP_MUST(read_with(rig, &t, 0) == -ETIMEDOUT && t.calls == 0);
	return NULL;
}

/* Others that complete do not hide the one that does not. */
static const char *dropped_among_others_case(struct rig *rig)
{
	struct taker t = { .slow_us = 3000 };
	struct homi_pump_stats stats;
	struct fault f;

	set_fault(rig, &f, MODEL_DROP);
	TAP_MUST(read_with(rig, &t, HOMI_PUMP_ANY_ORDER) == -ETIMEDOUT);
	homi_pump_get_stats(rig->pump, &stats);
	TAP_MUST(!t.wrong && stats.bytes > 0 && stats.bytes < rig->source.file_size / 4 * 3);
	return NULL;
}

static int stale_when_idle(void *arg, int idle)
{
	int *calls = arg;

	(*calls)++;
	return idle ? -ESTALE : 0;
}

static const char *lost_case(struct rig *rig)
{
	struct taker t = { 0 };
	struct fault f;
	int calls = 0;
	double begin;

	homi_pump_free(rig->pump);
	rig->config.timeout_ms = 60000;
	rig->config.check = stale_when_idle;
	rig->config.check_arg = &calls;
	TAP_MUST(!homi_pump_new(&rig->pump, &rig->config));
	set_fault(rig, &f, MODEL_DROP);
	begin = seconds();
	TAP_MUST(read_with(rig, &t, 0) == -ESTALE);
	TAP_MUST(seconds() - begin < 30 && calls > 0);
	TAP_MUST(homi_pump_is_broken(rig->pump));
	return NULL;
}

static int asked_for_at_work(void *arg, int idle)
{
	int *calls = arg;

	(void)idle;
	return (*calls)++ ? 0 : ESTALE;
}

/* What is in flight is waited for, so the queue can be used again. */
static const char *asked_for_case(struct rig *rig)
{
	struct taker t = { .slow_us = 3000 };
	struct homi_pump_stats stats;
	int calls = 0;

	homi_pump_free(rig->pump);
	rig->config.check = asked_for_at_work;
	rig->config.check_arg = &calls;
	TAP_MUST(!homi_pump_new(&rig->pump, &rig->config));
	TAP_MUST(read_with(rig, &t, 0) == -ESTALE && calls > 0);
	homi_pump_get_stats(rig->pump, &stats);
	TAP_MUST(!t.wrong && stats.bytes > 0 && stats.bytes == t.next);
	TAP_MUST(stats.bytes < rig->source.file_size);
	TAP_MUST(!homi_pump_is_broken(rig->pump) && homi_ring_outstanding(&rig->ring) == 0);
	return read_range(rig, 0, UINT64_MAX, false);
}

static const char *stopped_case(struct rig *rig)
{
	struct taker t = { .stop_after = 5 };

	TAP_MUST(read_with(rig, &t, 0) == -ECANCELED);
	TAP_MUST(t.calls == 5 && !t.wrong);
	TAP_MUST(!homi_pump_is_broken(rig->pump) && homi_ring_outstanding(&rig->ring) == 0);
	return read_range(rig, 0, UINT64_MAX, false);
}

static const char *uncovered_case(struct rig *rig)
{
	struct taker t = { 0 };

	rig->source.count--;
	TAP_MUST(read_with(rig, &t, 0) == -EINVAL);
	TAP_MUST(!t.wrong && homi_ring_outstanding(&rig->ring) == 0);
	rig->source.count++;
	return read_range(rig, 0, UINT64_MAX, true);
}

static const char *holes_case(struct rig *rig)
{
	struct homi_pump_stats stats;
	const char *wrong = read_all_ways(rig);

	if (wrong)
		return wrong;
	wrong = read_range(rig, 0, UINT64_MAX, true);
	homi_pump_get_stats(rig->pump, &stats);
	TAP_MUST(!stats.ios && stats.hole_bytes == rig->source.file_size);
	TAP_MUST(rig->model.executed == 0);
	return wrong;
}

/* A completion whose cid was never given out, in the first entry of the ring. */
static const char *foreign_cid(void)
{
	static struct rig rig;
	struct taker t = { 0 };

	TAP_MUST(!make_rig(&rig, &plain));
	TAP_MUST(!homi_pump_new(&rig.pump, &rig.config));
	rig.model.cq[0].cid = 77;
	rig.model.cq[0].status = 1;
	TAP_MUST(read_with(&rig, &t, 0) == -EPROTO);
	TAP_MUST(homi_pump_is_broken(rig.pump));
	free_rig(&rig);
	return NULL;
}

static int try_new(const struct homi_pump_config *config)
{
	struct homi_pump *pump;
	int ret = homi_pump_new(&pump, config);

	if (!ret)
		homi_pump_free(pump);
	return ret;
}

static const char *bad_configs(void)
{
	static struct rig rig;
	struct homi_pump_config c;
	struct homi_seg seg;

	TAP_MUST(!make_rig(&rig, &plain));
	TAP_MUST(!try_new(&rig.config));
	c = rig.config;
	c.depth = 9;
	TAP_MUST(try_new(&c) == -EINVAL);
	c = rig.config;
	c.mem_length--;
	TAP_MUST(try_new(&c) == -EINVAL);
	c = rig.config;
	c.page_size = 2048;
	TAP_MUST(try_new(&c) == -EINVAL && homi_pump_memory(&c) == 0);
	c = rig.config;
	seg = (struct homi_seg){ .dma_addr = DMA_BASE + 512, .length = c.mem_length };
	c.segs = &seg;
	c.seg_count = 1;
	TAP_MUST(try_new(&c) == -EOPNOTSUPP);
	seg.dma_addr = DMA_BASE;
	TAP_MUST(!try_new(&c));
	seg.length -= PAGE;
	TAP_MUST(try_new(&c) == -EINVAL);
	free_rig(&rig);
	return NULL;
}

/* A command never asks for more than one list page can name. */
static const char *chunk_limit(void)
{
	struct homi_pump_config c = { .page_size = PAGE, .depth = 1, .chunk = 1u << 30 };

	TAP_MUST(homi_pump_memory(&c) == (1u << 20) + PAGE);
	TAP_MUST(homi_prp_list_entries(1u << 20, PAGE) <= PAGE / 8);
	c.max_transfer = 8192;
	TAP_MUST(homi_pump_memory(&c) == 8192 + PAGE);
	c.chunk = 5000;
	TAP_MUST(homi_pump_memory(&c) == 4096 + PAGE);
	return NULL;
}

int main(void)
{
	struct shape holes = plain, large = plain;

	holes.holes_only = true;
	large.records = 350;
	tap_try(find_table(), "extent search table");
	tap_try(find_agrees(), "extent search agrees with a walk");
	tap_try(find_at_the_end(), "extent search at the end of the address space");
	tap_try(run_is_cut(), "a run is cut to its record and to the transfer");
	tap_try(with_any_rig(40, read_all_ways), "fragmented files, scattered memory, any range and order");
	tap_try(with_any_rig(30, write_all_ways), "written, flushed once after that, and read again");
	tap_try(with_rig(&plain, write_refusals), "what can't be written is refused");
	tap_try(with_rig(&holes, holes_case), "holes are zeroes, without I/O");
	tap_try(with_rig(&plain, status_case), "an NVMe error is told, and leaves a usable pump");
	tap_try(with_rig(&plain, dropped_case), "a command that is never completed times out");
	tap_try(with_rig(&large, dropped_among_others_case),
		"it times out while others complete");
	tap_try(with_rig(&plain, lost_case), "a queue that is lost is noticed when nothing moves");
	tap_try(with_rig(&large, asked_for_case), "what is asked for is given up without a loss");
	tap_try(with_rig(&plain, stopped_case), "the receiver can stop it");
	tap_try(with_rig(&plain, uncovered_case), "extents that end too early are refused");
	tap_try(foreign_cid(), "a completion of no command is a protocol error");
	tap_try(bad_configs(), "values that do not fit are refused");
	tap_try(chunk_limit(), "a command is cut to MDTS and to one page of PRPs");
	return tap_end();
}
