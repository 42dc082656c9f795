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
#include <linux/jiffies.h>
#include <linux/workqueue.h>

#include "extent.h"

/* Jiffies: until who waits has seen it for sure, and how often he is looked for */
#define HOMI_LOOK_FOR	(30 * HZ)
#define HOMI_LOOK_EACH	(HZ / 10)
/* That time: some of the jiffies in which he looks himself, and at most */
#define HOMI_YIELD_FIRST	max(HZ / 50, 2)
#define HOMI_YIELD_MOST		(2 * HZ)

/**
 * struct homi_let_go - a file that was let go of as somebody wanted it, the last such one
 * @at: jiffies, when; 0: never. Guarded by the lock, read without
 * @name: which one; guarded by the lock
 * @yield: jiffies, for how long it is not leased then; guarded by the lock
 * @marked: but he has left a mark, so that it can't be; guarded by the lock
 * @grown: since then that was too short for somebody; guarded by the lock
 */
struct homi_let_go {
	u64 at;
	u64 name;
	unsigned int yield;
	bool marked;
	bool grown;
};

#define HOMI_LOOK_BITS	12
static struct homi_let_go homi_let_gos[BIT(HOMI_LOOK_BITS)];

/* Inside of e->lock. Guards those, and the list, with a reference of each EXTENT that is on it. */
static DEFINE_SPINLOCK(homi_looks_lock);
static LIST_HEAD(homi_looks);
static struct delayed_work homi_look_work;

static struct homi_let_go *homi_look_find(const struct inode *inode, u64 *name)
{
	*name = homi_inode_hash(inode);
	return &homi_let_gos[*name & (BIT(HOMI_LOOK_BITS) - 1)];
}

/**
 * homi_look_mind - a file is let go of that somebody wants
 * @inode: the file
 * @marked: he has it open for writing, or waits for that
 *
 * For the last lease once it is gone, since that is when he may come to know of it; and
 * before, for who takes the next one in between.
 */
void homi_look_mind(const struct inode *inode, bool marked)
{
	u64 name, now = get_jiffies_64();
	struct homi_let_go *slot = homi_look_find(inode, &name);

	spin_lock(&homi_looks_lock);
	if (slot->name != name || now - slot->at > HOMI_LOOK_FOR)
		slot->yield = HOMI_YIELD_FIRST;
	else if (!slot->grown && now - slot->at > slot->yield)
		slot->yield = max_t(unsigned int, slot->yield / 2,
				    HOMI_YIELD_FIRST);
	slot->grown = false;
	slot->marked = marked;
	slot->name = name;
	WRITE_ONCE(slot->at, now);
	spin_unlock(&homi_looks_lock);
}

/* Jiffies since it was let go of, U64_MAX if it was not; how long it is to be let alone */
static u64 homi_look_since(const struct inode *inode, unsigned int *yield)
{
	u64 name, since = U64_MAX;
	struct homi_let_go *slot = homi_look_find(inode, &name);

	*yield = 0;
	if (!READ_ONCE(slot->at))
		return since;
	spin_lock(&homi_looks_lock);
	if (slot->name == name) {
		since = get_jiffies_64() - slot->at;
		*yield = slot->marked ? 0 : slot->yield;
	}
	spin_unlock(&homi_looks_lock);
	return since;
}

/**
 * homi_look_yield - an EXTENT is to be leased: somebody may wait for the last one's end
 * @e: the EXTENT
 * @inode: its file
 *
 * Sleeps, if not for long, and not for READs, which can do without.
 *
 * Return: 0, or -EAGAIN
 */
int homi_look_yield(const struct homi_extent_obj *e, const struct inode *inode)
{
	unsigned int yield;
	u64 since = homi_look_since(inode, &yield);

	if (since >= yield)
		return 0;
	if (e->internal || yield - since > HOMI_YIELD_FIRST)
		return -EAGAIN;
	msleep(jiffies_to_msecs(yield - since));
	return 0;
}

/**
 * homi_look_begin - an EXTENT has its leases: who could wait without having told?
 * @e: new, with its file; if it is ended meanwhile nothing comes of it
 * @inode: its file
 */
void homi_look_begin(struct homi_extent_obj *e, const struct inode *inode)
{
	unsigned int yield;

	if (homi_look_since(inode, &yield) > HOMI_LOOK_FOR)
		return;
	mutex_lock(&e->lock);
	if (!e->ended) {
		kref_get(&e->obj.ref);
		e->look_until = get_jiffies_64() + HOMI_LOOK_FOR;
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

/**
 * homi_look_waits - does somebody wait for leases of a file to end?
 * @inode: the file
 *
 * He polls, and is blocked by one of the leases of any kind, so that he is not found for some
 * instants, and the next time then.
 */
bool homi_look_waits(struct inode *inode)
{
	struct file_lock_context *leases;
	struct file_lease *lease;
	bool waits = false;

	/* With the release of who made it, who initialised its lock before. */
	leases = smp_load_acquire(&inode->i_flctx);
	if (!leases)
		return false;
	spin_lock(&leases->flc_lock);
	list_for_each_entry(lease, &leases->flc_lease, homi_lease_list) {
		waits = !list_empty(&homi_lease_core(lease, blocked_requests));
		if (waits)
			break;
	}
	spin_unlock(&leases->flc_lock);
	return waits;
}

/* That time was not enough: the holder has to answer again. */
static void homi_look_found(struct homi_extent_obj *e)
{
	u64 name;
	struct homi_let_go *slot = homi_look_find(file_inode(e->file), &name);

	spin_lock(&homi_looks_lock);
	if (slot->name == name && !slot->grown) {
		slot->yield = min_t(unsigned int, 4 * slot->yield,
				    HOMI_YIELD_MOST);
		slot->grown = true;
	}
	spin_unlock(&homi_looks_lock);
	homi_extent_wanted(e);
}

/**
 * struct homi_look - one time that all are looked at
 * @inode: the last one's file; only to be compared
 * @waits: what was seen of that: one file may have many
 */
struct homi_look {
	const struct inode *inode;
	bool waits;
};

/* Is it to be looked at again? */
static bool homi_look_at(struct homi_look *look, struct homi_extent_obj *e)
{
	struct inode *inode;

	lockdep_assert_held(&e->lock);
	if (e->ended || !e->file || test_bit(0, &e->recalled))
		return false;
	inode = file_inode(e->file);
	if (look->inode != inode) {
		look->inode = inode;
		look->waits = homi_look_waits(inode);
	}
	if (look->waits) {
		homi_look_found(e);
		return false;
	}
	return time_before64(get_jiffies_64(), e->look_until);
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
	struct homi_look look = {};
	struct homi_extent_obj *e;
	bool again, more = false;
	LIST_HEAD(these);

	spin_lock(&homi_looks_lock);
	list_splice_init(&homi_looks, &these);
	spin_unlock(&homi_looks_lock);
	while ((e = homi_look_next(&these))) {
		mutex_lock(&e->lock);
		again = homi_look_at(&look, e);
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
