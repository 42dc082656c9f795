// SPDX-License-Identifier: GPL-2.0-only
/*
 * Waiting for completions without spinning. Who waits arms the queue with the entry
 * that he looks at next, and is told once when that is there, or when the queue is
 * lost. It is found by the queue's own interrupt, or by one thread for the controller
 * that looks at armed queues only, at what was in the kernel's memory before: no
 * register is read.
 */
#include <linux/eventfd.h>
#include <linux/hrtimer.h>
#include <linux/interrupt.h>
#include <linux/kthread.h>
#include <linux/moduleparam.h>
#include <linux/sched/mm.h>

#include "wait.h"

/* The first look, at the earliest; a timer is not much finer */
#define HOMI_POLL_MIN_NS	(10 * NSEC_PER_USEC)
/* Longer waits say nothing of how fast the drive is */
#define HOMI_MEAN_MAX_NS	NSEC_PER_MSEC

static unsigned int poll_max_us = 5000;
module_param(poll_max_us, uint, 0644);
MODULE_PARM_DESC(poll_max_us, "longest pause between two looks at a queue that somebody waits for, microseconds");

/*
 * A quarter of what the wait has lasted, so that who is woken late is late by that much,
 * and a wait of any length takes few looks.
 */
static u64 homi_poll_pause(u64 waited_ns, unsigned int max_us)
{
	u64 max = max_t(u64, (u64)max_us * NSEC_PER_USEC, HOMI_POLL_MIN_NS);

	return clamp_t(u64, waited_ns / 4, HOMI_POLL_MIN_NS, max);
}

/* Most of what waits for this queue lasted: there is nothing to be seen earlier. */
static u64 homi_poll_first(u64 mean_ns, unsigned int max_us)
{
	u64 max = max_t(u64, (u64)max_us * NSEC_PER_USEC, HOMI_POLL_MIN_NS);

	return clamp_t(u64, mean_ns - mean_ns / 4, HOMI_POLL_MIN_NS, max);
}

static u64 homi_poll_mean(u64 mean_ns, u64 waited_ns)
{
	return mean_ns - mean_ns / 8 + min_t(u64, waited_ns, HOMI_MEAN_MAX_NS) / 8;
}

static struct homi_ctrl *homi_wait_ctrl(struct homi_wait *w)
{
	return w->ctx->ctrl;
}

/**
 * homi_wait_init - nobody waits yet
 * @w: zeroed, in a queue
 * @ctx: its open file
 * @state: its state
 * @depth: entries of its completion queue
 * @interrupt: it is to have a vector of its own
 */
void homi_wait_init(struct homi_wait *w, struct homi_ctx *ctx, const u32 *state,
		    u32 depth, bool interrupt)
{
	spin_lock_init(&w->lock);
	INIT_LIST_HEAD(&w->polled);
	INIT_LIST_HEAD(&w->vectors);
	w->ctx = ctx;
	w->state = state;
	w->depth = depth;
	w->interrupt = interrupt;
}

/**
 * homi_wait_set_ring - what there is to look at
 * @w: of a queue that is not live
 * @cq: its completion queue if that is memory of the kernel's; NULL before it is freed
 */
void homi_wait_set_ring(struct homi_wait *w, const struct nvme_completion *cq)
{
	spin_lock_irq(&w->lock);
	w->cq = cq;
	spin_unlock_irq(&w->lock);
}

static bool homi_wait_is_there(struct homi_wait *w)
{
	lockdep_assert_held(&w->lock);
	return w->cq &&
	       (le16_to_cpu(READ_ONCE(w->cq[w->head].status)) & 1) == w->phase;
}

/* Once for each time that it was armed */
static void homi_wait_fire(struct homi_wait *w)
{
	lockdep_assert_held(&w->lock);
	w->armed = false;
	w->fired = true;
	w->wakeups++;
	atomic_inc(&w->ctx->completed);
	if (w->event)
		eventfd_signal(w->event);
	wake_up(&w->ctx->completions);
}

static void homi_wait_disarm(struct homi_wait *w)
{
	lockdep_assert_held(&w->lock);
	w->armed = false;
	if (w->fired)
		atomic_dec(&w->ctx->completed);
	w->fired = false;
}

/* --- a vector of its own --- */

/**
 * homi_ctrl_has_vectors - can queues have any beside those of stock's?
 * @ctrl: the controller, live
 *
 * Not where interrupts may not take spinlocks, nor where stock has to do without MSI-X.
 */
bool homi_ctrl_has_vectors(struct homi_ctrl *ctrl)
{
	struct pci_dev *pdev = ctrl->nvme.pdev;

	return !IS_ENABLED(CONFIG_PREEMPT_RT) && pdev->msix_enabled &&
	       pci_msix_can_alloc_dyn(pdev);
}

static irqreturn_t homi_wait_interrupt(int irq, void *data)
{
	struct homi_wait *w = data;
	unsigned long flags;

	spin_lock_irqsave(&w->lock, flags);
	w->interrupts++;
	/* It may be that of an entry which he has found himself meanwhile. */
	if (w->armed && homi_wait_is_there(w))
		homi_wait_fire(w);
	spin_unlock_irqrestore(&w->lock, flags);
	return IRQ_HANDLED;
}

static int homi_vector_alloc(struct homi_wait *w, unsigned int qid)
{
	struct homi_ctrl *ctrl = homi_wait_ctrl(w);
	struct pci_dev *pdev = ctrl->nvme.pdev;
	struct msi_map map;
	int ret;

	lockdep_assert_held(&ctrl->irq_lock);
	if (!homi_ctrl_has_vectors(ctrl))
		return -EOPNOTSUPP;
	map = pci_msix_alloc_irq_at(pdev, MSI_ANY_INDEX, NULL);
	if (map.index < 0)
		return map.index == -ENOMEM ? -ENOMEM : -ENOSPC;
	snprintf(w->name, sizeof(w->name), "homi-%sq%u",
		 dev_name(ctrl->nvme.class_dev), qid);
	/* A thread for it would be made under the lock that a reset waits for. */
	ret = request_irq(map.virq, homi_wait_interrupt, IRQF_NO_THREAD,
			  w->name, w);
	if (ret) {
		pci_msix_free_irq(pdev, map);
		return ret == -ENOMEM ? -ENOMEM : -ENOSPC;
	}
	w->vector = map;
	list_add_tail(&w->vectors, &ctrl->vectors);
	return 0;
}

/* Waits for a handler that runs. */
static void homi_vector_free(struct homi_wait *w)
{
	struct homi_ctrl *ctrl = homi_wait_ctrl(w);

	lockdep_assert_held(&ctrl->irq_lock);
	list_del_init(&w->vectors);
	free_irq(w->vector.virq, w);
	pci_msix_free_irq(ctrl->nvme.pdev, w->vector);
	w->vector = (struct msi_map){};
}

/**
 * homi_wait_get_vector - before the queue is made at the controller
 * @w: of a queue that wants one
 * @qid: its NVMe queue identifier, for the name
 *
 * A reset marks the queue, and frees all vectors after that: none is taken between that
 * and stock's freeing of its own.
 *
 * Return: the vector's number for Create CQ; -EOPNOTSUPP: none but stock's; -ENOSPC: none
 * is left; -ENOMEM; -EAGAIN: in a reset
 */
int homi_wait_get_vector(struct homi_wait *w, unsigned int qid)
{
	struct homi_ctrl *ctrl = homi_wait_ctrl(w);
	unsigned int noio;
	int ret = -EAGAIN;

	mutex_lock(&ctrl->irq_lock);
	/* A reset waits for irq_lock: no write-back to this very device. */
	noio = memalloc_noio_save();
	if (READ_ONCE(*w->state) == HOMI_QUEUE_NEW)
		ret = list_empty(&w->vectors) ? homi_vector_alloc(w, qid) : 0;
	memalloc_noio_restore(noio);
	if (!ret)
		ret = w->vector.index;
	mutex_unlock(&ctrl->irq_lock);
	return ret;
}

/**
 * homi_wait_put_vector - the controller sends none for this queue any more
 * @w: of a queue that may have one
 */
void homi_wait_put_vector(struct homi_wait *w)
{
	struct homi_ctrl *ctrl = homi_wait_ctrl(w);

	if (!w->interrupt)
		return;
	mutex_lock(&ctrl->irq_lock);
	if (!list_empty(&w->vectors))
		homi_vector_free(w);
	mutex_unlock(&ctrl->irq_lock);
}

/**
 * homi_vectors_free - stock is about to free the function's vectors
 * @ctrl: the controller; none of its queues is live, nor gets so meanwhile
 */
void homi_vectors_free(struct homi_ctrl *ctrl)
{
	struct homi_wait *w, *tmp;

	mutex_lock(&ctrl->irq_lock);
	list_for_each_entry_safe(w, tmp, &ctrl->vectors, vectors)
		homi_vector_free(w);
	mutex_unlock(&ctrl->irq_lock);
}

/* --- the poller --- */

static bool homi_poller_look_at(struct homi_wait *w, ktime_t now)
{
	u64 waited;
	bool there;

	spin_lock_irq(&w->lock);
	w->looks++;
	waited = ktime_to_ns(ktime_sub(now, w->since));
	there = homi_wait_is_there(w);
	if (there) {
		w->mean_ns = homi_poll_mean(w->mean_ns, waited);
		homi_wait_fire(w);
	}
	spin_unlock_irq(&w->lock);
	if (!there)
		w->next = ktime_add_ns(now, homi_poll_pause(waited, READ_ONCE(poll_max_us)));
	return there;
}

/* Returns when to look again, KTIME_MAX if nobody waits. */
static ktime_t homi_poller_look(struct homi_ctrl *ctrl)
{
	ktime_t next = KTIME_MAX, now = ktime_get();
	struct homi_wait *w, *tmp;

	spin_lock(&ctrl->lock);
	list_for_each_entry_safe(w, tmp, &ctrl->polled, polled) {
		if (ktime_compare(w->next, now) <= 0 &&
		    homi_poller_look_at(w, now))
			list_del_init(&w->polled);
		else
			next = min(next, w->next);
	}
	spin_unlock(&ctrl->lock);
	return next;
}

static int homi_poller(void *data)
{
	struct homi_ctrl *ctrl = data;
	ktime_t next;

	while (!kthread_should_stop()) {
		/* Before the look: who arms a queue after it wakes this one. */
		set_current_state(TASK_IDLE);
		next = homi_poller_look(ctrl);
		if (kthread_should_stop())
			break;
		if (next == KTIME_MAX)
			schedule();
		else
			schedule_hrtimeout_range(&next, HOMI_POLL_MIN_NS / 4,
						 HRTIMER_MODE_ABS);
	}
	__set_current_state(TASK_RUNNING);
	return 0;
}

/* For the first who waits; there is none before that. */
static int homi_poller_start(struct homi_ctrl *ctrl)
{
	struct task_struct *task;
	int ret = 0;

	if (READ_ONCE(ctrl->poller))
		return 0;
	/* Without the lock: who makes threads may wait for this very device. */
	task = kthread_create(homi_poller, ctrl, "homi-%s",
			      dev_name(ctrl->nvme.class_dev));
	if (IS_ERR(task))
		return PTR_ERR(task) == -EINTR ? -EINTR : -ENOMEM;
	mutex_lock(&ctrl->irq_lock);
	if (homi_ctrl_is_gone(ctrl)) {
		ret = -ENODEV;
	} else if (!ctrl->poller) {
		wake_up_process(task);
		WRITE_ONCE(ctrl->poller, task);
		task = NULL;
	}
	mutex_unlock(&ctrl->irq_lock);
	/* Somebody else was first; it has not run. */
	if (task)
		kthread_stop(task);
	return ret;
}

/**
 * homi_poller_stop - nobody waits, and nobody will
 * @ctrl: the controller, gone, or not open by anybody
 */
void homi_poller_stop(struct homi_ctrl *ctrl)
{
	struct task_struct *task;

	mutex_lock(&ctrl->irq_lock);
	task = ctrl->poller;
	WRITE_ONCE(ctrl->poller, NULL);
	mutex_unlock(&ctrl->irq_lock);
	if (task)
		kthread_stop(task);
}

/* --- who waits --- */

/**
 * homi_wait_arm - tell once when an entry is there
 * @w: of a queue
 * @head: of the entry, below the queue's depth
 * @phase: that it has then
 * @ready: set if it is there already; nobody is told then
 *
 * Takes the place of what was armed before.
 *
 * Return: 0; -EOPNOTSUPP: its completion queue is not the kernel's memory; -ESTALE: it
 * is not live; -ENODEV: the controller is gone; -EINTR: a fatal signal; -ENOMEM
 */
int homi_wait_arm(struct homi_wait *w, u16 head, u16 phase, bool *ready)
{
	struct homi_ctrl *ctrl = homi_wait_ctrl(w);
	struct task_struct *poller = NULL;
	int ret = 0;

	if (!w->interrupt)
		ret = homi_poller_start(ctrl);
	if (ret)
		return ret;
	spin_lock(&ctrl->lock);
	spin_lock_irq(&w->lock);
	homi_wait_disarm(w);
	list_del_init(&w->polled);
	w->head = head;
	w->phase = phase;
	*ready = false;
	if (READ_ONCE(*w->state) != HOMI_QUEUE_LIVE) {
		ret = ctrl->state == HOMI_CTRL_GONE ? -ENODEV : -ESTALE;
	} else if (homi_wait_is_there(w)) {
		*ready = true;
	} else {
		w->armed = true;
		w->since = ktime_get();
		if (!w->interrupt) {
			w->next = ktime_add_ns(w->since,
					       homi_poll_first(w->mean_ns, READ_ONCE(poll_max_us)));
			list_add_tail(&w->polled, &ctrl->polled);
			poller = ctrl->poller;
		}
	}
	spin_unlock_irq(&w->lock);
	/* Under the lock: it is not stopped while a queue is live. */
	if (poller)
		wake_up_process(poller);
	spin_unlock(&ctrl->lock);
	return ret;
}

/**
 * homi_wait_end - the queue is not live any more: who waits is told
 * @w: of the queue; ctrl->lock is held
 */
void homi_wait_end(struct homi_wait *w)
{
	unsigned long flags;

	lockdep_assert_held(&homi_wait_ctrl(w)->lock);
	list_del_init(&w->polled);
	spin_lock_irqsave(&w->lock, flags);
	if (w->armed)
		homi_wait_fire(w);
	spin_unlock_irqrestore(&w->lock, flags);
}

/**
 * homi_wait_forget - the queue was destroyed
 * @w: of the queue, which is not live
 */
void homi_wait_forget(struct homi_wait *w)
{
	struct eventfd_ctx *event;

	spin_lock_irq(&w->lock);
	homi_wait_disarm(w);
	event = w->event;
	w->event = NULL;
	spin_unlock_irq(&w->lock);
	if (event)
		eventfd_ctx_put(event);
}

/**
 * homi_wait_bind - tell it by this eventfd, too
 * @w: of a queue
 * @event: a reference that is taken over, or NULL
 */
void homi_wait_bind(struct homi_wait *w, struct eventfd_ctx *event)
{
	spin_lock_irq(&w->lock);
	swap(w->event, event);
	/* Somebody was woken, and did not come yet. */
	if (w->event && w->fired)
		eventfd_signal(w->event);
	spin_unlock_irq(&w->lock);
	if (event)
		eventfd_ctx_put(event);
}

/**
 * homi_wait_info - what QUEUE_INFO tells of it
 * @w: of a queue
 * @info: filled in
 */
void homi_wait_info(struct homi_wait *w, struct homi_queue_info *info)
{
	struct homi_ctrl *ctrl = homi_wait_ctrl(w);

	mutex_lock(&ctrl->irq_lock);
	info->out_irq = w->vector.virq;
	mutex_unlock(&ctrl->irq_lock);
	spin_lock_irq(&w->lock);
	info->out_wakeups = w->wakeups;
	info->out_looks = w->looks;
	info->out_interrupts = w->interrupts;
	spin_unlock_irq(&w->lock);
}

int homi_cmd_queue_arm(struct homi_call *call)
{
	struct homi_queue_arm *cmd = call->cmd;
	struct homi_object *obj;
	struct homi_wait *w;
	bool ready = false;
	int ret = -EINVAL;

	if (cmd->flags || cmd->__reserved || cmd->cq_phase > 1)
		return -EINVAL;
	obj = homi_object_get(call->ctx, cmd->queue_id, HOMI_OBJ_QUEUE);
	if (!obj)
		return -ENOENT;
	w = homi_queue_wait(obj);
	if (!w)
		ret = -EOPNOTSUPP;
	else if (cmd->cq_head < w->depth)
		ret = homi_wait_arm(w, cmd->cq_head, cmd->cq_phase, &ready);
	homi_object_put(obj);
	cmd->out_ready = ready;
	return ret;
}

#if IS_ENABLED(CONFIG_HOMI_KUNIT_TEST)
#include "tests/wait_test.c"
#endif
