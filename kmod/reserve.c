// SPDX-License-Identifier: GPL-2.0-only
/*
 * What an administrator decides: how many queues stock has to leave, and who
 * has to give his back.
 */
#include <linux/bitmap.h>
#include <linux/pid.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "homi.h"

/* For a reset to end; stock's own admin time-out is 60 s. */
#define HOMI_RESERVE_MS		90000

/* 0's based in the command, and 65536 is not allowed there. */
#define HOMI_ASK_MAX		65535

/* --- what stock gets; called by its resets --- */

/**
 * homi_reserve_ask - how many queue pairs are to be asked for
 * @ctrl: the controller, just enabled
 * @asked: what stock wants
 */
u32 homi_reserve_ask(struct homi_ctrl *ctrl, u32 asked)
{
	u32 more;

	spin_lock(&ctrl->lock);
	more = max(ctrl->reserved, ctrl->reserve_wanted);
	spin_unlock(&ctrl->lock);
	return min_t(u64, (u64)asked + more, max_t(u32, asked, HOMI_ASK_MAX));
}

/**
 * homi_reserve_share - how many of the granted queue pairs stock may have
 * @ctrl: the controller, just enabled
 * @asked: what stock wants, at least 1
 * @got: granted of what homi_reserve_ask() said, at least 1
 *
 * What is wanted comes into force if that leaves stock one queue; else what was
 * in force before stays. Whatever is granted now, stock gets no queue id that
 * is lent, or held back.
 */
u32 homi_reserve_share(struct homi_ctrl *ctrl, u32 asked, u32 got)
{
	u32 share, below;

	spin_lock(&ctrl->lock);
	if (got > ctrl->reserve_wanted)
		ctrl->reserved = ctrl->reserve_wanted;
	ctrl->reserve_wanted = ctrl->reserved;
	share = got > ctrl->reserved ? got - ctrl->reserved : got;
	/* No id below 2 is ever lent, so there is one for stock. */
	below = find_next_bit(ctrl->qids, HOMI_MAX_QID + 1, 1) - 1;
	share = min3(share, asked, below);
	ctrl->kernel_queues = ctrl->reserved ? share : ctrl->stock_max;
	ctrl->stock_short = share < asked;
	spin_unlock(&ctrl->lock);
	return share;
}

/* --- RESERVE --- */

/* No id up to @limit is out of stock's reach for a reason of ours. */
static bool homi_reserve_may_return(struct homi_ctrl *ctrl, u32 limit)
{
	lockdep_assert_held(&ctrl->lock);
	return find_next_bit(ctrl->qids, HOMI_MAX_QID + 1, 1) > limit;
}

/* Queue pairs that stock leaves as it is now. */
static u32 homi_reserve_left(struct homi_ctrl *ctrl)
{
	u32 limit = min(ctrl->granted, ctrl->reach);

	lockdep_assert_held(&ctrl->lock);
	return limit > ctrl->kernel_queues ? limit - ctrl->kernel_queues : 0;
}

/*
 * Fewer than before: stock may take ids back, so nothing is lent there from now
 * on. 1 if it takes a reset for stock to have them.
 */
static int homi_reserve_fewer(struct homi_ctrl *ctrl, u32 count)
{
	u32 limit = ctrl->stock_max;

	lockdep_assert_held(&ctrl->lock);
	if (count && count < ctrl->granted)
		limit = min(limit, ctrl->granted - count);
	if (limit > ctrl->kernel_queues) {
		if (!homi_reserve_may_return(ctrl, limit))
			return -EBUSY;
		ctrl->kernel_queues = limit;
	}
	ctrl->reserve_wanted = count;
	ctrl->reserved = count;
	return ctrl->stock_short;
}

/*
 * The first half: what can be done without a reset is done. 1 if it takes one,
 * in which homi_reserve_share() does the rest.
 */
static int homi_reserve_begin(struct homi_ctrl *ctrl, u32 count)
{
	lockdep_assert_held(&ctrl->lock);
	if (count < ctrl->reserved)
		return homi_reserve_fewer(ctrl, count);
	ctrl->reserve_wanted = count;
	if (count > homi_reserve_left(ctrl))
		return 1;
	ctrl->reserved = count;
	return 0;
}

static bool homi_reserve_is_done(struct homi_ctrl *ctrl, u64 generation)
{
	bool done;

	spin_lock(&ctrl->lock);
	done = ctrl->state == HOMI_CTRL_GONE ||
	       (ctrl->state == HOMI_CTRL_LIVE && ctrl->generation > generation);
	spin_unlock(&ctrl->lock);
	return done;
}

/* 0 if @count is in force now; if not, it is not wanted any longer. */
static int homi_reserve_end(struct homi_ctrl *ctrl, u32 count)
{
	int ret;

	spin_lock(&ctrl->lock);
	ret = homi_ctrl_status(ctrl);
	/* Still wanted: stock did not come to the count of queues at all. */
	if (!ret && ctrl->reserved != count)
		ret = ctrl->reserve_wanted == count ? -EAGAIN : -ENOSPC;
	if (!ret && count > homi_reserve_left(ctrl))
		ret = -ENOSPC;
	ctrl->reserve_wanted = ctrl->reserved;
	spin_unlock(&ctrl->lock);
	return ret;
}

static int homi_reserve_reset(struct homi_ctrl *ctrl, u64 generation)
{
	long left;

	/* EBUSY: one has begun, or a pause. */
	ctrl->ops->reset(&ctrl->nvme);
	left = wait_event_killable_timeout(ctrl->wait,
					   homi_reserve_is_done(ctrl, generation),
					   msecs_to_jiffies(HOMI_RESERVE_MS));
	if (left < 0)
		return -EINTR;
	return left ? 0 : -EAGAIN;
}

static int homi_reserve_set(struct homi_ctrl *ctrl, u32 count)
{
	u64 generation;
	int ret, waited;

	lockdep_assert_held(&ctrl->reserve_lock);
	spin_lock(&ctrl->lock);
	ret = homi_ctrl_status(ctrl);
	if (!ret && ctrl->reason)
		ret = -EOPNOTSUPP;
	if (!ret && ctrl->hook_generation != ctrl->generation)
		ret = -EAGAIN;
	if (!ret)
		ret = homi_reserve_begin(ctrl, count);
	generation = ctrl->generation;
	spin_unlock(&ctrl->lock);
	if (ret <= 0)
		return ret;
	waited = homi_reserve_reset(ctrl, generation);
	ret = homi_reserve_end(ctrl, count);
	return waited ? waited : ret;
}

int homi_cmd_reserve(struct homi_call *call)
{
	struct homi_ctrl *ctrl = call->ctx->ctrl;
	struct homi_ctrl_info info = {};
	struct homi_call ask = { .ctx = call->ctx, .cmd = &info };
	struct homi_reserve *cmd = call->cmd;
	int ret;

	if (cmd->flags || cmd->__reserved || cmd->count >= HOMI_ASK_MAX)
		return -EINVAL;
	if (!homi_may_administer())
		return -EPERM;
	if (mutex_lock_killable(&ctrl->reserve_lock))
		return -EINTR;
	ret = homi_reserve_set(ctrl, cmd->count);
	mutex_unlock(&ctrl->reserve_lock);
	if (ret)
		return ret;
	ret = homi_cmd_ctrl_info(&ask);
	cmd->out_queues_granted = info.out_queues_granted;
	cmd->out_queues_kernel = info.out_queues_kernel;
	cmd->out_queues_spare = info.out_queues_spare;
	cmd->out_reserved = info.out_queues_reserved;
	cmd->out_generation = info.out_generation;
	return ret;
}

/* --- HOLDERS --- */

/**
 * struct homi_survey - one walk over the open files of a controller
 * @self: the caller's, which is left out
 * @holders: where records go
 * @room: how many fit there
 * @count: how many there are
 * @revoked: queues taken back
 */
struct homi_survey {
	struct homi_ctx *self;
	struct homi_holder *holders;
	u32 room;
	u32 count;
	u32 revoked;
};

static void homi_survey_ctx(struct homi_ctx *ctx, void *arg)
{
	struct homi_survey *survey = arg;
	struct homi_holder holder = {};

	if (ctx == survey->self)
		return;
	homi_ctx_count_queues(ctx, &holder);
	if (!holder.qids)
		return;
	/* Not the number of one that ended: somebody else may have it now. */
	rcu_read_lock();
	if (pid_has_task(ctx->pid, PIDTYPE_TGID))
		holder.pid = pid_vnr(ctx->pid);
	rcu_read_unlock();
	if (survey->count < survey->room)
		survey->holders[survey->count] = holder;
	survey->count++;
}

static void homi_take_ctx(struct homi_ctx *ctx, void *arg)
{
	struct homi_survey *survey = arg;

	/* Each deletion may take its time. */
	if (ctx == survey->self || fatal_signal_pending(current))
		return;
	survey->revoked += homi_ctx_take_queues(ctx);
	homi_ctx_revoke_end(ctx);
}

static int homi_holders_answer(struct homi_survey *survey,
			       struct homi_holders *cmd, struct homi_ctrl *ctrl)
{
	cmd->count = survey->count;
	cmd->out_revoked = 0;
	cmd->out_busy = homi_queues_taken_busy(ctrl);
	if (survey->count > survey->room)
		return -EMSGSIZE;
	if (copy_to_user(u64_to_user_ptr(cmd->holders), survey->holders,
			 array_size(survey->count, sizeof(*survey->holders))))
		return -EFAULT;
	if (cmd->flags & HOMI_HOLDERS_REVOKE)
		homi_ctrl_each_ctx(ctrl, homi_take_ctx, survey);
	cmd->out_revoked = survey->revoked;
	cmd->out_busy = homi_queues_taken_busy(ctrl);
	return 0;
}

int homi_cmd_holders(struct homi_call *call)
{
	struct homi_ctrl *ctrl = call->ctx->ctrl;
	struct homi_holders *cmd = call->cmd;
	struct homi_survey survey = { .self = call->ctx };
	int ret;

	if (cmd->flags & ~HOMI_HOLDERS_REVOKE || cmd->__reserved)
		return -EINVAL;
	if (!homi_may_administer())
		return -EPERM;
	/* A holder has at least one of the queue ids. */
	survey.room = min_t(u32, cmd->count, HOMI_MAX_QID);
	survey.holders = kvcalloc(survey.room, sizeof(*survey.holders),
				  GFP_KERNEL_ACCOUNT);
	if (!survey.holders)
		return -ENOMEM;
	homi_ctrl_each_ctx(ctrl, homi_survey_ctx, &survey);
	ret = homi_holders_answer(&survey, cmd, ctrl);
	kvfree(survey.holders);
	return ret;
}

#if IS_ENABLED(CONFIG_HOMI_KUNIT_TEST)
#include "tests/reserve_test.c"
#endif
