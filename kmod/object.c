// SPDX-License-Identifier: GPL-2.0-only
/*
 * Objects of an open file: ids, references, mappings, and their end.
 */
#include <linux/mount.h>
#include <linux/module.h>
#include <linux/pseudo_fs.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "homi.h"

/* A cookie in pages: region (4 bits), id (24 bits), page (20 bits). */
#define HOMI_COOKIE_PAGE_BITS	20
#define HOMI_COOKIE_ID_BITS	24
#define HOMI_COOKIE_REGION_SHIFT (HOMI_COOKIE_PAGE_BITS + HOMI_COOKIE_ID_BITS)

#define HOMI_MAX_ID	(BIT(HOMI_COOKIE_ID_BITS) - 1)
#define HOMI_FS_MAGIC	0x686f6d69

static struct vfsmount *homi_mnt;
/* For what waits for the controller. What brings that back is on another one. */
static struct workqueue_struct *homi_teardown_wq;

u64 homi_cookie(struct homi_object *obj, enum homi_region region)
{
	u64 pgoff = (u64)region << HOMI_COOKIE_REGION_SHIFT |
		    (u64)obj->id << HOMI_COOKIE_PAGE_BITS;

	return pgoff << PAGE_SHIFT;
}

/**
 * homi_object_reserve - give an object an id that nobody can see yet
 * @ctx: the open file
 * @obj: zeroed, to be filled in
 * @type: its kind
 * @ops: of its kind; may be called from now on
 *
 * After success the object ends by homi_object_publish() and later
 * homi_object_destroy(), or by homi_object_abort().
 */
int homi_object_reserve(struct homi_ctx *ctx, struct homi_object *obj,
			enum homi_object_type type,
			const struct homi_object_ops *ops)
{
	int ret;

	kref_init(&obj->ref);
	obj->type = type;
	obj->ctx = ctx;
	obj->ops = ops;
	ret = xa_alloc(&ctx->objects, &obj->id, obj,
		       XA_LIMIT(1, HOMI_MAX_ID), GFP_KERNEL_ACCOUNT);
	if (ret)
		return ret == -EBUSY ? -ENOMEM : ret;
	kref_get(&ctx->ref);
	return 0;
}

void homi_object_publish(struct homi_object *obj)
{
	xa_lock(&obj->ctx->objects);
	obj->published = true;
	xa_unlock(&obj->ctx->objects);
}

static void homi_object_free(struct kref *ref)
{
	struct homi_object *obj = container_of(ref, struct homi_object, ref);
	struct homi_ctx *ctx = obj->ctx;

	homi_event_drop(ctx->ctrl, &obj->event);
	obj->ops->free(obj);
	homi_ctx_put(ctx);
}

void homi_object_put(struct homi_object *obj)
{
	kref_put(&obj->ref, homi_object_free);
}

/**
 * homi_object_find - homi_object_get() where the lock of @ctx->objects is held
 * @ctx: the open file
 * @id: any
 * @type: of which kind
 */
struct homi_object *homi_object_find(struct homi_ctx *ctx, u32 id,
				     enum homi_object_type type)
{
	struct homi_object **near = &ctx->near[id % ARRAY_SIZE(ctx->near)];
	struct homi_object *obj = *near;

	if (!obj || obj->id != id) {
		obj = xa_load(&ctx->objects, id);
		if (!obj)
			return NULL;
		*near = obj;
	}
	if (!obj->published || (type != HOMI_OBJ_ANY && obj->type != type))
		return NULL;
	kref_get(&obj->ref);
	return obj;
}

struct homi_object *homi_object_get(struct homi_ctx *ctx, u32 id,
				    enum homi_object_type type)
{
	struct homi_object *obj;

	xa_lock(&ctx->objects);
	obj = homi_object_find(ctx, id, type);
	xa_unlock(&ctx->objects);
	return obj;
}

/* What is not found any more is not near either. */
static void homi_object_erase(struct homi_object *obj)
{
	struct homi_ctx *ctx = obj->ctx;
	struct homi_object **near = &ctx->near[obj->id % ARRAY_SIZE(ctx->near)];

	xa_lock(&ctx->objects);
	__xa_erase(&ctx->objects, obj->id);
	if (*near == obj)
		*near = NULL;
	xa_unlock(&ctx->objects);
}

/**
 * homi_object_next - walk the objects of one kind
 * @ctx: the open file
 * @id: 0 at first, then as it was left
 * @type: of which kind
 *
 * Published or not: one that is being made counts as well. Returns a reference,
 * or NULL at the end.
 */
struct homi_object *homi_object_next(struct homi_ctx *ctx, unsigned long *id,
				     enum homi_object_type type)
{
	struct homi_object *obj;

	xa_lock(&ctx->objects);
	while ((obj = xa_find_after(&ctx->objects, id, ULONG_MAX, XA_PRESENT)))
		if (obj->type == type) {
			kref_get(&obj->ref);
			break;
		}
	xa_unlock(&ctx->objects);
	return obj;
}

static void homi_zap(struct homi_ctx *ctx, u64 pgoff, u64 pages)
{
	unmap_mapping_range(ctx->inode->i_mapping, pgoff << PAGE_SHIFT,
			    pages << PAGE_SHIFT, 1);
}

/* Take all mappings of @obj out of all page tables; faults then see @dead. */
static void homi_object_kill_maps(struct homi_object *obj)
{
	struct homi_ctx *ctx = obj->ctx;
	enum homi_region region;

	down_write(&ctx->map_lock);
	obj->dead = true;
	up_write(&ctx->map_lock);
	for (region = HOMI_REGION_SQ; region <= HOMI_REGION_TABLE; region++)
		homi_zap(ctx, homi_cookie(obj, region) >> PAGE_SHIFT,
			 BIT_ULL(HOMI_COOKIE_PAGE_BITS));
}

/**
 * homi_object_zap - make page faults ask again for each page of @obj
 * @obj: the object; the caller changed what its fault op answers
 */
void homi_object_zap(struct homi_object *obj)
{
	enum homi_region region;

	/* A fault that read the old answer has put in its page when we are in. */
	down_write(&obj->ctx->map_lock);
	up_write(&obj->ctx->map_lock);
	for (region = HOMI_REGION_SQ; region <= HOMI_REGION_TABLE; region++)
		homi_zap(obj->ctx, homi_cookie(obj, region) >> PAGE_SHIFT,
			 BIT_ULL(HOMI_COOKIE_PAGE_BITS));
}

/**
 * homi_ctx_zap_doorbells - homi_object_zap() for what a reset takes away
 * @ctx: the open file; all its doorbell, shadow and event index pages
 */
void homi_ctx_zap_doorbells(struct homi_ctx *ctx)
{
	down_write(&ctx->map_lock);
	up_write(&ctx->map_lock);
	homi_zap(ctx, (u64)HOMI_REGION_DB << HOMI_COOKIE_REGION_SHIFT,
		 (u64)(HOMI_REGION_EVENT - HOMI_REGION_DB + 1) <<
		 HOMI_COOKIE_REGION_SHIFT);
}

/**
 * homi_ctx_zap_all - homi_object_zap() for every mapping of an open file
 * @ctx: the open file
 */
void homi_ctx_zap_all(struct homi_ctx *ctx)
{
	down_write(&ctx->map_lock);
	up_write(&ctx->map_lock);
	unmap_mapping_range(ctx->inode->i_mapping, 0, 0, 1);
}

/* Between the look for queues and the end of it none may be made. */
static bool homi_object_bars_queues(struct homi_object *obj)
{
	return obj->ops->bars_queues && obj->ops->bars_queues(obj);
}

/*
 * Take @obj out of the table and give back its DMA memory. Both happen under
 * ctx->lock, so that removal of the device finds each object either in the
 * table or without DMA memory. A queue gives its rings back later, when the
 * controller has let go of them, and a dma-buf is given back without our locks;
 * removal finds them on ctrl->queues and ctrl->imports.
 */
static int homi_object_unlink(struct homi_object *obj, bool even_busy)
{
	struct homi_ctx *ctx = obj->ctx;
	int ret = 0;

	mutex_lock(&ctx->lock);
	if (xa_load(&ctx->objects, obj->id) != obj)
		ret = -ENOENT;
	else if (!even_busy && obj->ops->is_busy && obj->ops->is_busy(obj))
		ret = -EBUSY;
	if (!ret) {
		homi_object_erase(obj);
		if (homi_object_bars_queues(obj))
			ctx->revoking++;
		if (obj->type == HOMI_OBJ_MEM && obj->ops->release_dma) {
			mutex_lock(&ctx->ctrl->dma_lock);
			obj->ops->release_dma(obj);
			mutex_unlock(&ctx->ctrl->dma_lock);
		}
	}
	mutex_unlock(&ctx->lock);
	return ret;
}

static int homi_object_end(struct homi_object *obj, bool even_busy)
{
	struct homi_ctx *ctx = obj->ctx;
	int ret = homi_object_unlink(obj, even_busy);

	if (ret)
		return ret;
	if (obj->ops->region_size)
		homi_object_kill_maps(obj);
	if (obj->ops->revoke)
		obj->ops->revoke(obj);
	if (homi_object_bars_queues(obj))
		homi_ctx_revoke_end(ctx);
	homi_object_put(obj);
	return 0;
}

/**
 * homi_object_abort - end an object that was reserved and not published
 * @obj: the object
 *
 * For a MEM that no queue could know yet, and for what the caller never heard
 * of: nothing can be in its way.
 */
void homi_object_abort(struct homi_object *obj)
{
	homi_object_end(obj, true);
}

int homi_object_destroy(struct homi_ctx *ctx, u32 id)
{
	struct homi_object *obj = homi_object_get(ctx, id, HOMI_OBJ_ANY);
	int ret;

	if (!obj)
		return -ENOENT;
	ret = homi_object_end(obj, false);
	homi_object_put(obj);
	return ret;
}

struct homi_ctx *homi_ctx_alloc(struct homi_ctrl *ctrl)
{
	struct homi_ctx *ctx;
	struct inode *inode;
	bool bound;

	/* Stock is bound until an unbind, which sets "gone" first. */
	mutex_lock(&ctrl->dma_lock);
	bound = !ctrl->gone && homi_ctrl_enter_stock(ctrl);
	mutex_unlock(&ctrl->dma_lock);
	if (!bound)
		return ERR_PTR(-ENODEV);
	ctx = kzalloc(sizeof(*ctx), GFP_KERNEL_ACCOUNT);
	if (!ctx)
		goto err_driver;
	ctx->park = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!ctx->park)
		goto err_free;
	inode = alloc_anon_inode(homi_mnt->mnt_sb);
	if (IS_ERR(inode))
		goto err_page;
	ctx->user = homi_user_get(ctrl, current_uid());
	if (!ctx->user)
		goto err_inode;
	ctx->inode = inode;
	kref_init(&ctx->ref);
	xa_init_flags(&ctx->objects, XA_FLAGS_ALLOC1);
	mutex_init(&ctx->lock);
	init_rwsem(&ctx->map_lock);
	atomic_set(&ctx->dma_users, 0);
	init_waitqueue_head(&ctx->completions);
	homi_extents_watch_prepare(ctx);
	init_llist_head(&ctx->revoked);
	init_llist_head(&ctx->unmapped);
	INIT_WORK(&ctx->imports_work, homi_imports_work);
	INIT_WORK(&ctx->unmap_work, homi_unmap_work);
	ctx->pid = get_task_pid(current, PIDTYPE_TGID);
	ctx->ctrl = homi_ctrl_get(ctrl);
	spin_lock(&ctrl->lock);
	ctx->nr = ++ctrl->opened;
	list_add_tail(&ctx->entry, &ctrl->ctxs);
	spin_unlock(&ctrl->lock);
	return ctx;

err_inode:
	iput(inode);
err_page:
	__free_page(ctx->park);
err_free:
	kfree(ctx);
err_driver:
	homi_ctrl_leave_stock(ctrl);
	return ERR_PTR(-ENOMEM);
}

static void homi_ctx_free(struct kref *ref)
{
	struct homi_ctx *ctx = container_of(ref, struct homi_ctx, ref);
	struct homi_ctrl *ctrl = ctx->ctrl;

	spin_lock(&ctrl->lock);
	list_del(&ctx->entry);
	homi_io_counts_add(&ctrl->past, &ctx->io);
	spin_unlock(&ctrl->lock);
	homi_user_put(ctrl, ctx->user);
	homi_event_drop(ctrl, &ctx->event);
	xa_destroy(&ctx->objects);
	iput(ctx->inode);
	put_pid(ctx->pid);
	__free_page(ctx->park);
	kfree(ctx);
	homi_ctrl_leave_stock(ctrl);
	homi_ctrl_put(ctrl);
}

void homi_ctx_put(struct homi_ctx *ctx)
{
	kref_put(&ctx->ref, homi_ctx_free);
}

/**
 * homi_ctrl_each_ctx - do something to all open files of a controller
 * @ctrl: the controller
 * @fn: called without locks, with a reference
 * @arg: for @fn
 *
 * References keep the walk going while the lock is dropped. A file that is
 * opened meanwhile is met too: it is added at the end.
 */
void homi_ctrl_each_ctx(struct homi_ctrl *ctrl,
			void (*fn)(struct homi_ctx *ctx, void *arg), void *arg)
{
	struct homi_ctx *ctx, *prev = NULL;

	spin_lock(&ctrl->lock);
	list_for_each_entry(ctx, &ctrl->ctxs, entry) {
		if (!kref_get_unless_zero(&ctx->ref))
			continue;
		spin_unlock(&ctrl->lock);
		if (prev)
			homi_ctx_put(prev);
		fn(ctx, arg);
		prev = ctx;
		spin_lock(&ctrl->lock);
	}
	spin_unlock(&ctrl->lock);
	if (prev)
		homi_ctx_put(prev);
}

static void homi_ctx_end_objects(struct homi_ctx *ctx, bool queues)
{
	struct homi_object *obj;
	unsigned long id;

	/* The file is closed: nobody else adds, takes or finds objects. */
	xa_for_each(&ctx->objects, id, obj) {
		if (queues ? obj->type == HOMI_OBJ_QUEUE :
			     obj->type != HOMI_OBJ_QUEUE)
			homi_object_end(obj, true);
		cond_resched();
	}
}

static void homi_ctx_teardown(struct work_struct *work)
{
	struct homi_ctx *ctx = container_of(work, struct homi_ctx, teardown);
	struct homi_ctrl *ctrl = ctx->ctrl;

	wait_event_idle(ctrl->wait, !atomic_read(&ctx->dma_users));
	homi_ctx_end_objects(ctx, false);
	homi_ctx_put(ctx);
	module_put(THIS_MODULE);
}

/**
 * homi_ctx_close - the last reference to the open file is gone
 * @ctx: the open file
 *
 * Queues end first. Memory and leases follow when no queue of this file can act
 * any more; if the controller does not let go of one now, they stay parked and
 * a worker waits for the reset that was asked for.
 */
void homi_ctx_close(struct homi_ctx *ctx)
{
	WRITE_ONCE(ctx->closed, true);
	homi_rw_spares_free(ctx);
	homi_extents_watch_end(ctx);
	homi_ctx_end_objects(ctx, true);
	if (atomic_read(&ctx->dma_users)) {
		__module_get(THIS_MODULE);
		INIT_WORK(&ctx->teardown, homi_ctx_teardown);
		queue_work(homi_teardown_wq, &ctx->teardown);
		return;
	}
	homi_ctx_end_objects(ctx, false);
	homi_ctx_put(ctx);
}

/**
 * homi_ctx_release_dma - the function is off the bus: give all DMA memory back
 * @ctx: the open file; ctrl->gone is set, so no object gets any later
 */
void homi_ctx_release_dma(struct homi_ctx *ctx)
{
	struct homi_object *obj;
	unsigned long id;

	mutex_lock(&ctx->lock);
	mutex_lock(&ctx->ctrl->dma_lock);
	xa_for_each(&ctx->objects, id, obj)
		if (obj->ops->release_dma)
			obj->ops->release_dma(obj);
	mutex_unlock(&ctx->ctrl->dma_lock);
	mutex_unlock(&ctx->lock);
}

static void homi_vma_open(struct vm_area_struct *vma)
{
	struct homi_object *obj = vma->vm_private_data;

	kref_get(&obj->ref);
}

static void homi_vma_close(struct vm_area_struct *vma)
{
	homi_object_put(vma->vm_private_data);
}

static int homi_vma_may_split(struct vm_area_struct *vma, unsigned long addr)
{
	return -EINVAL;
}

static int homi_vma_mremap(struct vm_area_struct *vma)
{
	return -EINVAL;
}

static vm_fault_t homi_vma_fault(struct vm_fault *vmf)
{
	struct homi_object *obj = vmf->vma->vm_private_data;
	enum homi_region region =
		vmf->vma->vm_pgoff >> HOMI_COOKIE_REGION_SHIFT;
	vm_fault_t ret = VM_FAULT_SIGBUS;
	unsigned int noio;

	/*
	 * A reset waits for map_lock: no page table may be paid for with
	 * write-back to the controller that is being reset.
	 */
	noio = memalloc_noio_save();
	down_read(&obj->ctx->map_lock);
	if (!obj->dead)
		ret = obj->ops->fault(obj, region, vmf);
	up_read(&obj->ctx->map_lock);
	memalloc_noio_restore(noio);
	return ret;
}

static const struct vm_operations_struct homi_vm_ops = {
	.open = homi_vma_open,
	.close = homi_vma_close,
	.may_split = homi_vma_may_split,
	.mremap = homi_vma_mremap,
	.fault = homi_vma_fault,
};

/**
 * homi_mmap - map one region of one object, whole
 * @ctx: the open file
 * @vma: its vm_pgoff is the cookie
 *
 * Pages come by faults, which look at the state of the object under map_lock: a
 * PTE made here would not be found by a zap that runs before the VMA is linked.
 */
int homi_mmap(struct homi_ctx *ctx, struct vm_area_struct *vma)
{
	enum homi_region region = vma->vm_pgoff >> HOMI_COOKIE_REGION_SHIFT;
	u32 id = (vma->vm_pgoff >> HOMI_COOKIE_PAGE_BITS) & HOMI_MAX_ID;
	struct homi_object *obj;
	size_t size;

	if (!(vma->vm_flags & VM_SHARED) || (vma->vm_flags & VM_EXEC))
		return -EINVAL;
	if (vma->vm_pgoff & (BIT(HOMI_COOKIE_PAGE_BITS) - 1))
		return -EINVAL;
	obj = homi_object_get(ctx, id, HOMI_OBJ_ANY);
	if (!obj)
		return -ENOENT;
	size = obj->ops->region_size ? obj->ops->region_size(obj, region) : 0;
	if (!size || vma->vm_end - vma->vm_start != PAGE_ALIGN(size))
		goto err_put;
	if (region == HOMI_REGION_TABLE) {
		if (vma->vm_flags & VM_WRITE)
			goto err_put;
		vm_flags_clear(vma, VM_MAYWRITE);
	} else {
		vm_flags_set(vma, VM_PFNMAP | VM_IO);
	}
	vm_flags_clear(vma, VM_MAYEXEC);
	vm_flags_set(vma, VM_DONTCOPY | VM_DONTEXPAND | VM_DONTDUMP);
	if (region == HOMI_REGION_DB)
		vma->vm_page_prot = pgprot_noncached(vma->vm_page_prot);
	vma->vm_private_data = obj;
	vma->vm_ops = &homi_vm_ops;
	return 0;

err_put:
	homi_object_put(obj);
	return -EINVAL;
}

static int homi_fs_init_context(struct fs_context *fc)
{
	return init_pseudo(fc, HOMI_FS_MAGIC) ? 0 : -ENOMEM;
}

/* No owner: the mount is ours and must not keep the module from unloading. */
static struct file_system_type homi_fs_type = {
	.name = "homi",
	.init_fs_context = homi_fs_init_context,
	.kill_sb = kill_anon_super,
};

int homi_object_init(void)
{
	homi_teardown_wq = alloc_workqueue("homi_teardown", WQ_UNBOUND, 0);
	if (!homi_teardown_wq)
		return -ENOMEM;
	homi_mnt = kern_mount(&homi_fs_type);
	if (IS_ERR(homi_mnt))
		destroy_workqueue(homi_teardown_wq);
	return PTR_ERR_OR_ZERO(homi_mnt);
}

void homi_object_exit(void)
{
	kern_unmount(homi_mnt);
	destroy_workqueue(homi_teardown_wq);
}

#if IS_ENABLED(CONFIG_HOMI_KUNIT_TEST)
#include "tests/object_test.c"
#endif
