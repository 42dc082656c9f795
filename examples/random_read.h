/* SPDX-License-Identifier: MIT */
#ifndef RANDOM_READ_H
#define RANDOM_READ_H

/*
 * What each thread of a device does that reads pages of a file here and there by
 * itself: where a page lies comes from the file's extents, the command goes into a
 * queue pair that all threads share, and what arrived is summed up where it arrived.
 * No host has a part in it, and it is no different on one.
 */

#include <homi/extent.h>
#include <homi/prp.h>
#include <homi/shared.h>

#define RANDOM_READ_PAGE	4096u

/**
 * struct random_read - the same for all threads
 * @queue: they share it
 * @records: of the file, whose blocks are of @block_size bytes
 * @count: how many
 * @nsid: of the namespace that the file is in
 * @segs: of the MEM that @data is in
 * @seg_count: how many
 * @page_size: the controller's
 * @data: a page for each thread
 * @data_offset: of it in the MEM
 * @pages: of the file, whole ones
 * @reads: of each thread
 * @polls: how often to look for a completion
 * @sums: for each thread, of what it read
 * @errors: for each thread: 0, enum homi_ring_result, or RANDOM_READ_BAD
 */
struct random_read {
	struct homi_shared queue;
	const struct homi_extent *records;
	uint64_t count;
	const struct homi_seg *segs;
	uint8_t *data;
	uint64_t data_offset;
	uint64_t pages;
	uint64_t polls;
	uint64_t *sums;
	int32_t *errors;
	uint32_t seg_count;
	uint32_t page_size;
	uint32_t nsid;
	uint32_t block_size;
	uint32_t reads;
};

/* Not in the file's extents, or memory that is not as a page of it has to be */
#define RANDOM_READ_BAD	100

/* Which page a thread reads in its @n-th read */
HOMI_FN uint64_t random_read_page(uint64_t pages, uint32_t thread, uint32_t n)
{
	uint64_t x = ((uint64_t)thread << 32 | n) + 1;

	x = (x ^ (x >> 31)) * 0x9e3779b97f4a7c15ull;
	x = (x ^ (x >> 29)) * 0xbf58476d1ce4e5b9ull;
	return (x >> 20) % pages;
}

/* Adds a page; no two words, and no two pages, may change places. */
HOMI_FN uint64_t random_read_sum(uint64_t sum, const uint64_t *page)
{
	uint32_t i;

	for (i = 0; i < RANDOM_READ_PAGE / 8; i++)
		sum = (sum ^ page[i]) * 0x100000001b3ull;
	return sum;
}

/* @bytes at @offset of the file, which are one after another in the namespace */
HOMI_FN int random_read_run(const struct random_read *r, uint64_t at, const struct homi_run *run)
{
	uint32_t seg = homi_seg_find(r->segs, r->seg_count, at);
	struct homi_completion done;
	struct homi_rw rw;
	uint64_t prp1;

	if (seg == r->seg_count ||
	    homi_prp_single(&r->segs[seg], at, (uint32_t)(run->blocks * r->block_size), r->page_size,
			    &prp1))
		return RANDOM_READ_BAD;
	homi_rw_init(&rw, HOMI_OP_READ, r->nsid, (uint32_t)run->blocks, 0);
	return homi_shared_rw(&r->queue, &rw, run->slba, prp1, 0, r->polls, &done);
}

/* Where the file system's blocks are smaller, a page may be in pieces. */
HOMI_FN int random_read_one(const struct random_read *r, uint32_t thread, uint64_t offset)
{
	uint64_t at = (uint64_t)thread * RANDOM_READ_PAGE;
	uint64_t bytes, got, i;
	struct homi_run run;
	int ret;

	for (got = 0; got < RANDOM_READ_PAGE; got += bytes) {
		i = homi_extent_find(r->records, r->count, r->block_size, offset + got);
		if (i == r->count)
			return RANDOM_READ_BAD;
		homi_extent_run(&r->records[i], r->block_size, offset + got,
				(RANDOM_READ_PAGE - got) / r->block_size, &run);
		bytes = run.blocks * r->block_size;
		if (run.hole) {
			for (i = 0; i < bytes; i += 8)
				*(uint64_t *)(r->data + at + got + i) = 0;
			continue;
		}
		ret = random_read_run(r, r->data_offset + at + got, &run);
		if (ret)
			return ret;
	}
	return 0;
}

HOMI_FN void random_read_thread(const struct random_read *r, uint32_t thread)
{
	const uint8_t *page = r->data + (uint64_t)thread * RANDOM_READ_PAGE;
	uint64_t sum = 0;
	uint32_t n;
	int ret = 0;

	for (n = 0; n < r->reads && !ret; n++) {
		ret = random_read_one(r, thread, random_read_page(r->pages, thread, n) *
						 RANDOM_READ_PAGE);
		sum = random_read_sum(sum, (const uint64_t *)page);
	}
	r->sums[thread] = sum;
	r->errors[thread] = ret;
}

#endif /* RANDOM_READ_H */
