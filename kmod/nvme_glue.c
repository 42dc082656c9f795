// SPDX-License-Identifier: GPL-2.0-only
/*
 * The only file that knows the stock nvme driver's internals: where its fields
 * are (by name, from the running kernel's BTF), what it exports, and how to
 * stand in its way politely. Long because no other file may know these things.
 */
#include <linux/blk-mq.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/ftrace.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/nvme_ioctl.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "homi.h"

#define HOMI_NVME_STATE_LIVE	1	/* NVME_CTRL_LIVE, 6.1 to 7.3 */
#define HOMI_NVME_STATE_DEAD	6	/* NVME_CTRL_DEAD, 6.1 to 7.3 */
#define HOMI_NVME_USERCMD	BIT(1)	/* NVME_REQ_USERCMD, 6.1 to 7.3 */

/* What a question waits for a free admin command */
#define HOMI_ASK_MS		10000

/* Offsets in the running kernel's structures, from its BTF. */
static struct {
	int dev_ctrl;
	int dev_nr_allocated_queues;
	int dev_dbbuf_dbs;
	int dev_dbbuf_eis;
	int dev_dbbuf_dbs_dma;
	int dev_dbbuf_eis_dma;
	int req_flags;
	int req_status;
	int req_result;
	int req_cmd;
	int ns_disk;
	int ns_head;
	int ns_ms;
	int head_ms;
	int head_disk;
	int head_nsid;
	int ctrl_state;
	int ctrl_admin_q;
} layout;
static bool layout_known;

static bool homi_no_btf;
module_param_named(no_btf, homi_no_btf, bool, 0444);
MODULE_PARM_DESC(no_btf, "act as on a kernel without BTF (for tests)");

/**
 * homi_nvme_load_layout - learn the offsets; safe to call again
 *
 * Without them homi attaches, and refuses to lend queues.
 */
int homi_nvme_load_layout(void)
{
	/* The first CORE_MUST have to be there. */
	enum { FLAGS, STATUS, RESULT, DISK, HEAD, STATE, HEAD_NSID, CORE_MUST,
	       NS_MS = CORE_MUST, HEAD_MS, HEAD_DISK, ADMIN_Q, CMD };
	enum { CTRL, ALLOCATED, DBS, EIS, PCI_MUST, DBS_DMA = PCI_MUST, EIS_DMA };
	struct homi_btf_query core[] = {
		[FLAGS] = { "nvme_request", "flags" },
		[STATUS] = { "nvme_request", "status" },
		[RESULT] = { "nvme_request", "result" },
		[DISK] = { "nvme_ns", "disk" },
		[HEAD] = { "nvme_ns", "head" },
		[STATE] = { "nvme_ctrl", "state" },
		[HEAD_NSID] = { "nvme_ns_head", "ns_id" },
		[NS_MS] = { "nvme_ns", "ms" },
		[HEAD_MS] = { "nvme_ns_head", "ms" },
		[HEAD_DISK] = { "nvme_ns_head", "disk" },
		[ADMIN_Q] = { "nvme_ctrl", "admin_q" },
		[CMD] = { "nvme_request", "cmd" },
	};
	struct homi_btf_query pci[] = {
		[CTRL] = { "nvme_dev", "ctrl" },
		[ALLOCATED] = { "nvme_dev", "nr_allocated_queues" },
		[DBS] = { "nvme_dev", "dbbuf_dbs" },
		[EIS] = { "nvme_dev", "dbbuf_eis" },
		[DBS_DMA] = { "nvme_dev", "dbbuf_dbs_dma_addr" },
		[EIS_DMA] = { "nvme_dev", "dbbuf_eis_dma_addr" },
	};
	unsigned int i;
	int ret;

	if (layout_known)
		return 0;
	if (homi_no_btf)
		return -ENOENT;
	ret = homi_btf_lookup("nvme_core", core, ARRAY_SIZE(core));
	if (!ret)
		ret = homi_btf_lookup("nvme", pci, ARRAY_SIZE(pci));
	if (ret)
		return ret;
	for (i = 0; i < CORE_MUST; i++)
		if (core[i].offset < 0)
			return -ENOENT;
	for (i = 0; i < PCI_MUST; i++)
		if (pci[i].offset < 0)
			return -ENOENT;
	if (core[FLAGS].size != 1 || core[STATUS].size != 2 ||
	    core[RESULT].size != 8 || core[STATE].size != 4 ||
	    core[HEAD_NSID].size != 4 || pci[ALLOCATED].size != 4)
		return -EINVAL;
	/* Metadata size moved from the namespace to its head. */
	i = core[NS_MS].offset >= 0 ? NS_MS : HEAD_MS;
	if (core[i].offset < 0 || core[i].size != 2)
		return -EINVAL;
	layout.req_flags = core[FLAGS].offset;
	layout.req_status = core[STATUS].offset;
	layout.req_result = core[RESULT].offset;
	layout.req_cmd = core[CMD].size == sizeof(void *) ?
			 core[CMD].offset : -1;
	layout.ns_disk = core[DISK].offset;
	layout.ns_head = core[HEAD].offset;
	layout.ns_ms = core[NS_MS].offset;
	layout.head_ms = core[HEAD_MS].offset;
	layout.head_disk = core[HEAD_DISK].offset;	/* -1: no multipath */
	layout.head_nsid = core[HEAD_NSID].offset;
	layout.ctrl_state = core[STATE].offset;
	layout.ctrl_admin_q = core[ADMIN_Q].size == sizeof(void *) ?
			      core[ADMIN_Q].offset : -1;
	layout.dev_ctrl = pci[CTRL].offset;
	layout.dev_nr_allocated_queues = pci[ALLOCATED].offset;
	layout.dev_dbbuf_dbs = pci[DBS].offset;
	layout.dev_dbbuf_eis = pci[EIS].offset;
	layout.dev_dbbuf_dbs_dma = pci[DBS_DMA].offset;
	layout.dev_dbbuf_eis_dma = pci[EIS_DMA].offset;
	layout_known = true;
	return 0;
}

/* --- admin commands --- */

/*
 * One that is out; the last of the two who know of it frees it. @result is dword
 * 0 of the completion, @buf what an Identify writes to.
 */
struct homi_admin_call {
	refcount_t ref;
	struct completion done;
	struct nvme_command cmd;
	u32 result;
	u16 status;
	void *buf;
};

/*
 * How many are out. They keep no reference to the module: a question that stock is
 * asked after a reset would have rmmod fail, with nobody using anything.
 */
static atomic_t homi_calls = ATOMIC_INIT(0);
static DECLARE_WAIT_QUEUE_HEAD(homi_calls_wait);

static void homi_admin_is_back(void)
{
	if (atomic_dec_and_test(&homi_calls))
		wake_up_all(&homi_calls_wait);
}

/**
 * homi_nvme_drain - returns when no admin command is out
 *
 * The last thing before the module's text goes: nobody sends one any more. Stock
 * ends those that are out, with its own time-out or when it gives up a reset.
 */
void homi_nvme_drain(void)
{
	wait_event(homi_calls_wait, !atomic_read(&homi_calls));
	/* Who counted to zero, in an interrupt or as a task, has returned. */
	synchronize_rcu();
	synchronize_rcu_tasks();
}

static void homi_admin_put(struct homi_admin_call *call)
{
	if (!refcount_dec_and_test(&call->ref))
		return;
	kfree(call->buf);
	kfree(call);
}

/*
 * What stock's driver itself fails as the last of several requests that are
 * dispatched at once takes the doorbell with it: stock's own command before it
 * would be waited for in vain, and the controller given up. So ring it. Nothing
 * is dispatched in an interrupt; there the controller itself said so.
 */
static void homi_admin_ring(struct request *req)
{
	if (in_task() && req->mq_hctx && req->q->mq_ops->commit_rqs)
		req->q->mq_ops->commit_rqs(req->mq_hctx);
}

static enum rq_end_io_ret homi_admin_end_io(HOMI_END_IO_ARGS)
{
	struct homi_admin_call *call = req->end_io_data;
	void *pdu = blk_mq_rq_to_pdu(req);

	call->result = le32_to_cpu(*(__le32 *)(pdu + layout.req_result));
	call->status = *(u16 *)(pdu + layout.req_status);
	if ((call->status & 0x7ff) == NVME_SC_HOST_PATH_ERROR)
		homi_admin_ring(req);
	if (!call->status && error != BLK_STS_OK)
		call->status = NVME_SC_HOST_PATH_ERROR;
	complete(&call->done);
	homi_admin_put(call);
	homi_admin_is_back();
	return RQ_END_IO_FREE;
}

static int homi_admin_status(u16 status)
{
	status &= 0x7ff;
	if (status == NVME_SC_HOST_PATH_ERROR ||
	    status == NVME_SC_HOST_ABORTED_CMD)
		return -EAGAIN;
	return status;
}

/* A tag, without sleeping on a queue that a reset may have stopped for long. */
static struct request *homi_admin_alloc(struct homi_nvme *nvme,
					enum req_op op, unsigned long deadline)
{
	struct request *req;

	for (;;) {
		if (READ_ONCE(nvme->shut))
			return ERR_PTR(-EAGAIN);
		req = blk_mq_alloc_request(nvme->admin_q, op,
					   BLK_MQ_REQ_NOWAIT);
		if (!IS_ERR(req))
			return req;
		/* NOWAIT asks for a tag before it looks whether this is over. */
		if (PTR_ERR(req) != -EAGAIN || blk_queue_dying(nvme->admin_q))
			return ERR_PTR(-ENODEV);
		if (time_after(jiffies, deadline))
			return ERR_PTR(-EBUSY);
		usleep_range(1000, 2000);
	}
}

static void homi_admin_free(struct request *req)
{
	/* It has no other way to end. */
	if (req->bio)
		bio_endio(req->bio);
	blk_mq_free_request(req);
}

/*
 * A user command is failed by the stock driver itself unless the controller is
 * LIVE at dispatch: a Create CQ that waited out a reset would reach the
 * controller before stock's Set Features (Number of Queues), and stock would
 * lose all its queues; and whatever is not answered while stock initialises the
 * controller has it given up.
 */
static struct request *homi_admin_prepare(struct homi_nvme *nvme,
					  struct homi_admin_call *call,
					  unsigned long deadline)
{
	struct request *req;
	int ret;

	req = homi_admin_alloc(nvme, call->buf ? REQ_OP_DRV_IN : REQ_OP_DRV_OUT,
			       deadline);
	if (IS_ERR(req))
		return req;
	nvme_init_request(req, &call->cmd);
	*(u8 *)(blk_mq_rq_to_pdu(req) + layout.req_flags) |= HOMI_NVME_USERCMD;
	if (call->buf) {
		ret = blk_rq_map_kern(req, call->buf, NVME_IDENTIFY_DATA_SIZE,
				      GFP_KERNEL);
		if (ret) {
			blk_mq_free_request(req);
			return ERR_PTR(ret);
		}
	}
	req->end_io = homi_admin_end_io;
	req->end_io_data = call;
	return req;
}

/*
 * Not while stock disables the controller, after which it would wait in the
 * stopped admin queue, to be failed together with stock's first Identify.
 */
static bool homi_admin_execute(struct homi_nvme *nvme, struct request *req)
{
	bool open;

	down_read(&nvme->gate);
	open = !READ_ONCE(nvme->shut);
	if (open)
		blk_execute_rq_nowait(req, false);
	up_read(&nvme->gate);
	return open;
}

/* Consumes a reference of @call if it is sent. */
static int homi_admin_send(struct homi_nvme *nvme, struct homi_admin_call *call,
			   unsigned long deadline)
{
	struct request *req;

	/* On the way out nothing is lent, so nothing has to be deleted. */
	if (!module_is_live(THIS_MODULE))
		return -ENODEV;
	req = homi_admin_prepare(nvme, call, deadline);
	if (IS_ERR(req))
		return PTR_ERR(req);
	atomic_inc(&homi_calls);
	refcount_inc(&call->ref);
	if (homi_admin_execute(nvme, req))
		return 0;
	refcount_dec(&call->ref);
	homi_admin_free(req);
	homi_admin_is_back();
	return -EAGAIN;
}

static struct homi_admin_call *homi_admin_new(struct nvme_command *cmd)
{
	/* A deletion must not fail for want of memory. */
	struct homi_admin_call *call = kzalloc(sizeof(*call),
					       GFP_KERNEL | __GFP_NOFAIL);

	refcount_set(&call->ref, 1);
	init_completion(&call->done);
	call->cmd = *cmd;
	return call;
}

static int homi_stock_admin(struct homi_nvme *nvme, struct nvme_command *cmd,
			    unsigned int timeout_ms)
{
	unsigned long timeout = msecs_to_jiffies(timeout_ms);
	struct homi_admin_call *call;
	int ret;

	if (!layout_known)
		return -EOPNOTSUPP;
	call = homi_admin_new(cmd);
	ret = homi_admin_send(nvme, call, jiffies + timeout);
	if (!ret)
		ret = wait_for_completion_timeout(&call->done, timeout) ?
		      homi_admin_status(call->status) : -ETIMEDOUT;
	homi_admin_put(call);
	return ret;
}

/*
 * Likewise, to the end, so that who asks one at a time has one command out: stock
 * ends it with its own time-out. Not while the channel is offline, and the
 * caller may hold the lock that whoever brings it back needs.
 */
static int homi_admin_ask(struct homi_nvme *nvme, struct nvme_command *cmd,
			  void *buf, u32 *result)
{
	struct homi_admin_call *call = homi_admin_new(cmd);
	int ret = -ENOMEM;

	if (buf) {
		call->buf = kzalloc(NVME_IDENTIFY_DATA_SIZE, GFP_KERNEL);
		if (!call->buf)
			goto out;
	}
	ret = homi_admin_send(nvme, call,
			      jiffies + msecs_to_jiffies(HOMI_ASK_MS));
	if (ret)
		goto out;
	while (!wait_for_completion_timeout(&call->done, HZ)) {
		ret = -EAGAIN;
		if (pci_channel_offline(nvme->pdev))
			goto out;
	}
	ret = homi_admin_status(call->status);
	if (!ret && buf)
		memcpy(buf, call->buf, NVME_IDENTIFY_DATA_SIZE);
	if (!ret && result)
		*result = call->result;
out:
	homi_admin_put(call);
	return ret;
}

static int homi_stock_identify(struct homi_nvme *nvme, u8 cns, u32 nsid,
			       void *buf)
{
	struct nvme_command cmd = {
		.identify.opcode = nvme_admin_identify,
		.identify.nsid = cpu_to_le32(nsid),
		.identify.cns = cns,
	};

	/* Nothing is lent then; only attaching asks. */
	if (!layout_known)
		return nvme_submit_sync_cmd(nvme->admin_q, &cmd, buf,
					    NVME_IDENTIFY_DATA_SIZE);
	return homi_admin_ask(nvme, &cmd, buf, NULL);
}

static int homi_stock_grant(struct homi_nvme *nvme, u32 *pairs)
{
	struct nvme_command cmd = {
		.features.opcode = nvme_admin_get_features,
		.features.fid = cpu_to_le32(NVME_FEAT_NUM_QUEUES),
	};
	u32 result = 0;
	int ret;

	if (layout_known)
		ret = homi_admin_ask(nvme, &cmd, NULL, &result);
	else
		ret = nvme_get_features(nvme->ctrl, NVME_FEAT_NUM_QUEUES, 0,
					NULL, 0, &result);
	if (ret)
		return ret;
	*pairs = min3(result & 0xffff, result >> 16, HOMI_MAX_QID - 1U) + 1;
	return 0;
}

static int homi_stock_kernel_queues(struct homi_nvme *nvme, u32 *queues)
{
	u32 allocated;

	if (!nvme->dev)
		return -EOPNOTSUPP;
	/* Admin queue included; fixed from probe to removal. */
	allocated = READ_ONCE(*(u32 *)(nvme->dev +
				       layout.dev_nr_allocated_queues));
	if (!allocated || allocated > HOMI_MAX_QID)
		return -EINVAL;
	*queues = allocated - 1;
	return 0;
}

static int homi_stock_shadow(struct homi_nvme *nvme, void **dbs, void **eis,
			     size_t *len)
{
	u32 stride, queues;
	int ret;

	*dbs = NULL;
	*eis = NULL;
	*len = 0;
	ret = homi_stock_kernel_queues(nvme, &queues);
	if (ret)
		return ret;
	stride = nvme->doorbell_stride;
	*dbs = READ_ONCE(*(void **)(nvme->dev + layout.dev_dbbuf_dbs));
	*eis = READ_ONCE(*(void **)(nvme->dev + layout.dev_dbbuf_eis));
	if (!*dbs || !*eis) {
		*dbs = NULL;
		*eis = NULL;
		return 0;
	}
	/* The pages behind the buffer are stock's to the end of the last one. */
	*len = PAGE_ALIGN((queues + 1) * 2 * stride);
	return 0;
}

/*
 * Stock before 6.12 hands what a reset held up to the new queues and then tells
 * the controller where their shadow doorbells are. Until that the controller
 * sets no event index, so the second doorbell, or the first after it, is in the
 * shadow only: the command is never seen, and stock gives the controller up. A
 * reset of ours must not do that to anybody. Stock tells it again, which changes
 * nothing.
 */
static void homi_stock_tell_shadow(struct homi_nvme *nvme)
{
	struct nvme_command cmd = { .dbbuf.opcode = nvme_admin_dbbuf };
	void *dev = nvme->dev;

	if (!HOMI_SHADOW_LATE || !dev || layout.dev_dbbuf_dbs_dma < 0 ||
	    layout.dev_dbbuf_eis_dma < 0 ||
	    !READ_ONCE(*(void **)(dev + layout.dev_dbbuf_dbs)))
		return;
	cmd.dbbuf.prp1 = cpu_to_le64(*(dma_addr_t *)(dev +
						     layout.dev_dbbuf_dbs_dma));
	cmd.dbbuf.prp2 = cpu_to_le64(*(dma_addr_t *)(dev +
						     layout.dev_dbbuf_eis_dma));
	/* As stock does, where stock does; what that fails with it meets too. */
	nvme_submit_sync_cmd(nvme->admin_q, &cmd, NULL, 0);
}

static int homi_stock_reset(struct homi_nvme *nvme)
{
	return nvme_reset_ctrl(nvme->ctrl);
}

/* --- namespaces --- */

static struct gendisk *homi_ns_disk(struct nvme_ns *ns)
{
	return *(struct gendisk **)((void *)ns + layout.ns_disk);
}

static struct gendisk *homi_ns_head_disk(struct nvme_ns *ns)
{
	void *head = *(void **)((void *)ns + layout.ns_head);

	if (layout.head_disk < 0)
		return NULL;
	return READ_ONCE(*(struct gendisk **)(head + layout.head_disk));
}

static bool homi_ns_is_behind(struct nvme_ns *ns, struct block_device *bdev)
{
	return homi_ns_disk(ns) == bdev->bd_disk ||
	       homi_ns_head_disk(ns) == bdev->bd_disk;
}

static u32 homi_ns_metadata(struct nvme_ns *ns)
{
	void *head = *(void **)((void *)ns + layout.ns_head);

	return layout.ns_ms >= 0 ? *(u16 *)((void *)ns + layout.ns_ms) :
				   *(u16 *)(head + layout.head_ms);
}

static void homi_ns_describe(struct nvme_ns *ns, u32 nsid,
			     struct homi_nvme_ns *info)
{
	struct gendisk *disk = homi_ns_disk(ns);
	struct gendisk *head = homi_ns_head_disk(ns);

	info->nsid = nsid;
	info->block_size = queue_logical_block_size(disk->queue);
	info->blocks = get_capacity(disk) / (info->block_size >> SECTOR_SHIFT);
	info->metadata_size = homi_ns_metadata(ns);
	info->dev = disk_devt(head ?: disk);
	info->read_only = get_disk_ro(disk) || (head && get_disk_ro(head));
	info->zoned = blk_queue_is_zoned(disk->queue);
	info->multipath = head;
}

static int homi_stock_find_one(struct homi_nvme *nvme, u32 nsid,
			       struct homi_nvme_ns *info)
{
	struct nvme_ns *ns = nvme_find_get_ns(nvme->ctrl, nsid);

	if (!ns)
		return -ENOENT;
	homi_ns_describe(ns, nsid, info);
	nvme_put_ns(ns);
	return 0;
}

static int homi_stock_find_ns(struct homi_nvme *nvme, u32 nsid, bool next,
			      struct homi_nvme_ns *info)
{
	unsigned int i;
	__le32 *list;
	u32 last;
	int ret;

	if (!layout_known)
		return -EOPNOTSUPP;
	if (!nsid || nsid >= NVME_NSID_ALL)
		return next && !nsid ? -EINVAL : -ENOENT;
	ret = homi_stock_find_one(nvme, nsid, info);
	/* The list command takes no id from NVME_NSID_ALL - 1 on. */
	if (!ret || !next || nsid >= NVME_NSID_ALL - 1)
		return ret;
	list = kmalloc(NVME_IDENTIFY_DATA_SIZE, GFP_KERNEL);
	if (!list)
		return -ENOMEM;
	/* The list holds ids above the one that is given, in order. */
	do {
		last = nsid;
		ret = homi_stock_identify(nvme, NVME_ID_CNS_NS_ACTIVE_LIST,
					  nsid, list);
		if (ret) {
			ret = ret > 0 ? -EIO : ret;
			break;
		}
		ret = -ENOENT;
		for (i = 0; i < NVME_IDENTIFY_DATA_SIZE / sizeof(*list); i++) {
			nsid = le32_to_cpu(list[i]);
			if (nsid <= last || fatal_signal_pending(current)) {
				nsid = 0;
				break;
			}
			last = nsid;
			ret = homi_stock_find_one(nvme, nsid, info);
			if (!ret)
				break;
		}
	} while (ret && nsid);
	kfree(list);
	return ret;
}

/*
 * Likewise, if it is still what is behind @bdev, which the caller holds open: a
 * namespace that went and came back has another disk.
 */
static int homi_stock_find_ns_on(struct homi_nvme *nvme, u32 nsid,
				 struct block_device *bdev,
				 struct homi_nvme_ns *info)
{
	struct nvme_ns *ns = nvme_find_get_ns(nvme->ctrl, nsid);
	int ret = -ENODEV;

	if (!ns)
		return ret;
	if (homi_ns_is_behind(ns, bdev)) {
		homi_ns_describe(ns, nsid, info);
		ret = 0;
	}
	nvme_put_ns(ns);
	return ret;
}

/*
 * The nsid that a disk of stock's is for, or 0. The head of a multipath namespace would
 * ask a path that is live (NVME_IOCTL_ID is EWOULDBLOCK while all are reset).
 */
static u32 homi_disk_nsid(struct gendisk *disk)
{
	struct device *parent = disk_to_dev(disk)->parent;
	int nsid;

	if (!parent || !parent->class)
		return 0;
	if (!strcmp(parent->class->name, "nvme-subsystem"))
		return *(u32 *)(disk->private_data + layout.head_nsid);
	if (strcmp(parent->class->name, "nvme"))
		return 0;
	nsid = disk->fops->ioctl(disk->part0, 0, NVME_IOCTL_ID, 0);
	return max(nsid, 0);
}

/*
 * The caller holds @bdev open through a file system, which keeps its disk and
 * what is behind it.
 */
static int homi_stock_find_ns_by_bdev(struct homi_nvme *nvme,
				      struct block_device *bdev,
				      struct homi_nvme_ns *info)
{
	u32 nsid;

	if (!layout_known)
		return -EOPNOTSUPP;
	nsid = homi_disk_nsid(bdev->bd_disk);
	return nsid ? homi_stock_find_ns_on(nvme, nsid, bdev, info) : -ENODEV;
}

/* --- I/O commands --- */

/* Of a namespace with several paths it is the one by this function. */
static int homi_stock_io_queue(struct homi_nvme *nvme, u32 nsid,
			       struct block_device *bdev,
			       struct request_queue **q)
{
	struct nvme_ns *ns = nvme_find_get_ns(nvme->ctrl, nsid);
	int ret = -ENODEV;

	if (!ns)
		return ret;
	*q = homi_ns_disk(ns)->queue;
	if (homi_ns_is_behind(ns, bdev) && blk_get_queue(*q))
		ret = 0;
	nvme_put_ns(ns);
	return ret;
}

static enum rq_end_io_ret homi_io_end_io(HOMI_END_IO_ARGS)
{
	struct homi_nvme_io *io = req->end_io_data;
	u16 status = *(u16 *)(blk_mq_rq_to_pdu(req) + layout.req_status);

	if (!status && error != BLK_STS_OK)
		status = NVME_SC_HOST_PATH_ERROR;
	io->done(io, status & 0x7ff);
	return RQ_END_IO_FREE;
}

/* As it was when the command was made, as far as stock knows */
static bool homi_ns_fits(struct request_queue *q, const struct homi_nvme_io *io)
{
	return queue_logical_block_size(q) == io->block_size &&
	       homi_ns_metadata(q->queuedata) == io->metadata_size;
}

/* What stock sends; see homi_nvme_takes_sgl(). */
static struct nvme_command *homi_io_cmd(struct request *req)
{
	void *pdu = blk_mq_rq_to_pdu(req);

	return *(struct nvme_command **)(pdu + layout.req_cmd);
}

/**
 * homi_nvme_takes_sgl - can a command of ours have an SGL?
 *
 * nvme_init_request() takes the flag for that away, so it has to be set again where
 * stock keeps the command.
 */
bool homi_nvme_takes_sgl(void)
{
	return layout_known && layout.req_cmd >= 0;
}

/*
 * Nothing that it is about is held while this waits for a request. Who has one keeps
 * the queue from being frozen, so from here on stock's idea of the format stays: a
 * namespace that was formatted meanwhile would transfer more than was meant.
 *
 * What fails fast is not done again after a reset, nor held back during one, and
 * nvme_init_request() asks for that.
 */
static int homi_stock_io(struct request_queue *q, struct homi_nvme_io *io,
			 bool may_wait)
{
	struct request *req;
	int ret;

	req = blk_mq_alloc_request(q, nvme_is_write(&io->cmd) ?
				   REQ_OP_DRV_OUT : REQ_OP_DRV_IN,
				   may_wait ? 0 : BLK_MQ_REQ_NOWAIT);
	if (IS_ERR(req))
		return blk_queue_dying(q) ? -ENODEV : PTR_ERR(req);
	ret = homi_ns_fits(q, io) ? io->ready(io) : -ENODEV;
	if (ret) {
		blk_mq_free_request(req);
		return ret;
	}
	nvme_init_request(req, &io->cmd);
	req->cmd_flags &= ~REQ_FAILFAST_DRIVER;
	if (io->sgl)
		homi_io_cmd(req)->common.flags |= NVME_CMD_SGL_METABUF;
	req->end_io = homi_io_end_io;
	req->end_io_data = io;
	blk_execute_rq_nowait(req, HOMI_AT_HEAD);
	return 0;
}

static void homi_stock_detach(struct homi_nvme *nvme)
{
	blk_put_queue(nvme->admin_q);
	nvme->admin_q = NULL;
	put_device(nvme->class_dev);
	nvme->class_dev = NULL;
}

const struct homi_nvme_ops homi_nvme_stock_ops = {
	.detach = homi_stock_detach,
	.admin = homi_stock_admin,
	.identify = homi_stock_identify,
	.grant = homi_stock_grant,
	.kernel_queues = homi_stock_kernel_queues,
	.shadow = homi_stock_shadow,
	.tell_shadow = homi_stock_tell_shadow,
	.reset = homi_stock_reset,
	.find_ns = homi_stock_find_ns,
	.find_ns_by_bdev = homi_stock_find_ns_by_bdev,
	.find_ns_on = homi_stock_find_ns_on,
	.io_queue = homi_stock_io_queue,
	.io = homi_stock_io,
};

/* --- attach --- */

static int homi_match_class(struct device *dev, HOMI_MATCH_DATA *name)
{
	return dev->class && !strcmp(dev->class->name, name);
}

/* Is stock nvme bound to it? The caller holds the device's lock. */
bool homi_nvme_bound(struct pci_dev *pdev)
{
	return pdev->driver && !strcmp(pdev->driver->name, "nvme");
}

/* Catches the queue that a function of stock's hands to the block layer. */
struct homi_capture {
	struct kprobe kp;
	struct task_struct *task;
	struct request_queue *q;
	int hits;
};

static int homi_capture_pre(struct kprobe *kp, struct pt_regs *regs)
{
	struct homi_capture *capture = container_of(kp, struct homi_capture, kp);

	if (in_task() && current == capture->task) {
		capture->q = (void *)regs_get_kernel_argument(regs, 0);
		capture->hits++;
	}
	return 0;
}

NOKPROBE_SYMBOL(homi_capture_pre);

/*
 * The admin queue without any private layout: it is what blk_mq_alloc_request()
 * receives while we ask stock for a feature, once.
 */
static struct request_queue *homi_capture_admin_q(void *ctrl)
{
	struct homi_capture capture = {
		.kp.symbol_name = "blk_mq_alloc_request",
		.kp.pre_handler = homi_capture_pre,
		.task = current,
	};
	u32 result;
	int ret;

	ret = register_kprobe(&capture.kp);
	if (ret)
		return NULL;
	ret = nvme_get_features(ctrl, NVME_FEAT_NUM_QUEUES, 0, NULL, 0,
				&result);
	unregister_kprobe(&capture.kp);
	return !ret && capture.hits == 1 ? capture.q : NULL;
}

/*
 * Where BTF tells where it is, and was found to be right about @nvme, no code that
 * stock runs at the same time is patched, and nothing is asked that could wait for
 * a reset that never ends. In any case it has to look like an admin queue.
 */
static struct request_queue *homi_find_admin_q(struct homi_nvme *nvme)
{
	struct request_queue *q;

	if (nvme->dev && layout.ctrl_admin_q >= 0)
		q = READ_ONCE(*(struct request_queue **)(nvme->ctrl +
							 layout.ctrl_admin_q));
	else
		q = homi_capture_admin_q(nvme->ctrl);
	if (IS_ERR_OR_NULL(q) || q->queuedata || !q->tag_set ||
	    q->tag_set->nr_hw_queues != 1 || !blk_get_queue(q))
		return NULL;
	return q;
}

/**
 * homi_nvme_attach - take references to what stock knows about a function
 * @nvme: filled in
 * @pdev: the function; the caller holds its device lock and it is bound
 *
 * -EAGAIN if the controller is not LIVE yet; before that stock has no admin
 * queue. Without BTF it is asked for a feature. The caller ends it by the operation
 * "detach", and puts @nvme->pdev.
 */
int homi_nvme_attach(struct homi_nvme *nvme, struct pci_dev *pdev)
{
	struct device *class_dev;

	class_dev = device_find_child(&pdev->dev, "nvme", homi_match_class);
	if (!class_dev)
		return -EAGAIN;
	nvme->ctrl = dev_get_drvdata(class_dev);
	nvme->class_dev = class_dev;
	if (nvme->ctrl && !homi_nvme_is_live(nvme)) {
		put_device(class_dev);
		return -EAGAIN;
	}
	nvme->dev = NULL;
	if (layout_known && nvme->ctrl &&
	    nvme->ctrl - layout.dev_ctrl == pci_get_drvdata(pdev))
		nvme->dev = pci_get_drvdata(pdev);
	nvme->admin_q = nvme->ctrl ? homi_find_admin_q(nvme) : NULL;
	if (!nvme->admin_q) {
		put_device(class_dev);
		return -ENXIO;
	}
	nvme->pdev = pci_dev_get(pdev);
	nvme->owner = pdev->driver->driver.owner;
	return 0;
}

/**
 * homi_nvme_is_live - is the controller LIVE for the stock driver?
 * @nvme: an attached controller, or one with @ctrl and @class_dev set
 *
 * Without BTF: it is, or was, if one of its namespaces is a block device.
 */
bool homi_nvme_is_live(struct homi_nvme *nvme)
{
	struct device *disk;

	if (layout_known)
		return READ_ONCE(*(u32 *)(nvme->ctrl + layout.ctrl_state)) ==
		       HOMI_NVME_STATE_LIVE;
	disk = device_find_child(nvme->class_dev, "block", homi_match_class);
	put_device(disk);
	return disk;
}

/* --- interposition --- */

/*
 * One function of stock's that is redirected to a wrapper of ours. The wrapper
 * calls the original, which is let through because the call comes from our
 * text; so it must not be a tail call. @inside counts from the redirection on,
 * not from the wrapper's first instruction: a task between the two must be
 * waited for as well.
 */
struct homi_hook {
	struct ftrace_ops ops;
	void *target;
	void *wrapper;
	atomic_t inside;
	bool registered;
};

static const struct homi_nvme_events *homi_events;

static void notrace homi_hook_redirect(unsigned long ip,
				       unsigned long parent_ip,
				       struct ftrace_ops *ops,
				       struct ftrace_regs *fregs)
{
	struct homi_hook *hook = container_of(ops, struct homi_hook, ops);

	if (within_module(parent_ip, THIS_MODULE))
		return;
	atomic_inc(&hook->inside);
	ftrace_regs_set_instruction_pointer(fregs,
					    (unsigned long)hook->wrapper);
}

enum { HOOK_QUIESCE, HOOK_STATE, HOOK_COUNT, HOOK_START, HOOK_NR };

static struct homi_hook homi_hooks[HOOK_NR];

static void homi_hook_leave(int nr)
{
	atomic_dec(&homi_hooks[nr].inside);
}

static void homi_wrap_quiesce(struct nvme_ctrl *ctrl)
{
	homi_events->quiesce(ctrl);
	nvme_quiesce_io_queues(ctrl);
	homi_hook_leave(HOOK_QUIESCE);
}

/* May be called in interrupts, though never with LIVE or DEAD. */
static bool homi_wrap_state(struct nvme_ctrl *ctrl, int state)
{
	bool changed = nvme_change_ctrl_state(ctrl, state);

	if (changed && state == HOMI_NVME_STATE_LIVE)
		homi_events->resumed(ctrl);
	else if (changed && state == HOMI_NVME_STATE_DEAD)
		homi_events->dead(ctrl);
	homi_hook_leave(HOOK_STATE);
	return changed;
}

/*
 * Ask for more than stock does, and keep the rest. A controller that fails the
 * larger number is asked for stock's own: it must not lose all its queues by us.
 */
static int homi_count_shared(struct nvme_ctrl *ctrl, int *count)
{
	int asked = *count, more = homi_events->ask(ctrl, asked), ret;

	*count = more;
	ret = nvme_set_queue_count(ctrl, count);
	if (!ret && *count <= 0 && more != asked) {
		*count = asked;
		ret = nvme_set_queue_count(ctrl, count);
	}
	/* An NVMe status leaves the count as it was, and stock goes on with it. */
	if (ret)
		*count = asked;
	/* 0: a degraded controller, which stock gives no I/O queue then. */
	if (ret >= 0 && *count > 0)
		*count = homi_events->share(ctrl, asked, *count);
	return ret;
}

/* Stock comes here after it disabled and enabled the controller. */
static int homi_wrap_count(struct nvme_ctrl *ctrl, int *count)
{
	int ret;

	homi_events->reenabled(ctrl);
	ret = homi_count_shared(ctrl, count);
	homi_hook_leave(HOOK_COUNT);
	return ret;
}

static void homi_wrap_start(struct nvme_ctrl *ctrl)
{
	nvme_start_ctrl(ctrl);
	homi_events->live(ctrl);
	homi_hook_leave(HOOK_START);
}

static struct homi_hook homi_hooks[HOOK_NR] = {
	[HOOK_QUIESCE] = { .target = nvme_quiesce_io_queues,
			   .wrapper = homi_wrap_quiesce },
	[HOOK_STATE] = { .target = nvme_change_ctrl_state,
			 .wrapper = homi_wrap_state },
	[HOOK_COUNT] = { .target = nvme_set_queue_count,
			 .wrapper = homi_wrap_count },
	[HOOK_START] = { .target = nvme_start_ctrl,
			 .wrapper = homi_wrap_start },
};

static int homi_hook_set(struct homi_hook *hook)
{
	int ret;

	hook->ops.func = homi_hook_redirect;
	hook->ops.flags = FTRACE_OPS_FL_SAVE_REGS | FTRACE_OPS_FL_IPMODIFY |
			  FTRACE_OPS_FL_PERMANENT;
	ret = ftrace_set_filter_ip(&hook->ops, (unsigned long)hook->target, 0,
				   0);
	if (ret)
		return ret;
	ret = register_ftrace_function(&hook->ops);
	if (ret)
		ftrace_set_filter_ip(&hook->ops, (unsigned long)hook->target,
				     1, 0);
	else
		hook->registered = true;
	return ret;
}

/**
 * homi_nvme_hook - put the wrappers in place, all or none
 * @events: who is told; constant
 *
 * PERMANENT: sysctl kernel.ftrace_enabled=0 is refused while they stand.
 */
int homi_nvme_hook(const struct homi_nvme_events *events)
{
	int i, ret;

	homi_events = events;
	for (i = 0; i < HOOK_NR; i++) {
		ret = homi_hook_set(&homi_hooks[i]);
		if (ret) {
			homi_nvme_unhook();
			return ret;
		}
	}
	return 0;
}

bool homi_nvme_hooked(void)
{
	int i;

	for (i = 0; i < HOOK_NR; i++)
		if (!homi_hooks[i].registered)
			return false;
	return true;
}

/**
 * homi_nvme_unhook - take the wrappers away; returns when nobody is in them
 */
void homi_nvme_unhook(void)
{
	int i;

	for (i = 0; i < HOOK_NR; i++) {
		struct homi_hook *hook = &homi_hooks[i];

		if (!hook->registered)
			continue;
		unregister_ftrace_function(&hook->ops);
		ftrace_set_filter_ip(&hook->ops, (unsigned long)hook->target,
				     1, 0);
		hook->registered = false;
	}
	for (i = 0; i < HOOK_NR; i++)
		while (atomic_read(&homi_hooks[i].inside))
			msleep(20);
	/* A task may be between its last atomic_dec() and its return. */
	synchronize_rcu_tasks();
}

HOMI_IMPORT_NS(NVME_TARGET_PASSTHRU);
