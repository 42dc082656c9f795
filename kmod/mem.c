// SPDX-License-Identifier: GPL-2.0-only
/*
 * MEM: user pages pinned and mapped for DMA by the function, as one list of
 * (offset, DMA address, length).
 */
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/iommu.h>
#include <linux/overflow.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/scatterlist.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "homi.h"

/* The page array is one allocation, which may not be larger than this. */
#define HOMI_MEM_MAX_PAGES	(INT_MAX / sizeof(struct page *))
/* Between two looks for a fatal signal. */
#define HOMI_MEM_PIN_PAGES	4096

/* What would need a sync is refused, so there is nothing to copy at the end. */
#define HOMI_MEM_DMA_ATTRS	(DMA_ATTR_SKIP_CPU_SYNC | DMA_ATTR_NO_WARN)

/**
 * struct homi_mem - a MEM
 * @obj: head
 * @mm: whose locked_vm counts @nr_pages; holds mm_count
 * @pages: all pages, in order
 * @nr_pages: length of the MEM
 * @pinned: how many of @pages are pinned; all of them once registered
 * @sgt: @pages for the DMA API
 * @segments: the answer to MEM_SEGMENTS; constant once mapped, kept after the
 *	mapping is gone
 * @nr_segments: records in it
 * @dir: DMA_BIDIRECTIONAL if the controller may write, else DMA_TO_DEVICE
 * @mapped: @sgt is mapped; guarded by ctrl->dma_lock
 *
 * Nothing that waits for I/O is done under dma_lock: pages are pinned before
 * the object can be found, and unpinned when nobody has it any more.
 */
struct homi_mem {
	struct homi_object obj;
	struct mm_struct *mm;
	struct page **pages;
	unsigned long nr_pages;
	unsigned long pinned;
	struct sg_table sgt;
	struct homi_segment *segments;
	u32 nr_segments;
	enum dma_data_direction dir;
	bool mapped;
};

static struct homi_mem *to_mem(struct homi_object *obj)
{
	return container_of(obj, struct homi_mem, obj);
}

/* --- pages --- */

/* RCU keeps the inode of a page that is truncated meanwhile. */
static bool homi_folio_is_shmem(struct folio *folio)
{
	struct address_space *mapping;
	bool shmem;

	rcu_read_lock();
	mapping = folio_mapping(folio);
	shmem = mapping && shmem_mapping(mapping);
	rcu_read_unlock();
	return shmem;
}

/*
 * Files of real file systems are out: writes to their pages behind the file
 * system's back corrupt it, and kernels before 6.5 let them be pinned.
 */
static int homi_mem_check_pages(struct page **pages, unsigned long nr)
{
	struct folio *folio, *good = NULL;
	unsigned long i;

	for (i = 0; i < nr; i++) {
		folio = page_folio(pages[i]);
		if (folio == good)
			continue;
		if (!folio_test_anon(folio) && !PageHuge(pages[i]) &&
		    !homi_folio_is_shmem(folio))
			return -EOPNOTSUPP;
		good = folio;
	}
	return 0;
}

static int homi_mem_pin(struct homi_mem *mem, unsigned long addr)
{
	unsigned int flags = FOLL_LONGTERM;
	int ret;

	if (mem->dir == DMA_BIDIRECTIONAL)
		flags |= FOLL_WRITE;
	while (mem->pinned < mem->nr_pages) {
		struct page **pages = mem->pages + mem->pinned;

		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
		ret = homi_compat_pin(addr + (mem->pinned << PAGE_SHIFT),
				      min_t(unsigned long,
					    mem->nr_pages - mem->pinned,
					    HOMI_MEM_PIN_PAGES), flags, pages);
		if (ret <= 0)
			return ret ? ret : -EFAULT;
		mem->pinned += ret;
		ret = homi_mem_check_pages(pages, ret);
		if (ret)
			return ret;
	}
	return 0;
}

/* Everything but the object and its mapping. */
static void homi_mem_release(struct homi_mem *mem)
{
	sg_free_table(&mem->sgt);
	kvfree(mem->segments);
	unpin_user_pages_dirty_lock(mem->pages, mem->pinned,
				    mem->dir == DMA_BIDIRECTIONAL);
	kvfree(mem->pages);
	account_locked_vm(mem->mm, mem->nr_pages, false);
	mmdrop(mem->mm);
	kfree(mem);
}

static int homi_mem_fill(struct homi_mem *mem, struct device *dev,
			 unsigned long addr)
{
	int ret;

	mem->pages = kvmalloc_array(mem->nr_pages, sizeof(*mem->pages),
				    GFP_KERNEL_ACCOUNT);
	if (!mem->pages)
		return -ENOMEM;
	ret = homi_mem_pin(mem, addr);
	if (ret)
		return ret;
	ret = sg_alloc_table_from_pages_segment(&mem->sgt, mem->pages,
						mem->nr_pages, 0,
						mem->nr_pages << PAGE_SHIFT,
						dma_get_max_seg_size(dev),
						GFP_KERNEL_ACCOUNT);
	if (ret)
		return ret;
	/* The DMA mapping may join entries, never split one. */
	mem->segments = kvmalloc_array(mem->sgt.orig_nents,
				       sizeof(*mem->segments),
				       GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	return mem->segments ? 0 : -ENOMEM;
}

/* A MEM with its pages, not mapped and not an object yet. */
static struct homi_mem *homi_mem_alloc(struct homi_mem_register *cmd,
				       struct device *dev)
{
	struct homi_mem *mem = kzalloc(sizeof(*mem), GFP_KERNEL_ACCOUNT);
	int ret;

	if (!mem)
		return ERR_PTR(-ENOMEM);
	mem->dir = cmd->flags & HOMI_MEM_WRITE ? DMA_BIDIRECTIONAL :
						 DMA_TO_DEVICE;
	mem->nr_pages = cmd->length >> PAGE_SHIFT;
	ret = account_locked_vm(current->mm, mem->nr_pages, true);
	if (ret) {
		kfree(mem);
		return ERR_PTR(ret);
	}
	mem->mm = current->mm;
	mmgrab(mem->mm);
	ret = homi_mem_fill(mem, dev, cmd->addr);
	if (ret) {
		homi_mem_release(mem);
		return ERR_PTR(ret);
	}
	return mem;
}

/* --- DMA --- */

static void homi_mem_unmap(struct homi_mem *mem)
{
	struct homi_ctrl *ctrl = mem->obj.ctx->ctrl;

	lockdep_assert_held(&ctrl->dma_lock);
	if (!mem->mapped)
		return;
	dma_unmap_sgtable(&ctrl->nvme.pdev->dev, &mem->sgt, mem->dir,
			  HOMI_MEM_DMA_ATTRS);
	mem->mapped = false;
}

/*
 * Make the list from the mapping. Within it each segment must begin and end on
 * the controller's page size, since PRP entries can say nothing else.
 */
static int homi_mem_list(struct homi_mem *mem, u32 page_size)
{
	struct homi_segment *seg = mem->segments, *last = NULL;
	struct scatterlist *sg;
	u64 offset = 0;
	int i;

	for_each_sgtable_dma_sg(&mem->sgt, sg, i) {
		if (last && last->dma_addr + last->length ==
			    sg_dma_address(sg)) {
			last->length += sg_dma_len(sg);
		} else {
			seg->offset = offset;
			seg->dma_addr = sg_dma_address(sg);
			seg->length = sg_dma_len(sg);
			last = seg++;
		}
		offset += sg_dma_len(sg);
	}
	if (offset != (u64)mem->nr_pages << PAGE_SHIFT)
		return -EIO;
	mem->nr_segments = seg - mem->segments;
	for (seg = mem->segments; seg < last; seg++)
		if ((seg[0].dma_addr + seg[0].length) % page_size ||
		    seg[1].dma_addr % page_size)
			return -EOPNOTSUPP;
	return 0;
}

/* NULL where DMA addresses do not go through an IOMMU's page tables. */
static struct iommu_domain *homi_mem_domain(struct device *dev)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);

	return domain && domain->type != IOMMU_DOMAIN_IDENTITY ? domain : NULL;
}

/*
 * Does the function reach the pages themselves, not copies? Behind an IOMMU
 * dma_need_sync() can't tell: before 6.10 it always says yes, later it speaks
 * for all that the device ever mapped. There the page tables are asked.
 */
static bool homi_mem_is_direct(struct homi_mem *mem, struct device *dev)
{
	struct iommu_domain *domain = homi_mem_domain(dev);
	struct scatterlist *sg;
	unsigned long page = 0;
	u64 off;
	int i;

	if (!dev_is_dma_coherent(dev))
		return false;
	for_each_sgtable_dma_sg(&mem->sgt, sg, i) {
		if (!domain) {
			if (dma_need_sync(dev, sg_dma_address(sg)))
				return false;
			continue;
		}
		for (off = 0; off < sg_dma_len(sg); off += PAGE_SIZE)
			if (page >= mem->nr_pages ||
			    iommu_iova_to_phys(domain, sg_dma_address(sg) +
					       off) !=
			    page_to_phys(mem->pages[page++]))
				return false;
	}
	return true;
}

static int homi_mem_map_locked(struct homi_mem *mem, struct homi_ctrl *ctrl)
{
	struct device *dev = &ctrl->nvme.pdev->dev;
	int ret;

	lockdep_assert_held(&ctrl->dma_lock);
	if (ctrl->gone)
		return -ENODEV;
	ret = dma_map_sgtable(dev, &mem->sgt, mem->dir, HOMI_MEM_DMA_ATTRS);
	/* Out of IOVA space; or out of reach, and no bounce buffer fits. */
	if (ret)
		return ret == -ENOMEM || homi_mem_domain(dev) ? -ENOMEM :
								-EOPNOTSUPP;
	mem->mapped = true;
	ret = homi_mem_list(mem, ctrl->page_size);
	if (!ret && !homi_mem_is_direct(mem, dev))
		ret = -EOPNOTSUPP;
	if (ret)
		homi_mem_unmap(mem);
	return ret;
}

static int homi_mem_map(struct homi_mem *mem, struct homi_ctrl *ctrl)
{
	int ret;

	mutex_lock(&ctrl->dma_lock);
	ret = homi_mem_map_locked(mem, ctrl);
	mutex_unlock(&ctrl->dma_lock);
	return ret;
}

/* --- the object --- */

static bool homi_mem_is_busy(struct homi_object *obj)
{
	return atomic_read(&obj->ctx->dma_users) > 0;
}

static void homi_mem_release_dma(struct homi_object *obj)
{
	homi_mem_unmap(to_mem(obj));
}

static void homi_mem_free(struct homi_object *obj)
{
	struct homi_mem *mem = to_mem(obj);
	unsigned long nr_pages = mem->nr_pages;
	struct homi_ctx *ctx = obj->ctx;

	homi_mem_release(mem);
	homi_quota_uncharge(ctx, HOMI_QUOTA_PAGES, nr_pages);
}

/* No revoke: whoever takes a MEM out of the table releases its DMA mapping. */
static const struct homi_object_ops homi_mem_ops = {
	.is_busy = homi_mem_is_busy,
	.release_dma = homi_mem_release_dma,
	.free = homi_mem_free,
};

/* --- commands --- */

static int homi_mem_check(const struct homi_mem_register *cmd)
{
	u64 end;

	if (cmd->flags & ~HOMI_MEM_WRITE || cmd->__reserved ||
	    cmd->type != HOMI_MEM_USER)
		return -EINVAL;
	if (!cmd->length || !PAGE_ALIGNED(cmd->addr | cmd->length))
		return -EINVAL;
	if (check_add_overflow(cmd->addr, cmd->length, &end) ||
	    cmd->length >> PAGE_SHIFT > HOMI_MEM_MAX_PAGES)
		return -EINVAL;
	return end > ULONG_MAX ? -EFAULT : 0;
}

int homi_cmd_mem_register(struct homi_call *call)
{
	struct homi_mem_register *cmd = call->cmd;
	struct homi_ctx *ctx = call->ctx;
	struct homi_ctrl *ctrl = ctx->ctrl;
	u64 nr_pages = cmd->length >> PAGE_SHIFT;
	struct homi_mem *mem;
	int ret;

	ret = homi_mem_check(cmd);
	if (ret)
		return ret;
	/* Before the work of pinning; asked again under dma_lock. */
	if (homi_ctrl_is_gone(ctrl))
		return -ENODEV;
	ret = homi_quota_charge(ctx, HOMI_QUOTA_PAGES, nr_pages);
	if (ret)
		return ret;
	mem = homi_mem_alloc(cmd, &ctrl->nvme.pdev->dev);
	if (IS_ERR(mem)) {
		ret = PTR_ERR(mem);
		goto err_uncharge;
	}
	/* From here on the object is what is charged. */
	ret = homi_object_reserve(ctx, &mem->obj, HOMI_OBJ_MEM, &homi_mem_ops);
	if (ret) {
		homi_mem_release(mem);
		goto err_uncharge;
	}
	ret = homi_mem_map(mem, ctrl);
	if (ret) {
		homi_object_abort(&mem->obj);
		return ret;
	}
	cmd->out_mem_id = mem->obj.id;
	cmd->out_segments = mem->nr_segments;
	call->created = &mem->obj;
	return 0;

err_uncharge:
	homi_quota_uncharge(ctx, HOMI_QUOTA_PAGES, nr_pages);
	return ret;
}

static int homi_mem_give_segments(struct homi_mem *mem,
				  struct homi_mem_segments *cmd)
{
	struct homi_ctrl *ctrl = mem->obj.ctx->ctrl;
	u32 room = cmd->count;
	bool mapped;

	mutex_lock(&ctrl->dma_lock);
	mapped = mem->mapped;
	mutex_unlock(&ctrl->dma_lock);
	if (!mapped)
		return -ENODEV;
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
