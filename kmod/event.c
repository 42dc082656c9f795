// SPDX-License-Identifier: GPL-2.0-only
/*
 * News for user space: eventfds, and poll() on the open file.
 */
#include <linux/eventfd.h>
#include <linux/poll.h>

#include "wait.h"

/**
 * homi_event_signal - tell whoever is bound to @event, if anybody is
 * @ctrl: the controller; its lock is held
 * @event: an object's, or an open file's
 */
void homi_event_signal(struct homi_ctrl *ctrl, struct eventfd_ctx *event)
{
	lockdep_assert_held(&ctrl->lock);
	if (event)
		eventfd_signal(event);
}

/**
 * homi_event_drop - no news any more
 * @ctrl: the controller
 * @event: an object's, or an open file's
 */
void homi_event_drop(struct homi_ctrl *ctrl, struct eventfd_ctx **event)
{
	struct eventfd_ctx *old = NULL;

	spin_lock(&ctrl->lock);
	swap(*event, old);
	spin_unlock(&ctrl->lock);
	if (old)
		eventfd_ctx_put(old);
}

/* The state under the lock under which it changes: either tells of a change. */
static void homi_event_bind_ctx(struct homi_ctx *ctx, struct eventfd_ctx *event)
{
	struct homi_ctrl *ctrl = ctx->ctrl;

	spin_lock(&ctrl->lock);
	swap(ctx->event, event);
	if (ctrl->state != HOMI_CTRL_LIVE)
		homi_event_signal(ctrl, ctx->event);
	spin_unlock(&ctrl->lock);
	if (event)
		eventfd_ctx_put(event);
}

static int homi_event_bind_object(struct homi_ctx *ctx, u32 id,
				  struct eventfd_ctx *event)
{
	struct homi_object *obj = homi_object_get(ctx, id, HOMI_OBJ_ANY);
	struct homi_ctrl *ctrl = ctx->ctrl;
	struct eventfd_ctx *old;

	if (!obj)
		return -ENOENT;
	if (!obj->ops->has_news) {
		homi_object_put(obj);
		return -EOPNOTSUPP;
	}
	spin_lock(&ctrl->lock);
	old = obj->event;
	obj->event = event;
	if (obj->ops->has_news(obj))
		homi_event_signal(ctrl, event);
	spin_unlock(&ctrl->lock);
	if (old)
		eventfd_ctx_put(old);
	homi_object_put(obj);
	return 0;
}

static int homi_event_bind_wait(struct homi_ctx *ctx, u32 id,
				struct eventfd_ctx *event)
{
	struct homi_object *obj = homi_object_get(ctx, id, HOMI_OBJ_QUEUE);
	struct homi_wait *w;

	if (!obj)
		return -ENOENT;
	w = homi_queue_wait(obj);
	if (w)
		homi_wait_bind(w, event);
	homi_object_put(obj);
	return w ? 0 : -EOPNOTSUPP;
}

int homi_cmd_event_bind(struct homi_call *call)
{
	struct homi_event_bind *cmd = call->cmd;
	struct homi_ctx *ctx = call->ctx;
	struct eventfd_ctx *event = NULL;
	int ret = 0;

	if (cmd->flags & ~HOMI_EVENT_COMPLETIONS || cmd->eventfd < -1)
		return -EINVAL;
	if (cmd->eventfd >= 0) {
		event = eventfd_ctx_fdget(cmd->eventfd);
		if (IS_ERR(event))
			return PTR_ERR(event);
	}
	if (cmd->flags & HOMI_EVENT_COMPLETIONS)
		ret = homi_event_bind_wait(ctx, cmd->id, event);
	else if (cmd->id)
		ret = homi_event_bind_object(ctx, cmd->id, event);
	else
		homi_event_bind_ctx(ctx, event);
	if (ret && event)
		eventfd_ctx_put(event);
	return ret;
}

/**
 * homi_ctrl_news - the controller's state has changed
 * @ctrl: the controller; its lock is held
 *
 * The caller wakes @ctrl->wait when it has dropped the lock.
 */
void homi_ctrl_news(struct homi_ctrl *ctrl)
{
	struct homi_ctx *ctx;

	lockdep_assert_held(&ctrl->lock);
	list_for_each_entry(ctx, &ctrl->ctxs, entry)
		homi_event_signal(ctrl, ctx->event);
}

/**
 * homi_ctx_poll - what poll() says of an open file
 * @ctx: the open file
 * @file: it
 * @wait: see poll_wait()
 */
__poll_t homi_ctx_poll(struct homi_ctx *ctx, struct file *file,
		       struct poll_table_struct *wait)
{
	struct homi_ctrl *ctrl = ctx->ctrl;
	__poll_t mask = 0;

	poll_wait(file, &ctrl->wait, wait);
	poll_wait(file, &ctx->completions, wait);
	spin_lock(&ctrl->lock);
	if (ctrl->state == HOMI_CTRL_GONE)
		mask |= EPOLLERR | EPOLLHUP;
	else if (ctrl->state == HOMI_CTRL_LIVE)
		mask |= EPOLLOUT | EPOLLWRNORM;
	if (atomic_read(&ctx->recalled) || homi_queues_any_lost(ctx))
		mask |= EPOLLPRI;
	if (atomic_read(&ctx->completed))
		mask |= EPOLLIN | EPOLLRDNORM;
	spin_unlock(&ctrl->lock);
	return mask;
}
