/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _HOMI_WAIT_H
#define _HOMI_WAIT_H

#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/msi.h>
#include <linux/spinlock.h>

#include "homi.h"

/* A queue being made; user space sees it as not made, or as lost, until it is LIVE. */
#define HOMI_QUEUE_NEW	0

/**
 * struct homi_wait - who waits for completions of a queue, and how he is woken
 * @lock: innermost, and taken by interrupts
 * @ctx: the queue's open file; constant
 * @state: the queue's; who takes it from LIVE calls homi_wait_end() after that
 * @depth: entries of the completion queue; constant
 * @interrupt: it has a vector of its own while it is at the controller; constant
 * @cq: what there is to look at, NULL if nothing; guarded by @lock
 * @armed: somebody waits; guarded by @lock
 * @fired: and was woken, and has not armed it again; guarded by @lock
 * @head: of the entry that he waits for; guarded by @lock
 * @phase: that it has when it is there; guarded by @lock
 * @event: the eventfd that tells him, or NULL; guarded by @lock
 * @since: when it was armed; guarded by @lock
 * @next: when the poller looks; guarded by ctrl->lock
 * @mean_ns: how long such waits lasted; guarded by @lock
 * @polled: in ctrl->polled while armed and without a vector; guarded by ctrl->lock
 * @vectors: in ctrl->vectors while it has one; guarded by ctrl->irq_lock
 * @vector: likewise
 * @name: of the interrupt; likewise
 * @wakeups: how often somebody was woken; guarded by @lock
 * @looks: how often the poller looked; guarded by @lock
 * @interrupts: how many came; guarded by @lock
 */
struct homi_wait {
	spinlock_t lock;	/* see above */
	struct homi_ctx *ctx;
	const u32 *state;
	u32 depth;
	bool interrupt;
	const struct nvme_completion *cq;
	bool armed;
	bool fired;
	u16 head;
	u16 phase;
	struct eventfd_ctx *event;
	ktime_t since;
	ktime_t next;
	u64 mean_ns;
	struct list_head polled;
	struct list_head vectors;
	struct msi_map vector;
	char name[32];
	u64 wakeups;
	u64 looks;
	u64 interrupts;
};

void homi_wait_init(struct homi_wait *w, struct homi_ctx *ctx, const u32 *state,
		    u32 depth, bool interrupt);
void homi_wait_set_ring(struct homi_wait *w, const struct nvme_completion *cq);
int homi_wait_get_vector(struct homi_wait *w, unsigned int qid);
void homi_wait_put_vector(struct homi_wait *w);
int homi_wait_arm(struct homi_wait *w, u16 head, u16 phase, bool *ready);
void homi_wait_end(struct homi_wait *w);
void homi_wait_forget(struct homi_wait *w);
void homi_wait_bind(struct homi_wait *w, struct eventfd_ctx *event);
void homi_wait_info(struct homi_wait *w, struct homi_queue_info *info);

/* queue.c */
struct homi_wait *homi_queue_wait(struct homi_object *obj);

#endif /* _HOMI_WAIT_H */
