// SPDX-License-Identifier: GPL-2.0-only
/*
 * Doorbells as dma-bufs, for devices that import one. What a device has cannot be
 * taken from it by a page table of ours, so the id of the queue stays lent as long
 * as there is such a dma-buf, and who imports it has to be one that lets go of it
 * when it is told to.
 */
#include <linux/dma-buf.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-resv.h>
#include <linux/file.h>
#include <linux/iommu.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "mem.h"
#include "show.h"

/* Several may have one page mapped, and the CPU's view of it is its own affair. */
#define HOMI_EXPORT_ATTRS	DMA_ATTR_SKIP_CPU_SYNC

/**
 * struct homi_export - a page with doorbells, or with shadow ones, of a queue
 * @ref: held by the dma-buf, and by who walks over ctrl->exports
 * @entry: in ctrl->exports until the last reference; guarded by ctrl->lock
 * @queue: holds a reference, by which its id is lent to nobody else
 * @region: which page
 * @resv: of the dma-buf, which may end before it
 * @dmabuf: NULL before and after; guarded by @resv
 * @revoked: the function is not stock's any more; guarded by @resv
 * @page: of stock's, that importers have, to be compared only; NULL before any
 *	has, and when they were told to leave it. Guarded by ctrl->lock.
 */
struct homi_export {
	struct kref ref;
	struct list_head entry;
	struct homi_object *queue;
	enum homi_region region;
	struct dma_resv resv;
	struct dma_buf *dmabuf;
	bool revoked;
	struct page *page;
};

static struct homi_ctrl *homi_export_ctrl(struct homi_export *export)
{
	return export->queue->ctx->ctrl;
}

static void homi_export_free(struct kref *ref)
{
	struct homi_export *export = container_of(ref, struct homi_export, ref);
	struct homi_ctrl *ctrl = homi_export_ctrl(export);

	spin_lock(&ctrl->lock);
	list_del(&export->entry);
	spin_unlock(&ctrl->lock);
	dma_resv_fini(&export->resv);
	homi_object_put(export->queue);
	kfree(export);
}

static void homi_export_put(struct homi_export *export)
{
	kref_put(&export->ref, homi_export_free);
}

/* Whoever has it mapped is to unmap it. */
static void homi_export_notify(struct homi_export *export, bool revoke)
{
	dma_resv_lock(&export->resv, NULL);
	export->revoked |= revoke;
	if (export->dmabuf)
		dma_buf_invalidate_mappings(export->dmabuf);
	dma_resv_unlock(&export->resv);
}

/* --- the dma-buf --- */

/* Only who can be told to let go, and needs no page structures */
static int homi_export_attach(struct dma_buf *dmabuf,
			      struct dma_buf_attachment *attach)
{
	if (!attach->peer2peer || !attach->importer_ops ||
	    !attach->importer_ops->HOMI_DMABUF_NOTICE)
		return -EOPNOTSUPP;
	return 0;
}

/*
 * What an attachment has pinned and not mapped, in its priv; the reservation lock is
 * held. Where the core pins what it is about to map, one more is an importer's.
 */
static unsigned long homi_export_pins(struct dma_buf_attachment *attach, long add)
{
	unsigned long pins = (unsigned long)attach->priv + add;

	attach->priv = (void *)pins;
	return pins;
}

/* Nobody is promised that it stays. */
static int homi_export_pin(struct dma_buf_attachment *attach)
{
	if (!HOMI_DMABUF_CORE_PINS)
		return -EOPNOTSUPP;
	homi_export_pins(attach, 1);
	return 0;
}

/* Without it (and pin) the core would keep the first mapping until detach. */
static void homi_export_unpin(struct dma_buf_attachment *attach)
{
	homi_export_pins(attach, -1);
}

static int homi_export_map_registers(struct homi_export *export,
				     struct device *dev, struct sg_table *sgt,
				     enum dma_data_direction dir)
{
	phys_addr_t phys = homi_doorbell_phys(homi_export_ctrl(export),
					      homi_queue_qid(export->queue));
	u64 reach = min_not_zero(dma_get_mask(dev), dev->bus_dma_limit);
	dma_addr_t addr;

	/* The core warns of what has a page structure, or is out of reach. */
	if (pfn_valid(PHYS_PFN(phys)) ||
	    (!homi_mem_domain(dev) && phys + PAGE_SIZE - 1 > reach))
		return -EOPNOTSUPP;
	addr = dma_map_resource(dev, phys, PAGE_SIZE, dir, HOMI_EXPORT_ATTRS);
	if (dma_mapping_error(dev, addr))
		return -EIO;
	sgt->sgl->length = PAGE_SIZE;
	sg_dma_address(sgt->sgl) = addr;
	return 0;
}

/*
 * Stock may free the page in a reset, and does when it leaves the function: it is
 * ours as well until it is unmapped. Who has an earlier one is told of that by
 * homi_exports_renew(), before there is another.
 */
static struct page *homi_export_get_page(struct homi_export *export)
{
	struct homi_ctrl *ctrl = homi_export_ctrl(export);
	struct page *page;

	spin_lock(&ctrl->lock);
	page = homi_queue_shadow(export->queue, export->region);
	if (!IS_ERR(page) && export->page && export->page != page)
		page = ERR_PTR(-EAGAIN);
	if (!IS_ERR(page) && !get_page_unless_zero(page))
		page = ERR_PTR(-EOPNOTSUPP);
	if (!IS_ERR(page))
		export->page = page;
	spin_unlock(&ctrl->lock);
	return page;
}

/* A copy would be of no use. As homi_mem_user_is_direct() finds out. */
static bool homi_export_is_direct(struct device *dev, struct page *page,
				  dma_addr_t addr)
{
	struct iommu_domain *domain = homi_mem_domain(dev);

	if (!dev_is_dma_coherent(dev))
		return false;
	if (domain)
		return iommu_iova_to_phys(domain, addr) == page_to_phys(page);
	return !dma_need_sync(dev, addr);
}

static int homi_export_map_shadow(struct homi_export *export,
				  struct device *dev, struct sg_table *sgt,
				  enum dma_data_direction dir)
{
	struct page *page = homi_export_get_page(export);
	dma_addr_t addr;
	int ret = -EIO;

	if (IS_ERR(page))
		return PTR_ERR(page);
	addr = dma_map_page_attrs(dev, page, 0, PAGE_SIZE, dir,
				  HOMI_EXPORT_ATTRS);
	if (dma_mapping_error(dev, addr))
		goto err_put;
	ret = -EOPNOTSUPP;
	if (!homi_export_is_direct(dev, page, addr))
		goto err_unmap;
	sg_set_page(sgt->sgl, page, PAGE_SIZE, 0);
	sg_dma_address(sgt->sgl) = addr;
	return 0;

err_unmap:
	dma_unmap_page_attrs(dev, addr, PAGE_SIZE, dir, HOMI_EXPORT_ATTRS);
err_put:
	put_page(page);
	return ret;
}

/* Called with the reservation lock held. */
static struct sg_table *homi_export_map(struct dma_buf_attachment *attach,
					enum dma_data_direction dir)
{
	struct homi_export *export = attach->dmabuf->priv;
	struct sg_table *sgt;
	int ret;

	dma_resv_assert_held(&export->resv);
	if (homi_export_pins(attach, 0) != HOMI_DMABUF_CORE_PINS)
		return ERR_PTR(-EOPNOTSUPP);
	if (export->revoked || READ_ONCE(export->queue->dead) ||
	    homi_ctrl_is_gone(homi_export_ctrl(export)))
		return ERR_PTR(-ENODEV);
	sgt = kzalloc(sizeof(*sgt), GFP_KERNEL);
	if (!sgt)
		return ERR_PTR(-ENOMEM);
	ret = sg_alloc_table(sgt, 1, GFP_KERNEL);
	if (ret)
		goto err_free;
	if (export->region == HOMI_REGION_DB)
		ret = homi_export_map_registers(export, attach->dev, sgt, dir);
	else
		ret = homi_export_map_shadow(export, attach->dev, sgt, dir);
	if (ret)
		goto err_table;
	sg_dma_len(sgt->sgl) = PAGE_SIZE;
	homi_export_pins(attach, -HOMI_DMABUF_CORE_PINS);
	atomic_inc(&homi_export_ctrl(export)->exports_mapped);
	return sgt;

err_table:
	sg_free_table(sgt);
err_free:
	kfree(sgt);
	return ERR_PTR(ret);
}

static void homi_export_unmap(struct dma_buf_attachment *attach,
			      struct sg_table *sgt, enum dma_data_direction dir)
{
	struct homi_export *export = attach->dmabuf->priv;
	struct homi_ctrl *ctrl = homi_export_ctrl(export);
	struct page *page = sg_page(sgt->sgl);

	if (page) {
		dma_unmap_page_attrs(attach->dev, sg_dma_address(sgt->sgl),
				     PAGE_SIZE, dir, HOMI_EXPORT_ATTRS);
		put_page(page);
	} else {
		dma_unmap_resource(attach->dev, sg_dma_address(sgt->sgl),
				   PAGE_SIZE, dir, HOMI_EXPORT_ATTRS);
	}
	sg_free_table(sgt);
	kfree(sgt);
	homi_export_pins(attach, HOMI_DMABUF_CORE_PINS);
	if (atomic_dec_and_test(&ctrl->exports_mapped))
		wake_up_all(&ctrl->wait);
}

static void homi_export_release(struct dma_buf *dmabuf)
{
	struct homi_export *export = dmabuf->priv;

	dma_resv_lock(&export->resv, NULL);
	export->dmabuf = NULL;
	dma_resv_unlock(&export->resv);
	homi_export_put(export);
}

static const struct dma_buf_ops homi_export_ops = {
	.attach = homi_export_attach,
	.pin = homi_export_pin,
	.unpin = homi_export_unpin,
	.map_dma_buf = homi_export_map,
	.unmap_dma_buf = homi_export_unmap,
	.release = homi_export_release,
};

/* --- the command --- */

/* Takes over the reference to @queue. */
static struct homi_export *homi_export_alloc(struct homi_object *queue,
					     enum homi_region region)
{
	struct homi_ctrl *ctrl = queue->ctx->ctrl;
	struct homi_export *export = kzalloc(sizeof(*export),
					     GFP_KERNEL_ACCOUNT);
	int ret = 0;

	if (!export) {
		homi_object_put(queue);
		return ERR_PTR(-ENOMEM);
	}
	kref_init(&export->ref);
	INIT_LIST_HEAD(&export->entry);
	dma_resv_init(&export->resv);
	export->queue = queue;
	export->region = region;
	/* Removal finds it, or it is not made. */
	spin_lock(&ctrl->lock);
	if (homi_ctrl_is_gone(ctrl))
		ret = -ENODEV;
	else
		list_add_tail(&export->entry, &ctrl->exports);
	spin_unlock(&ctrl->lock);
	if (!ret)
		return export;
	homi_export_put(export);
	return ERR_PTR(ret);
}

static struct dma_buf *homi_export_make(struct homi_object *queue,
					enum homi_region region)
{
	struct homi_export *export = homi_export_alloc(queue, region);
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct dma_buf *dmabuf;

	if (IS_ERR(export))
		return ERR_CAST(export);
	info.ops = &homi_export_ops;
	info.size = PAGE_SIZE;
	info.flags = O_RDWR;
	info.priv = export;
	info.resv = &export->resv;
	dmabuf = dma_buf_export(&info);
	if (IS_ERR(dmabuf)) {
		homi_export_put(export);
		return dmabuf;
	}
	dma_resv_lock(&export->resv, NULL);
	export->dmabuf = dmabuf;
	dma_resv_unlock(&export->resv);
	return dmabuf;
}

static enum homi_region homi_export_region(u32 part)
{
	switch (part) {
	case HOMI_DOORBELL_REGISTERS:
		return HOMI_REGION_DB;
	case HOMI_DOORBELL_SHADOW:
		return HOMI_REGION_SHADOW;
	case HOMI_DOORBELL_EVENT:
		return HOMI_REGION_EVENT;
	default:
		return HOMI_REGION_NONE;
	}
}

int homi_cmd_doorbell_export(struct homi_call *call)
{
	struct homi_doorbell_export *cmd = call->cmd;
	enum homi_region region = homi_export_region(cmd->part);
	struct homi_object *queue;
	struct dma_buf *dmabuf;
	int ret;

	if (cmd->flags || cmd->__reserved || region == HOMI_REGION_NONE)
		return -EINVAL;
	if (!homi_may_queue())
		return -EPERM;
	queue = homi_object_get(call->ctx, cmd->queue_id, HOMI_OBJ_QUEUE);
	if (!queue)
		return -ENOENT;
	if (!queue->ops->region_size(queue, region)) {
		homi_object_put(queue);
		return -EOPNOTSUPP;
	}
	dmabuf = homi_export_make(queue, region);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	ret = get_unused_fd_flags(O_CLOEXEC);
	if (ret < 0) {
		dma_buf_put(dmabuf);
		return ret;
	}
	cmd->out_fd = ret;
	call->fd = ret;
	call->file = dmabuf->file;
	return 0;
}

/* --- news --- */

/*
 * @fn is called without locks and with a reference, which also keeps the place in
 * the list. What is added meanwhile is met too.
 */
static void homi_exports_each(struct homi_ctrl *ctrl,
			      void (*fn)(struct homi_export *export, void *arg),
			      void *arg)
{
	struct homi_export *export, *prev = NULL;

	spin_lock(&ctrl->lock);
	list_for_each_entry(export, &ctrl->exports, entry) {
		if (!kref_get_unless_zero(&export->ref))
			continue;
		spin_unlock(&ctrl->lock);
		if (prev)
			homi_export_put(prev);
		fn(export, arg);
		prev = export;
		spin_lock(&ctrl->lock);
	}
	spin_unlock(&ctrl->lock);
	if (prev)
		homi_export_put(prev);
}

static void homi_export_renew(struct homi_export *export, void *queue)
{
	struct homi_ctrl *ctrl = homi_export_ctrl(export);
	struct page *page;
	bool stale;

	if (export->queue != queue)
		return;
	spin_lock(&ctrl->lock);
	page = homi_queue_shadow(queue, export->region);
	/* If it is lost again the next one tells. */
	stale = export->page && export->page != page && page != ERR_PTR(-EAGAIN);
	if (stale)
		export->page = NULL;
	spin_unlock(&ctrl->lock);
	if (stale)
		homi_export_notify(export, false);
}

/**
 * homi_exports_renew - a queue was made anew: are its shadow pages the same?
 * @queue: the queue
 *
 * Where stock has others, or none, importers are told to map them again.
 */
void homi_exports_renew(struct homi_object *queue)
{
	homi_exports_each(queue->ctx->ctrl, homi_export_renew, queue);
}

static void homi_export_revoke(struct homi_export *export, void *unused)
{
	homi_export_notify(export, true);
}

/**
 * homi_exports_revoke - stock has left the function: no device shall ring it
 * @ctrl: the controller, gone, so that no export is added
 *
 * Importers are told, and waited for, up to delete_ms in all.
 */
void homi_exports_revoke(struct homi_ctrl *ctrl)
{
	homi_exports_each(ctrl, homi_export_revoke, NULL);
	if (!wait_event_timeout(ctrl->wait, !atomic_read(&ctrl->exports_mapped),
				msecs_to_jiffies(READ_ONCE(homi_delete_ms))))
		pci_warn(ctrl->nvme.pdev,
			 "homi: an importer has not let go of doorbells\n");
}

static const char *homi_export_part(const struct homi_export *export)
{
	switch (export->region) {
	case HOMI_REGION_SHADOW:
		return "shadow";
	case HOMI_REGION_EVENT:
		return "event";
	default:
		return "registers";
	}
}

/**
 * homi_exports_show - for debugfs: dma-bufs of doorbells that somebody has
 * @ctrl: the controller
 * @m: gets a line for each, and how often all of these are mapped
 *
 * As long as there is one the id of its queue is lent to nobody else.
 */
void homi_exports_show(struct homi_ctrl *ctrl, struct seq_file *m)
{
	struct homi_export *export;

	spin_lock(&ctrl->lock);
	list_for_each_entry(export, &ctrl->exports, entry)
		seq_printf(m, "export file=%llu qid=%u part=%s%s\n",
			   export->queue->ctx->nr, homi_queue_qid(export->queue),
			   homi_export_part(export),
			   READ_ONCE(export->revoked) ? " revoked" : "");
	spin_unlock(&ctrl->lock);
	seq_printf(m, "exports_mapped %d\n", atomic_read(&ctrl->exports_mapped));
}
