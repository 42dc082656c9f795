// SPDX-License-Identifier: GPL-2.0-only
/*
 * Quotas: what all open files of one user, and of all users, may hold of one
 * controller. Counted against whoever opened the file, also when somebody else uses
 * its descriptor. The limits of a controller are the module's, or its own.
 */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/list.h>
#include <linux/moduleparam.h>
#include <linux/overflow.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "homi.h"
#include "show.h"

/* --- limits --- */

static unsigned int homi_defaults[HOMI_LIMITS] = {
	[HOMI_LIMIT_EXTENTS] = HOMI_SET_FILES_MAX,
};

static int homi_default_set(const char *text, const struct kernel_param *param)
{
	int ret = param_set_uint(text, param);

	if (!ret)
		homi_ctrl_each(homi_limits_refresh);
	return ret;
}

static const struct kernel_param_ops homi_default_ops = {
	.set = homi_default_set,
	.get = param_get_uint,
};

module_param_cb(queues_per_user, &homi_default_ops,
		&homi_defaults[HOMI_LIMIT_QUEUES], 0644);
__MODULE_PARM_TYPE(queues_per_user, "uint");
MODULE_PARM_DESC(queues_per_user, "how many queues a user may hold on one controller, 0: as many as there are");

module_param_cb(pinned_mib_per_user, &homi_default_ops,
		&homi_defaults[HOMI_LIMIT_PINNED], 0644);
__MODULE_PARM_TYPE(pinned_mib_per_user, "uint");
MODULE_PARM_DESC(pinned_mib_per_user, "how much memory a user may have registered at one controller, dma-bufs included, MiB, 0: no limit but RLIMIT_MEMLOCK for user pages");

module_param_cb(queues_total, &homi_default_ops,
		&homi_defaults[HOMI_LIMIT_QUEUES_TOTAL], 0644);
__MODULE_PARM_TYPE(queues_total, "uint");
MODULE_PARM_DESC(queues_total, "how many queues all users together may hold on one controller, 0: as many as there are");

module_param_cb(pinned_mib_total, &homi_default_ops,
		&homi_defaults[HOMI_LIMIT_PINNED_TOTAL], 0644);
__MODULE_PARM_TYPE(pinned_mib_total, "uint");
MODULE_PARM_DESC(pinned_mib_total, "how much memory all users together may have registered at one controller, MiB, 0: no limit");

module_param_cb(extents_per_user, &homi_default_ops,
		&homi_defaults[HOMI_LIMIT_EXTENTS], 0644);
__MODULE_PARM_TYPE(extents_per_user, "uint");
MODULE_PARM_DESC(extents_per_user, "how many EXTENTs a user may hold at one controller, those of SETs and those that READs by extents leave included, 0: no limit");

module_param_cb(ios_per_second_per_user, &homi_default_ops,
		&homi_defaults[HOMI_LIMIT_IOS], 0644);
__MODULE_PARM_TYPE(ios_per_second_per_user, "uint");
MODULE_PARM_DESC(ios_per_second_per_user, "how many READs and WRITEs by extents a second a user may have of one controller, 0: no limit");

module_param_cb(kib_per_second_per_user, &homi_default_ops,
		&homi_defaults[HOMI_LIMIT_KIB], 0644);
__MODULE_PARM_TYPE(kib_per_second_per_user, "uint");
MODULE_PARM_DESC(kib_per_second_per_user, "how much they may transfer a second, KiB, 0: no limit");

/**
 * homi_limits_refresh - what is in force at a controller
 * @ctrl: the controller, which has just come, or the parameters have changed
 */
void homi_limits_refresh(struct homi_ctrl *ctrl)
{
	struct homi_limits *limits = &ctrl->limits;
	u32 value;
	int i;

	spin_lock(&ctrl->lock);
	for (i = 0; i < HOMI_LIMITS; i++) {
		value = READ_ONCE(homi_defaults[i]);
		if (test_bit(i, &limits->has_own))
			value = limits->own[i];
		WRITE_ONCE(limits->now[i], value);
	}
	value = limits->now[HOMI_LIMIT_IOS] | limits->now[HOMI_LIMIT_KIB];
	WRITE_ONCE(limits->budget, value);
	spin_unlock(&ctrl->lock);
	homi_budget_wake(ctrl);
}

/**
 * homi_limit_set - another limit for one controller
 * @ctrl: the controller
 * @limit: which
 * @value: 0 for none; NULL: the module parameter's from now on
 */
void homi_limit_set(struct homi_ctrl *ctrl, enum homi_limit limit,
		    const u32 *value)
{
	spin_lock(&ctrl->lock);
	if (value) {
		ctrl->limits.own[limit] = *value;
		__set_bit(limit, &ctrl->limits.has_own);
	} else {
		__clear_bit(limit, &ctrl->limits.has_own);
	}
	spin_unlock(&ctrl->lock);
	homi_limits_refresh(ctrl);
}

/* In units of the kind; U64_MAX for none. A limit may change at any time. */
static u64 homi_quota_limit(const struct homi_ctrl *ctrl, enum homi_quota kind,
			    bool total)
{
	enum homi_limit mib = total ? HOMI_LIMIT_PINNED_TOTAL : HOMI_LIMIT_PINNED;
	enum homi_limit queues = total ? HOMI_LIMIT_QUEUES_TOTAL :
				 HOMI_LIMIT_QUEUES;
	u64 limit;

	if (kind == HOMI_QUOTA_FILES)
		return total ? U64_MAX : rlimit(RLIMIT_NOFILE);
	if (kind == HOMI_QUOTA_QUEUES)
		limit = READ_ONCE(ctrl->limits.now[queues]);
	else if (kind == HOMI_QUOTA_EXTENTS)
		limit = total ? 0 : READ_ONCE(ctrl->limits.now[HOMI_LIMIT_EXTENTS]);
	else
		limit = (u64)READ_ONCE(ctrl->limits.now[mib]) <<
			(20 - PAGE_SHIFT);
	return limit ? limit : U64_MAX;
}

/* --- users --- */

static struct homi_user *homi_user_find(struct homi_ctrl *ctrl, kuid_t uid)
{
	struct homi_user *user;

	lockdep_assert_held(&ctrl->lock);
	list_for_each_entry(user, &ctrl->users, entry)
		if (uid_eq(user->uid, uid))
			return user;
	return NULL;
}

/* Those who have no file open, and nothing to pay any more. */
static void homi_users_sweep(struct homi_ctrl *ctrl)
{
	struct homi_user *user, *next;

	lockdep_assert_held(&ctrl->lock);
	list_for_each_entry_safe(user, next, &ctrl->users, entry)
		if (!user->files && homi_budget_is_whole(ctrl, user)) {
			list_del(&user->entry);
			kfree(user);
		}
}

/**
 * homi_user_get - the account for an open file that is being made
 * @ctrl: the controller
 * @uid: whose
 *
 * Return: for homi_user_put(), or NULL without memory
 */
struct homi_user *homi_user_get(struct homi_ctrl *ctrl, kuid_t uid)
{
	struct homi_user *user, *fresh;

	fresh = kzalloc(sizeof(*fresh), GFP_KERNEL_ACCOUNT);
	if (!fresh)
		return NULL;
	fresh->uid = uid;
	homi_budget_init(fresh);
	spin_lock(&ctrl->lock);
	homi_users_sweep(ctrl);
	user = homi_user_find(ctrl, uid);
	if (!user) {
		user = fresh;
		list_add_tail(&user->entry, &ctrl->users);
		fresh = NULL;
	}
	user->files++;
	spin_unlock(&ctrl->lock);
	kfree(fresh);
	return user;
}

/**
 * homi_user_put - the open file is gone, and all that it held
 * @ctrl: the controller
 * @user: by homi_user_get()
 *
 * Whoever is through with his budget does not get another one by opening the device
 * once more.
 */
void homi_user_put(struct homi_ctrl *ctrl, struct homi_user *user)
{
	spin_lock(&ctrl->lock);
	if (!--user->files)
		homi_users_sweep(ctrl);
	spin_unlock(&ctrl->lock);
}

/**
 * homi_users_free - those who are left
 * @ctrl: nobody has it open, nor will
 */
void homi_users_free(struct homi_ctrl *ctrl)
{
	struct homi_user *user, *next;

	list_for_each_entry_safe(user, next, &ctrl->users, entry)
		kfree(user);
}

/* --- charging --- */

static bool homi_quota_fits(u64 used, u64 more, u64 limit)
{
	u64 sum;

	return !check_add_overflow(used, more, &sum) && sum <= limit;
}

/* @limit: of the user; @total: of all */
static bool homi_quota_take(struct homi_ctx *ctx, enum homi_quota kind, u64 n,
			    u64 limit, u64 total)
{
	u64 *used = &ctx->user->used[kind], *all = &ctx->ctrl->used[kind];
	bool fits;

	spin_lock(&ctx->ctrl->lock);
	fits = homi_quota_fits(*used, n, limit) &&
	       homi_quota_fits(*all, n, total);
	if (fits) {
		*used += n;
		*all += n;
	}
	spin_unlock(&ctx->ctrl->lock);
	return fits;
}

/**
 * homi_quota_charge - may this open file hold more?
 * @ctx: the open file
 * @kind: of what
 * @n: how much, in units of the kind
 *
 * Who has CAP_SYS_RESOURCE is counted, and is over no quota; it is asked for
 * only when it matters, since asking is remembered.
 *
 * Return: 0, to be undone by homi_quota_uncharge(), or -EDQUOT
 */
int homi_quota_charge(struct homi_ctx *ctx, enum homi_quota kind, u64 n)
{
	if (homi_quota_take(ctx, kind, n,
			    homi_quota_limit(ctx->ctrl, kind, false),
			    homi_quota_limit(ctx->ctrl, kind, true)))
		return 0;
	if (capable(CAP_SYS_RESOURCE) &&
	    homi_quota_take(ctx, kind, n, U64_MAX, U64_MAX))
		return 0;
	return -EDQUOT;
}

/**
 * homi_quota_uncharge - it is given back
 * @ctx: the open file
 * @kind: as it was charged
 * @n: likewise
 */
void homi_quota_uncharge(struct homi_ctx *ctx, enum homi_quota kind, u64 n)
{
	spin_lock(&ctx->ctrl->lock);
	ctx->user->used[kind] -= n;
	ctx->ctrl->used[kind] -= n;
	spin_unlock(&ctx->ctrl->lock);
}

kuid_t homi_user_uid(const struct homi_user *user)
{
	return user->uid;
}

/* For debugfs */
void homi_users_show(struct homi_ctrl *ctrl, struct seq_file *m)
{
	struct homi_user *user;

	lockdep_assert_held(&ctrl->lock);
	list_for_each_entry(user, &ctrl->users, entry)
		seq_printf(m, "user %u files %u queues %llu pages %llu registered %llu extents %llu\n",
			   from_kuid(&init_user_ns, user->uid), user->files,
			   user->used[HOMI_QUOTA_QUEUES],
			   user->used[HOMI_QUOTA_PAGES],
			   user->used[HOMI_QUOTA_FILES],
			   user->used[HOMI_QUOTA_EXTENTS]);
}

#if IS_ENABLED(CONFIG_HOMI_KUNIT_TEST)
#include "tests/quota_test.c"
#endif
