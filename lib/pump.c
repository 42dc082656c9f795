// SPDX-License-Identifier: MIT
/*
 * Memory of a pump: one buffer for each slot, then one page for each slot's PRP
 * list. A slot is a command in flight, or data that wait for their turn.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <homi/pump.h>

#include "internal.h"

#define TICK_NS		10000000ull
#define SPINS_BEFORE_SLEEP	2000
#define SLEEP_NS	50000
/* Who gives data may be slow: the first of them are on their way meanwhile. */
#define FETCHES		8u

enum slot_state {
	SLOT_FREE,
	SLOT_BUSY,
	SLOT_DONE,
};

/* @offset, @length: what of the file is to be delivered; it starts @skip bytes into the buffer */
struct slot {
	uint64_t offset;
	uint64_t slba;
	uint64_t posted_ns;
	uint32_t length;
	uint32_t skip;
	enum slot_state state;
	int hole;
};

struct homi_pump {
	struct homi_pump_config config;
	struct homi_pump_stats stats;
	struct slot *slots;
	struct homi_prp_list *lists;
	uint32_t *free;		/* stack of free slots */
	uint32_t free_count;
	uint32_t *order;	/* ring of slots in file order */
	uint64_t head;
	uint64_t tail;
	uint32_t busy;
	int broken;
	int stop;		/* why no more commands are sent */
	int refused;		/* by the receiver */

	/* the read or write that runs */
	const struct homi_pump_source *source;
	homi_deliver_fn deliver;
	homi_fetch_fn fetch;	/* NULL: it reads */
	void *arg;
	int in_order;
	uint64_t from, to;	/* what is wanted */
	uint64_t pos, end;	/* in whole blocks: what is not yet asked for */
	uint64_t record;
	uint64_t now_ns;
	uint64_t tick_ns;
	uint64_t completions;
	uint64_t ticked;	/* @completions at the last tick */
	int overdue;
	unsigned int spins;
};

/* A PRP list is one page, of whose entries some stay unused: 1 MiB for 4 KiB pages. */
static uint32_t limit_chunk(const struct homi_pump_config *c)
{
	uint64_t chunk = c->chunk ? c->chunk : HOMI_PUMP_CHUNK;
	uint64_t most = (uint64_t)c->page_size * (c->page_size / 16);

	if (chunk > most)
		chunk = most;
	if (c->max_transfer && chunk > c->max_transfer)
		chunk = c->max_transfer;
	chunk &= ~((uint64_t)c->page_size - 1);
	return (uint32_t)(chunk ? chunk : c->page_size);
}

static uint32_t limit_depth(const struct homi_pump_config *c)
{
	return c->depth ? c->depth : HOMI_PUMP_DEPTH;
}

uint64_t homi_pump_memory(const struct homi_pump_config *config)
{
	if (!homi_prp_page_size_ok(config->page_size))
		return 0;
	return (uint64_t)limit_depth(config) * (limit_chunk(config) + config->page_size);
}

/* Each list has to be one page of the controller's. */
static int place_lists(struct homi_pump *pump)
{
	const struct homi_pump_config *c = &pump->config;
	uint64_t offset = (uint64_t)c->depth * c->chunk;
	uint32_t i;

	for (i = 0; i < c->depth; i++, offset += c->page_size) {
		uint32_t n = homi_seg_find(c->segs, c->seg_count, offset);
		uint64_t skip;

		if (n == c->seg_count)
			return -EINVAL;
		skip = offset - c->segs[n].offset;
		pump->lists[i].dma_addr = c->segs[n].dma_addr + skip;
		if (c->segs[n].length - skip < c->page_size ||
		    (pump->lists[i].dma_addr & (c->page_size - 1)))
			return -EOPNOTSUPP;
		pump->lists[i].entries = (uint64_t *)((char *)c->mem + offset);
		pump->lists[i].count = c->page_size / 8;
	}
	return 0;
}

int homi_pump_new(struct homi_pump **out, const struct homi_pump_config *config)
{
	struct homi_pump *pump;
	uint32_t i;
	int ret;

	if (!homi_prp_page_size_ok(config->page_size) || !config->ring || !config->mem ||
	    limit_depth(config) > homi_ring_room(config->ring) ||
	    config->mem_length < homi_pump_memory(config))
		return -EINVAL;
	pump = calloc(1, sizeof(*pump));
	if (!pump)
		return -ENOMEM;
	pump->config = *config;
	pump->config.depth = limit_depth(config);
	pump->config.chunk = limit_chunk(config);
	if (!config->timeout_ms)
		pump->config.timeout_ms = HOMI_PUMP_TIMEOUT_MS;
	pump->slots = calloc(pump->config.depth, sizeof(*pump->slots));
	pump->lists = calloc(pump->config.depth, sizeof(*pump->lists));
	pump->free = calloc(pump->config.depth, sizeof(*pump->free));
	pump->order = calloc(pump->config.depth, sizeof(*pump->order));
	ret = -ENOMEM;
	if (!pump->slots || !pump->lists || !pump->free || !pump->order)
		goto err;
	ret = place_lists(pump);
	if (ret)
		goto err;
	for (i = 0; i < pump->config.depth; i++)
		pump->free[i] = i;
	pump->free_count = pump->config.depth;
	*out = pump;
	return 0;

err:
	homi_pump_free(pump);
	return ret;
}

void homi_pump_free(struct homi_pump *pump)
{
	if (!pump)
		return;
	free(pump->slots);
	free(pump->lists);
	free(pump->free);
	free(pump->order);
	free(pump);
}

int homi_pump_is_broken(const struct homi_pump *pump)
{
	return pump->broken != 0;
}

void homi_pump_get_stats(const struct homi_pump *pump, struct homi_pump_stats *stats)
{
	*stats = pump->stats;
}

static char *buffer_of(struct homi_pump *pump, uint32_t i)
{
	return (char *)pump->config.mem + (uint64_t)i * pump->config.chunk;
}

/* Ends a slot. Once the read is to stop its data go nowhere. */
static void hand_out(struct homi_pump *pump, uint32_t i)
{
	struct slot *slot = &pump->slots[i];

	if (!pump->stop) {
		if (!pump->fetch)
			pump->stop = pump->refused =
				pump->deliver(pump->arg, slot->offset,
					      buffer_of(pump, i) + slot->skip, slot->length);
		pump->stats.bytes += slot->length;
		if (slot->hole)
			pump->stats.hole_bytes += slot->length;
	}
	slot->state = SLOT_FREE;
	pump->free[pump->free_count++] = i;
}

static void hand_out_done(struct homi_pump *pump)
{
	while (pump->head != pump->tail) {
		uint32_t i = pump->order[pump->head % pump->config.depth];

		if (pump->slots[i].state != SLOT_DONE)
			break;
		pump->head++;
		hand_out(pump, i);
	}
}

static void finish_slot(struct homi_pump *pump, uint32_t i)
{
	pump->slots[i].state = SLOT_DONE;
	if (pump->in_order)
		hand_out_done(pump);
	else
		hand_out(pump, i);
}

/* The next piece: not beyond its extent, the chunk, or the range. */
static int next_run(struct homi_pump *pump, struct homi_run *run)
{
	const struct homi_pump_source *s = pump->source;
	uint64_t most = pump->config.chunk / s->block_size;
	uint64_t left = (pump->end - pump->pos) / s->block_size;
	const struct homi_extent *rec;

	if (most > HOMI_RW_MAX_BLOCKS)
		most = HOMI_RW_MAX_BLOCKS;
	rec = pump->record < s->count ? &s->records[pump->record] : NULL;
	if (!rec || pump->pos < rec->file_offset ||
	    (pump->pos - rec->file_offset) / s->block_size >= rec->blocks) {
		pump->record = homi_extent_find(s->records, s->count, s->block_size, pump->pos);
		if (pump->record == s->count)
			return -EINVAL;
		rec = &s->records[pump->record];
	}
	homi_extent_run(rec, s->block_size, pump->pos, most < left ? most : left, run);
	return 0;
}

static int send(struct homi_pump *pump, uint32_t i, const struct homi_sqe *sqe)
{
	if (homi_ring_post(pump->config.ring, sqe, i) < 0)
		return -EINVAL;
	pump->slots[i].posted_ns = pump->now_ns;
	pump->slots[i].state = SLOT_BUSY;
	pump->busy++;
	pump->stats.ios++;
	return 0;
}

static int post(struct homi_pump *pump, uint32_t i, const struct homi_run *run)
{
	const struct homi_pump_config *c = &pump->config;
	uint64_t prp1, prp2;
	struct homi_sqe sqe;
	int ret;

	ret = homi_prp_build(c->segs, c->seg_count, (uint64_t)i * c->chunk,
			     run->blocks * pump->source->block_size, c->page_size,
			     &pump->lists[i], &prp1, &prp2);
	if (ret)
		return ret == HOMI_PRP_ALIGN ? -EOPNOTSUPP : -EINVAL;
	homi_sqe_rw(&sqe, pump->fetch ? HOMI_OP_WRITE : HOMI_OP_READ, pump->source->nsid,
		    run->slba, (uint32_t)run->blocks, 0, prp1, prp2);
	return send(pump, i, &sqe);
}

/* Everything that was written has completed. */
static int start_flush(struct homi_pump *pump)
{
	uint32_t i = pump->free[pump->free_count - 1];
	struct homi_sqe sqe;
	int ret;

	memset(&pump->slots[i], 0, sizeof(pump->slots[i]));
	homi_sqe_flush(&sqe, pump->source->nsid);
	pump->now_ns = homi_clock_ns();
	ret = send(pump, i, &sqe);
	if (ret)
		return ret;
	pump->free_count--;
	return 0;
}

/* Takes a slot for the next piece and starts it. */
static int start_piece(struct homi_pump *pump)
{
	uint64_t bytes, begin, end;
	struct homi_run run;
	struct slot *slot;
	uint32_t i;
	int ret;

	ret = next_run(pump, &run);
	if (ret)
		return ret;
	bytes = run.blocks * pump->source->block_size;
	begin = pump->pos > pump->from ? pump->pos : pump->from;
	end = pump->pos + bytes < pump->to ? pump->pos + bytes : pump->to;
	i = pump->free[pump->free_count - 1];
	slot = &pump->slots[i];
	slot->offset = begin;
	slot->skip = (uint32_t)(begin - pump->pos);
	slot->length = (uint32_t)(end - begin);
	slot->slba = run.slba;
	slot->hole = run.hole;
	if (pump->fetch) {
		ret = run.hole ? -EINVAL : pump->fetch(pump->arg, begin, buffer_of(pump, i), bytes);
		if (ret)
			return ret;
		pump->now_ns = homi_clock_ns();
	}
	if (!run.hole) {
		ret = post(pump, i, &run);
		if (ret)
			return ret;
	}
	pump->free_count--;
	if (pump->in_order)
		pump->order[pump->tail++ % pump->config.depth] = i;
	pump->pos += bytes;
	if (run.hole) {
		memset(buffer_of(pump, i), 0, bytes);
		finish_slot(pump, i);
	}
	return 0;
}

/* Holes give their slot back at once; the bound lets completions in between them. */
static void fill(struct homi_pump *pump)
{
	uint32_t n, most = pump->fetch ? FETCHES : pump->config.depth;

	pump->now_ns = homi_clock_ns();
	for (n = 0; n < most; n++) {
		int ret;

		if (pump->stop || !pump->free_count || pump->pos >= pump->end)
			break;
		ret = start_piece(pump);
		if (ret)
			pump->stop = ret;
	}
	homi_ring_ring(pump->config.ring);
}

static void note_error(struct homi_pump *pump, const struct slot *slot, uint16_t status)
{
	if (!pump->stats.status) {
		pump->stats.status = status;
		pump->stats.error_offset = slot->offset;
		pump->stats.error_slba = slot->slba;
	}
	if (!pump->stop)
		pump->stop = -EIO;
}

/* Takes all completions that are there; returns how many, or -EPROTO. */
static int reap(struct homi_pump *pump)
{
	struct homi_completion done;
	int count = 0;
	int ret;

	while ((ret = homi_ring_poll(pump->config.ring, &done)) != HOMI_RING_EMPTY) {
		if (ret == HOMI_RING_PROTOCOL || done.user >= pump->config.depth)
			return -EPROTO;
		pump->busy--;
		count++;
		if (ret == HOMI_RING_STATUS)
			note_error(pump, &pump->slots[done.user], done.status);
		finish_slot(pump, (uint32_t)done.user);
	}
	homi_ring_release(pump->config.ring);
	pump->completions += (uint64_t)count;
	return count;
}

static int any_overdue(struct homi_pump *pump)
{
	uint64_t most = pump->config.timeout_ms * 1000000ull;
	uint32_t i;

	for (i = 0; i < pump->config.depth; i++)
		if (pump->slots[i].state == SLOT_BUSY &&
		    pump->now_ns - pump->slots[i].posted_ns > most)
			return 1;
	return 0;
}

/*
 * A command is given up only if it was overdue at two ticks with a poll between
 * them: this process may not have run for a long time.
 */
static int tick(struct homi_pump *pump)
{
	int ret = 0;

	pump->now_ns = homi_clock_ns();
	if (pump->now_ns - pump->tick_ns < TICK_NS)
		return 0;
	if (pump->config.check)
		ret = pump->config.check(pump->config.check_arg,
					 pump->completions == pump->ticked);
	pump->tick_ns = pump->now_ns;
	pump->ticked = pump->completions;
	if (ret < 0)
		return ret;
	/* Not of what is through. */
	if (ret && !pump->stop && (pump->busy || pump->pos < pump->end))
		pump->stop = -ret;
	if (!any_overdue(pump))
		pump->overdue = 0;
	else if (pump->overdue++)
		return -ETIMEDOUT;
	return 0;
}

static void pause_a_little(struct homi_pump *pump)
{
	static const struct timespec nap = { .tv_nsec = SLEEP_NS };

	if (++pump->spins < SPINS_BEFORE_SLEEP)
		homi_relax();
	else
		nanosleep(&nap, NULL);
}

static int run(struct homi_pump *pump)
{
	while (pump->busy || (!pump->stop && pump->pos < pump->end)) {
		int ret;

		fill(pump);
		ret = reap(pump);
		if (ret < 0)
			return ret;
		if (ret)
			pump->spins = 0;
		else if (pump->busy)
			pause_a_little(pump);
		ret = tick(pump);
		if (ret)
			return ret;
	}
	return 0;
}

/* 1: there is something to do */
static int begin(struct homi_pump *pump, const struct homi_pump_source *source, uint64_t offset,
		 uint64_t length)
{
	uint64_t block = source->block_size;

	memset(&pump->stats, 0, sizeof(pump->stats));
	if (pump->broken)
		return pump->broken;
	if (!block || pump->config.chunk < block || offset + length < offset)
		return -EINVAL;
	pump->source = source;
	pump->from = offset;
	pump->to = offset + length < source->file_size ? offset + length : source->file_size;
	if (pump->from >= pump->to)
		return 0;
	pump->pos = pump->from / block * block;
	pump->end = (pump->to + block - 1) / block * block;
	pump->record = source->count;
	pump->stop = 0;
	pump->refused = 0;
	pump->overdue = 0;
	pump->spins = 0;
	pump->tick_ns = homi_clock_ns();
	return 1;
}

static int run_all(struct homi_pump *pump)
{
	int ret = run(pump);

	if (ret) {
		pump->broken = ret;
		/* What the receiver said is the caller's business, whatever came then. */
		return pump->refused ? pump->refused : ret;
	}
	/* Nothing is in flight, so each slot was handed out and is free. */
	return pump->stop;
}

int homi_pump_read(struct homi_pump *pump, const struct homi_pump_source *source,
		   uint64_t offset, uint64_t length, unsigned int flags,
		   homi_deliver_fn deliver, void *arg)
{
	int ret = -EINVAL;

	if (!(flags & ~(unsigned int)HOMI_PUMP_ANY_ORDER))
		ret = begin(pump, source, offset, length);
	if (ret <= 0)
		return ret;
	pump->deliver = deliver;
	pump->fetch = NULL;
	pump->arg = arg;
	pump->in_order = !(flags & HOMI_PUMP_ANY_ORDER);
	return run_all(pump);
}

int homi_pump_write(struct homi_pump *pump, const struct homi_pump_source *target,
		    uint64_t offset, uint64_t length, homi_fetch_fn fetch, void *arg)
{
	uint64_t block = target->block_size;
	int ret = -EINVAL;

	if (block && !((offset | length) & (block - 1)) && offset <= target->file_size &&
	    length <= target->file_size - offset)
		ret = begin(pump, target, offset, length);
	if (ret <= 0)
		return ret;
	pump->fetch = fetch;
	pump->arg = arg;
	pump->in_order = 0;
	ret = run_all(pump);
	if (!ret)
		ret = start_flush(pump);
	homi_ring_ring(pump->config.ring);
	return ret ? ret : run_all(pump);
}
