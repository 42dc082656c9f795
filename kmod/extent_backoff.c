// SPDX-License-Identifier: GPL-2.0-only
/*
 * Files that somebody wanted back a moment ago, of which homi takes no lease for READs
 * for a while. Any reader may have these leases. Who wants a file and leaves no mark on it
 * that keeps the next lease away would meet that of the next READ each time he tries again:
 * who changes its mode, owner, times, name or attributes, who opens it with O_NONBLOCK,
 * and NFS's server, whose client comes back seconds later.
 *
 * What is remembered takes the same room whatever happens, and is not pushed out by what
 * others do: rows of times, of which each file has one in each row. Files share them, so
 * one may be taken for another, if it shares all of its times; what was recalled is not
 * forgotten before its time.
 */
#include <linux/fs.h>
#include <linux/jiffies.h>
#include <linux/random.h>
#include <linux/siphash.h>

#include "extent.h"

#define HOMI_BACKOFF_ROWS	4
#define HOMI_BACKOFF_SLOTS	256
/*
 * Jiffies. For long enough that who waited gets on, and short, since some READs can't be
 * done without a lease; then twice as long each time, up to twice what a client of NFS
 * waits at most before it tries again.
 */
#define HOMI_BACKOFF_FIRST	(2 * HZ)
#define HOMI_BACKOFF_MOST	(30 * HZ)

/**
 * struct homi_backoff - when a file may be leased again, or files that share this
 * @until: jiffies; guarded by the lock, read without
 * @length: jiffies, of the last time; guarded by the lock
 */
struct homi_backoff {
	u64 until;
	u64 length;
};

/* Inside of e->lock; nothing comes inside of this. */
static DEFINE_SPINLOCK(homi_backoff_lock);
static struct homi_backoff homi_backoffs[HOMI_BACKOFF_ROWS][HOMI_BACKOFF_SLOTS];
/* So that nobody can choose which files share */
static siphash_key_t homi_inode_key;

/* Those of one file, of the hash @hash */
static struct homi_backoff *homi_backoff_slot(u64 hash, unsigned int row)
{
	return &homi_backoffs[row][hash >> row * 8 & (HOMI_BACKOFF_SLOTS - 1)];
}

static bool homi_backoff_lasts(u64 hash, u64 now)
{
	unsigned int row;

	for (row = 0; row < HOMI_BACKOFF_ROWS; row++)
		if (READ_ONCE(homi_backoff_slot(hash, row)->until) <= now)
			return false;
	return true;
}

/* How long it was, unless it has been quiet since for as long as the longest */
static u64 homi_backoff_last(u64 hash, u64 now)
{
	u64 last = HOMI_BACKOFF_MOST;
	unsigned int row;

	for (row = 0; row < HOMI_BACKOFF_ROWS; row++) {
		const struct homi_backoff *slot = homi_backoff_slot(hash, row);

		last = min(last, slot->until + HOMI_BACKOFF_MOST > now ?
				 slot->length : 0);
	}
	return last;
}

static void homi_backoff_set(struct homi_backoff *slot, u64 length, u64 now)
{
	/* It may be longer for another file. */
	if (slot->until + HOMI_BACKOFF_MOST <= now || slot->length < length)
		slot->length = length;
	if (slot->until < now + length)
		WRITE_ONCE(slot->until, now + length);
}

/*
 * Leases that there were before end while it lasts. That is no reason for more of it, but
 * who waits goes on no sooner than the last of them ends.
 */
static void homi_backoff_recalled(u64 hash, u64 now)
{
	u64 length = HOMI_BACKOFF_FIRST;
	unsigned int row;

	lockdep_assert_held(&homi_backoff_lock);
	if (!homi_backoff_lasts(hash, now))
		length = clamp_t(u64, 2 * homi_backoff_last(hash, now),
				 HOMI_BACKOFF_FIRST, HOMI_BACKOFF_MOST);
	for (row = 0; row < HOMI_BACKOFF_ROWS; row++)
		homi_backoff_set(homi_backoff_slot(hash, row), length, now);
}

/**
 * homi_inode_hash - a file by its name on the drive
 * @inode: the file: another one may be there in its place in memory, soon
 *
 * With a key, so that nobody can choose which files meet in a table.
 */
u64 homi_inode_hash(const struct inode *inode)
{
	return siphash_3u64(inode->i_sb->s_dev, inode->i_ino,
			    inode->i_generation, &homi_inode_key);
}

/**
 * homi_backoff_begin - somebody wants a file, and may have to try again for it
 * @inode: the file
 */
void homi_backoff_begin(const struct inode *inode)
{
	u64 hash = homi_inode_hash(inode);

	spin_lock(&homi_backoff_lock);
	homi_backoff_recalled(hash, get_jiffies_64());
	spin_unlock(&homi_backoff_lock);
}

/**
 * homi_backoff_is_on - is a file not to be leased for READs just now?
 * @inode: the file
 */
bool homi_backoff_is_on(const struct inode *inode)
{
	return homi_backoff_lasts(homi_inode_hash(inode), get_jiffies_64());
}

void homi_backoff_init(void)
{
	get_random_bytes(&homi_inode_key, sizeof(homi_inode_key));
}

#if IS_ENABLED(CONFIG_HOMI_KUNIT_TEST)
#include "tests/extent_backoff_test.c"
#endif
