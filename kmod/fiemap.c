// SPDX-License-Identifier: GPL-2.0-only
/*
 * The blocks of a file, asked of its file system by FIEMAP and collected in
 * kernel memory; and the arithmetic that makes table records of the answer.
 */
#include <linux/dcache.h>
#include <linux/delay.h>
#include <linux/fiemap.h>
#include <linux/fileattr.h>
#include <linux/fs.h>
#include <linux/kprobes.h>
#include <linux/overflow.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "extent.h"

/* Of these the raw block addresses, if any, are not the file's plain data. */
#define HOMI_FIEMAP_REFUSED						\
	(FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC |		\
	 FIEMAP_EXTENT_ENCODED | FIEMAP_EXTENT_DATA_ENCRYPTED |		\
	 FIEMAP_EXTENT_NOT_ALIGNED | FIEMAP_EXTENT_DATA_INLINE |	\
	 FIEMAP_EXTENT_DATA_TAIL)

#define HOMI_FIEMAP_TRIES	8
#define HOMI_LOOK_TRIES		5
#define HOMI_FIEMAP_MAX		(32U << 20)	/* 1 GiB; kvmalloc() ends at 2 */

/* By the task that asks: small numbers, for which an xarray is small too. */
static DEFINE_XARRAY(homi_collectors);

/*
 * With fi_extents_max 0 fiemap_fill_next_extent() counts and copies nothing to
 * user space; what it is told is picked up here. Each call runs in the task
 * that made its collector, so one that is found stays until the call returns.
 */
static int homi_fiemap_pre(struct kprobe *kp, struct pt_regs *regs)
{
	unsigned long info = regs_get_kernel_argument(regs, 0);
	struct homi_collector *c = xa_load(&homi_collectors,
					   task_pid_nr(current));
	struct homi_raw_extent *extent;

	if (!c || (unsigned long)&c->info != info)
		return 0;
	if (!inode_is_locked(c->inode))
		c->saw_unlocked = true;
	if (c->seen < c->max) {
		extent = &c->extents[c->seen];
		extent->logical = regs_get_kernel_argument(regs, 1);
		extent->physical = regs_get_kernel_argument(regs, 2);
		extent->length = regs_get_kernel_argument(regs, 3);
		extent->flags = regs_get_kernel_argument(regs, 4);
	}
	c->seen++;
	return 0;
}

NOKPROBE_SYMBOL(homi_fiemap_pre);

static struct kprobe homi_fiemap_kp = {
	.symbol_name = "fiemap_fill_next_extent",
	.pre_handler = homi_fiemap_pre,
};

int homi_fiemap_init(void)
{
	return register_kprobe(&homi_fiemap_kp);
}

void homi_fiemap_exit(void)
{
	unregister_kprobe(&homi_fiemap_kp);
	xa_destroy(&homi_collectors);
}

/**
 * homi_fiemap_begin - the caller is going to ask where files lie
 * @c: stays where it is until homi_fiemap_end(), by the same task
 */
int homi_fiemap_begin(struct homi_collector *c)
{
	c->extents = c->few;
	c->max = ARRAY_SIZE(c->few);
	c->seen = 0;
	return xa_err(xa_store(&homi_collectors, task_pid_nr(current), c,
			       GFP_KERNEL));
}

void homi_fiemap_end(struct homi_collector *c)
{
	xa_erase(&homi_collectors, task_pid_nr(current));
	if (c->extents != c->few)
		kvfree(c->extents);
}

/* FIEMAP of ext4 has told of extents of a file with extents whose i_rwsem nobody held. */
static bool homi_ext4_takes_no_lock;

/* What it does of files without extents is another matter. */
static void homi_fiemap_saw_unlocked(struct inode *inode)
{
	struct homi_fileattr attr = {};
	struct dentry *dentry;

	if (READ_ONCE(homi_ext4_takes_no_lock) ||
	    strcmp(inode->i_sb->s_type->name, "ext4"))
		return;
	dentry = d_find_alias(inode);
	if (!dentry)
		return;
	if (!vfs_fileattr_get(dentry, &attr) && attr.flags & FS_EXTENT_FL)
		WRITE_ONCE(homi_ext4_takes_no_lock, true);
	dput(dentry);
}

/* One call; -EIO if what was seen is not what the file system counted. */
static int homi_fiemap_once(struct inode *inode, u64 start, u64 len,
			    struct homi_collector *c)
{
	int ret;

	c->info = (struct fiemap_extent_info){};
	c->inode = inode;
	c->saw_unlocked = false;
	c->seen = 0;
	ret = inode->i_op->fiemap(inode, &c->info, start, len);
	if (c->saw_unlocked)
		homi_fiemap_saw_unlocked(inode);
	if (ret)
		return ret;
	return c->seen == c->info.fi_extents_mapped ? 0 : -EIO;
}

/* Room for @max; the first @keep stay. */
static int homi_collector_grow(struct homi_collector *c, u32 max, u32 keep)
{
	struct homi_raw_extent *more;

	if (max > HOMI_FIEMAP_MAX)
		return -ENOMEM;
	more = kvmalloc_array(max, sizeof(*more),
			      GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!more)
		return -ENOMEM;
	memcpy(more, c->extents, keep * sizeof(*more));
	if (c->extents != c->few)
		kvfree(c->extents);
	c->extents = more;
	c->max = max;
	return 0;
}

/**
 * homi_collector_add - one more, by whoever found it otherwise
 * @c: begun; @seen is 0 before the first
 * @raw: behind all that there are; it joins the last one if it goes on there
 */
int homi_collector_add(struct homi_collector *c,
		       const struct homi_raw_extent *raw)
{
	struct homi_raw_extent *last = c->seen ? &c->extents[c->seen - 1] : NULL;
	int ret;

	if (last && last->flags == raw->flags &&
	    last->logical + last->length == raw->logical &&
	    last->physical + last->length == raw->physical) {
		last->length += raw->length;
		return 0;
	}
	if (c->seen == c->max) {
		ret = homi_collector_grow(c, 2 * c->max, c->seen);
		if (ret)
			return ret;
	}
	c->extents[c->seen++] = *raw;
	return 0;
}

/**
 * homi_fiemap - all extents of a range of a file, never a part of them
 * @c: begun by this task; out: @extents and how many, @seen, until it is used
 *	again
 * @inode: a file whose file system has FIEMAP, and whose data are on the drive;
 *	the caller holds no lock of it
 * @start: bytes
 * @len: bytes
 *
 * The caller has seen to it that nobody changes the file.
 */
int homi_fiemap(struct homi_collector *c, struct inode *inode, u64 start,
		u64 len)
{
	int try, ret = -EIO;

	for (try = 0; try < HOMI_FIEMAP_TRIES; try++) {
		if (fatal_signal_pending(current))
			return -EINTR;
		ret = homi_fiemap_once(inode, start, len, c);
		if (!ret && c->seen <= c->max)
			return 0;
		if (ret && ret != -EIO)
			return ret;
		if (c->seen > c->max) {
			ret = homi_collector_grow(c, c->seen, 0);
			if (ret)
				return ret;
		}
	}
	return -EIO;
}

/**
 * homi_fiemap_may_lock - may i_rwsem of a file of ext4 be held over homi_fiemap()?
 * @c: begun by this task; what it has is lost
 * @inode: a file of ext4; the answer is about those with extents
 * @start: bytes
 * @len: bytes
 *
 * Since 7.2 ext4 takes it itself, which is a deadlock as soon as somebody waits for
 * it in between. Distributions may do that earlier, so it is looked at: what does
 * not hold it while it names an extent does not take it. No is no answer for ever,
 * since somebody else may have held it.
 */
bool homi_fiemap_may_lock(struct homi_collector *c, struct inode *inode,
			  u64 start, u64 len)
{
	int try;

	for (try = 0; try < HOMI_LOOK_TRIES; try++) {
		if (READ_ONCE(homi_ext4_takes_no_lock))
			return true;
		if (try)
			usleep_range(100, 200);
		homi_fiemap_once(inode, start, len, c);
	}
	return READ_ONCE(homi_ext4_takes_no_lock);
}

/* --- records; plain values only --- */

static void homi_table_flush(struct homi_table_builder *b)
{
	if (!b->last.blocks)
		return;
	if (b->records)
		b->records[b->count] = b->last;
	b->count++;
	b->last.blocks = 0;
}

/* Append a piece; it joins the one before if that goes on in file and disk. */
static void homi_table_append(struct homi_table_builder *b, u64 file_offset,
			      u64 slba, u64 blocks, u32 flags)
{
	struct homi_extent *last = &b->last;

	if (!blocks)
		return;
	if (last->blocks && last->flags == flags &&
	    (flags & HOMI_EXTENT_HOLE || last->slba + last->blocks == slba)) {
		last->blocks += blocks;
		return;
	}
	homi_table_flush(b);
	last->file_offset = file_offset;
	last->slba = slba;
	last->blocks = blocks;
	last->flags = flags;
}

/* Blocks of [from, to) are a hole. */
static void homi_table_hole(struct homi_table_builder *b, u64 from, u64 to)
{
	homi_table_append(b, from, 0, (to - from) / b->block_size,
			  HOMI_EXTENT_HOLE);
}

/* An extent with @flags that begins at @from; what was before it ended at @at. */
static int homi_table_refuse(struct homi_table_builder *b, u64 at, u64 from,
			     u32 flags)
{
	b->reason = HOMI_REASON_NONE;
	if (flags & HOMI_FIEMAP_REFUSED)
		b->reason = HOMI_REASON_EXTENT;
	else if (b->write && (at < from || flags & FIEMAP_EXTENT_UNWRITTEN))
		b->reason = HOMI_REASON_HOLE;
	else if (b->write && flags & FIEMAP_EXTENT_SHARED)
		b->reason = HOMI_REASON_SHARED;
	return b->reason ? -EOPNOTSUPP : 0;
}

/**
 * homi_table_build - the records of a range, sorted and gapless
 * @b: block_size, start, end and disk_offset set; records NULL to only count
 * @raw: extents as the file system told them, sorted
 * @nr: number of them
 *
 * -EOPNOTSUPP for an extent that has no plain block address, or is not to be
 * written to (@b->reason tells), -EIO for an answer that makes no sense.
 */
int homi_table_build(struct homi_table_builder *b,
		     const struct homi_raw_extent *raw, u32 nr)
{
	u64 at = b->start, behind = 0, from, to, disk;
	int ret;
	u32 i;

	b->count = 0;
	b->last.blocks = 0;
	for (i = 0; i < nr; i++, raw++) {
		/* Out of order or overlapping would come out as a hole. */
		if (raw->logical < behind ||
		    check_add_overflow(raw->logical, raw->length, &behind))
			return -EIO;
		if (!(i % 4096))
			cond_resched();
		from = max(raw->logical, at);
		to = min(behind, b->end);
		if (from >= to)
			continue;
		ret = homi_table_refuse(b, at, from, raw->flags);
		if (ret)
			return ret;
		if (check_add_overflow(raw->physical, b->disk_offset, &disk) ||
		    check_add_overflow(disk, from - raw->logical, &disk))
			return -EIO;
		if ((from | to | disk) & (b->block_size - 1)) {
			b->reason = HOMI_REASON_EXTENT;
			return -EOPNOTSUPP;
		}
		homi_table_hole(b, at, from);
		if (raw->flags & FIEMAP_EXTENT_UNWRITTEN)
			homi_table_hole(b, from, to);
		else
			homi_table_append(b, from, disk / b->block_size,
					  (to - from) / b->block_size, 0);
		at = to;
	}
	ret = homi_table_refuse(b, at, b->end, 0);
	if (ret)
		return ret;
	homi_table_hole(b, at, b->end);
	homi_table_flush(b);
	return 0;
}

#if IS_ENABLED(CONFIG_HOMI_KUNIT_TEST)
#include "tests/fiemap_test.c"
#endif
