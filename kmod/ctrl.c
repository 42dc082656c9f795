// SPDX-License-Identifier: GPL-2.0-only
/*
 * One controller: attach and detach, what it grants, its state. Long because the
 * order of these steps against each other is best read in one place.
 */
#include <linux/bitmap.h>
#include <linux/cc_platform.h>
#include <linux/delay.h>
#include <linux/dmapool.h>
#include <linux/idr.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "homi.h"
#include "show.h"
#include "trace.h"

#define HOMI_MINORS	256
/* CC.MPS and CAP.MPSMIN count from 4 KiB. */
#define HOMI_PAGE_SHIFT_MIN	12
/* What NS_INFO waits for a reset to end */
#define HOMI_RESET_MS	60000
/* Before stock is asked once more for what it was too busy for */
#define HOMI_AGAIN_MS	1000

struct workqueue_struct *homi_wq;

static LIST_HEAD(homi_ctrls);
static DEFINE_MUTEX(homi_ctrls_lock);
static DEFINE_IDA(homi_minors);
/* Functions, by their addresses, that it was said of that they do not tell */
static DEFINE_XARRAY(homi_silent);
static struct class *homi_class;
static dev_t homi_devt;

struct homi_ctrl *homi_ctrl_get(struct homi_ctrl *ctrl)
{
	get_device(&ctrl->dev);
	return ctrl;
}

/* May be called when stock's module is gone, by the last close of the node, say. */
void homi_ctrl_put(struct homi_ctrl *ctrl)
{
	put_device(&ctrl->dev);
}

/* The last one is still in stock's unbind, or has its module. */
static void homi_ctrl_drop_stock(struct homi_ctrl *ctrl)
{
	if (refcount_dec_and_test(&ctrl->nvme.users))
		ctrl->ops->detach(&ctrl->nvme);
}

/**
 * homi_ctrl_enter_stock - keep what stock has of a controller, and its module
 * @ctrl: the controller; stock is bound to it, and stays so during this
 *
 * Return: true, to be ended by homi_ctrl_leave_stock(); false: stock is going
 */
bool homi_ctrl_enter_stock(struct homi_ctrl *ctrl)
{
	if (!refcount_inc_not_zero(&ctrl->nvme.users))
		return false;
	if (try_module_get(ctrl->nvme.owner))
		return true;
	homi_ctrl_drop_stock(ctrl);
	return false;
}

/**
 * homi_ctrl_leave_stock - nothing of it is used any more
 * @ctrl: the controller; the caller has another reference to it
 */
void homi_ctrl_leave_stock(struct homi_ctrl *ctrl)
{
	struct module *owner = ctrl->nvme.owner;

	homi_ctrl_drop_stock(ctrl);
	module_put(owner);
}

static void homi_ctrl_free_works(struct homi_ctrl *ctrl)
{
	int i;

	for (i = 0; i < HOMI_WORKS; i++)
		if (ctrl->works[i])
			destroy_workqueue(ctrl->works[i]);
}

static int homi_ctrl_alloc_works(struct homi_ctrl *ctrl)
{
	const char *name = dev_name(ctrl->nvme.class_dev);

	ctrl->works[HOMI_WORK_IO] = alloc_workqueue("homi_rw/%s", WQ_UNBOUND, 0,
						    name);
	ctrl->works[HOMI_WORK_DURABLE] = alloc_workqueue("homi_durable/%s",
							 WQ_UNBOUND, 0, name);
	ctrl->works[HOMI_WORK_WRITTEN] =
		alloc_workqueue("homi_written/%s", WQ_UNBOUND | WQ_MEM_RECLAIM,
				0, name);
	if (ctrl->works[HOMI_WORK_IO] && ctrl->works[HOMI_WORK_DURABLE] &&
	    ctrl->works[HOMI_WORK_WRITTEN])
		return 0;
	homi_ctrl_free_works(ctrl);
	return -ENOMEM;
}

/* What is on them has told its end, and has only to return. */
static void homi_ctrl_free_work(struct work_struct *work)
{
	struct homi_ctrl *ctrl = container_of(work, struct homi_ctrl,
					      free_work);

	homi_ctrl_free_works(ctrl);
	kfree(ctrl);
}

static void homi_ctrl_release(struct device *dev)
{
	struct homi_ctrl *ctrl = container_of(dev, struct homi_ctrl, dev);

	ida_free(&homi_minors, MINOR(dev->devt));
	pci_dev_put(ctrl->nvme.pdev);
	homi_users_free(ctrl);
	bitmap_free(ctrl->qids);
	queue_work(homi_wq, &ctrl->free_work);
}

/**
 * homi_ctrl_find - the attached controller that stock knows as @nvme_ctrl
 * @nvme_ctrl: stock's struct nvme_ctrl
 *
 * Returns a reference, or NULL.
 */
struct homi_ctrl *homi_ctrl_find(const void *nvme_ctrl)
{
	struct homi_ctrl *ctrl, *found = NULL;

	mutex_lock(&homi_ctrls_lock);
	list_for_each_entry(ctrl, &homi_ctrls, entry)
		if (ctrl->nvme.ctrl == nvme_ctrl)
			found = homi_ctrl_get(ctrl);
	mutex_unlock(&homi_ctrls_lock);
	return found;
}

static struct homi_ctrl *homi_ctrl_find_pdev(struct pci_dev *pdev)
{
	struct homi_ctrl *ctrl, *found = NULL;

	mutex_lock(&homi_ctrls_lock);
	list_for_each_entry(ctrl, &homi_ctrls, entry)
		if (ctrl->nvme.pdev == pdev)
			found = homi_ctrl_get(ctrl);
	mutex_unlock(&homi_ctrls_lock);
	return found;
}

/**
 * homi_ctrl_each - something is to be done to all controllers
 * @fn: may not sleep for long, nor look for a controller
 */
void homi_ctrl_each(void (*fn)(struct homi_ctrl *ctrl))
{
	struct homi_ctrl *ctrl;

	mutex_lock(&homi_ctrls_lock);
	list_for_each_entry(ctrl, &homi_ctrls, entry)
		fn(ctrl);
	mutex_unlock(&homi_ctrls_lock);
}

/**
 * homi_ctrl_status - may a command that needs the controller go on?
 * @ctrl: the controller
 *
 * 0, -EAGAIN while it resets, -ENODEV when it is gone.
 */
int homi_ctrl_status(struct homi_ctrl *ctrl)
{
	switch (READ_ONCE(ctrl->state)) {
	case HOMI_CTRL_LIVE:
		return 0;
	case HOMI_CTRL_RESETTING:
		return -EAGAIN;
	default:
		return -ENODEV;
	}
}

bool homi_ctrl_is_live(struct homi_ctrl *ctrl)
{
	return !homi_ctrl_status(ctrl);
}

bool homi_ctrl_is_gone(struct homi_ctrl *ctrl)
{
	return homi_ctrl_status(ctrl) == -ENODEV;
}

/* Queue ids that could be lent now, up to @limit. */
static u32 homi_ctrl_spare(struct homi_ctrl *ctrl, unsigned int limit)
{
	unsigned int qid = ctrl->kernel_queues;
	u32 spare;

	lockdep_assert_held(&ctrl->lock);
	if (limit <= ctrl->kernel_queues)
		return 0;
	spare = limit - ctrl->kernel_queues;
	while ((qid = find_next_bit(ctrl->qids, limit + 1, qid + 1)) <= limit)
		spare--;
	return spare;
}

/* The highest queue id that may be lent now; 0 and a reason if there is none. */
static unsigned int homi_ctrl_limit(struct homi_ctrl *ctrl, u32 *reason)
{
	unsigned int limit = min(ctrl->granted, ctrl->reach);

	lockdep_assert_held(&ctrl->lock);
	*reason = ctrl->reason;
	if (*reason)
		return 0;
	if (limit > ctrl->kernel_queues)
		return limit;
	*reason = HOMI_REASON_NO_SPARE;
	return 0;
}

/**
 * homi_ctrl_lend_qid - take a queue id that stock can never take
 * @ctrl: the controller
 * @generation: out: the generation in which it was lent
 *
 * The lowest free one above all that stock could take: shadow doorbells reach
 * only so far. Returns the id or a negative errno.
 */
int homi_ctrl_lend_qid(struct homi_ctrl *ctrl, u64 *generation)
{
	unsigned int limit, qid;
	u32 reason;
	int ret;

	spin_lock(&ctrl->lock);
	ret = homi_ctrl_status(ctrl);
	if (!ret && ctrl->hook_generation != ctrl->generation)
		ret = -EAGAIN;
	if (ret)
		goto out;
	limit = homi_ctrl_limit(ctrl, &reason);
	if (reason && reason != HOMI_REASON_NO_SPARE) {
		ret = -EOPNOTSUPP;
		goto out;
	}
	qid = find_next_zero_bit(ctrl->qids, limit + 1,
				 ctrl->kernel_queues + 1);
	if (qid > limit) {
		ret = -ENOSPC;
		goto out;
	}
	__set_bit(qid, ctrl->qids);
	ctrl->lent++;
	trace_homi_qid(ctrl, qid, true);
	*generation = ctrl->generation;
	ret = qid;
out:
	spin_unlock(&ctrl->lock);
	return ret;
}

/**
 * homi_ctrl_renew_qid - may a queue id that was lent be used again now?
 * @ctrl: the controller; its lock is held
 * @qid: lent before a reset
 *
 * 0, or a negative errno; -ENOSPC if the controller came back with fewer.
 */
int homi_ctrl_renew_qid(struct homi_ctrl *ctrl, unsigned int qid)
{
	unsigned int limit;
	u32 reason;
	int ret;

	lockdep_assert_held(&ctrl->lock);
	ret = homi_ctrl_status(ctrl);
	if (!ret && ctrl->hook_generation != ctrl->generation)
		ret = -EAGAIN;
	if (ret)
		return ret;
	limit = homi_ctrl_limit(ctrl, &reason);
	if (reason && reason != HOMI_REASON_NO_SPARE)
		return -EOPNOTSUPP;
	return qid > limit || qid <= ctrl->kernel_queues ? -ENOSPC : 0;
}

void homi_ctrl_return_qid(struct homi_ctrl *ctrl, unsigned int qid)
{
	spin_lock(&ctrl->lock);
	WARN_ON(!test_bit(qid, ctrl->qids));
	__clear_bit(qid, ctrl->qids);
	ctrl->lent--;
	trace_homi_qid(ctrl, qid, false);
	spin_unlock(&ctrl->lock);
}

static u32 homi_ctrl_iommu(struct homi_ctrl *ctrl)
{
	struct iommu_domain *domain;

	domain = iommu_get_domain_for_dev(&ctrl->nvme.pdev->dev);
	if (!domain)
		return HOMI_IOMMU_NONE;
	return domain->type == IOMMU_DOMAIN_IDENTITY ?
	       HOMI_IOMMU_PASSTHROUGH : HOMI_IOMMU_TRANSLATING;
}

int homi_cmd_ctrl_info(struct homi_call *call)
{
	struct homi_ctrl *ctrl = call->ctx->ctrl;
	struct homi_ctrl_info *cmd = call->cmd;
	void *dbs, *eis;
	unsigned int limit;
	size_t len;

	if (cmd->flags)
		return -EINVAL;
	cmd->out_features = 0;
	cmd->out_iommu = HOMI_IOMMU_NONE;
	cmd->out_queues_spare = 0;
	mutex_lock(&ctrl->dma_lock);
	if (!ctrl->gone) {
		cmd->out_iommu = homi_ctrl_iommu(ctrl);
		if (homi_ctrl_is_live(ctrl) &&
		    !ctrl->ops->shadow(&ctrl->nvme, &dbs, &eis, &len) && dbs)
			cmd->out_features |= HOMI_CTRL_SHADOW_DOORBELLS;
	}
	mutex_unlock(&ctrl->dma_lock);
	if (ctrl->nvme.pdev->is_virtfn)
		cmd->out_features |= HOMI_CTRL_VIRTUAL_FUNCTION;
	if (homi_ctrl_is_live(ctrl) && homi_ctrl_has_vectors(ctrl))
		cmd->out_features |= HOMI_CTRL_INTERRUPTS;
	cmd->out_max_depth = ctrl->max_depth;
	cmd->out_doorbell_stride = ctrl->stride;
	cmd->out_page_size = ctrl->page_size;
	cmd->out_max_transfer = ctrl->max_transfer;
	spin_lock(&ctrl->lock);
	cmd->out_state = ctrl->state;
	cmd->out_generation = ctrl->generation;
	cmd->out_queues_granted = ctrl->granted;
	cmd->out_queues_kernel = min(ctrl->kernel_queues, ctrl->granted);
	cmd->out_queues_lent = ctrl->lent;
	cmd->out_queues_reserved = ctrl->reserved;
	limit = homi_ctrl_limit(ctrl, &cmd->out_reason);
	cmd->out_queues_spare = homi_ctrl_spare(ctrl, limit);
	if (!cmd->out_queues_spare && !cmd->out_reason)
		cmd->out_reason = HOMI_REASON_NO_SPARE;
	spin_unlock(&ctrl->lock);
	return 0;
}

/*
 * A question that a reset broke into is asked again after it. Stock may have
 * begun one of which homi is about to hear.
 */
static int homi_ctrl_find_ns(struct homi_ctrl *ctrl, u32 nsid, bool next,
			     struct homi_nvme_ns *ns)
{
	unsigned long deadline = jiffies + msecs_to_jiffies(HOMI_RESET_MS);
	int ret;

	for (;;) {
		if (mutex_lock_killable(&ctrl->identify_lock))
			return -EINTR;
		ret = ctrl->ops->find_ns(&ctrl->nvme, nsid, next, ns);
		mutex_unlock(&ctrl->identify_lock);
		if (ret == -EBUSY)
			ret = -EAGAIN;
		if (ret != -EAGAIN || time_after(jiffies, deadline))
			return ret;
		wait_event_killable_timeout(ctrl->wait,
					    READ_ONCE(ctrl->state) !=
					    HOMI_CTRL_RESETTING, HZ);
		schedule_timeout_killable(msecs_to_jiffies(10));
		if (fatal_signal_pending(current))
			return -EINTR;
		if (homi_ctrl_is_gone(ctrl))
			return -ENODEV;
	}
}

int homi_cmd_ns_info(struct homi_call *call)
{
	struct homi_ctrl *ctrl = call->ctx->ctrl;
	struct homi_ns_info *cmd = call->cmd;
	struct homi_nvme_ns ns;
	int ret;

	if (cmd->flags & ~HOMI_NS_NEXT || cmd->__reserved)
		return -EINVAL;
	if (!cmd->nsid)
		return -EINVAL;
	ret = homi_ctrl_status(ctrl);
	if (ret)
		return ret;
	ret = homi_ctrl_find_ns(ctrl, cmd->nsid, cmd->flags & HOMI_NS_NEXT,
				&ns);
	if (ret)
		return ret;
	cmd->out_nsid = ns.nsid;
	cmd->out_block_size = ns.block_size;
	cmd->out_metadata_size = ns.metadata_size;
	cmd->out_blocks = ns.blocks;
	cmd->out_major = MAJOR(ns.dev);
	cmd->out_minor = MINOR(ns.dev);
	cmd->out_features = (ns.read_only ? HOMI_NS_READ_ONLY : 0) |
			    (ns.zoned ? HOMI_NS_ZONED : 0) |
			    (ns.multipath ? HOMI_NS_MULTIPATH : 0);
	return 0;
}

/* How far the doorbells reach; stock's shadow pages are there, or are not. */
static u32 homi_ctrl_reach(struct homi_ctrl *ctrl)
{
	u32 qid;

	for (qid = ctrl->kernel_queues + 1; qid <= ctrl->granted; qid++)
		if (!homi_doorbell_reachable(ctrl, qid))
			break;
	return qid - 1;
}

/*
 * The grant, which a reset may change. Positive: an NVMe status. EAGAIN: stock
 * has begun another reset, whose end asks anew; homi is about to hear of it.
 */
static int homi_ctrl_read_grant(struct homi_ctrl *ctrl, u64 generation,
				u32 *granted)
{
	int try, ret;

	for (try = 0; try < 100; try++) {
		ret = ctrl->ops->grant(&ctrl->nvme, granted);
		if (ret != -EAGAIN || homi_ctrl_is_gone(ctrl) ||
		    READ_ONCE(ctrl->generation) != generation)
			break;
		msleep(20);
	}
	return ret;
}

/* Nothing of this lasts: no tag for an admin command, no memory, another reset. */
static bool homi_ctrl_asks_again(int ret)
{
	return ret == -EBUSY || ret == -ENOMEM || ret == -EAGAIN;
}

/*
 * Once for each function, until stock leaves it or it does tell: one that is not
 * attached for it is met again whenever another one is.
 */
static void homi_ctrl_note_silent(struct pci_dev *pdev, int ret)
{
	if (!ret)
		xa_erase(&homi_silent, (unsigned long)pdev);
	else if (!xa_insert(&homi_silent, (unsigned long)pdev, xa_mk_value(1),
			    GFP_KERNEL))
		pci_err(pdev,
			"homi: does not tell how many queues it grants (%d), none is lent until the next reset\n",
			ret);
}

/*
 * The controller is live, and was seen to be: lend from it, by what is granted
 * now. Not if another reset came meanwhile; that one ends here too. Positive: it
 * does not tell, by this NVMe status.
 */
static int homi_ctrl_refresh(struct homi_ctrl *ctrl)
{
	u64 generation;
	u32 granted;
	bool live;
	int ret;

	spin_lock(&ctrl->lock);
	generation = ctrl->generation;
	spin_unlock(&ctrl->lock);
	ret = homi_ctrl_read_grant(ctrl, generation, &granted);
	spin_lock(&ctrl->lock);
	live = ctrl->state == HOMI_CTRL_RESETTING &&
	       ctrl->generation == generation &&
	       ctrl->hook_generation == generation;
	if (live && !ret) {
		ctrl->granted = granted;
		ctrl->reach = homi_ctrl_reach(ctrl);
		WRITE_ONCE(ctrl->state, HOMI_CTRL_LIVE);
		trace_homi_reset(ctrl, HOMI_PHASE_LIVE, generation);
		homi_ctrl_news(ctrl);
	}
	spin_unlock(&ctrl->lock);
	/* ENODEV: it goes, or we do. */
	if (live && !homi_ctrl_asks_again(ret) && ret != -ENODEV)
		homi_ctrl_note_silent(ctrl->nvme.pdev, ret);
	wake_up_all(&ctrl->wait);
	return ret;
}

static void homi_ctrl_end_live(struct homi_ctrl *ctrl)
{
	homi_ctrl_leave_stock(ctrl);
	homi_ctrl_put(ctrl);
}

/* Nobody else would ask, unless there is another reset. */
static bool homi_ctrl_live_later(struct homi_ctrl *ctrl)
{
	bool queued = false;

	/* Whoever makes it gone looks for the work after that. */
	spin_lock(&ctrl->lock);
	if (ctrl->state == HOMI_CTRL_RESETTING &&
	    ctrl->hook_generation == ctrl->generation)
		queued = queue_delayed_work(homi_wq, &ctrl->live_work,
					    msecs_to_jiffies(HOMI_AGAIN_MS));
	spin_unlock(&ctrl->lock);
	return queued;
}

static void homi_ctrl_live_work(struct work_struct *work)
{
	struct homi_ctrl *ctrl = container_of(to_delayed_work(work),
					      struct homi_ctrl, live_work);
	int ret = homi_ctrl_refresh(ctrl);

	homi_queues_retry(ctrl);
	/* It takes its references along. */
	if (!homi_ctrl_asks_again(ret) || !homi_ctrl_live_later(ctrl))
		homi_ctrl_end_live(ctrl);
}

/**
 * homi_ctrl_open_gate - stock takes commands again, if it does
 * @ctrl: the controller; its lock is held, and its generations are what they
 *	are now
 *
 * Before what is granted is known: what is to be deleted does not wait for that.
 */
void homi_ctrl_open_gate(struct homi_ctrl *ctrl)
{
	lockdep_assert_held(&ctrl->lock);
	if (ctrl->state == HOMI_CTRL_RESETTING &&
	    ctrl->hook_generation == ctrl->generation)
		WRITE_ONCE(ctrl->nvme.shut, false);
}

/**
 * homi_ctrl_went_live - stock says that the controller is up after a reset
 * @ctrl: the controller
 */
void homi_ctrl_went_live(struct homi_ctrl *ctrl)
{
	if (!homi_ctrl_enter_stock(ctrl))
		return;
	homi_ctrl_get(ctrl);
	/* One that waits already has its own. */
	if (mod_delayed_work(homi_wq, &ctrl->live_work, 0))
		homi_ctrl_end_live(ctrl);
}

/* Registers and Identify; sends nothing that changes the controller. */
static int homi_ctrl_read_caps(struct homi_ctrl *ctrl)
{
	struct nvme_id_ctrl *id;
	u32 cc;
	int ret;

	ctrl->cap = readq(ctrl->bar + NVME_REG_CAP);
	cc = readl(ctrl->bar + NVME_REG_CC);
	if (ctrl->cap == U64_MAX || cc == U32_MAX)
		return -ENODEV;
	/* In a reset, whose end brings us here again */
	if (!(cc & NVME_CC_ENABLE))
		return -EAGAIN;
	ctrl->stride = 4U << NVME_CAP_STRIDE(ctrl->cap);
	ctrl->nvme.doorbell_stride = ctrl->stride;
	ctrl->max_depth = NVME_CAP_MQES(ctrl->cap) + 1;
	ctrl->page_size = 1U << (HOMI_PAGE_SHIFT_MIN +
				 (cc >> NVME_CC_MPS_SHIFT & 0xf));
	if ((cc >> NVME_CC_IOSQES_SHIFT & 0xf) != NVME_NVM_IOSQES ||
	    (cc >> NVME_CC_IOCQES_SHIFT & 0xf) != NVME_NVM_IOCQES)
		ctrl->reason = HOMI_REASON_ENTRY_SIZE;
	else if (ctrl->stride > PAGE_SIZE / 2)
		ctrl->reason = HOMI_REASON_STRIDE;

	id = kmalloc(NVME_IDENTIFY_DATA_SIZE, GFP_KERNEL);
	if (!id)
		return -ENOMEM;
	ret = ctrl->ops->identify(&ctrl->nvme, NVME_ID_CNS_CTRL, 0, id);
	/* MDTS is in units of CAP.MPSMIN. */
	if (!ret && id->mdts)
		ctrl->max_transfer = 1ULL << min_t(u32, 63, id->mdts +
			HOMI_PAGE_SHIFT_MIN + NVME_CAP_MPSMIN(ctrl->cap));
	/* Bits 1:0: with data of any alignment, or of dwords, which is all there is */
	if (!ret)
		ctrl->takes_sgl = homi_nvme_takes_sgl() &&
				  le32_to_cpu(id->sgls) & 3;
	kfree(id);
	return ret > 0 ? -EIO : ret;
}

static void homi_ctrl_read_queues(struct homi_ctrl *ctrl)
{
	if (ctrl->ops->kernel_queues(&ctrl->nvme, &ctrl->kernel_queues)) {
		ctrl->kernel_queues = HOMI_MAX_QID;
		ctrl->reason = HOMI_REASON_NO_BTF;
	}
	ctrl->stock_max = ctrl->kernel_queues;
	if (!homi_nvme_hooked())
		ctrl->reason = HOMI_REASON_NO_HOOK;
	if (cc_platform_has(CC_ATTR_MEM_ENCRYPT))
		ctrl->reason = HOMI_REASON_ENCRYPTED_MEMORY;
}

static void homi_ctrl_setup(struct homi_ctrl *ctrl)
{
	mutex_init(&ctrl->reserve_lock);
	mutex_init(&ctrl->identify_lock);
	mutex_init(&ctrl->dma_lock);
	spin_lock_init(&ctrl->lock);
	INIT_LIST_HEAD(&ctrl->entry);
	INIT_LIST_HEAD(&ctrl->ctxs);
	INIT_LIST_HEAD(&ctrl->users);
	INIT_LIST_HEAD(&ctrl->queues);
	INIT_LIST_HEAD(&ctrl->imports);
	INIT_LIST_HEAD(&ctrl->exports);
	init_waitqueue_head(&ctrl->wait);
	mutex_init(&ctrl->irq_lock);
	INIT_LIST_HEAD(&ctrl->vectors);
	INIT_LIST_HEAD(&ctrl->polled);
	INIT_DELAYED_WORK(&ctrl->live_work, homi_ctrl_live_work);
	INIT_WORK(&ctrl->free_work, homi_ctrl_free_work);
	init_rwsem(&ctrl->nvme.gate);
	refcount_set(&ctrl->nvme.users, 1);
	/* Until homi_ctrl_refresh() */
	ctrl->state = HOMI_CTRL_RESETTING;
	ctrl->generation = 1;
	ctrl->enabled_generation = 1;
}

static const struct attribute_group *homi_ctrl_groups[] = {
	&homi_quota_group,
	&homi_stats_group,
	NULL
};

static struct homi_ctrl *homi_ctrl_alloc(struct pci_dev *pdev)
{
	struct homi_ctrl *ctrl = kzalloc(sizeof(*ctrl), GFP_KERNEL);
	int minor, ret;

	if (!ctrl)
		return ERR_PTR(-ENOMEM);
	homi_ctrl_setup(ctrl);
	ctrl->ops = &homi_nvme_stock_ops;
	ctrl->bar_phys = pci_resource_start(pdev, 0);
	ctrl->bar_len = pci_resource_len(pdev, 0);
	ret = -ENOMEM;
	ctrl->qids = bitmap_zalloc(HOMI_MAX_QID + 1, GFP_KERNEL);
	if (!ctrl->qids)
		goto err_free;
	minor = ida_alloc_max(&homi_minors, HOMI_MINORS - 1, GFP_KERNEL);
	if (minor < 0) {
		ret = minor;
		goto err_bitmap;
	}
	ret = homi_nvme_attach(&ctrl->nvme, pdev);
	if (ret)
		goto err_minor;
	ret = homi_ctrl_alloc_works(ctrl);
	if (ret)
		goto err_detach;
	device_initialize(&ctrl->dev);
	ctrl->dev.class = homi_class;
	ctrl->dev.parent = &pdev->dev;
	ctrl->dev.groups = homi_ctrl_groups;
	ctrl->dev.release = homi_ctrl_release;
	ctrl->dev.devt = MKDEV(MAJOR(homi_devt), minor);
	return ctrl;

err_detach:
	homi_ctrl_drop_stock(ctrl);
	pci_dev_put(ctrl->nvme.pdev);
err_minor:
	ida_free(&homi_minors, minor);
err_bitmap:
	bitmap_free(ctrl->qids);
err_free:
	kfree(ctrl);
	return ERR_PTR(ret);
}

static void homi_ctrl_list(struct homi_ctrl *ctrl)
{
	mutex_lock(&homi_ctrls_lock);
	list_add_tail(&ctrl->entry, &homi_ctrls);
	mutex_unlock(&homi_ctrls_lock);
}

static void homi_ctrl_unlist(struct homi_ctrl *ctrl)
{
	mutex_lock(&homi_ctrls_lock);
	list_del_init(&ctrl->entry);
	mutex_unlock(&homi_ctrls_lock);
}

static void homi_ctrl_free_lists(struct homi_ctrl *ctrl)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(ctrl->lists); i++) {
		dma_pool_destroy(ctrl->lists[i]);
		ctrl->lists[i] = NULL;
	}
}

static int homi_ctrl_alloc_lists(struct homi_ctrl *ctrl)
{
	struct device *dev = &ctrl->nvme.pdev->dev;

	ctrl->lists[0] = dma_pool_create("homi", dev, ctrl->page_size,
					 ctrl->page_size, 0);
	ctrl->lists[1] = dma_pool_create("homi short", dev, HOMI_SHORT_LIST,
					 HOMI_SHORT_LIST, 0);
	if (ctrl->lists[0] && ctrl->lists[1])
		return 0;
	homi_ctrl_free_lists(ctrl);
	return -ENOMEM;
}

/*
 * Stock has left the function, or nobody has it open. What I/O there was it has
 * ended, and whoever is about to begin some gets an error from it.
 */
static void homi_ctrl_end_io(struct homi_ctrl *ctrl)
{
	homi_inflight_stop(&ctrl->inflight, &ctrl->wait);
	homi_ctrl_free_lists(ctrl);
}

/**
 * homi_ctrl_dead - the controller is lost: no more use, no admin command
 * @ctrl: the controller; stock is bound to it still
 * @reason: enum homi_reason that CTRL_INFO gives from now on
 */
void homi_ctrl_dead(struct homi_ctrl *ctrl, u32 reason)
{
	mutex_lock(&ctrl->dma_lock);
	ctrl->gone = true;
	mutex_unlock(&ctrl->dma_lock);
	spin_lock(&ctrl->lock);
	WRITE_ONCE(ctrl->state, HOMI_CTRL_GONE);
	trace_homi_reset(ctrl, HOMI_PHASE_DEAD, ctrl->generation);
	WRITE_ONCE(ctrl->nvme.shut, true);
	ctrl->reason = reason;
	homi_ctrl_news(ctrl);
	spin_unlock(&ctrl->lock);
	/* One that runs does not come again. */
	if (cancel_delayed_work(&ctrl->live_work))
		homi_ctrl_end_live(ctrl);
	homi_queues_lost(ctrl, HOMI_QUEUE_GONE);
	wake_up_all(&ctrl->wait);
	homi_budget_wake(ctrl);
}

/**
 * homi_ctrl_wait_added - for who opens its node: is it attached?
 * @ctrl: the controller
 *
 * By a node that was there before, somebody may be in while it is not known yet
 * whether the controller can be had. Who waited finds it gone if not, so that all
 * of it can be given back.
 *
 * Return: 0, or -EINTR
 */
int homi_ctrl_wait_added(struct homi_ctrl *ctrl)
{
	/* Its state after this */
	return wait_event_killable(ctrl->wait, smp_load_acquire(&ctrl->added)) ?
	       -EINTR : 0;
}

static void homi_ctrl_set_added(struct homi_ctrl *ctrl)
{
	/* See homi_ctrl_wait_added(). */
	smp_store_release(&ctrl->added, true);
	wake_up_all(&ctrl->wait);
}

static int homi_ctrl_add_node(struct homi_ctrl *ctrl)
{
	int ret;

	/* Whoever sees the node finds this too. */
	homi_debugfs_add(ctrl);
	cdev_init(&ctrl->cdev, &homi_fops);
	ctrl->cdev.owner = THIS_MODULE;
	ret = cdev_device_add(&ctrl->cdev, &ctrl->dev);
	if (ret)
		homi_debugfs_del(ctrl);
	return ret;
}

/* Called with the lock of @pdev's device held, while stock is bound to it. */
static int homi_ctrl_attach(struct pci_dev *pdev)
{
	struct homi_ctrl *ctrl;
	int ret, asked = 0;
	bool live;

	/* A slot reset ends with a reset of the controller. */
	if (pci_channel_offline(pdev))
		return -EAGAIN;
	ctrl = homi_ctrl_alloc(pdev);
	if (IS_ERR(ctrl))
		return PTR_ERR(ctrl);
	ret = dev_set_name(&ctrl->dev, "%s", dev_name(ctrl->nvme.class_dev));
	if (ret)
		goto err_put;
	ret = -ENOMEM;
	ctrl->bar = ioremap(ctrl->bar_phys, NVME_REG_DBS);
	if (!ctrl->bar)
		goto err_put;
	ret = homi_ctrl_read_caps(ctrl);
	if (ret)
		goto err_unmap;
	ret = homi_ctrl_alloc_lists(ctrl);
	if (ret)
		goto err_unmap;
	homi_doorbell_probe(ctrl);
	homi_ctrl_read_queues(ctrl);
	/*
	 * Listed before the state is looked at: a reset that is not seen in the
	 * one is seen by the other. If there is one its end makes us live.
	 */
	homi_ctrl_list(ctrl);
	/* Likewise: who changes a parameter from here on finds it. */
	homi_limits_refresh(ctrl);
	live = homi_nvme_is_live(&ctrl->nvme);
	spin_lock(&ctrl->lock);
	if (!ctrl->hook_generation && ctrl->generation == 1) {
		if (live)
			ctrl->hook_generation = 1;
		else
			ctrl->nvme.shut = true;
	}
	spin_unlock(&ctrl->lock);
	/* One without I/O queues, an administrative one say, is no business of ours. */
	ret = -ENXIO;
	if (live)
		asked = homi_ctrl_refresh(ctrl);
	if (asked > 0)
		goto err_unlist;
	ret = homi_ctrl_add_node(ctrl);
	if (ret)
		goto err_unlist;
	homi_ctrl_set_added(ctrl);
	if (homi_ctrl_asks_again(asked))
		homi_ctrl_went_live(ctrl);
	pci_info(pdev, "homi: %s: %u queue pairs granted, the kernel may take %u\n",
		 homi_ctrl_name(ctrl), ctrl->granted,
		 min(ctrl->kernel_queues, ctrl->granted));
	return 0;

err_unlist:
	homi_ctrl_dead(ctrl, HOMI_REASON_DEAD);
	homi_ctrl_set_added(ctrl);
	homi_ctrl_unlist(ctrl);
	homi_ctrl_free_lists(ctrl);
err_unmap:
	iounmap(ctrl->bar);
	ctrl->bar = NULL;
err_put:
	homi_ctrl_drop_stock(ctrl);
	homi_ctrl_put(ctrl);
	return ret;
}

static bool homi_ctrl_is_attached(struct pci_dev *pdev)
{
	struct homi_ctrl *ctrl;
	bool found = false;

	mutex_lock(&homi_ctrls_lock);
	list_for_each_entry(ctrl, &homi_ctrls, entry)
		found |= ctrl->nvme.pdev == pdev;
	mutex_unlock(&homi_ctrls_lock);
	return found;
}

/**
 * homi_ctrl_scan - attach to each function that stock is bound to
 *
 * Safe to call at any time and again. A controller that is not up yet is met
 * again when its start hook runs.
 *
 * Return: true if one could not be met that nobody will tell of again
 */
bool homi_ctrl_scan(void)
{
	struct pci_dev *pdev = NULL;
	bool again = false;
	int ret;

	homi_nvme_load_layout();
	for_each_pci_dev(pdev) {
		if (pdev->class != PCI_CLASS_STORAGE_EXPRESS ||
		    !homi_may_attach(pdev))
			continue;
		ret = 0;
		device_lock(&pdev->dev);
		if (homi_nvme_bound(pdev) && !homi_ctrl_is_attached(pdev))
			ret = homi_ctrl_attach(pdev);
		device_unlock(&pdev->dev);
		again |= ret == -EBUSY || ret == -ENOMEM;
	}
	return again;
}

static struct homi_ctx *homi_ctrl_next_ctx(struct homi_ctrl *ctrl)
{
	struct homi_ctx *ctx, *found = NULL;

	spin_lock(&ctrl->lock);
	list_for_each_entry(ctx, &ctrl->ctxs, entry)
		if (!ctx->dma_released && kref_get_unless_zero(&ctx->ref)) {
			ctx->dma_released = true;
			found = ctx;
			break;
		}
	spin_unlock(&ctrl->lock);
	return found;
}

/* Nothing of ours is mapped for the function when this returns. */
static void homi_ctrl_release_dma(struct homi_ctrl *ctrl)
{
	struct homi_ctx *ctx;

	homi_ctrl_end_io(ctrl);
	homi_queues_disabled(ctrl, U64_MAX);
	homi_queues_release_dma(ctrl);
	homi_imports_release(ctrl);
	while ((ctx = homi_ctrl_next_ctx(ctrl))) {
		homi_ctx_release_dma(ctx);
		homi_ctx_put(ctx);
	}
}

/* The character device goes; open files stay and get ENODEV. */
static void homi_ctrl_detach(struct homi_ctrl *ctrl)
{
	cdev_device_del(&ctrl->cdev, &ctrl->dev);
	homi_poller_stop(ctrl);
	homi_debugfs_del(ctrl);
	iounmap(ctrl->bar);
	ctrl->bar = NULL;
}

/**
 * homi_ctrl_unbind - stock is about to leave the function
 * @pdev: the function
 *
 * Mark, zap, wake; the controller gets no command from us. Unmapping waits for
 * homi_ctrl_unbound(), when bus mastering is off.
 */
void homi_ctrl_unbind(struct pci_dev *pdev)
{
	struct homi_ctrl *ctrl = homi_ctrl_find_pdev(pdev);

	if (!ctrl)
		return;
	homi_ctrl_dead(ctrl, HOMI_REASON_DEAD);
	homi_ctrl_detach(ctrl);
	homi_ctrl_put(ctrl);
}

void homi_ctrl_unbound(struct pci_dev *pdev)
{
	struct homi_ctrl *ctrl = homi_ctrl_find_pdev(pdev);

	homi_ctrl_note_silent(pdev, 0);
	if (!ctrl)
		return;
	homi_ctrl_release_dma(ctrl);
	homi_ctrl_each_ctx(ctrl, homi_extents_gone, NULL);
	homi_exports_revoke(ctrl);
	homi_ctrl_unlist(ctrl);
	homi_ctrl_drop_stock(ctrl);
	homi_ctrl_put(ctrl);
	homi_ctrl_put(ctrl);	/* the list's */
}

static struct homi_ctrl *homi_ctrl_first(void)
{
	struct homi_ctrl *ctrl;

	mutex_lock(&homi_ctrls_lock);
	ctrl = list_first_entry_or_null(&homi_ctrls, struct homi_ctrl, entry);
	if (ctrl)
		homi_ctrl_get(ctrl);
	mutex_unlock(&homi_ctrls_lock);
	return ctrl;
}

/**
 * homi_ctrl_detach_all - for module exit: no file is open, no queue exists
 */
void homi_ctrl_detach_all(void)
{
	struct homi_ctrl *ctrl;
	struct pci_dev *pdev;

	while ((ctrl = homi_ctrl_first())) {
		pdev = pci_dev_get(ctrl->nvme.pdev);
		/* An unbind has either not begun, or is through. */
		device_lock(&pdev->dev);
		if (!list_empty(&ctrl->entry)) {
			homi_ctrl_unlist(ctrl);
			homi_ctrl_dead(ctrl, HOMI_REASON_DEAD);
			homi_ctrl_detach(ctrl);
			homi_ctrl_end_io(ctrl);
			homi_ctrl_drop_stock(ctrl);
			homi_ctrl_put(ctrl);
		}
		homi_ctrl_put(ctrl);
		device_unlock(&pdev->dev);
		pci_dev_put(pdev);
	}
}

/* /dev/homi/nvme0 */
static char *homi_devnode(HOMI_DEVNODE_DEVICE *dev, umode_t *mode)
{
	return kasprintf(GFP_KERNEL, "homi/%s", dev_name(dev));
}

int homi_ctrl_init(void)
{
	int ret = -ENOMEM;

	homi_wq = alloc_workqueue("homi", WQ_UNBOUND, 0);
	if (!homi_wq)
		return ret;
	homi_class = class_create("homi");
	if (IS_ERR(homi_class)) {
		ret = PTR_ERR(homi_class);
		goto err_wq;
	}
	homi_class->devnode = homi_devnode;
	ret = alloc_chrdev_region(&homi_devt, 0, HOMI_MINORS, "homi");
	if (ret)
		goto err_class;
	return 0;

err_class:
	class_destroy(homi_class);
err_wq:
	destroy_workqueue(homi_wq);
	return ret;
}

void homi_ctrl_exit(void)
{
	destroy_workqueue(homi_wq);
	unregister_chrdev_region(homi_devt, HOMI_MINORS);
	class_destroy(homi_class);
	ida_destroy(&homi_minors);
	xa_destroy(&homi_silent);
}

#if IS_ENABLED(CONFIG_HOMI_KUNIT_TEST)
#include "tests/ctrl_test.c"
#endif
