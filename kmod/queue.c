// SPDX-License-Identifier: GPL-2.0-only
/*
 * Queue pairs: made and deleted at the controller beside stock's own, with
 * rings in host memory. Long because what may end a queue (its owner, a reset, a
 * recall, a removal) has to be read against how it is made.
 */
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/sched/mm.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "homi.h"
#include "show.h"
#include "trace.h"
#include "wait.h"

enum homi_queue_hw {
	HOMI_HW_NONE,		/* not at the controller; holds no hw reference */
	HOMI_HW_CREATED,	/* the controller may act on it */
};

/**
 * struct homi_queue - a submission queue and its own completion queue
 * @obj: must be first
 * @entry: in ctrl->queues from before its rings exist to the last reference
 * @state: enum homi_queue_state, or HOMI_QUEUE_NEW; guarded by ctrl->lock
 * @hw: enum homi_queue_hw; guarded by ctrl->lock
 * @creating: its Create commands are under way; guarded by ctrl->lock. Until
 *	they are answered nobody else takes it for deleted.
 * @retried: generation in which its deletion was tried again
 * @stuck: a Create was not answered in time: only a reset can end it. Written
 *	while @creating, read when that is over.
 * @delete_lock: held over Delete SQ and CQ, so that they are sent once, and over all
 *	of RECREATE, so that they are not sent to what was made since they were
 *	decided on; see "Locks"
 * @sq: submission ring; guarded by ctrl->dma_lock
 * @cq: completion ring; likewise
 * @wait: who waits for its completions
 * @db: where its doorbells are; constant
 * @generation: of the controller when the queue was made, or its id lent;
 *	guarded by ctrl->lock
 * @taken: an administrator took it back: it is not made anew; guarded by
 *	ctrl->lock
 * @qid: NVMe queue identifier, lent until the last reference; constant
 * @depth: entries; constant
 */
struct homi_queue {
	struct homi_object obj;
	struct list_head entry;
	u32 state;
	enum homi_queue_hw hw;
	bool creating;
	u64 retried;
	bool stuck;
	struct mutex delete_lock;	/* see above */
	struct homi_ring sq;
	struct homi_ring cq;
	struct homi_wait wait;
	struct homi_doorbell db;
	u64 generation;
	bool taken;
	unsigned int qid;
	u32 depth;
};

/* Which states may follow which: bit n stands for state n. */
static const u8 homi_queue_moves[] = {
	[HOMI_QUEUE_NEW] = BIT(HOMI_QUEUE_LIVE) | BIT(HOMI_QUEUE_LOST) |
			   BIT(HOMI_QUEUE_REVOKED) | BIT(HOMI_QUEUE_GONE),
	[HOMI_QUEUE_LIVE] = BIT(HOMI_QUEUE_LOST) | BIT(HOMI_QUEUE_REVOKED) |
			    BIT(HOMI_QUEUE_GONE),
	[HOMI_QUEUE_LOST] = BIT(HOMI_QUEUE_NEW) | BIT(HOMI_QUEUE_GONE),
	[HOMI_QUEUE_REVOKED] = BIT(HOMI_QUEUE_NEW) | BIT(HOMI_QUEUE_GONE),
	[HOMI_QUEUE_GONE] = 0,
};

static struct homi_queue *to_queue(struct homi_object *obj)
{
	return container_of(obj, struct homi_queue, obj);
}

static bool homi_queue_move(struct homi_queue *q, u32 state)
{
	bool news;

	lockdep_assert_held(&q->obj.ctx->ctrl->lock);
	if (!(homi_queue_moves[q->state] & BIT(state)))
		return false;
	trace_homi_queue_state(q->obj.ctx->ctrl, q->qid, q->state, state);
	news = q->state == HOMI_QUEUE_LIVE || state == HOMI_QUEUE_GONE;
	/* Page faults and QUEUE_INFO read it without the lock. */
	WRITE_ONCE(q->state, state);
	homi_wait_end(&q->wait);
	if (news && !READ_ONCE(q->obj.dead))
		homi_event_signal(q->obj.ctx->ctrl, q->obj.event);
	return true;
}

static bool homi_queue_is_live(struct homi_queue *q)
{
	return READ_ONCE(q->state) == HOMI_QUEUE_LIVE;
}

/* --- rings --- */

static int homi_queue_alloc_rings(struct homi_queue *q)
{
	struct homi_ctrl *ctrl = q->obj.ctx->ctrl;
	unsigned int noio;
	int ret = -ENODEV;

	mutex_lock(&ctrl->dma_lock);
	spin_lock(&ctrl->lock);
	list_add_tail(&q->entry, &ctrl->queues);
	spin_unlock(&ctrl->lock);
	/* Removal waits for dma_lock: no write-back to this very device. */
	noio = memalloc_noio_save();
	if (!ctrl->gone)
		ret = homi_ring_alloc(ctrl, &q->sq);
	if (!ret)
		ret = homi_ring_alloc(ctrl, &q->cq);
	memalloc_noio_restore(noio);
	if (!ret)
		homi_wait_set_ring(&q->wait, q->cq.cpu);
	mutex_unlock(&ctrl->dma_lock);
	return ret;
}

/* --- at the controller --- */

/* The controller will not act on it again: drop what that held. */
static void homi_queue_hw_gone(struct homi_queue *q)
{
	struct homi_ctx *ctx = q->obj.ctx;
	struct homi_ctrl *ctrl = ctx->ctrl;
	bool held;

	spin_lock(&ctrl->lock);
	held = q->hw == HOMI_HW_CREATED;
	q->hw = HOMI_HW_NONE;
	spin_unlock(&ctrl->lock);
	if (!held)
		return;
	atomic_dec(&ctx->dma_users);
	wake_up_all(&ctrl->wait);
	homi_object_put(&q->obj);
}

/* Rings in MEMs: who revokes or destroys one of these takes ctx->lock after it. */
static bool homi_queue_rings_there(struct homi_queue *q)
{
	lockdep_assert_held(&q->obj.ctx->lock);
	return homi_ring_is_there(&q->sq) && homi_ring_is_there(&q->cq);
}

/* From here on the controller may act on it. */
static void homi_queue_hw_begin(struct homi_queue *q)
{
	lockdep_assert_held(&q->obj.ctx->ctrl->lock);
	q->hw = HOMI_HW_CREATED;
	q->creating = true;
	kref_get(&q->obj.ref);
	atomic_inc(&q->obj.ctx->dma_users);
}

/* Before the first command. */
static int homi_queue_hw_start(struct homi_queue *q)
{
	struct homi_ctx *ctx = q->obj.ctx;
	struct homi_ctrl *ctrl = ctx->ctrl;
	int ret;

	/* ctx->lock: no MEM is being destroyed while dma_users goes up. */
	mutex_lock(&ctx->lock);
	spin_lock(&ctrl->lock);
	ret = homi_ctrl_status(ctrl);
	if (!ret && (ctx->revoking || ctrl->generation != q->generation))
		ret = -EAGAIN;
	if (!ret && !homi_queue_rings_there(q))
		ret = -ESTALE;
	if (!ret)
		homi_queue_hw_begin(q);
	spin_unlock(&ctrl->lock);
	mutex_unlock(&ctx->lock);
	return ret;
}

/* Likewise for a queue that was there before, and that the caller looked up. */
static int homi_queue_hw_restart(struct homi_queue *q)
{
	struct homi_ctx *ctx = q->obj.ctx;
	struct homi_ctrl *ctrl = ctx->ctrl;
	int ret = -ENOENT;

	/* ctx->lock: it is not being destroyed either. */
	mutex_lock(&ctx->lock);
	spin_lock(&ctrl->lock);
	if (xa_load(&ctx->objects, q->obj.id) == &q->obj)
		ret = q->taken ? -ESTALE : homi_ctrl_renew_qid(ctrl, q->qid);
	if (!ret && (q->state == HOMI_QUEUE_LIVE || q->creating))
		ret = -EBUSY;
	if (!ret && (q->hw != HOMI_HW_NONE || ctx->revoking))
		ret = -EAGAIN;
	if (!ret && !homi_queue_rings_there(q))
		ret = -ESTALE;
	if (!ret) {
		homi_queue_move(q, HOMI_QUEUE_NEW);
		q->generation = ctrl->generation;
		homi_queue_hw_begin(q);
	}
	spin_unlock(&ctrl->lock);
	mutex_unlock(&ctx->lock);
	return ret;
}

/*
 * The Create commands were answered, or not sent. If the controller @refused
 * the first one, or that was not sent, there is nothing to delete. A reset that
 * came meanwhile ended what was made before it, and nothing that was made after.
 */
static void homi_queue_hw_made(struct homi_queue *q, bool refused,
			       bool maybe_made)
{
	struct homi_ctrl *ctrl = q->obj.ctx->ctrl;
	bool old;

	spin_lock(&ctrl->lock);
	q->creating = false;
	old = ctrl->enabled_generation > q->generation;
	spin_unlock(&ctrl->lock);
	if (refused || (old && !maybe_made))
		homi_queue_hw_gone(q);
}

/* An admin command, or what a test has asked for instead. */
static int homi_queue_admin(struct homi_ctrl *ctrl, struct nvme_command *cmd)
{
	unsigned int timeout_ms = READ_ONCE(homi_delete_ms);
	int ret;

	switch (homi_fault_take(ctrl, cmd->common.opcode)) {
	case HOMI_FAULT_FAIL:
		return NVME_SC_INTERNAL;
	case HOMI_FAULT_HANG:
		msleep(timeout_ms);
		return -ETIMEDOUT;
	case HOMI_FAULT_LOSE:
		ret = ctrl->ops->admin(&ctrl->nvme, cmd, timeout_ms);
		return ret ? ret : -ETIMEDOUT;
	default:
		return ctrl->ops->admin(&ctrl->nvme, cmd, timeout_ms);
	}
}

/* @vector: below 0 for none */
static int homi_queue_create_cq(struct homi_queue *q, int vector)
{
	struct homi_ctrl *ctrl = q->obj.ctx->ctrl;
	struct nvme_command cmd = {
		.create_cq.opcode = nvme_admin_create_cq,
		.create_cq.prp1 = cpu_to_le64(q->cq.dma),
		.create_cq.cqid = cpu_to_le16(q->qid),
		.create_cq.qsize = cpu_to_le16(q->depth - 1),
		.create_cq.cq_flags = cpu_to_le16(NVME_QUEUE_PHYS_CONTIG),
	};

	if (vector >= 0) {
		cmd.create_cq.cq_flags |= cpu_to_le16(NVME_CQ_IRQ_ENABLED);
		cmd.create_cq.irq_vector = cpu_to_le16(vector);
	}
	return homi_queue_admin(ctrl, &cmd);
}

static int homi_queue_create_sq(struct homi_queue *q)
{
	struct homi_ctrl *ctrl = q->obj.ctx->ctrl;
	struct nvme_command cmd = {
		.create_sq.opcode = nvme_admin_create_sq,
		.create_sq.prp1 = cpu_to_le64(q->sq.dma),
		.create_sq.sqid = cpu_to_le16(q->qid),
		.create_sq.qsize = cpu_to_le16(q->depth - 1),
		.create_sq.sq_flags = cpu_to_le16(NVME_QUEUE_PHYS_CONTIG),
		.create_sq.cqid = cpu_to_le16(q->qid),
	};

	return homi_queue_admin(ctrl, &cmd);
}

/* 0 when the controller has no such queue any more. */
static int homi_queue_delete_one(struct homi_queue *q, u8 opcode)
{
	struct homi_ctrl *ctrl = q->obj.ctx->ctrl;
	struct nvme_command cmd = {
		.delete_queue.opcode = opcode,
		.delete_queue.qid = cpu_to_le16(q->qid),
	};
	int ret = homi_queue_admin(ctrl, &cmd);

	return ret == NVME_SC_QID_INVALID ? 0 : ret;
}

/*
 * Who creates it deletes it. A live one is no late deletion's: that has left LIVE before,
 * and somebody has made it anew since.
 */
static bool homi_queue_is_left(struct homi_queue *q)
{
	struct homi_ctrl *ctrl = q->obj.ctx->ctrl;
	bool left;

	spin_lock(&ctrl->lock);
	left = q->hw == HOMI_HW_CREATED && !q->creating &&
	       q->state != HOMI_QUEUE_LIVE;
	spin_unlock(&ctrl->lock);
	return left;
}

/*
 * Delete SQ, then CQ. If the controller does not do it, reset it: the reset's
 * hook ends the queue then, and all that depends on it waits for that.
 */
static void homi_queue_delete_locked(struct homi_queue *q)
{
	struct homi_ctrl *ctrl = q->obj.ctx->ctrl;
	int ret;

	lockdep_assert_held(&q->delete_lock);
	/* A removal needs no command. */
	if (!homi_queue_is_left(q) || homi_ctrl_is_gone(ctrl))
		return;
	ret = -ETIMEDOUT;
	if (!q->stuck)
		ret = homi_queue_delete_one(q, nvme_admin_delete_sq);
	if (!ret)
		ret = homi_queue_delete_one(q, nvme_admin_delete_cq);
	if (!ret)
		homi_queue_hw_gone(q);
	/* EAGAIN, ENODEV: stock is resetting or removing it already. */
	if (ret && ret != -EAGAIN && ret != -ENODEV) {
		dev_err_ratelimited(&ctrl->nvme.pdev->dev,
				    "homi: queue %u was not deleted (%d), resetting the controller\n",
				    q->qid, ret);
		ctrl->ops->reset(&ctrl->nvme);
	}
}

static void homi_queue_delete(struct homi_queue *q)
{
	/* Asked before the lock too: nobody waits for who creates it. */
	if (!homi_queue_is_left(q))
		return;
	mutex_lock(&q->delete_lock);
	homi_queue_delete_locked(q);
	mutex_unlock(&q->delete_lock);
}

/* homi_queue_move() for who does not hold the lock. */
static bool homi_queue_set_state(struct homi_queue *q, u32 state)
{
	struct homi_ctrl *ctrl = q->obj.ctx->ctrl;
	bool moved;

	spin_lock(&ctrl->lock);
	moved = homi_queue_move(q, state);
	spin_unlock(&ctrl->lock);
	return moved;
}

/* --- the object --- */

static void homi_queue_revoke(struct homi_object *obj)
{
	struct homi_queue *q = to_queue(obj);
	struct homi_ctrl *ctrl = obj->ctx->ctrl;

	homi_queue_set_state(q, HOMI_QUEUE_REVOKED);
	homi_queue_delete(q);
	/* A reset that is under way, or that was asked for, ends it. */
	wait_event_killable_timeout(ctrl->wait,
				    READ_ONCE(q->hw) == HOMI_HW_NONE,
				    msecs_to_jiffies(homi_delete_ms));
	homi_wait_forget(&q->wait);
	/* If the controller has not let go of it a reset will free it. */
	if (READ_ONCE(q->hw) == HOMI_HW_NONE)
		homi_wait_put_vector(&q->wait);
}

static void homi_queue_release_dma(struct homi_object *obj)
{
	struct homi_queue *q = to_queue(obj);

	homi_wait_set_ring(&q->wait, NULL);
	homi_ring_free(obj->ctx->ctrl, &q->sq);
	homi_ring_free(obj->ctx->ctrl, &q->cq);
}

static void homi_queue_free(struct homi_object *obj)
{
	struct homi_queue *q = to_queue(obj);
	struct homi_ctrl *ctrl = obj->ctx->ctrl;

	homi_wait_forget(&q->wait);
	homi_wait_put_vector(&q->wait);
	/* Off the list only without rings: removal looks for them there. */
	mutex_lock(&ctrl->dma_lock);
	homi_queue_release_dma(obj);
	spin_lock(&ctrl->lock);
	list_del(&q->entry);
	spin_unlock(&ctrl->lock);
	mutex_unlock(&ctrl->dma_lock);
	homi_ring_put(&q->sq);
	homi_ring_put(&q->cq);
	if (q->qid)
		homi_ctrl_return_qid(ctrl, q->qid);
	homi_quota_uncharge(obj->ctx, HOMI_QUOTA_QUEUES, 1);
	kfree(q);
}

static size_t homi_queue_region_size(struct homi_object *obj,
				     enum homi_region region)
{
	struct homi_queue *q = to_queue(obj);

	switch (region) {
	case HOMI_REGION_SQ:
		return homi_ring_map_size(&q->sq);
	case HOMI_REGION_CQ:
		return homi_ring_map_size(&q->cq);
	case HOMI_REGION_DB:
		return PAGE_SIZE;
	case HOMI_REGION_SHADOW:
	case HOMI_REGION_EVENT:
		return q->db.has_shadow ? PAGE_SIZE : 0;
	default:
		return 0;
	}
}

/*
 * dma_lock is not taken: rings are freed when no VMA holds the queue, or after
 * the function is gone, which a fault sees under map_lock before the zap.
 */
static vm_fault_t homi_ring_fault(struct homi_queue *q, struct homi_ring *ring,
				  struct vm_fault *vmf)
{
	size_t off = (vmf->address - vmf->vma->vm_start) & PAGE_MASK;
	void *addr = READ_ONCE(ring->cpu);

	if (READ_ONCE(q->state) == HOMI_QUEUE_GONE || !addr || off >= ring->len)
		return VM_FAULT_SIGBUS;
	return vmf_insert_pfn(vmf->vma, vmf->address,
			      homi_kernel_pfn(addr + off));
}

static vm_fault_t homi_queue_fault(struct homi_object *obj,
				   enum homi_region region,
				   struct vm_fault *vmf)
{
	struct homi_queue *q = to_queue(obj);

	if (region == HOMI_REGION_SQ)
		return homi_ring_fault(q, &q->sq, vmf);
	if (region == HOMI_REGION_CQ)
		return homi_ring_fault(q, &q->cq, vmf);
	if (homi_queue_is_live(q))
		return homi_doorbell_fault(obj->ctx->ctrl, q->qid, region, vmf);
	return vmf_insert_pfn(vmf->vma, vmf->address,
			      page_to_pfn(obj->ctx->park));
}

static bool homi_queue_has_news(struct homi_object *obj)
{
	return to_queue(obj)->state > HOMI_QUEUE_LIVE;
}

static const struct homi_object_ops homi_queue_ops = {
	.has_news = homi_queue_has_news,
	.revoke = homi_queue_revoke,
	.release_dma = homi_queue_release_dma,
	.free = homi_queue_free,
	.region_size = homi_queue_region_size,
	.fault = homi_queue_fault,
};

/* --- commands --- */

/* 0 if the controller has none */
static u64 homi_queue_shadow_cookie(struct homi_queue *q,
				    enum homi_region region)
{
	return q->db.has_shadow ? homi_cookie(&q->obj, region) : 0;
}

static void homi_queue_answer(struct homi_queue *q,
			      struct homi_queue_create *cmd)
{
	struct homi_object *obj = &q->obj;

	cmd->out_queue_id = obj->id;
	cmd->out_qid = q->qid;
	cmd->out_sq_mmap_length = homi_ring_map_size(&q->sq);
	cmd->out_sq_mmap_offset = q->sq.mem ? 0 :
				  homi_cookie(obj, HOMI_REGION_SQ);
	cmd->out_cq_mmap_length = homi_ring_map_size(&q->cq);
	cmd->out_cq_mmap_offset = q->cq.mem ? 0 :
				  homi_cookie(obj, HOMI_REGION_CQ);
	cmd->out_db_mmap_offset = homi_cookie(obj, HOMI_REGION_DB);
	cmd->out_sq_db_offset = q->db.sq_offset;
	cmd->out_cq_db_offset = q->db.cq_offset;
	cmd->out_shadow_mmap_offset =
		homi_queue_shadow_cookie(q, HOMI_REGION_SHADOW);
	cmd->out_event_mmap_offset =
		homi_queue_shadow_cookie(q, HOMI_REGION_EVENT);
	cmd->out_sq_shadow_offset = q->db.sq_shadow_offset;
	cmd->out_cq_shadow_offset = q->db.cq_shadow_offset;
	cmd->out_generation = q->generation;
}

/* After hw_start: at the controller, and LIVE; else the caller deletes it. */
static int homi_queue_make(struct homi_queue *q)
{
	struct homi_ctrl *ctrl = q->obj.ctx->ctrl;
	int vector = -1, ret;
	bool refused, made;

	/* A reset marks the queue under this lock before stock goes on. */
	spin_lock(&ctrl->lock);
	ret = q->state == HOMI_QUEUE_NEW ?
	      homi_doorbell_init(ctrl, q->qid, &q->db) : -EAGAIN;
	spin_unlock(&ctrl->lock);
	if (!ret && q->wait.interrupt) {
		vector = homi_wait_get_vector(&q->wait, q->qid);
		ret = min(vector, 0);
	}
	/* Nothing was sent. */
	refused = ret;
	if (!ret)
		ret = homi_queue_create_cq(q, vector);
	refused |= ret > 0;
	made = !ret || ret == -ETIMEDOUT;
	if (!ret)
		ret = homi_queue_create_sq(q);
	q->stuck = ret == -ETIMEDOUT;
	homi_queue_hw_made(q, refused, made);
	/* If a reset, or a recall, came in between the queue is dying. */
	if (!ret && !homi_queue_set_state(q, HOMI_QUEUE_LIVE))
		ret = -EAGAIN;
	/* A status is no verdict then: the reset took the CQ from the SQ, say. */
	if (ret > 0 && READ_ONCE(q->state) != HOMI_QUEUE_NEW)
		ret = -EAGAIN;
	/* Stock's admin queue was full for so long. */
	if (ret == -EBUSY)
		ret = -EAGAIN;
	return ret > 0 || q->stuck ? -EIO : ret;
}

/* Where the caller wants them. Kernel memory for the others comes later. */
static int homi_queue_place_rings(struct homi_queue *q,
				  const struct homi_queue_create *cmd)
{
	struct homi_ctx *ctx = q->obj.ctx;
	int ret;

	ret = homi_ring_place(&q->sq, ctx, cmd->sq_mem_id, cmd->sq_offset,
			      q->depth * sizeof(struct nvme_command), false);
	if (ret)
		return ret;
	return homi_ring_place(&q->cq, ctx, cmd->cq_mem_id, cmd->cq_offset,
			       q->depth * sizeof(struct nvme_completion), true);
}

static int homi_queue_start(struct homi_queue *q)
{
	int ret;

	ret = homi_queue_alloc_rings(q);
	if (!ret)
		ret = homi_queue_hw_start(q);
	if (!ret)
		ret = homi_queue_make(q);
	return ret;
}

int homi_cmd_queue_create(struct homi_call *call)
{
	struct homi_queue_create *cmd = call->cmd;
	struct homi_ctx *ctx = call->ctx;
	struct homi_ctrl *ctrl = ctx->ctrl;
	struct homi_queue *q;
	int ret;

	if (cmd->flags & ~HOMI_QUEUE_INTERRUPT || cmd->__reserved)
		return -EINVAL;
	if (!homi_may_queue())
		return -EPERM;
	if (cmd->depth < 2 || cmd->depth > ctrl->max_depth)
		return -EINVAL;
	/* Nobody could say whether there is what the interrupt is for. */
	if (cmd->flags & HOMI_QUEUE_INTERRUPT && cmd->cq_mem_id)
		return -EOPNOTSUPP;
	ret = homi_quota_charge(ctx, HOMI_QUOTA_QUEUES, 1);
	if (ret)
		return ret;
	q = kzalloc(sizeof(*q), GFP_KERNEL_ACCOUNT);
	if (!q) {
		ret = -ENOMEM;
		goto err_uncharge;
	}
	q->depth = cmd->depth;
	mutex_init(&q->delete_lock);
	INIT_LIST_HEAD(&q->entry);
	homi_wait_init(&q->wait, ctx, &q->state, q->depth,
		       cmd->flags & HOMI_QUEUE_INTERRUPT);
	ret = homi_object_reserve(ctx, &q->obj, HOMI_OBJ_QUEUE,
				  &homi_queue_ops);
	if (ret) {
		kfree(q);
		goto err_uncharge;
	}
	/* From here on the object is what is charged. */
	ret = homi_queue_place_rings(q, cmd);
	if (ret)
		goto err_abort;
	ret = homi_ctrl_lend_qid(ctrl, &q->generation);
	if (ret < 0)
		goto err_abort;
	q->qid = ret;
	ret = homi_queue_start(q);
	if (ret)
		goto err_abort;
	homi_queue_answer(q, cmd);
	call->created = &q->obj;
	return 0;

err_abort:
	homi_object_abort(&q->obj);
	return ret;

err_uncharge:
	homi_quota_uncharge(ctx, HOMI_QUOTA_QUEUES, 1);
	return ret;
}

/* Nothing acts on them now. They go away only with the function. */
static void homi_queue_clear_rings(struct homi_queue *q)
{
	struct homi_ctrl *ctrl = q->obj.ctx->ctrl;

	mutex_lock(&ctrl->dma_lock);
	if (q->sq.cpu)
		memset(q->sq.cpu, 0, q->sq.len);
	if (q->cq.cpu)
		memset(q->cq.cpu, 0, q->cq.len);
	mutex_unlock(&ctrl->dma_lock);
}

static int homi_queue_remake_locked(struct homi_queue *q)
{
	int ret;

	lockdep_assert_held(&q->delete_lock);
	ret = homi_queue_hw_restart(q);
	if (ret)
		return ret;
	homi_queue_clear_rings(q);
	ret = homi_queue_make(q);
	if (ret) {
		homi_queue_delete_locked(q);
		homi_queue_set_state(q, HOMI_QUEUE_LOST);
	}
	return ret;
}

static int homi_queue_remake(struct homi_queue *q)
{
	int ret;

	/* It is being deleted, or made by somebody else. */
	if (!mutex_trylock(&q->delete_lock))
		return -EAGAIN;
	ret = homi_queue_remake_locked(q);
	mutex_unlock(&q->delete_lock);
	if (ret)
		return ret;
	/* Its mappings lead to the page of lost doorbells still. */
	homi_object_zap(&q->obj);
	homi_exports_renew(&q->obj);
	return 0;
}

int homi_cmd_queue_recreate(struct homi_call *call)
{
	struct homi_queue_recreate *cmd = call->cmd;
	struct homi_object *obj;
	struct homi_queue *q;
	int ret;

	if (cmd->flags)
		return -EINVAL;
	obj = homi_object_get(call->ctx, cmd->queue_id, HOMI_OBJ_QUEUE);
	if (!obj)
		return -ENOENT;
	q = to_queue(obj);
	ret = cmd->depth == q->depth ? homi_queue_remake(q) : -EINVAL;
	if (!ret) {
		cmd->out_generation = q->generation;
		cmd->out_shadow_mmap_offset =
			homi_queue_shadow_cookie(q, HOMI_REGION_SHADOW);
		cmd->out_event_mmap_offset =
			homi_queue_shadow_cookie(q, HOMI_REGION_EVENT);
		cmd->out_sq_shadow_offset = q->db.sq_shadow_offset;
		cmd->out_cq_shadow_offset = q->db.cq_shadow_offset;
	}
	homi_object_put(obj);
	return ret;
}

int homi_cmd_queue_info(struct homi_call *call)
{
	struct homi_queue_info *cmd = call->cmd;
	struct homi_object *obj;
	struct homi_queue *q;

	if (cmd->flags)
		return -EINVAL;
	obj = homi_object_get(call->ctx, cmd->queue_id, HOMI_OBJ_QUEUE);
	if (!obj)
		return -ENOENT;
	q = to_queue(obj);
	/* One that is being re-created is not back yet. */
	cmd->out_state = READ_ONCE(q->state) ?: HOMI_QUEUE_LOST;
	cmd->out_qid = q->qid;
	cmd->out_depth = q->depth;
	cmd->out_generation = q->generation;
	if (q->wait.interrupt)
		cmd->out_wait = HOMI_WAIT_INTERRUPT;
	else
		cmd->out_wait = q->cq.mem ? HOMI_WAIT_NONE : HOMI_WAIT_POLLER;
	homi_wait_info(&q->wait, cmd);
	homi_object_put(obj);
	return 0;
}

/* NULL: nobody can wait for it. */
struct homi_wait *homi_queue_wait(struct homi_object *obj)
{
	struct homi_queue *q = to_queue(obj);

	return q->cq.mem ? NULL : &q->wait;
}

/* --- news --- */

/* Doorbells and shadow pages; when the controller is gone the rings too. */
static void homi_queues_zap(struct homi_ctx *ctx, void *state)
{
	if (*(u32 *)state == HOMI_QUEUE_GONE)
		homi_ctx_zap_all(ctx);
	else
		homi_ctx_zap_doorbells(ctx);
}

/**
 * homi_queues_lost - take all queues from their owners
 * @ctrl: the controller; its state keeps new queues away
 * @state: HOMI_QUEUE_LOST or HOMI_QUEUE_GONE
 *
 * When this returns no CPU mapping leads to a doorbell or shadow page, no
 * QUEUE_CREATE writes to a shadow page, no queue has an interrupt vector, and with
 * GONE no ring is mapped either.
 * Their memory is not touched: the controller may still act on them.
 */
void homi_queues_lost(struct homi_ctrl *ctrl, u32 state)
{
	struct homi_queue *q;

	spin_lock(&ctrl->lock);
	list_for_each_entry(q, &ctrl->queues, entry)
		homi_queue_move(q, state);
	spin_unlock(&ctrl->lock);
	/* No mapping of a live queue is added: all of them left LIVE before. */
	homi_ctrl_each_ctx(ctrl, homi_queues_zap, &state);
	homi_vectors_free(ctrl);
	wake_up_all(&ctrl->wait);
}

static struct homi_queue *homi_queue_next_old(struct homi_ctrl *ctrl, u64 before)
{
	struct homi_queue *q, *found = NULL;

	spin_lock(&ctrl->lock);
	list_for_each_entry(q, &ctrl->queues, entry)
		if (q->hw == HOMI_HW_CREATED && q->generation < before &&
		    (!q->creating || before == U64_MAX) &&
		    kref_get_unless_zero(&q->obj.ref)) {
			found = q;
			break;
		}
	spin_unlock(&ctrl->lock);
	return found;
}

/**
 * homi_queues_disabled - the controller was disabled since these were made
 * @ctrl: the controller
 * @before: queues of generations below this one
 */
void homi_queues_disabled(struct homi_ctrl *ctrl, u64 before)
{
	struct homi_queue *q;

	while ((q = homi_queue_next_old(ctrl, before))) {
		homi_queue_hw_gone(q);
		homi_object_put(&q->obj);
	}
}

/**
 * homi_queues_release_dma - the function is off the bus: free all rings
 * @ctrl: the controller; all its queues are GONE and nothing maps them
 */
void homi_queues_release_dma(struct homi_ctrl *ctrl)
{
	struct homi_queue *q;

	mutex_lock(&ctrl->dma_lock);
	list_for_each_entry(q, &ctrl->queues, entry)
		homi_queue_release_dma(&q->obj);
	mutex_unlock(&ctrl->dma_lock);
}

/*
 * A queue that should not be at the controller; each once in a generation, and
 * not when another reset has begun, whose end asks again.
 */
static struct homi_queue *homi_queue_next_undead(struct homi_ctrl *ctrl)
{
	struct homi_queue *q, *found = NULL;

	spin_lock(&ctrl->lock);
	list_for_each_entry(q, &ctrl->queues, entry)
		if (!ctrl->nvme.shut &&
		    q->hw == HOMI_HW_CREATED && !q->creating &&
		    q->retried != ctrl->generation &&
		    (q->state > HOMI_QUEUE_LIVE || q->obj.dead) &&
		    kref_get_unless_zero(&q->obj.ref)) {
			q->retried = ctrl->generation;
			found = q;
			break;
		}
	spin_unlock(&ctrl->lock);
	return found;
}

/**
 * homi_queues_retry - delete what could not be deleted while stock was paused
 * @ctrl: the controller, LIVE again without having been disabled
 */
void homi_queues_retry(struct homi_ctrl *ctrl)
{
	struct homi_queue *q;

	while ((q = homi_queue_next_undead(ctrl))) {
		homi_queue_delete(q);
		homi_object_put(&q->obj);
	}
}

/**
 * homi_ctx_revoke_begin - no new queue on this file until homi_ctx_revoke_end()
 * @ctx: the open file; this counts
 */
void homi_ctx_revoke_begin(struct homi_ctx *ctx)
{
	mutex_lock(&ctx->lock);
	ctx->revoking++;
	mutex_unlock(&ctx->lock);
}

/**
 * homi_ctx_revoke_queues - delete all queues of an open file
 * @ctx: the open file
 *
 * Bounded by delete_ms per queue. What the controller did not let go of then
 * counts in ctx->dma_users until a reset is through. No new queue is made on
 * this file until homi_ctx_revoke_end().
 */
void homi_ctx_revoke_queues(struct homi_ctx *ctx)
{
	struct homi_object *obj;
	unsigned long id = 0;

	homi_ctx_revoke_begin(ctx);
	while ((obj = homi_object_next(ctx, &id, HOMI_OBJ_QUEUE))) {
		homi_queue_set_state(to_queue(obj), HOMI_QUEUE_REVOKED);
		homi_object_zap(obj);
		homi_queue_delete(to_queue(obj));
		homi_object_put(obj);
	}
}

void homi_ctx_revoke_end(struct homi_ctx *ctx)
{
	mutex_lock(&ctx->lock);
	ctx->revoking--;
	mutex_unlock(&ctx->lock);
}

/* Its owner does not get it back. */
static void homi_queue_take(struct homi_queue *q, u32 *taken)
{
	struct homi_ctrl *ctrl = q->obj.ctx->ctrl;

	spin_lock(&ctrl->lock);
	/* Its owner never heard of one that is not published. */
	*taken += !q->taken && READ_ONCE(q->obj.published);
	q->taken = true;
	spin_unlock(&ctrl->lock);
}

static u32 homi_ctx_mark_taken(struct homi_ctx *ctx)
{
	struct homi_object *obj;
	unsigned long id = 0;
	u32 taken = 0;

	while ((obj = homi_object_next(ctx, &id, HOMI_OBJ_QUEUE))) {
		homi_queue_take(to_queue(obj), &taken);
		homi_object_put(obj);
	}
	return taken;
}

/**
 * homi_ctx_take_queues - homi_ctx_revoke_queues(), and they do not come back
 * @ctx: the open file; the caller ends this by homi_ctx_revoke_end()
 *
 * Returns how many. Their ids stay theirs until they are destroyed: who
 * registered a doorbell with a device can still ring it.
 */
u32 homi_ctx_take_queues(struct homi_ctx *ctx)
{
	/* Before: their owner may destroy them as soon as they are revoked. */
	u32 taken = homi_ctx_mark_taken(ctx);

	homi_ctx_revoke_queues(ctx);
	/* And those that were made in between. */
	return taken + homi_ctx_mark_taken(ctx);
}

/**
 * homi_ctx_count_queues - what an open file has of the controller
 * @ctx: the open file
 * @holder: its counts go up
 */
void homi_ctx_count_queues(struct homi_ctx *ctx, struct homi_holder *holder)
{
	struct homi_ctrl *ctrl = ctx->ctrl;
	struct homi_queue *q;

	spin_lock(&ctrl->lock);
	list_for_each_entry(q, &ctrl->queues, entry) {
		if (q->obj.ctx != ctx)
			continue;
		holder->qids++;
		holder->queues += !READ_ONCE(q->obj.dead);
		holder->at_controller += q->hw == HOMI_HW_CREATED;
	}
	spin_unlock(&ctrl->lock);
}

/**
 * homi_queues_taken_busy - how many queues that were taken back are not gone
 * @ctrl: the controller
 */
u32 homi_queues_taken_busy(struct homi_ctrl *ctrl)
{
	struct homi_queue *q;
	u32 busy = 0;

	spin_lock(&ctrl->lock);
	list_for_each_entry(q, &ctrl->queues, entry)
		busy += q->taken && q->hw == HOMI_HW_CREATED && !q->creating;
	spin_unlock(&ctrl->lock);
	return busy;
}

unsigned int homi_queue_qid(struct homi_object *obj)
{
	return to_queue(obj)->qid;
}

/**
 * homi_queue_shadow - the page of stock's that holds its shadow entries now
 * @obj: a queue; ctrl->lock is held, so that no reset goes on meanwhile
 * @region: HOMI_REGION_SHADOW or HOMI_REGION_EVENT
 *
 * EAGAIN: the queue is lost, and may come back.
 */
struct page *homi_queue_shadow(struct homi_object *obj, enum homi_region region)
{
	struct homi_queue *q = to_queue(obj);

	if (q->state != HOMI_QUEUE_LIVE)
		return ERR_PTR(-EAGAIN);
	return homi_doorbell_page(obj->ctx->ctrl, q->qid, region);
}

/**
 * homi_queues_any_lost - has an open file a queue that it should look after?
 * @ctx: the open file; ctrl->lock is held
 */
bool homi_queues_any_lost(struct homi_ctx *ctx)
{
	struct homi_queue *q;

	lockdep_assert_held(&ctx->ctrl->lock);
	list_for_each_entry(q, &ctx->ctrl->queues, entry)
		if (q->obj.ctx == ctx && q->state > HOMI_QUEUE_LIVE &&
		    !READ_ONCE(q->obj.dead))
			return true;
	return false;
}

/*
 * Destroyed, or its open file closed, and its id is not free: a mapping of it, or a
 * dma-buf of its doorbells, is left, or the controller has not let go of it.
 */
static bool homi_queue_is_held_back(struct homi_queue *q)
{
	return READ_ONCE(q->obj.dead) && q->qid;
}

static const char *homi_queue_hold(struct homi_queue *q)
{
	if (!homi_queue_is_held_back(q))
		return "-";
	return q->hw == HOMI_HW_CREATED ? "parked" : "quarantined";
}

/* For debugfs */
void homi_queues_show(struct homi_ctrl *ctrl, struct seq_file *m)
{
	struct homi_queue *q;

	seq_puts(m, "qid depth state at_controller generation pid file hold\n");
	spin_lock(&ctrl->lock);
	list_for_each_entry(q, &ctrl->queues, entry)
		seq_printf(m, "%u %u %u %d %llu %d %llu %s\n", q->qid, q->depth,
			   q->state, q->hw == HOMI_HW_CREATED, q->generation,
			   pid_nr(q->obj.ctx->pid), q->obj.ctx->nr,
			   homi_queue_hold(q));
	spin_unlock(&ctrl->lock);
}

/**
 * homi_queues_held_back - queue ids of queues that nobody has any more
 * @ctrl: the controller
 */
u32 homi_queues_held_back(struct homi_ctrl *ctrl)
{
	struct homi_queue *q;
	u32 held = 0;

	spin_lock(&ctrl->lock);
	list_for_each_entry(q, &ctrl->queues, entry)
		held += homi_queue_is_held_back(q);
	spin_unlock(&ctrl->lock);
	return held;
}

/**
 * homi_ctx_show_queues - for debugfs: how many queues, and which ids are held back
 * @ctx: the open file; ctrl->lock is held
 * @m: gets " QUEUES ID,ID", or " QUEUES -"
 */
void homi_ctx_show_queues(struct homi_ctx *ctx, struct seq_file *m)
{
	unsigned int queues = 0;
	struct homi_queue *q;
	char before = ' ';

	lockdep_assert_held(&ctx->ctrl->lock);
	list_for_each_entry(q, &ctx->ctrl->queues, entry)
		queues += q->obj.ctx == ctx && !READ_ONCE(q->obj.dead);
	seq_printf(m, " %u", queues);
	list_for_each_entry(q, &ctx->ctrl->queues, entry) {
		if (q->obj.ctx != ctx || !homi_queue_is_held_back(q))
			continue;
		seq_printf(m, "%c%u", before, q->qid);
		before = ',';
	}
	if (before == ' ')
		seq_puts(m, " -");
}

#if IS_ENABLED(CONFIG_HOMI_KUNIT_TEST)
#include "tests/queue_test.c"
#include "tests/queue_reset_test.c"
#endif
