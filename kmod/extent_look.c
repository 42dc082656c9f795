// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who breaks leases and delegations tells those that there are when he comes, and waits
 * until there is none. One that is taken while he waits is refused as long as he has
 * marked others; after the last of these is gone, and before he has seen that, it is
 * not: for that one he waits too, for ever, and tells nobody. A holder who answers and
 * resolves again at once takes such a lease. (nfsd knows that, and gives no delegation of
 * a file for a minute.)
 *
 * So he is left the time to see it; and whether somebody waits is looked for, for a while,
 * where a file was recalled before it was leased. If so that time was too short for him, and
 * is longer from then on: who waits gets what he waits for, however slow he is.
 */
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/hash.h>
#include <linux/jiffies.h>
#include <linux/workqueue.h>

#include "extent.h"

/* Jiffies: until who waits has seen it for sure, and how often he is looked for */
#define HOMI_LOOK_FOR	(10 * HZ)
#define HOMI_LOOK_EACH	(HZ / 10)
/* That time: some of the jiffies in which he looks himself, and at most */
#define HOMI_YIELD_FIRST	max(HZ / 50, 2)
#define HOMI_YIELD_MOST		(2 * HZ)

/**
 * struct homi_let_go - files that were let go of as somebody wanted them
 * @at: jiffies, when; 0: never
 * @yield: jiffies, for how long none of them is leased then
 *
 * By a hash: what is one file's may be another's. Both are hints.
 */
struct homi_let_go {
	unsigned long at;
	unsigned long yield;
};

#define HOMI_LOOK_BITS	10
static struct homi_let_go homi_let_gos[BIT(HOMI_LOOK_BITS)];

/* Inside of e->lock. Guards the list, with a reference of each EXTENT that is on it. */
static DEFINE_SPINLOCK(homi_looks_lock);
static LIST_HEAD(homi_looks);
static struct delayed_work homi_look_work;

static struct homi_let_go *homi_look_slot(const struct inode *inode)
{
	u64 name = inode->i_ino + ((u64)inode->i_sb->s_dev << 32);

	return &homi_let_gos[hash_64(name, HOMI_LOOK_BITS)];
}

/**
 * homi_look_mind - a file is let go of that somebody wants
 * @inode: the file; the leases are still there
 */
void homi_look_mind(const struct inode *inode)
{
	struct homi_let_go *slot = homi_look_slot(inode);

	WRITE_ONCE(slot->yield, max_t(unsigned long, READ_ONCE(slot->yield) / 2,
				      HOMI_YIELD_FIRST));
	WRITE_ONCE(slot->at, jiffies | 1);
}

/**
 * homi_look_yield - an EXTENT is to be leased: somebody may wait for the last one's end
 * @inode: its file
 *
 * Sleeps, if not for long.
 *
 * Return: 0, or -EAGAIN
 */
int homi_look_yield(const struct inode *inode)
{
	const struct homi_let_go *slot = homi_look_slot(inode);
	unsigned long at = READ_ONCE(slot->at), now = jiffies;
	unsigned long until = at + READ_ONCE(slot->yield);

	if (!at || time_before(now, at) || !time_before(now, until))
		return 0;
	if (until - now > HOMI_YIELD_FIRST)
		return -EAGAIN;
	msleep(jiffies_to_msecs(until - now));
	return 0;
}

/**
 * homi_look_begin - an EXTENT has its leases: who could wait without having told?
 * @e: new, with its file; if it is ended meanwhile nothing comes of it
 * @inode: its file
 */
void homi_look_begin(struct homi_extent_obj *e, const struct inode *inode)
{
	unsigned long at = READ_ONCE(homi_look_slot(inode)->at);

	if (!at || time_after(jiffies, at + HOMI_LOOK_FOR))
		return;
	mutex_lock(&e->lock);
	if (!e->ended) {
		kref_get(&e->obj.ref);
		e->look_until = jiffies + HOMI_LOOK_FOR;
		spin_lock(&homi_looks_lock);
		list_add_tail(&e->look, &homi_looks);
		spin_unlock(&homi_looks_lock);
		homi_recall_queue(&homi_look_work, HOMI_LOOK_EACH);
	}
	mutex_unlock(&e->lock);
}

/**
 * homi_look_end - an EXTENT has ended
 * @e: its @ended is set; the caller has a reference
 */
void homi_look_end(struct homi_extent_obj *e)
{
	bool listed;

	spin_lock(&homi_looks_lock);
	listed = !list_empty(&e->look);
	list_del_init(&e->look);
	spin_unlock(&homi_looks_lock);
	if (listed)
		homi_object_put(&e->obj);
}

/*
 * He polls, and is blocked by the first of the leases of any kind, so that he is not found
 * for some instants, and the next time then.
 */
static bool homi_look_waits(struct inode *inode)
{
	struct file_lock_context *leases;
	struct file_lease *lease;
	bool waits = false;

	/* With the release of who made it, who initialised its lock before. */
	leases = smp_load_acquire(&inode->i_flctx);
	if (!leases)
		return false;
	spin_lock(&leases->flc_lock);
	list_for_each_entry(lease, &leases->flc_lease, homi_lease_list)
		waits |= !list_empty(&homi_lease_core(lease, blocked_requests));
	spin_unlock(&leases->flc_lock);
	return waits;
}

/* That time was not enough: the holder has to answer again. */
static void homi_look_found(struct homi_extent_obj *e)
{
	struct homi_let_go *slot = homi_look_slot(file_inode(e->file));

	WRITE_ONCE(slot->yield, min_t(unsigned long, 4 * READ_ONCE(slot->yield),
				      HOMI_YIELD_MOST));
	homi_extent_wanted(e);
}

/* Is it to be looked at again? */
static bool homi_look_at(struct homi_extent_obj *e)
{
	lockdep_assert_held(&e->lock);
	if (e->ended || !e->file || test_bit(0, &e->recalled))
		return false;
	if (homi_look_waits(file_inode(e->file))) {
		homi_look_found(e);
		return false;
	}
	return time_before(jiffies, e->look_until);
}

static struct homi_extent_obj *homi_look_next(struct list_head *from)
{
	struct homi_extent_obj *e;

	spin_lock(&homi_looks_lock);
	e = list_first_entry_or_null(from, struct homi_extent_obj, look);
	if (e)
		list_del_init(&e->look);
	spin_unlock(&homi_looks_lock);
	return e;
}

static void homi_look_fn(struct work_struct *work)
{
	struct homi_extent_obj *e;
	bool again, more = false;
	LIST_HEAD(these);

	spin_lock(&homi_looks_lock);
	list_splice_init(&homi_looks, &these);
	spin_unlock(&homi_looks_lock);
	while ((e = homi_look_next(&these))) {
		mutex_lock(&e->lock);
		again = homi_look_at(e);
		if (again) {
			/* Under e->lock, so that its end finds it here. */
			spin_lock(&homi_looks_lock);
			list_add_tail(&e->look, &homi_looks);
			spin_unlock(&homi_looks_lock);
		}
		mutex_unlock(&e->lock);
		if (!again)
			homi_object_put(&e->obj);
		more |= again;
		cond_resched();
	}
	if (more)
		homi_recall_queue(&homi_look_work, HOMI_LOOK_EACH);
}

void homi_look_init(void)
{
	INIT_DELAYED_WORK(&homi_look_work, homi_look_fn);
}

/* All that were on the list have ended. */
void homi_look_exit(void)
{
	cancel_delayed_work_sync(&homi_look_work);
}
