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
 * @budget: one of the rates is limited; as @now
 */
struct homi_limits {
	u32 now[HOMI_LIMITS];
	u32 own[HOMI_LIMITS];
	unsigned long has_own;
	bool budget;
};

/* Of a budget: I/Os, and KiB */
#define HOMI_BUCKETS	2

/**
 * struct homi_user - what a user holds of one controller
 * @entry: in ctrl->users
 * @uid: of the processes that opened the files
 * @files: open files that count here; 0: it is here for what it still owes
 * @used: by enum homi_quota; guarded, as all above, by ctrl->lock
 * @lock: guards what follows
 * @level: of its buckets, in billionths; see budget.c
 * @filled: when they were filled last, ktime_get_ns()
 * @waiters: I/Os that wait for its budget, struct homi_waiter.entry
 * @ios: that its budget let through
 * @bytes: of these
 * @waits: how many waited
 * @waited_ns: how long, all together
 */
struct homi_user {
	struct list_head entry;
	kuid_t uid;
	unsigned int files;
	u64 used[HOMI_QUOTA_KINDS];
	spinlock_t lock;	/* see "Locks" in homi.h */
	s64 level[HOMI_BUCKETS];
	u64 filled;
	struct list_head waiters;
	u64 ios;
	u64 bytes;
	u64 waits;
	u64 waited_ns;
};

/**
 * struct homi_toll - what one I/O has to do with a budget
 * @bytes: of it
 * @due: it has to wait
 * @paid: it is let through
 */
struct homi_toll {
	u32 bytes;
	bool due;
	bool paid;
};

/* quota.c */
struct homi_user *homi_user_get(struct homi_ctrl *ctrl, kuid_t uid);
void homi_user_put(struct homi_ctrl *ctrl, struct homi_user *user);
void homi_users_free(struct homi_ctrl *ctrl);
int homi_quota_charge(struct homi_ctx *ctx, enum homi_quota kind, u64 n);
void homi_quota_uncharge(struct homi_ctx *ctx, enum homi_quota kind, u64 n);
void homi_limits_refresh(struct homi_ctrl *ctrl);
void homi_limit_set(struct homi_ctrl *ctrl, enum homi_limit limit,
		    const u32 *value);
void homi_users_show(struct homi_ctrl *ctrl, struct seq_file *m);

/* budget.c */
void homi_budget_init(struct homi_user *user);
bool homi_budget_take(struct homi_ctx *ctx, struct homi_toll *toll, u32 bytes);
int homi_budget_wait(struct homi_ctx *ctx, struct homi_toll *toll);
void homi_budget_adjust(struct homi_ctx *ctx, struct homi_toll *toll, u32 bytes);
void homi_budget_refund(struct homi_ctx *ctx, struct homi_toll *toll);
void homi_budget_wake(struct homi_ctrl *ctrl);
bool homi_budget_is_whole(struct homi_ctrl *ctrl, struct homi_user *user);

/* quota_sysfs.c */
extern const struct attribute_group homi_quota_group;

#endif /* _HOMI_QUOTA_H */
