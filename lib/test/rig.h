/* SPDX-License-Identifier: MIT */
#ifndef HOMI_TEST_RIG_H
#define HOMI_TEST_RIG_H

/* A ring on a model controller, with a small buffer for each command. */

#include <stdlib.h>
#include <string.h>

#include <homi/ring.h>

#include "model_ring.h"

#define RIG_DMA		0x7f0000000000ull
#define RIG_BUFFERS	8192u
#define RIG_BUFFER	1024u
#define RIG_BLOCKS	4096u

struct rig {
	struct model model;
	struct homi_ring ring;
	uint64_t *users;
	uint16_t *cids;
	uint8_t *buffer;
	uint32_t block_size;
};

__attribute__((unused)) static void rig_destroy(struct rig *rig)
{
	model_destroy(&rig->model);
	free(rig->users);
	free(rig->cids);
	free(rig->buffer);
}

__attribute__((unused)) static int rig_init(struct rig *rig, uint32_t depth, bool shadow,
					    uint64_t reorder, unsigned int linger,
					    uint32_t block_size)
{
	struct model_config config = {
		.depth = depth, .page_size = 4096, .block_size = block_size,
		.blocks = RIG_BLOCKS, .shadow = shadow, .reorder = reorder, .linger = linger,
	};
	struct homi_ring_config rc;

	if (model_init(&rig->model, &config))
		return -1;
	rig->block_size = block_size;
	/* Exactly as long as promised, so that a step beyond is seen. */
	rig->users = malloc((depth - 1) * sizeof(*rig->users));
	rig->cids = malloc((depth - 1) * sizeof(*rig->cids));
	rig->buffer = aligned_alloc(4096, RIG_BUFFERS * RIG_BUFFER);
	if (!rig->users || !rig->cids || !rig->buffer)
		return -1;
	memset(rig->buffer, 0, RIG_BUFFERS * RIG_BUFFER);
	model_map(&rig->model, RIG_DMA, rig->buffer, RIG_BUFFERS * RIG_BUFFER);
	rc = model_ring_config(&rig->model, rig->users, rig->cids);
	return homi_ring_init(&rig->ring, &rc);
}

__attribute__((unused)) static uint64_t rig_dma(uint64_t slot)
{
	return RIG_DMA + slot % RIG_BUFFERS * RIG_BUFFER;
}

__attribute__((unused)) static uint8_t *rig_cpu(struct rig *rig, uint64_t slot)
{
	return rig->buffer + slot % RIG_BUFFERS * RIG_BUFFER;
}

#endif /* HOMI_TEST_RIG_H */
