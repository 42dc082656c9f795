// SPDX-License-Identifier: GPL-2.0-only
/*
 * MEM of a dma-buf: attached to, pinned where its exporter can, mapped for the
 * function, and given back when the exporter wants that. Long because each step of
 * the end has to be read against the steps that made it.
 */
#include <linux/dma-buf.h>
#include <linux/dma-fence.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-resv.h>
#include <linux/iommu.h>
#include <linux/llist.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "mem.h"
#include "show.h"
#include "trace.h"

HOMI_IMPORT_NS(DMA_BUF);

/*
 * Slots in a reservation object: ours, and some for who has reserved one before
 * the notice and uses it after that. Reserving does not add up.
 */
#define HOMI_IMPORT_SLOTS	(1 + 16)

/*
 * DOC: Taking it back
 *
 * An exporter that wants its memory back holds the lock of the reservation object
 * when it gives notice, and may wait there for the fences in that object. So the
 * notice puts ours in and queues work, no more. Nothing that the way from there to
 * the fence's signal needs may be held, or waited for, by who wants such a lock:
 * not ctx->lock, not dma_lock, not an end_lock. The first work deletes the queues
 * of the open file and signals; another one takes the locks, to unmap.
 *
 * It does take locks under which others allocate memory. An exporter that waits
 * for the fence while memory is being reclaimed has to be one that can't pin;
 * what was pinned is not reclaimed.
 *
 * The fence is not there before: drivers whose jobs wait for all fences of a
 * buffer would have it taken back by their next job.
 */

/**
 * struct homi_import_fence - tells the exporter that no queue is left
 * @base: what others see of it
 * @lock: for @base
 *
 * It may outlive the MEM, and keeps the module.
 */
struct homi_import_fence {
	struct dma_fence base;
	spinlock_t lock;	/* the fence's own */
};

/**
 * struct homi_import - a MEM of a dma-buf
 * @mem: must be first; @mapped is guarded by the reservation lock
 * @entry: in ctrl->imports from before it is attached until it is detached;
 *	guarded by ctrl->lock
 * @end_lock: over all of attaching and detaching; the reservation lock comes
 *	inside
 * @dmabuf: holds a reference
 * @attach: NULL before and after; guarded by @end_lock
 * @sgt: the mapping, likewise
 * @pinned: likewise, and by the reservation lock
 * @ended: nothing of it is mapped any more; guarded by the reservation lock
 * @live: its addresses may be known; guarded likewise, as is writing @mem.revoked
 * @told: its owner was told that it is revoked; guarded by ctrl->lock
 * @stopped: queues were deleted for it, and it bars new ones; for the two works
 * @fence: in the reservation object if it was live when notice was given
 * @revoked: then in ctx->revoked, and later in ctx->unmapped
 */
struct homi_import {
	struct homi_mem mem;
	struct list_head entry;
	struct mutex end_lock;	/* see above */
	struct dma_buf *dmabuf;
	struct dma_buf_attachment *attach;
	struct sg_table *sgt;
	bool pinned;
	bool ended;
	bool live;
	bool told;
	bool stopped;
	struct homi_import_fence *fence;
	struct llist_node revoked;
};

/*
 * One for what signals fences, and one for what waits for locks under which
 * somebody may wait for these. What ends queues is on homi_wq.
 */
static struct workqueue_struct *homi_import_wq;
static struct workqueue_struct *homi_unmap_wq;

static struct homi_import *to_import(struct homi_object *obj)
{
	return container_of(to_mem(obj), struct homi_import, mem);
}

/* --- the fence --- */

static const char *homi_fence_driver_name(struct dma_fence *fence)
{
	return "homi";
}

static const char *homi_fence_timeline_name(struct dma_fence *fence)
{
	return "queues";
}

/* Unloading waits until who sees it by RCU is through: homi_import_exit() */
static void homi_fence_release(struct dma_fence *base)
{
	struct homi_import_fence *fence =
		container_of(base, struct homi_import_fence, base);

	rcu_read_lock();
	kfree_rcu(fence, base.rcu);
	module_put(THIS_MODULE);
	rcu_read_unlock();
}

static const struct dma_fence_ops homi_fence_ops = {
	.get_driver_name = homi_fence_driver_name,
	.get_timeline_name = homi_fence_timeline_name,
	.release = homi_fence_release,
};

static struct homi_import_fence *homi_fence_alloc(void)
{
	struct homi_import_fence *fence = kzalloc(sizeof(*fence),
						  GFP_KERNEL_ACCOUNT);

	if (!fence)
		return NULL;
	/* The caller's open file has the module. */
	__module_get(THIS_MODULE);
	spin_lock_init(&fence->lock);
	dma_fence_init(&fence->base, &homi_fence_ops, &fence->lock,
		       dma_fence_context_alloc(1), 1);
	return fence;
}

/* --- the end --- */

/* Under the reservation lock. */
static void homi_import_unmap(struct homi_import *import)
{
	struct dma_resv *resv = import->dmabuf->resv;
	struct dma_fence *stub;

	dma_resv_assert_held(resv);
	if (import->sgt) {
		WRITE_ONCE(import->mem.mapped, false);
		dma_buf_unmap_attachment(import->attach, import->sgt,
					 import->mem.dir);
		import->sgt = NULL;
	}
	if (import->pinned)
		dma_buf_unpin(import->attach);
	import->pinned = false;
	import->ended = true;
	if (import->mem.revoked && import->live) {
		/* The object may live for long; it need not keep ours. */
		stub = dma_fence_get_stub();
		dma_resv_replace_fences(resv, import->fence->base.context,
					stub, DMA_RESV_USAGE_BOOKKEEP);
		dma_fence_put(stub);
	}
}

/*
 * No queue that could target it is at the controller, and I/O by extents has ended,
 * or does by itself. Once, whoever comes first; whoever comes later waits for that.
 */
static void homi_import_end(struct homi_import *import)
{
	struct homi_ctrl *ctrl = import->mem.obj.ctx->ctrl;
	struct dma_resv *resv = import->dmabuf->resv;

	homi_mem_stop(&import->mem);
	dma_fence_signal(&import->fence->base);
	mutex_lock(&import->end_lock);
	if (import->attach) {
		dma_resv_lock(resv, NULL);
		homi_import_unmap(import);
		dma_resv_unlock(resv);
		dma_buf_detach(import->dmabuf, import->attach);
		import->attach = NULL;
	}
	spin_lock(&ctrl->lock);
	list_del_init(&import->entry);
	spin_unlock(&ctrl->lock);
	mutex_unlock(&import->end_lock);
	wake_up_all(&ctrl->wait);
}

/*
 * Their owners are told, and their queues are gone when this returns, as is I/O by
 * extents that was on its way. Queues not for what was destroyed since the notice:
 * that no queue can reach, and who made one after that keeps it.
 */
static void homi_imports_stop(struct homi_ctx *ctx, struct llist_node *list)
{
	struct homi_ctrl *ctrl = ctx->ctrl;
	struct homi_import *import;
	bool any = false;

	/* All at once, and then what is on its way */
	llist_for_each_entry(import, list, revoked)
		homi_inflight_close(&import->mem.inflight);
	spin_lock(&ctrl->lock);
	llist_for_each_entry(import, list, revoked) {
		import->told = true;
		homi_event_signal(ctrl, import->mem.obj.event);
	}
	spin_unlock(&ctrl->lock);
	/* For each, until it is unmapped. No queue is made from here to the look. */
	llist_for_each_entry(import, list, revoked) {
		homi_ctx_revoke_begin(ctx);
		import->stopped = !dma_fence_is_signaled(&import->fence->base);
		if (!import->stopped)
			homi_ctx_revoke_end(ctx);
		any |= import->stopped;
	}
	if (any) {
		homi_ctx_revoke_queues(ctx);
		/* What could not be deleted is ended by a reset. */
		wait_event_idle(ctrl->wait, !atomic_read(&ctx->dma_users));
		homi_ctx_revoke_end(ctx);
	}
	llist_for_each_entry(import, list, revoked)
		homi_mem_stop(&import->mem);
}

/**
 * homi_imports_work - exporters want dma-bufs of an open file back
 * @work: of struct homi_ctx
 *
 * The file may be closed meanwhile; the objects keep what is needed of it, each
 * until it is in the other list. Work that is queued has something in its list:
 * only that work empties it.
 */
void homi_imports_work(struct work_struct *work)
{
	struct homi_ctx *ctx = container_of(work, struct homi_ctx,
					    imports_work);
	struct llist_node *list = llist_del_all(&ctx->revoked);
	struct homi_import *import, *next;

	homi_imports_stop(ctx, list);
	llist_for_each_entry_safe(import, next, list, revoked) {
		dma_fence_signal(&import->fence->base);
		if (!llist_add(&import->revoked, &ctx->unmapped))
			continue;
		__module_get(THIS_MODULE);
		queue_work(homi_unmap_wq, &ctx->unmap_work);
	}
	module_put(THIS_MODULE);
}

/**
 * homi_unmap_work - and get them
 * @work: of struct homi_ctx
 */
void homi_unmap_work(struct work_struct *work)
{
	struct homi_ctx *ctx = container_of(work, struct homi_ctx, unmap_work);
	struct llist_node *list = llist_del_all(&ctx->unmapped);
	struct homi_import *import, *next;

	llist_for_each_entry_safe(import, next, list, revoked) {
		homi_import_end(import);
		if (import->stopped)
			homi_ctx_revoke_end(ctx);
		homi_object_put(&import->mem.obj);
	}
	module_put(THIS_MODULE);
}

/*
 * Called with the reservation lock held. Of what is not pinned yet an exporter
 * that can pin has given nothing away; it may be pinning it just now. While
 * nobody has the addresses, there is nothing to wait for. Who detaches comes
 * later than this, and keeps the object.
 */
static void homi_import_notice(struct dma_buf_attachment *attach)
{
	struct homi_import *import = attach->importer_priv;
	struct homi_ctx *ctx = import->mem.obj.ctx;
	struct dma_resv *resv = attach->dmabuf->resv;

	if (import->ended || import->mem.revoked ||
	    (attach->dmabuf->ops->pin && !import->pinned))
		return;
	WRITE_ONCE(import->mem.revoked, true);
	if (!import->live)
		return;
	trace_homi_mem(&import->mem, HOMI_MEM_STEP_REVOKE);
	/* A few bytes, which the page allocator does not fail to give. */
	while (dma_resv_reserve_fences(resv, HOMI_IMPORT_SLOTS))
		cond_resched();
	dma_resv_add_fence(resv, &import->fence->base, DMA_RESV_USAGE_BOOKKEEP);
	kref_get(&import->mem.obj.ref);
	if (!llist_add(&import->revoked, &ctx->revoked))
		return;
	__module_get(THIS_MODULE);
	queue_work(homi_import_wq, &ctx->imports_work);
}

static const struct dma_buf_attach_ops homi_import_ops = {
	.allow_peer2peer = true,
	.HOMI_DMABUF_NOTICE = homi_import_notice,
};

/* --- the beginning --- */

/* What the exporter said, as the contract has it. */
static int homi_import_refused(int ret, u32 reason, u32 *out_reason)
{
	if (ret == -ENOMEM || ret == -EINTR || ret == -ERESTARTSYS ||
	    ret == -EAGAIN)
		return ret;
	if (ret == -EDEADLK)
		return -EAGAIN;
	*out_reason = reason;
	return -EOPNOTSUPP;
}

/*
 * Exporters map by the DMA API too, which may bounce. Behind an IOMMU only what
 * comes from an untrusted port does.
 */
static bool homi_import_is_direct(struct homi_import *import,
				  struct pci_dev *pdev)
{
	const struct homi_segment *seg = import->mem.segments;
	u32 i;

	if (!dev_is_dma_coherent(&pdev->dev))
		return false;
	if (homi_mem_domain(&pdev->dev))
		return !pdev->untrusted;
	for (i = 0; i < import->mem.nr_segments; i++)
		if (dma_need_sync(&pdev->dev, seg[i].dma_addr))
			return false;
	return true;
}

/* Is the mapping what was asked for, and what a controller can use? */
static int homi_import_look(struct homi_import *import,
			    struct homi_mem_register *cmd)
{
	struct homi_mem *mem = &import->mem;
	struct pci_dev *pdev = mem->obj.ctx->ctrl->nvme.pdev;
	bool bar;

	homi_mem_where(mem, pdev);
	bar = mem->where.placement == HOMI_PLACEMENT_BAR;
	if (cmd->flags & HOMI_MEM_BAR && !bar)
		cmd->out_reason = HOMI_REASON_NOT_BAR;
	else if (!bar && !homi_import_is_direct(import, pdev))
		cmd->out_reason = HOMI_REASON_BOUNCED;
	return cmd->out_reason ? -EOPNOTSUPP : 0;
}

static int homi_import_list(struct homi_import *import,
			    struct homi_mem_register *cmd)
{
	struct homi_mem *mem = &import->mem;
	int ret;

	mem->segments = kvmalloc_array(import->sgt->nents,
				       sizeof(*mem->segments),
				       GFP_KERNEL_ACCOUNT | __GFP_ZERO |
				       __GFP_NOWARN);
	if (!mem->segments)
		return -ENOMEM;
	ret = homi_mem_list(mem, import->sgt, cmd->addr,
			    mem->obj.ctx->ctrl->page_size);
	if (!ret)
		return 0;
	return homi_import_refused(ret, ret == -EIO ? HOMI_REASON_MAP :
				   HOMI_REASON_PIECES, &cmd->out_reason);
}

/* Under the reservation lock. What is done here is undone by the end. */
static int homi_import_map(struct homi_import *import,
			   struct homi_mem_register *cmd)
{
	struct dma_resv *resv = import->dmabuf->resv;
	struct sg_table *sgt;
	long ret;

	ret = dma_buf_pin(import->attach);
	if (ret)
		return homi_import_refused(ret, HOMI_REASON_PIN,
					   &cmd->out_reason);
	import->pinned = true;
	sgt = dma_buf_map_attachment(import->attach, import->mem.dir);
	if (IS_ERR(sgt))
		return homi_import_refused(PTR_ERR(sgt), HOMI_REASON_MAP,
					   &cmd->out_reason);
	import->sgt = sgt;
	WRITE_ONCE(import->mem.mapped, true);
	/* What the exporter still moves to where it is now */
	ret = dma_resv_wait_timeout(resv, DMA_RESV_USAGE_KERNEL, true,
				    MAX_SCHEDULE_TIMEOUT);
	return ret < 0 ? ret : homi_import_list(import, cmd);
}

/* From here on a notice has queues deleted; before, nobody had the addresses. */
static int homi_import_go_live(struct homi_import *import)
{
	struct dma_resv *resv = import->dmabuf->resv;

	dma_resv_lock(resv, NULL);
	import->live = !import->mem.revoked;
	dma_resv_unlock(resv);
	return import->live ? 0 : -ESTALE;
}

static int homi_import_begin(struct homi_import *import,
			     struct homi_mem_register *cmd)
{
	struct homi_ctrl *ctrl = import->mem.obj.ctx->ctrl;
	struct dma_buf_attachment *attach;
	int ret = 0;

	mutex_lock(&import->end_lock);
	/* Removal takes those that it finds, after it has set this. */
	spin_lock(&ctrl->lock);
	if (homi_ctrl_is_gone(ctrl))
		ret = -ENODEV;
	else
		list_add_tail(&import->entry, &ctrl->imports);
	spin_unlock(&ctrl->lock);
	if (ret)
		goto out;
	attach = dma_buf_dynamic_attach(import->dmabuf, &ctrl->nvme.pdev->dev,
					&homi_import_ops, import);
	if (IS_ERR(attach)) {
		ret = homi_import_refused(PTR_ERR(attach), HOMI_REASON_ATTACH,
					  &cmd->out_reason);
		goto out;
	}
	import->attach = attach;
	dma_resv_lock(import->dmabuf->resv, NULL);
	ret = homi_import_map(import, cmd);
	dma_resv_unlock(import->dmabuf->resv);
	if (!ret)
		ret = homi_import_look(import, cmd);
	if (!ret)
		ret = homi_import_go_live(import);
	/* It may be by that, that it is not what was wanted. */
	if (ret == -EOPNOTSUPP && READ_ONCE(import->mem.revoked)) {
		cmd->out_reason = HOMI_REASON_NONE;
		ret = -ESTALE;
	}
out:
	mutex_unlock(&import->end_lock);
	return ret;
}

/* --- the object --- */

/* It is out of the table, no queue is left, and none is made until we return. */
static void homi_import_revoke_object(struct homi_object *obj)
{
	struct homi_import *import = to_import(obj);

	homi_mem_end(&import->mem);
	homi_import_end(import);
	homi_quota_uncharge(obj->ctx, HOMI_QUOTA_PAGES,
			    import->dmabuf->size >> PAGE_SHIFT);
}

/* One that nobody has heard of bars none. */
static bool homi_import_bars_queues(struct homi_object *obj)
{
	return READ_ONCE(obj->published);
}

static bool homi_import_has_news(struct homi_object *obj)
{
	return to_import(obj)->told;
}

static void homi_import_release(struct homi_import *import)
{
	if (import->fence)
		dma_fence_put(&import->fence->base);
	kvfree(import->mem.segments);
	dma_buf_put(import->dmabuf);
	kfree(import);
}

static void homi_import_free(struct homi_object *obj)
{
	homi_import_release(to_import(obj));
}

static const struct homi_object_ops homi_import_object_ops = {
	.has_news = homi_import_has_news,
	.is_busy = homi_mem_is_busy,
	.bars_queues = homi_import_bars_queues,
	.revoke = homi_import_revoke_object,
	.free = homi_import_free,
};

static struct homi_import *homi_import_alloc(struct homi_mem_register *cmd)
{
	struct homi_import *import = kzalloc(sizeof(*import),
					     GFP_KERNEL_ACCOUNT);
	int ret = -ENOMEM;

	if (!import)
		return ERR_PTR(ret);
	homi_mem_init(&import->mem, cmd);
	INIT_LIST_HEAD(&import->entry);
	mutex_init(&import->end_lock);
	import->dmabuf = dma_buf_get(cmd->fd);
	if (IS_ERR(import->dmabuf)) {
		ret = PTR_ERR(import->dmabuf);
		goto err_free;
	}
	ret = -EINVAL;
	if (cmd->addr > import->dmabuf->size ||
	    cmd->length > import->dmabuf->size - cmd->addr)
		goto err_put;
	ret = -EPERM;
	if (cmd->flags & HOMI_MEM_WRITE &&
	    !(import->dmabuf->file->f_mode & FMODE_WRITE))
		goto err_put;
	ret = -ENOMEM;
	import->fence = homi_fence_alloc();
	if (!import->fence)
		goto err_put;
	return import;

err_put:
	dma_buf_put(import->dmabuf);
err_free:
	kfree(import);
	return ERR_PTR(ret);
}

/**
 * homi_mem_import - MEM_REGISTER of a dma-buf
 * @ctx: the open file
 * @cmd: checked as far as both kinds are alike
 *
 * Return: mapped and not published yet, or an ERR_PTR()
 */
struct homi_mem *homi_mem_import(struct homi_ctx *ctx,
				 struct homi_mem_register *cmd)
{
	struct homi_import *import = homi_import_alloc(cmd);
	u64 nr_pages;
	int ret;

	if (IS_ERR(import))
		return ERR_CAST(import);
	nr_pages = import->dmabuf->size >> PAGE_SHIFT;
	ret = homi_quota_charge(ctx, HOMI_QUOTA_PAGES, nr_pages);
	if (ret)
		goto err_release;
	ret = homi_object_reserve(ctx, &import->mem.obj, HOMI_OBJ_MEM,
				  &homi_import_object_ops);
	if (ret)
		goto err_uncharge;
	/* From here on the object is what is charged. */
	ret = homi_import_begin(import, cmd);
	if (!ret)
		return &import->mem;
	homi_object_abort(&import->mem.obj);
	return ERR_PTR(ret);

err_uncharge:
	homi_quota_uncharge(ctx, HOMI_QUOTA_PAGES, nr_pages);
err_release:
	homi_import_release(import);
	return ERR_PTR(ret);
}

/**
 * homi_import_name - who exported a dma-buf
 * @mem: of type HOMI_MEM_DMABUF
 * @pinned: out: did it pin it?
 */
const char *homi_import_name(struct homi_mem *mem, bool *pinned)
{
	struct dma_buf *dmabuf = to_import(&mem->obj)->dmabuf;

	*pinned = dmabuf->ops->pin;
	return dmabuf->exp_name;
}

/* --- removal --- */

static struct homi_import *homi_import_first(struct homi_ctrl *ctrl)
{
	struct homi_import *import, *found = NULL;

	spin_lock(&ctrl->lock);
	list_for_each_entry(import, &ctrl->imports, entry)
		if (kref_get_unless_zero(&import->mem.obj.ref)) {
			found = import;
			break;
		}
	spin_unlock(&ctrl->lock);
	return found;
}

/**
 * homi_imports_release - the function is off the bus: nothing stays mapped for it
 * @ctrl: the controller; it is gone, and so are all its queues
 *
 * Waits for who is registering or destroying one just now.
 */
void homi_imports_release(struct homi_ctrl *ctrl)
{
	struct homi_import *import;

	while ((import = homi_import_first(ctrl))) {
		homi_import_end(import);
		homi_object_put(&import->mem.obj);
	}
	wait_event(ctrl->wait, list_empty_careful(&ctrl->imports));
}

/**
 * homi_imports_show - for debugfs: dma-bufs that the function is attached to
 * @ctrl: the controller
 * @m: gets a line for each
 *
 * Its state as it is for who has no lock of the exporter's: "revoked" is one that the
 * exporter wants back, and that is not unmapped yet.
 */
void homi_imports_show(struct homi_ctrl *ctrl, struct seq_file *m)
{
	struct homi_import *import;

	spin_lock(&ctrl->lock);
	list_for_each_entry(import, &ctrl->imports, entry)
		seq_printf(m, "import file=%llu id=%u bytes=%llu exporter=%s %s\n",
			   import->mem.obj.ctx->nr, import->mem.obj.id,
			   import->mem.length, import->dmabuf->exp_name,
			   READ_ONCE(import->mem.revoked) ? "revoked" :
			   READ_ONCE(import->mem.mapped) ? "mapped" : "attached");
	spin_unlock(&ctrl->lock);
}

int homi_import_init(void)
{
	homi_import_wq = alloc_workqueue("homi_import",
					 WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	if (!homi_import_wq)
		return -ENOMEM;
	homi_unmap_wq = alloc_workqueue("homi_unmap", WQ_UNBOUND, 0);
	if (homi_unmap_wq)
		return 0;
	destroy_workqueue(homi_import_wq);
	return -ENOMEM;
}

/**
 * homi_import_exit - no MEM is left, and no fence that anybody could reach
 */
void homi_import_exit(void)
{
	destroy_workqueue(homi_import_wq);
	destroy_workqueue(homi_unmap_wq);
	synchronize_rcu();
}
