/* SPDX-License-Identifier: MIT */
#ifndef BENCH_WORK_H
#define BENCH_WORK_H

/*
 * What the threads of an initiator do, be they of a host or of a GPU: reads of a file at
 * random, until they are told to stop.
 */

#include <homi/extent.h>
#include <homi/prp.h>
#include <homi/shared.h>

#define WORK_LIST_BYTES	512u	/* a PRP list: no page of the controller's ends within it */
#define WORK_LIST_COUNT	(WORK_LIST_BYTES / 8)
#define WORK_MAX_BYTES	((WORK_LIST_COUNT - 1) * 4096u)

/**
 * struct work_place - memory that the controller and the initiator reach
 * @base: for the initiator
 * @segs: for the controller, in memory that the initiator reads
 * @seg_count: how many
 * @offset: where in it the things of slot 0 are; those of the others follow
 */
struct work_place {
	uint8_t *base;
	const struct homi_seg *segs;
	uint64_t offset;
	uint32_t seg_count;
};

/**
 * struct work_count - what a thread has done
 * @reads: without an error
 * @bytes: of these
 * @holes: places in the file where there was nothing to be read
 * @failed: enum homi_ring_result that ended it, or WORK_BAD; 0: it was told to stop
 * @status: of the command, if it was that
 */
struct work_count {
	uint64_t reads;
	uint64_t bytes;
	uint64_t holes;
	int32_t failed;
	uint32_t status;
};

/* No such place in the file, or memory that no command can name */
#define WORK_BAD	100
/* What the host writes before the thread does */
#define WORK_NOT_ENDED	101

/* In @last: nothing was read into that slot. */
#define WORK_NOTHING	UINT64_MAX

/**
 * struct work - the same for all threads
 * @records: of the file
 * @count: how many
 * @units: of @bytes, in the file
 * @shared: queue pairs that threads share
 * @queues: how many
 * @data: @bytes for each slot
 * @lists: WORK_LIST_BYTES for each slot
 * @stop: not 0: end
 * @counts: for each thread
 * @last: by slot, where in the file what lies there was read; a thread has a slot, or
 *	as many as its own queue has commands
 * @polls: how often to look for a completion
 */
struct work {
	const struct homi_extent *records;
	const struct homi_shared *shared;
	struct work_place data;
	struct work_place lists;
	volatile uint32_t *stop;
	struct work_count *counts;
	uint64_t *last;
	uint64_t count;
	uint64_t units;
	uint64_t polls;
	uint32_t queues;
	uint32_t bytes;
	uint32_t nsid;
	uint32_t block_size;
	uint32_t page_size;
};

/* Any number, and another one each time */
HOMI_FN uint64_t work_random(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	*state = x;
	return x;
}

HOMI_FN uint64_t work_seed(uint32_t thread)
{
	return (thread + 1) * 0x9e3779b97f4a7c15ull;
}

/* Where to read next: 1, 0 if nothing lies there, or negative */
HOMI_FN int work_pick(const struct work *w, uint64_t *state, uint64_t *offset, struct homi_run *run)
{
	uint64_t i;

	*offset = work_random(state) % w->units * w->bytes;
	i = homi_extent_find(w->records, w->count, w->block_size, *offset);
	if (i == w->count)
		return -1;
	/* Up to where it goes on elsewhere */
	homi_extent_run(&w->records[i], w->block_size, *offset, w->bytes / w->block_size, run);
	return !run->hole;
}

HOMI_FN uint64_t work_dma(const struct work_place *place, uint64_t offset)
{
	const struct homi_seg *seg = &place->segs[homi_seg_find(place->segs, place->seg_count, offset)];

	return seg->dma_addr + (offset - seg->offset);
}

HOMI_FN int work_prp(const struct work *w, uint64_t slot, uint64_t bytes, uint64_t *prp1,
		     uint64_t *prp2)
{
	uint64_t at = w->lists.offset + slot * WORK_LIST_BYTES;
	struct homi_prp_list list;

	/* Two pages at most */
	if (w->bytes <= w->page_size)
		return homi_prp_build(w->data.segs, w->data.seg_count,
				      w->data.offset + slot * w->bytes, bytes, w->page_size, 0, prp1,
				      prp2);
	list.entries = (uint64_t *)(w->lists.base + at);
	list.dma_addr = work_dma(&w->lists, at);
	list.count = WORK_LIST_COUNT;
	return homi_prp_build(w->data.segs, w->data.seg_count, w->data.offset + slot * w->bytes, bytes,
			      w->page_size, &list, prp1, prp2);
}

/* A thread of many: one command at a time, in a queue pair that it shares with others. */
HOMI_FN void work_shared(const struct work *w, uint32_t thread)
{
	struct homi_shared s = w->shared[thread / 32 % w->queues];
	struct work_count count = { 0, 0, 0, 0, 0 };
	uint64_t state = work_seed(thread), offset, prp1, prp2;
	struct homi_completion done;
	struct homi_run run;
	struct homi_rw rw;
	int ret;

	/* It may be far away, so it is not looked at each time. */
	while ((count.reads + count.holes) % 8 || !homi_load32(w->stop)) {
		ret = work_pick(w, &state, &offset, &run);
		if (!ret) {
			count.holes++;
			continue;
		}
		if (ret < 0 || work_prp(w, thread, run.blocks * w->block_size, &prp1, &prp2)) {
			count.failed = WORK_BAD;
			break;
		}
		homi_rw_init(&rw, HOMI_OP_READ, w->nsid, (uint32_t)run.blocks, 0);
		ret = homi_shared_rw(&s, &rw, run.slba, prp1, prp2, w->polls, &done);
		if (ret) {
			count.failed = ret;
			count.status = ret == HOMI_RING_STATUS ? done.status : 0;
			break;
		}
		count.reads++;
		count.bytes += run.blocks * w->block_size;
		w->last[thread] = offset;
	}
	w->counts[thread] = count;
}

#endif /* BENCH_WORK_H */
