// SPDX-License-Identifier: GPL-2.0-only
/*
 * MEM: memory that the function reaches, as one list of (offset, DMA address,
 * length), whichever kind it is.
 */
#include <linux/iommu.h>
#include <linux/overflow.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "mem.h"
#include "trace.h"

/**
 * homi_mem_init - what a MEM of either kind is by its registration
 * @mem: zeroed
 * @cmd: checked
 */
void homi_mem_init(struct homi_mem *mem, const struct homi_mem_register *cmd)
{
	mem->type = cmd->type;
	mem->length = cmd->length;
	mem->pages_only = cmd->flags & HOMI_MEM_PAGES;
	mem->dir = cmd->flags & HOMI_MEM_WRITE ? DMA_BIDIRECTIONAL :
						 DMA_TO_DEVICE;
}

/**
 * homi_mem_list - make the list from a mapping, or a part of it
 * @mem: its @length is what is wanted; it has room for all entries of @sgt
 * @sgt: mapped for the function
 * @offset: bytes of it before the part
 * @page_size: of the controller
 *
 * Within the list each segment must begin and end on the controller's page size,
 * since PRP entries can say nothing else.
 *
 * Return: 0, -EIO if @sgt is too short, -EOPNOTSUPP for pieces that do not fit
 */
int homi_mem_list(struct homi_mem *mem, struct sg_table *sgt, u64 offset,
		  u32 page_size)
{
	struct homi_segment *seg = mem->segments, *last = NULL;
	struct scatterlist *sg;
	u64 done = 0;
	int i;

	for_each_sgtable_dma_sg(sgt, sg, i) {
		dma_addr_t addr = sg_dma_address(sg);
		u64 len = sg_dma_len(sg), skip = min(offset, len);

		offset -= skip;
		addr += skip;
		len = min(len - skip, mem->length - done);
		if (!len)
			continue;
		if (last && last->dma_addr + last->length == addr) {
			last->length += len;
		} else {
			seg->offset = done;
			seg->dma_addr = addr;
			seg->length = len;
			last = seg++;
		}
		done += len;
	}
	if (done != mem->length)
		return -EIO;
	mem->nr_segments = seg - mem->segments;
	for (seg = mem->segments; seg < last; seg++)
		if ((seg[0].dma_addr + seg[0].length) % page_size ||
		    seg[1].dma_addr % page_size)
			return -EOPNOTSUPP;
	return mem->segments->dma_addr % page_size ? -EOPNOTSUPP : 0;
}

/**
 * homi_mem_domain - what translates the function's addresses
 * @dev: of the function, bound
 *
 * NULL where DMA addresses do not go through an IOMMU's page tables.
 */
struct iommu_domain *homi_mem_domain(struct device *dev)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);

	return domain && domain->type != IOMMU_DOMAIN_IDENTITY ? domain : NULL;
}

/*
 * A queue that the controller may act on might still target it, or I/O by extents.
 * Where it says no, none of that comes any more.
 */
bool homi_mem_is_busy(struct homi_object *obj)
{
	struct homi_mem *mem = to_mem(obj);

	if (mem->pages_only)
		return false;
	return atomic_read(&obj->ctx->dma_users) > 0 ||
	       !homi_inflight_close_unused(&mem->inflight);
}

/**
 * homi_mem_enter - its addresses are going to be used by a command of the kernel's
 * @mem: the caller has a reference, and keeps it until homi_mem_leave()
 *
 * They stay mapped until then. An exporter may wait for that, so whoever is in must
 * not wait for memory, nor for anybody who does.
 *
 * Return: 0, -EOPNOTSUPP if there never were any, -ESTALE if its exporter wants it
 * back, -ENOENT if it is destroyed, or, likewise, its controller gone
 */
int homi_mem_enter(struct homi_mem *mem)
{
	if (mem->pages_only)
		return -EOPNOTSUPP;
	if (homi_inflight_enter(&mem->inflight))
		return 0;
	return READ_ONCE(mem->revoked) ? -ESTALE : -ENOENT;
}

/**
 * homi_mem_leave - that command is over; in any context
 * @mem: as it was entered
 */
void homi_mem_leave(struct homi_mem *mem)
{
	homi_inflight_leave(&mem->inflight, &mem->obj.ctx->ctrl->wait);
}

/**
 * homi_mem_stop - no command by extents uses its addresses when this returns
 * @mem: of either kind
 *
 * Waits for the controller.
 */
void homi_mem_stop(struct homi_mem *mem)
{
	homi_inflight_stop(&mem->inflight, &mem->obj.ctx->ctrl->wait);
}

/**
 * homi_mem_end - a MEM is its owner's no longer
 * @mem: of either kind, of which somebody may have been told
 */
void homi_mem_end(struct homi_mem *mem)
{
	if (mem->registered)
		trace_homi_mem(mem, HOMI_MEM_STEP_RELEASE);
}

/**
 * homi_mem_segment - the segment with a byte of a MEM
 * @mem: has been mapped
 * @offset: of the byte, below its length
 */
const struct homi_segment *homi_mem_segment(struct homi_mem *mem, u64 offset)
{
	u32 low = 0, high = mem->nr_segments;

	while (high - low > 1) {
		u32 middle = low + (high - low) / 2;

		if (mem->segments[middle].offset <= offset)
			low = middle;
		else
			high = middle;
	}
	return &mem->segments[low];
}

/**
 * homi_mem_find - the address of a part that is contiguous for the controller
 * @mem: the MEM
 * @offset: bytes from its start
 * @len: bytes
 * @dma: out
 *
 * Return: 0, or -EINVAL: not all of it is in one segment
 */
int homi_mem_find(struct homi_mem *mem, u64 offset, u64 len, u64 *dma)
{
	const struct homi_segment *seg;

	if (offset >= mem->length || !mem->nr_segments)
		return -EINVAL;
	seg = homi_mem_segment(mem, offset);
	offset -= seg->offset;
	if (len > seg->length - offset)
		return -EINVAL;
	*dma = seg->dma_addr + offset;
	return 0;
}

/* --- commands --- */

static int homi_mem_check(const struct homi_mem_register *cmd)
{
	u64 end;

	if (cmd->flags & ~(HOMI_MEM_WRITE | HOMI_MEM_BAR | HOMI_MEM_PAGES) ||
	    (cmd->type != HOMI_MEM_USER && cmd->type != HOMI_MEM_DMABUF))
		return -EINVAL;
	if (cmd->type == HOMI_MEM_DMABUF && cmd->flags & HOMI_MEM_PAGES)
		return -EINVAL;
	if (cmd->type == HOMI_MEM_USER &&
	    (cmd->flags & HOMI_MEM_BAR || cmd->fd))
		return -EINVAL;
	if (!cmd->length || !PAGE_ALIGNED(cmd->addr | cmd->length) ||
	    check_add_overflow(cmd->addr, cmd->length, &end))
		return -EINVAL;
	return 0;
}

int homi_cmd_mem_register(struct homi_call *call)
{
	struct homi_mem_register *cmd = call->cmd;
	struct homi_ctx *ctx = call->ctx;
	struct homi_mem *mem;
	int ret;

	ret = homi_mem_check(cmd);
	if (ret)
		return ret;
	cmd->out_reason = HOMI_REASON_NONE;
	/* Before the work of pinning; asked again when it is mapped. */
	if (homi_ctrl_is_gone(ctx->ctrl))
		return -ENODEV;
	mem = cmd->type == HOMI_MEM_USER ? homi_mem_user(ctx, cmd) :
					   homi_mem_import(ctx, cmd);
	if (IS_ERR(mem))
		return PTR_ERR(mem);
	cmd->out_mem_id = mem->obj.id;
	cmd->out_segments = mem->nr_segments;
	cmd->out_placement = mem->where.placement;
	mem->registered = true;
	trace_homi_mem(mem, HOMI_MEM_STEP_REGISTER);
	call->created = &mem->obj;
	return 0;
}

static u32 homi_mem_state(struct homi_mem *mem)
{
	if (READ_ONCE(mem->revoked))
		return HOMI_MEM_REVOKED;
	if (mem->pages_only)
		return homi_ctrl_is_gone(mem->obj.ctx->ctrl) ? HOMI_MEM_GONE :
							       HOMI_MEM_MAPPED;
	return READ_ONCE(mem->mapped) ? HOMI_MEM_MAPPED : HOMI_MEM_GONE;
}

static int homi_mem_give_segments(struct homi_mem *mem,
				  struct homi_mem_segments *cmd)
{
	u32 room = cmd->count;

	switch (homi_mem_state(mem)) {
	case HOMI_MEM_REVOKED:
		return -ESTALE;
	case HOMI_MEM_GONE:
		return -ENODEV;
	}
	cmd->count = mem->nr_segments;
	if (room < mem->nr_segments)
		return -EMSGSIZE;
	if (copy_to_user(u64_to_user_ptr(cmd->segments), mem->segments,
			 array_size(mem->nr_segments, sizeof(*mem->segments))))
		return -EFAULT;
	return 0;
}

int homi_cmd_mem_segments(struct homi_call *call)
{
	struct homi_mem_segments *cmd = call->cmd;
	struct homi_object *obj;
	int ret;

	if (cmd->flags)
		return -EINVAL;
	obj = homi_object_get(call->ctx, cmd->mem_id, HOMI_OBJ_MEM);
	if (!obj)
		return -ENOENT;
	ret = homi_mem_give_segments(to_mem(obj), cmd);
	homi_object_put(obj);
	return ret;
}

int homi_cmd_mem_info(struct homi_call *call)
{
	struct homi_mem_info *cmd = call->cmd;
	struct homi_object *obj;
	struct homi_mem *mem;
	bool pinned = true;

	if (cmd->flags)
		return -EINVAL;
	obj = homi_object_get(call->ctx, cmd->mem_id, HOMI_OBJ_MEM);
	if (!obj)
		return -ENOENT;
	mem = to_mem(obj);
	cmd->out_type = mem->type;
	cmd->out_state = homi_mem_state(mem);
	cmd->out_placement = mem->where.placement;
	cmd->out_length = mem->length;
	cmd->out_device = mem->where.device;
	cmd->out_bar = mem->where.bar;
	cmd->out_path = mem->where.path;
	cmd->out_distance = mem->where.distance;
	memset(cmd->out_exporter, 0, sizeof(cmd->out_exporter));
	if (mem->type == HOMI_MEM_DMABUF)
		strscpy(cmd->out_exporter, homi_import_name(mem, &pinned),
			sizeof(cmd->out_exporter));
	cmd->out_features = pinned ? HOMI_MEM_PINNED : 0;
	homi_object_put(obj);
	return 0;
}

#if IS_ENABLED(CONFIG_HOMI_KUNIT_TEST)
#include "tests/mem_test.c"
#endif
