/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _HOMI_QUOTA_H
#define _HOMI_QUOTA_H

#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/uidgid.h>

struct homi_ctrl;
struct homi_ctx;
struct seq_file;

/* What is held of one controller */
enum homi_quota {
	HOMI_QUOTA_QUEUES,	/* queue ids, until nobody maps them any more */
	HOMI_QUOTA_PAGES,	/* pinned pages */
	HOMI_QUOTA_FILES,	/* FILEs, which keep files open */
	HOMI_QUOTA_EXTENTS,	/* EXTENTs, likewise, and leases */
	HOMI_QUOTA_KINDS,
};

/* Each a module parameter, and an attribute of each controller */
enum homi_limit {
	HOMI_LIMIT_QUEUES,
	HOMI_LIMIT_PINNED,	/* MiB */
	HOMI_LIMIT_QUEUES_TOTAL,
	HOMI_LIMIT_PINNED_TOTAL,	/* MiB */
	HOMI_LIMIT_EXTENTS,
	HOMI_LIMIT_IOS,		/* the first of the rates */
	HOMI_LIMIT_KIB,
	HOMI_LIMITS,
};

/**
 * struct homi_limits - what one controller's users may have; 0 is none
 * @now: what is in force; written under ctrl->lock, read without it
 * @own: what was set for this controller; guarded by ctrl->lock
 * @has_own: bit by enum homi_limit: not the module parameter; likewise
 */
struct homi_limits {
	u32 now[HOMI_LIMITS];
	u32 own[HOMI_LIMITS];
	unsigned long has_own;
};

/**
 * struct homi_user - what a user holds of one controller
 * @entry: in ctrl->users
 * @uid: of the processes that opened the files
 * @files: open files that count here; 0: it is here for what it did
 * @used: by enum homi_quota
 *
 * All of it is guarded by ctrl->lock.
 */
struct homi_user {
	struct list_head entry;
	kuid_t uid;
	unsigned int files;
	u64 used[HOMI_QUOTA_KINDS];
};

/* quota.c */
struct homi_user *homi_user_get(struct homi_ctrl *ctrl, kuid_t uid);
void homi_user_put(struct homi_ctrl *ctrl, struct homi_user *user);
int homi_quota_charge(struct homi_ctx *ctx, enum homi_quota kind, u64 n);
void homi_quota_uncharge(struct homi_ctx *ctx, enum homi_quota kind, u64 n);
void homi_limits_refresh(struct homi_ctrl *ctrl);
void homi_limit_set(struct homi_ctrl *ctrl, enum homi_limit limit,
		    const u32 *value);
void homi_users_show(struct homi_ctrl *ctrl, struct seq_file *m);

/* quota_sysfs.c */
extern const struct attribute_group homi_quota_group;

#endif /* _HOMI_QUOTA_H */
