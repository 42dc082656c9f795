/* SPDX-License-Identifier: MIT */
#ifndef PUMP_RIG_H
#define PUMP_RIG_H

/* A pump on a model controller: scattered memory, and a file of random extents. */

#include <stdlib.h>
#include <string.h>

#include <homi/pump.h>

#include "model_ring.h"

#define PAGE		4096u
#define MAX_RECORDS	400
#define SEGMENTS	40
#define DMA_BASE	0x100000000ull

static uint64_t seed = 20260101;

static uint64_t below(uint64_t n)
{
	return model_random(&seed) % n;
}

/* Gapless records that begin at @start; returns the end. */
static uint64_t make_records(struct homi_extent *records, uint32_t count, uint32_t block,
			     uint64_t start)
{
	uint32_t i;

	for (i = 0; i < count; i++) {
		records[i].file_offset = start;
		records[i].blocks = 1 + below(40);
		records[i].slba = below(1ull << 40);
		records[i].flags = below(4) ? 0 : HOMI_EXTENT_HOLE;
		records[i].__reserved = 0;
		start += records[i].blocks * block;
	}
	return start;
}

struct rig {
	struct model model;
	struct homi_ring ring;
	struct homi_pump_config config;
	struct homi_pump *pump;
	struct homi_seg segs[SEGMENTS];
	struct homi_extent records[MAX_RECORDS];
	struct homi_pump_source source;
	uint64_t *users;
	uint16_t *cids;
	uint8_t *mem;
	uint8_t *file;		/* what must be delivered */
	uint64_t covered;	/* bytes in whole blocks */
};

struct shape {
	uint32_t block;
	uint32_t depth;
	uint32_t chunk;
	uint64_t max_transfer;
	uint32_t timeout_ms;
	uint32_t records;
	bool shadow;
	bool holes_only;
};

static void free_rig(struct rig *rig)
{
	homi_pump_free(rig->pump);
	model_destroy(&rig->model);
	free(rig->users);
	free(rig->cids);
	free(rig->mem);
	free(rig->file);
}

/* Segments of whole pages; their DMA addresses run the other way, with gaps. */
static void scatter(struct rig *rig, uint64_t length)
{
	uint64_t pages = length / PAGE, offset = 0;
	uint32_t i;

	for (i = 0; i < SEGMENTS && offset < length; i++) {
		uint64_t n = i == SEGMENTS - 1 ? pages : 1 + below(2 * pages / SEGMENTS + 1);

		if (n > pages)
			n = pages;
		rig->segs[i].offset = offset;
		rig->segs[i].length = n * PAGE;
		rig->segs[i].dma_addr = DMA_BASE * (SEGMENTS - i);
		model_map(&rig->model, rig->segs[i].dma_addr, rig->mem + offset, n * PAGE);
		offset += n * PAGE;
		pages -= n;
	}
	rig->config.segs = rig->segs;
	rig->config.seg_count = i;
}

/* A file whose extents lie backwards on the drive; the drive is random throughout. */
static int make_file(struct rig *rig, const struct shape *shape)
{
	uint64_t top = rig->model.config.blocks, at;
	uint32_t i;

	for (at = 0; at < top * shape->block; at++)
		rig->model.data[at] = (uint8_t)model_random(&seed);
	rig->covered = make_records(rig->records, shape->records, shape->block, 0);
	rig->file = calloc(1, rig->covered + 1);
	if (!rig->file)
		return -1;
	for (i = 0; i < shape->records; i++) {
		struct homi_extent *e = &rig->records[i];

		if (shape->holes_only)
			e->flags = HOMI_EXTENT_HOLE;
		top -= e->blocks;
		e->slba = e->flags ? UINT64_MAX : top;
		if (!e->flags)
			memcpy(rig->file + e->file_offset, rig->model.data + top * shape->block,
			       e->blocks * shape->block);
	}
	rig->source.records = rig->records;
	rig->source.count = shape->records;
	rig->source.nsid = MODEL_NSID;
	rig->source.block_size = shape->block;
	rig->source.file_size = rig->covered - below(shape->block);
	return 0;
}

static int make_ring(struct rig *rig, uint32_t depth)
{
	struct homi_ring_config rc;

	rig->users = malloc((depth - 1) * sizeof(*rig->users));
	rig->cids = malloc((depth - 1) * sizeof(*rig->cids));
	rc = model_ring_config(&rig->model, rig->users, rig->cids);
	return homi_ring_init(&rig->ring, &rc);
}

static int make_rig(struct rig *rig, const struct shape *shape)
{
	struct model_config mc = {
		.depth = shape->depth + 1, .page_size = PAGE, .block_size = shape->block,
		.blocks = 40 * shape->records + 1, .max_transfer = shape->max_transfer,
		.shadow = shape->shadow, .reorder = 1 + below(1000),
	};

	memset(rig, 0, sizeof(*rig));
	if (model_init(&rig->model, &mc) || make_ring(rig, mc.depth) ||
	    make_file(rig, shape))
		return -1;
	rig->config.ring = &rig->ring;
	rig->config.page_size = PAGE;
	rig->config.depth = shape->depth;
	rig->config.chunk = shape->chunk;
	rig->config.max_transfer = shape->max_transfer;
	rig->config.timeout_ms = shape->timeout_ms;
	rig->config.mem_length = homi_pump_memory(&rig->config);
	rig->mem = aligned_alloc(PAGE, rig->config.mem_length);
	if (!rig->mem)
		return -1;
	/* What the pump does not overwrite must not pass for zeroes. */
	memset(rig->mem, 0xee, rig->config.mem_length);
	rig->config.mem = rig->mem;
	scatter(rig, rig->config.mem_length);
	return 0;
}

#endif /* PUMP_RIG_H */
