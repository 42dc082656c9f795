// SPDX-License-Identifier: GPL-2.0-only
/*
 * A controller for unit tests, behind the operations of nvme_glue.h: keeps
 * queues as the NVMe base specification says and answers with its statuses.
 * Resets take the way that stock's take, through the hooks' events.
 */
#include <linux/bitmap.h>
#include <linux/dma-mapping.h>
#include <linux/slab.h>

#include "mock.h"

static struct homi_mock *to_mock(struct homi_nvme *nvme)
{
	return container_of(nvme, struct homi_mock, ctrl.nvme);
}

/* --- the controller's side --- */

static bool homi_mock_may_exist(struct homi_mock *mock, u16 qid)
{
	return qid && qid <= mock->granted && qid <= HOMI_MOCK_QUEUES;
}

static int homi_mock_create_cq(struct homi_mock *mock, struct nvme_command *cmd)
{
	u16 qid = le16_to_cpu(cmd->create_cq.cqid);
	u32 depth = le16_to_cpu(cmd->create_cq.qsize) + 1;

	if (!homi_mock_may_exist(mock, qid) || mock->cq_depth[qid])
		return NVME_SC_QID_INVALID;
	if (depth < 2 || depth > mock->ctrl.max_depth)
		return NVME_SC_QUEUE_SIZE;
	if (!(le16_to_cpu(cmd->create_cq.cq_flags) & NVME_QUEUE_PHYS_CONTIG) ||
	    !IS_ALIGNED(le64_to_cpu(cmd->create_cq.prp1), mock->ctrl.page_size))
		return NVME_SC_INVALID_FIELD;
	mock->cq_depth[qid] = depth;
	return 0;
}

static int homi_mock_create_sq(struct homi_mock *mock, struct nvme_command *cmd)
{
	u16 qid = le16_to_cpu(cmd->create_sq.sqid);
	u16 cqid = le16_to_cpu(cmd->create_sq.cqid);
	u32 depth = le16_to_cpu(cmd->create_sq.qsize) + 1;

	if (!homi_mock_may_exist(mock, cqid) || !mock->cq_depth[cqid])
		return NVME_SC_CQ_INVALID;
	if (!homi_mock_may_exist(mock, qid) || mock->sq_depth[qid])
		return NVME_SC_QID_INVALID;
	if (depth < 2 || depth > mock->ctrl.max_depth)
		return NVME_SC_QUEUE_SIZE;
	if (!(le16_to_cpu(cmd->create_sq.sq_flags) & NVME_QUEUE_PHYS_CONTIG) ||
	    !IS_ALIGNED(le64_to_cpu(cmd->create_sq.prp1), mock->ctrl.page_size))
		return NVME_SC_INVALID_FIELD;
	mock->sq_depth[qid] = depth;
	mock->sq_cq[qid] = cqid;
	mock->sq_prp[qid] = le64_to_cpu(cmd->create_sq.prp1);
	return 0;
}

static int homi_mock_delete_sq(struct homi_mock *mock, u16 qid)
{
	if (!homi_mock_may_exist(mock, qid) || !mock->sq_depth[qid])
		return NVME_SC_QID_INVALID;
	mock->sq_depth[qid] = 0;
	return 0;
}

static int homi_mock_delete_cq(struct homi_mock *mock, u16 qid)
{
	unsigned int sq;

	if (!homi_mock_may_exist(mock, qid) || !mock->cq_depth[qid])
		return NVME_SC_QID_INVALID;
	for (sq = 1; sq <= HOMI_MOCK_QUEUES; sq++)
		if (mock->sq_depth[sq] && mock->sq_cq[sq] == qid)
			return NVME_SC_INVALID_QUEUE;
	mock->cq_depth[qid] = 0;
	return 0;
}

static int homi_mock_execute(struct homi_mock *mock, struct nvme_command *cmd)
{
	switch (cmd->common.opcode) {
	case nvme_admin_create_cq:
		return homi_mock_create_cq(mock, cmd);
	case nvme_admin_create_sq:
		return homi_mock_create_sq(mock, cmd);
	case nvme_admin_delete_sq:
		return homi_mock_delete_sq(mock,
				le16_to_cpu(cmd->delete_queue.qid));
	case nvme_admin_delete_cq:
		return homi_mock_delete_cq(mock,
				le16_to_cpu(cmd->delete_queue.qid));
	default:
		return NVME_SC_INVALID_OPCODE;
	}
}

/* --- stock's side --- */

static bool homi_mock_befalls(struct homi_mock *mock, u8 opcode,
			      struct homi_mock_fault *fault)
{
	if (!mock->fault.count || mock->fault.opcode != opcode)
		return false;
	mock->fault.count--;
	*fault = mock->fault;
	return true;
}

static int homi_mock_admin(struct homi_nvme *nvme, struct nvme_command *cmd,
			   unsigned int timeout_ms)
{
	struct homi_mock *mock = to_mock(nvme);
	struct homi_mock_fault fault = { .executed = true };
	int ret = -EAGAIN;

	mutex_lock(&mock->lock);
	if (!mock->live)
		goto out;
	if (mock->commands < HOMI_MOCK_LOG)
		mock->log[mock->commands] = cmd->common.opcode;
	mock->commands++;
	homi_mock_befalls(mock, cmd->common.opcode, &fault);
	if (fault.executed)
		ret = homi_mock_execute(mock, cmd);
	if (!fault.executed || fault.ret)
		ret = fault.ret;
out:
	mutex_unlock(&mock->lock);
	if (fault.event)
		fault.event(mock);
	return ret;
}

static int homi_mock_identify(struct homi_nvme *nvme, u8 cns, u32 nsid,
			      void *buf)
{
	memset(buf, 0, NVME_IDENTIFY_DATA_SIZE);
	return 0;
}

static int homi_mock_grant(struct homi_nvme *nvme, u32 *pairs)
{
	struct homi_mock *mock = to_mock(nvme);
	int ret;

	mutex_lock(&mock->lock);
	*pairs = mock->granted;
	ret = mock->grant_ret;
	mutex_unlock(&mock->lock);
	if (mock->grant_event)
		mock->grant_event(mock);
	return ret;
}

static void homi_mock_detach(struct homi_nvme *nvme)
{
	struct homi_mock *mock = to_mock(nvme);

	mutex_lock(&mock->lock);
	mock->detached++;
	mutex_unlock(&mock->lock);
}

static void homi_mock_tell_shadow(struct homi_nvme *nvme)
{
}

static int homi_mock_kernel_queues(struct homi_nvme *nvme, u32 *queues)
{
	*queues = to_mock(nvme)->kernel_queues;
	return 0;
}

/* Called under spinlocks. */
static int homi_mock_shadow(struct homi_nvme *nvme, void **dbs, void **eis,
			    size_t *len)
{
	struct homi_mock *mock = to_mock(nvme);

	*dbs = mock->dbs;
	*eis = mock->eis;
	*len = mock->shadow_len;
	return mock->shadow_ret;
}

static int homi_mock_ask_reset(struct homi_nvme *nvme)
{
	struct homi_mock *mock = to_mock(nvme);

	mutex_lock(&mock->lock);
	mock->resets++;
	if (mock->resets_itself)
		queue_work(system_unbound_wq, &mock->reset_work);
	mutex_unlock(&mock->lock);
	return 0;
}

static int homi_mock_find_ns(struct homi_nvme *nvme, u32 nsid, bool next,
			     struct homi_nvme_ns *ns)
{
	return -ENOENT;
}

static int homi_mock_find_ns_by_bdev(struct homi_nvme *nvme,
				     struct block_device *bdev,
				     struct homi_nvme_ns *ns)
{
	return -ENODEV;
}

static const struct homi_nvme_ops homi_mock_ops = {
	.detach = homi_mock_detach,
	.admin = homi_mock_admin,
	.identify = homi_mock_identify,
	.grant = homi_mock_grant,
	.tell_shadow = homi_mock_tell_shadow,
	.kernel_queues = homi_mock_kernel_queues,
	.shadow = homi_mock_shadow,
	.reset = homi_mock_ask_reset,
	.find_ns = homi_mock_find_ns,
	.find_ns_by_bdev = homi_mock_find_ns_by_bdev,
};

static void homi_mock_set_live(struct homi_mock *mock, bool live)
{
	mutex_lock(&mock->lock);
	mock->live = live;
	mutex_unlock(&mock->lock);
}

void homi_mock_quiesce(struct homi_mock *mock)
{
	homi_mock_set_live(mock, false);
	homi_mock_events->quiesce(mock);
}

/* Disabled, and enabled again */
void homi_mock_reenable(struct homi_mock *mock)
{
	mutex_lock(&mock->lock);
	memset(mock->cq_depth, 0, sizeof(mock->cq_depth));
	memset(mock->sq_depth, 0, sizeof(mock->sq_depth));
	mutex_unlock(&mock->lock);
	homi_mock_events->reenabled(mock);
}

void homi_mock_live(struct homi_mock *mock)
{
	homi_mock_set_live(mock, true);
	homi_mock_events->resumed(mock);
	homi_mock_events->live(mock);
	flush_delayed_work(&mock->ctrl.live_work);
}

void homi_mock_reset(struct homi_mock *mock)
{
	homi_mock_quiesce(mock);
	homi_mock_reenable(mock);
	homi_mock_live(mock);
}

static void homi_mock_reset_work(struct work_struct *work)
{
	homi_mock_reset(container_of(work, struct homi_mock, reset_work));
}

void homi_mock_die(struct homi_mock *mock)
{
	homi_mock_set_live(mock, false);
	homi_ctrl_dead(&mock->ctrl, HOMI_REASON_DEAD);
	homi_mock_release_dma(&mock->ctrl);
}

unsigned int homi_mock_queues(struct homi_mock *mock)
{
	unsigned int qid, nr = 0;

	mutex_lock(&mock->lock);
	for (qid = 0; qid <= HOMI_MOCK_QUEUES; qid++)
		nr += !!mock->cq_depth[qid] + !!mock->sq_depth[qid];
	mutex_unlock(&mock->lock);
	return nr;
}

void homi_mock_forget_log(struct homi_mock *mock)
{
	mutex_lock(&mock->lock);
	memset(mock->log, 0, sizeof(mock->log));
	mock->commands = 0;
	mutex_unlock(&mock->lock);
}

/* --- life --- */

static void homi_mock_pdev_release(struct device *dev)
{
	/* Is part of a structure that outlives it. */
}

static void homi_mock_ctrl_release(struct device *dev)
{
	struct homi_mock *mock = container_of(dev, struct homi_mock, ctrl.dev);
	struct completion *released = mock->released;

	put_device(&mock->pdev.dev);
	bitmap_free(mock->ctrl.qids);
	kfree(mock);
	complete(released);
}

static int homi_mock_init_pdev(struct pci_dev *pdev)
{
	device_initialize(&pdev->dev);
	pdev->dev.release = homi_mock_pdev_release;
	pdev->dma_mask = DMA_BIT_MASK(64);
	pdev->dev.dma_mask = &pdev->dma_mask;
	pdev->dev.coherent_dma_mask = DMA_BIT_MASK(64);
	return dev_set_name(&pdev->dev, "homi-mock");
}

/* The capabilities that homi_ctrl_attach() reads from registers */
static void homi_mock_init_ctrl(struct homi_mock *mock)
{
	struct homi_ctrl *ctrl = &mock->ctrl;

	homi_mock_setup_ctrl(ctrl);
	ctrl->ops = &homi_mock_ops;
	ctrl->nvme.ctrl = mock;
	ctrl->nvme.pdev = &mock->pdev;
	ctrl->nvme.doorbell_stride = 4;
	ctrl->stride = 4;
	ctrl->page_size = PAGE_SIZE;
	ctrl->max_depth = 1024;
	ctrl->bar_len = 0x4000;
	ctrl->kernel_queues = mock->kernel_queues;
	device_initialize(&ctrl->dev);
	ctrl->dev.release = homi_mock_ctrl_release;
}

int homi_mock_init(struct kunit *test)
{
	struct homi_mock *mock = kzalloc(sizeof(*mock), GFP_KERNEL);
	struct homi_ctrl *ctrl;

	if (!mock)
		return -ENOMEM;
	ctrl = &mock->ctrl;
	mutex_init(&mock->lock);
	INIT_WORK(&mock->reset_work, homi_mock_reset_work);
	mock->granted = 8;
	mock->kernel_queues = 2;
	homi_mock_init_ctrl(mock);
	ctrl->qids = bitmap_zalloc(HOMI_MAX_QID + 1, GFP_KERNEL);
	mock->released = kunit_kzalloc(test, sizeof(*mock->released),
				       GFP_KERNEL);
	if (homi_mock_init_pdev(&mock->pdev) || !ctrl->qids ||
	    !mock->released) {
		put_device(&mock->pdev.dev);
		bitmap_free(ctrl->qids);
		kfree(mock);
		return -ENOMEM;
	}
	init_completion(mock->released);
	homi_mock_list_ctrl(ctrl);
	mock->live = true;
	ctrl->hook_generation = 1;
	homi_ctrl_went_live(ctrl);
	flush_delayed_work(&ctrl->live_work);
	test->priv = mock;
	return homi_ctrl_status(ctrl);
}

void homi_mock_exit(struct kunit *test)
{
	struct homi_mock *mock = test->priv;
	struct completion *released;

	if (!mock)
		return;
	released = mock->released;
	flush_work(&mock->reset_work);
	flush_delayed_work(&mock->ctrl.live_work);
	homi_mock_unlist_ctrl(&mock->ctrl);
	homi_ctrl_put(&mock->ctrl);
	/* Some references are dropped by workers. */
	if (!wait_for_completion_timeout(released, 20 * HZ))
		KUNIT_FAIL(test, "something still refers to the controller");
}
