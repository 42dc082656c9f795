// SPDX-License-Identifier: GPL-2.0-only
/*
 * One ring of a queue pair: in memory of the kernel's, or in a MEM.
 */
#include <linux/dma-mapping.h>
#include <linux/overflow.h>

#include "mem.h"

/**
 * homi_ring_place - decide where a ring is to be
 * @ring: zeroed
 * @ctx: the open file
 * @mem_id: a MEM, or 0
 * @offset: bytes from its start
 * @len: bytes that the ring needs
 * @write: the controller writes to it
 *
 * Takes a reference to the MEM, which keeps its structure, not its mapping:
 * homi_ring_is_there() is asked before each creation, and keeps that too.
 *
 * Return: 0, or -ENOENT, -EINVAL, -ESTALE as the contract says
 */
int homi_ring_place(struct homi_ring *ring, struct homi_ctx *ctx, u32 mem_id,
		    u64 offset, size_t len, bool write)
{
	struct homi_object *obj;
	int ret = -EINVAL;
	u64 dma;

	ring->len = PAGE_ALIGN(len);
	if (!mem_id)
		return offset ? -EINVAL : 0;
	obj = homi_object_get(ctx, mem_id, HOMI_OBJ_MEM);
	if (!obj)
		return -ENOENT;
	if (READ_ONCE(to_mem(obj)->revoked))
		ret = -ESTALE;
	else if (!write || to_mem(obj)->dir == DMA_BIDIRECTIONAL)
		ret = homi_mem_find(to_mem(obj), offset, len, &dma);
	if (!ret && dma % ctx->ctrl->page_size)
		ret = -EINVAL;
	if (ret) {
		homi_object_put(obj);
		return ret;
	}
	ring->mem = obj;
	ring->dma = dma;
	return 0;
}

/**
 * homi_ring_is_there - does the function still reach it?
 * @ring: placed; the caller holds ctx->lock
 */
bool homi_ring_is_there(const struct homi_ring *ring)
{
	struct homi_object *obj = ring->mem;
	struct homi_mem *mem;

	if (!obj)
		return ring->cpu;
	lockdep_assert_held(&obj->ctx->lock);
	mem = to_mem(obj);
	return xa_load(&obj->ctx->objects, obj->id) == obj &&
	       READ_ONCE(mem->mapped) && !READ_ONCE(mem->revoked);
}

/**
 * homi_ring_alloc - memory of the kernel's, unless it is in a MEM
 * @ctrl: the controller; its dma_lock is held, and it is not gone
 * @ring: placed
 */
int homi_ring_alloc(struct homi_ctrl *ctrl, struct homi_ring *ring)
{
	lockdep_assert_held(&ctrl->dma_lock);
	if (ring->mem)
		return 0;
	ring->cpu = dma_alloc_coherent(&ctrl->nvme.pdev->dev, ring->len,
				       &ring->dma, GFP_KERNEL | __GFP_NOWARN);
	return ring->cpu ? 0 : -ENOMEM;
}

/**
 * homi_ring_free - give back what homi_ring_alloc() allocated, if it did
 * @ctrl: the controller; its dma_lock is held
 * @ring: nothing acts on it
 */
void homi_ring_free(struct homi_ctrl *ctrl, struct homi_ring *ring)
{
	lockdep_assert_held(&ctrl->dma_lock);
	if (ring->cpu)
		dma_free_coherent(&ctrl->nvme.pdev->dev, ring->len, ring->cpu,
				  ring->dma);
	ring->cpu = NULL;
}

/**
 * homi_ring_put - let go of the MEM
 * @ring: likewise; no lock is held
 */
void homi_ring_put(struct homi_ring *ring)
{
	if (ring->mem)
		homi_object_put(ring->mem);
	ring->mem = NULL;
}
