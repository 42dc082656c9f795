// SPDX-License-Identifier: GPL-2.0-only
/*
 * Quotas: what all open files of one user may hold of one controller. Counted
 * against whoever opened the file, also when somebody else uses its descriptor.
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

static unsigned int queues_per_user;
module_param(queues_per_user, uint, 0644);
MODULE_PARM_DESC(queues_per_user, "how many queues a user may hold on one controller, 0: as many as there are");

static unsigned int pinned_mib_per_user;
module_param(pinned_mib_per_user, uint, 0644);
MODULE_PARM_DESC(pinned_mib_per_user, "how much memory a user may have registered at one controller, dma-bufs included, MiB, 0: no limit but RLIMIT_MEMLOCK for user pages");

static unsigned int extents_per_user = HOMI_SET_FILES_MAX;
module_param(extents_per_user, uint, 0644);
MODULE_PARM_DESC(extents_per_user, "how many EXTENTs a user may hold at one controller, those of SETs and those that READs by extents leave included, 0: no limit");

/**
 * struct homi_user - what a user holds of one controller
 * @entry: in ctrl->users; guarded, as all of it, by ctrl->lock
 * @uid: of the processes that opened the files
 * @files: open files that count here
 * @used: by enum homi_quota
 */
struct homi_user {
	struct list_head entry;
	kuid_t uid;
	unsigned int files;
	u64 used[HOMI_QUOTA_KINDS];
};

/* In units of the kind; U64_MAX for none. A limit may change at any time. */
static u64 homi_quota_limit(enum homi_quota kind)
{
	u64 limit;

	if (kind == HOMI_QUOTA_FILES)
		return rlimit(RLIMIT_NOFILE);
	if (kind == HOMI_QUOTA_QUEUES)
		limit = READ_ONCE(queues_per_user);
	else if (kind == HOMI_QUOTA_EXTENTS)
		limit = READ_ONCE(extents_per_user);
	else
		limit = (u64)READ_ONCE(pinned_mib_per_user) <<
			(20 - PAGE_SHIFT);
	return limit ? limit : U64_MAX;
}

static bool homi_quota_fits(u64 used, u64 more, u64 limit)
{
	u64 sum;

	return !check_add_overflow(used, more, &sum) && sum <= limit;
}

static struct homi_user *homi_user_find(struct homi_ctrl *ctrl, kuid_t uid)
{
	struct homi_user *user;

	lockdep_assert_held(&ctrl->lock);
	list_for_each_entry(user, &ctrl->users, entry)
		if (uid_eq(user->uid, uid))
			return user;
	return NULL;
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
	spin_lock(&ctrl->lock);
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
 */
void homi_user_put(struct homi_ctrl *ctrl, struct homi_user *user)
{
	bool last;

	spin_lock(&ctrl->lock);
	last = !--user->files;
	if (last)
		list_del(&user->entry);
	spin_unlock(&ctrl->lock);
	if (last)
		kfree(user);
}

static bool homi_quota_take(struct homi_ctx *ctx, enum homi_quota kind, u64 n,
			    u64 limit)
{
	u64 *used = &ctx->user->used[kind];
	bool fits;

	spin_lock(&ctx->ctrl->lock);
	fits = homi_quota_fits(*used, n, limit);
	if (fits)
		*used += n;
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
	if (homi_quota_take(ctx, kind, n, homi_quota_limit(kind)))
		return 0;
	if (capable(CAP_SYS_RESOURCE) && homi_quota_take(ctx, kind, n, U64_MAX))
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
	spin_unlock(&ctx->ctrl->lock);
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
