// SPDX-License-Identifier: GPL-2.0-only
/*
 * The budget of a user for READ and WRITE by extents, which pass the block layer's
 * cgroups by: two buckets that fill with time, one of I/Os and one of KiB, each to
 * what is had in a second. An I/O takes from both, and goes if there is enough; one
 * that is larger than a full bucket goes when it is full, and leaves a debt, so that
 * everything goes some time.
 *
 * Who has to wait does so in one of io_uring's workers, in the order in which they
 * came, and holds nothing that anybody else could wait for.
 */
#include <linux/capability.h>
#include <linux/hrtimer.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/sched/signal.h>

#include "homi.h"

/* In the unit of a bucket: what one user may owe, 31 years of the least rate */
#define HOMI_DEBT_MOST	1000000000000000000LL

/**
 * struct homi_waiter - an I/O that waits for the budget
 * @entry: in user->waiters; the first one is next
 * @task: who waits
 */
struct homi_waiter {
	struct list_head entry;
	struct task_struct *task;
};

/* --- buckets --- */

/*
 * A bucket counts in billionths, of which as many come each nanosecond as its rate is
 * per second: exact at any rate, and a full one of the largest rate is below 2^62.
 */
static s64 homi_bucket_full(u32 rate)
{
	return (s64)rate * NSEC_PER_SEC;
}

/* Time goes by. Without a limit there is always enough, and no debt. */
static void homi_bucket_fill(s64 *level, u32 rate, u64 ns)
{
	s64 full = homi_bucket_full(rate);

	if (!rate)
		*level = S64_MAX;
	else if (*level >= full || ns > div_u64(full - *level, rate))
		*level = full;
	else
		*level += (s64)(ns * rate);
}

/* How long until so much can be taken, ns; 0 for now */
static u64 homi_bucket_wait(s64 level, u32 rate, u64 cost)
{
	s64 need;

	if (!rate)
		return 0;
	need = min_t(u64, cost, homi_bucket_full(rate));
	if (level >= need)
		return 0;
	return div_u64((u64)(need - level) + rate - 1, rate);
}

static void homi_bucket_take(s64 *level, u64 cost)
{
	*level = *level < -HOMI_DEBT_MOST + (s64)cost ? -HOMI_DEBT_MOST :
							*level - (s64)cost;
}

/* What was not used; the next filling cuts off what is too much. */
static void homi_bucket_give(s64 *level, u64 cost)
{
	*level = *level > S64_MAX - (s64)cost ? S64_MAX : *level + (s64)cost;
}

/* --- budgets --- */

static u32 homi_budget_rate(const struct homi_ctrl *ctrl, int i)
{
	return READ_ONCE(ctrl->limits.now[HOMI_LIMIT_IOS + i]);
}

/* Of one I/O of @bytes, to be taken from bucket @i: below 2^52 each */
static u64 homi_budget_cost(u32 bytes, int i)
{
	return i ? (u64)bytes * NSEC_PER_SEC >> 10 : NSEC_PER_SEC;
}

static void homi_budget_fill(struct homi_ctrl *ctrl, struct homi_user *user)
{
	u64 now = ktime_get_ns();
	int i;

	lockdep_assert_held(&user->lock);
	for (i = 0; i < HOMI_BUCKETS; i++)
		homi_bucket_fill(&user->level[i], homi_budget_rate(ctrl, i),
				 now - user->filled);
	user->filled = now;
}

/* How long until an I/O may go that is the next one, ns */
static u64 homi_budget_delay(struct homi_ctrl *ctrl, struct homi_user *user,
			     u32 bytes)
{
	u64 ns = 0;
	int i;

	homi_budget_fill(ctrl, user);
	for (i = 0; i < HOMI_BUCKETS; i++)
		ns = max(ns, homi_bucket_wait(user->level[i],
					      homi_budget_rate(ctrl, i),
					      homi_budget_cost(bytes, i)));
	return ns;
}

static void homi_budget_pay(struct homi_user *user, struct homi_toll *toll)
{
	int i;

	lockdep_assert_held(&user->lock);
	for (i = 0; i < HOMI_BUCKETS; i++)
		homi_bucket_take(&user->level[i],
				 homi_budget_cost(toll->bytes, i));
	user->ios++;
	user->bytes += toll->bytes;
	toll->paid = true;
}

/* There is more than the first one who waits has reckoned with. */
static void homi_budget_wake_first(struct homi_user *user)
{
	lockdep_assert_held(&user->lock);
	if (!list_empty(&user->waiters))
		wake_up_process(list_first_entry(&user->waiters,
						 struct homi_waiter, entry)->task);
}

/**
 * homi_budget_adjust - what was paid for a length is for another one
 * @ctx: as it was taken
 * @toll: paid
 * @bytes: of it: a file grew, or shrank, before it was known where it lies
 *
 * Nobody waits: what is missing is owed, by those who come next.
 */
void homi_budget_adjust(struct homi_ctx *ctx, struct homi_toll *toll, u32 bytes)
{
	struct homi_user *user = ctx->user;

	if (toll->bytes == bytes)
		return;
	spin_lock(&user->lock);
	homi_bucket_give(&user->level[1], homi_budget_cost(toll->bytes, 1));
	homi_bucket_take(&user->level[1], homi_budget_cost(bytes, 1));
	user->bytes += (u64)bytes - toll->bytes;
	if (bytes < toll->bytes)
		homi_budget_wake_first(user);
	spin_unlock(&user->lock);
	toll->bytes = bytes;
}

/**
 * homi_budget_take - may an I/O go now?
 * @ctx: the open file that it is by; its controller has a budget
 * @toll: of this I/O; holds what was paid, for homi_budget_refund()
 * @bytes: of it
 *
 * Nobody overtakes who waits. The caller's privilege is asked for only when it
 * matters; it pays nothing then. Does not sleep.
 *
 * Return: false if it has to wait, by homi_budget_wait(). It may then be asked for
 * again, and is let through for what it has paid.
 */
bool homi_budget_take(struct homi_ctx *ctx, struct homi_toll *toll, u32 bytes)
{
	struct homi_user *user = ctx->user;

	if (toll->paid) {
		homi_budget_adjust(ctx, toll, bytes);
		return true;
	}
	toll->bytes = bytes;
	spin_lock(&user->lock);
	if (list_empty(&user->waiters) &&
	    !homi_budget_delay(ctx->ctrl, user, bytes))
		homi_budget_pay(user, toll);
	spin_unlock(&user->lock);
	/* Not to be heard of by auditors for each I/O */
	toll->due = !toll->paid &&
		    !ns_capable_noaudit(&init_user_ns, CAP_SYS_RESOURCE);
	return !toll->due;
}

/**
 * homi_budget_refund - an I/O that was let through was not begun
 * @ctx: as it was taken
 * @toll: paid
 */
void homi_budget_refund(struct homi_ctx *ctx, struct homi_toll *toll)
{
	struct homi_user *user = ctx->user;
	int i;

	spin_lock(&user->lock);
	for (i = 0; i < HOMI_BUCKETS; i++)
		homi_bucket_give(&user->level[i],
				 homi_budget_cost(toll->bytes, i));
	user->ios--;
	user->bytes -= toll->bytes;
	homi_budget_wake_first(user);
	spin_unlock(&user->lock);
	toll->paid = false;
}

/*
 * One look of a waiter: 0 if it may go, and has paid; an error if it is not to wait
 * any longer; or -EAGAIN and how long the next sleep may be.
 */
static int homi_budget_look(struct homi_ctrl *ctrl, struct homi_user *user,
			    struct homi_waiter *waiter, struct homi_toll *toll,
			    ktime_t *most)
{
	u64 ns;

	if (homi_ctrl_is_gone(ctrl))
		return -ENODEV;
	*most = KTIME_MAX;
	if (!homi_budget_is_set(ctrl) ||
	    list_is_first(&waiter->entry, &user->waiters)) {
		ns = homi_budget_delay(ctrl, user, toll->bytes);
		if (!ns) {
			homi_budget_pay(user, toll);
			return 0;
		}
		*most = ns_to_ktime(ns);
	}
	return signal_pending(current) ? -EINTR : -EAGAIN;
}

/**
 * homi_budget_wait - until an I/O may go
 * @ctx: the open file that it is by
 * @toll: by homi_budget_take()
 *
 * The caller holds no lock, and nothing of what the I/O names. Who has a signal, as
 * io_uring's cancellation is one, waits no longer, nor does anybody when the controller
 * goes; another limit is seen at once.
 *
 * Return: 0 and paid, -EINTR or -ENODEV
 */
int homi_budget_wait(struct homi_ctx *ctx, struct homi_toll *toll)
{
	struct homi_waiter waiter = { .task = current };
	struct homi_user *user = ctx->user;
	u64 begin = ktime_get_ns();
	ktime_t most;
	int ret;

	spin_lock(&user->lock);
	list_add_tail(&waiter.entry, &user->waiters);
	user->waits++;
	for (;;) {
		set_current_state(TASK_INTERRUPTIBLE | TASK_FREEZABLE);
		ret = homi_budget_look(ctx->ctrl, user, &waiter, toll, &most);
		if (ret != -EAGAIN)
			break;
		spin_unlock(&user->lock);
		schedule_hrtimeout(&most, HRTIMER_MODE_REL);
		spin_lock(&user->lock);
	}
	__set_current_state(TASK_RUNNING);
	list_del(&waiter.entry);
	user->waited_ns += ktime_get_ns() - begin;
	homi_budget_wake_first(user);
	spin_unlock(&user->lock);
	return ret;
}

/**
 * homi_budget_wake - whoever waits is to look again
 * @ctrl: the controller, which is gone, or its limits are other ones
 */
void homi_budget_wake(struct homi_ctrl *ctrl)
{
	struct homi_waiter *waiter;
	struct homi_user *user;

	spin_lock(&ctrl->lock);
	list_for_each_entry(user, &ctrl->users, entry) {
		spin_lock(&user->lock);
		list_for_each_entry(waiter, &user->waiters, entry)
			wake_up_process(waiter->task);
		spin_unlock(&user->lock);
	}
	spin_unlock(&ctrl->lock);
}

/**
 * homi_budget_init - all that there is in a second, to begin with
 * @user: new
 */
void homi_budget_init(struct homi_user *user)
{
	spin_lock_init(&user->lock);
	INIT_LIST_HEAD(&user->waiters);
}

/**
 * homi_budget_is_whole - has a user as much as one who never did any I/O?
 * @ctrl: the controller
 * @user: waits for nothing
 */
bool homi_budget_is_whole(struct homi_ctrl *ctrl, struct homi_user *user)
{
	bool whole = true;
	int i;

	if (!homi_budget_is_set(ctrl))
		return true;
	spin_lock(&user->lock);
	homi_budget_fill(ctrl, user);
	for (i = 0; i < HOMI_BUCKETS; i++)
		whole &= user->level[i] >=
			 homi_bucket_full(homi_budget_rate(ctrl, i));
	spin_unlock(&user->lock);
	return whole;
}

#if IS_ENABLED(CONFIG_HOMI_KUNIT_TEST)
#include "tests/budget_test.c"
#endif
