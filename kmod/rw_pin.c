// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where a range of a file lies, for one READ or WRITE: of files of which no lease can
 * be had, because somebody has them open for writing, the caller for example.
 *
 * Their blocks stay where they are by what keeps them there under direct I/O of the
 * file system's own: who moves blocks has i_rwsem and waits for i_dio_count, which
 * goes up here with i_rwsem held, and down after the last command.
 * XFS_IOC_SWAPEXT does not wait for that, but takes the page cache's invalidate_lock,
 * as all of them do; so that is held for reading, too. It keeps nobody from anything
 * but moving blocks, and from filling the page cache while somebody waits to do that.
 *
 * The file system is asked with i_rwsem held, so by what does not take it: FIEMAP of
 * ext4 where that is so, and bmap of XFS. Neither may i_dio_count be held when
 * something takes i_rwsem, for who moves blocks waits for it with i_rwsem held; and what
 * was asked before both may not be true any more.
 */
#include <linux/blkdev.h>
#include <linux/fileattr.h>
#include <linux/fs.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uio.h>

#include "extent.h"
#include "rw_pin.h"

/* A page that is mapped may be dirtied again and again. */
#define HOMI_PIN_TRIES		4
/* Somebody who does that has XFS write back the whole file for each block asked for. */
#define HOMI_PIN_FLUSHES	16

static struct inode *homi_pin_inode(const struct homi_pin *pin)
{
	return file_inode(pin->kiocb.ki_filp);
}

static struct address_space *homi_pin_mapping(const struct homi_pin *pin)
{
	return pin->kiocb.ki_filp->f_mapping;
}

static bool homi_pin_by_bmap(const struct inode *inode)
{
	return !strcmp(inode->i_sb->s_type->name, "xfs");
}

/* --- asked with i_rwsem held --- */

/* Not possible as long as the file is as it is; who reads it has another way later. */
static int homi_pin_never(const struct homi_pin *pin)
{
	return pin->write ? -EOPNOTSUPP : -EAGAIN;
}

/* 0 stands for holes, unwritten and shared blocks, and for errors. */
static int homi_pin_bmap(struct homi_pin *pin, struct homi_collector *c,
			 u64 start, u64 end)
{
	struct inode *inode = homi_pin_inode(pin);
	unsigned int bits = inode->i_blkbits, flushes = 0;
	struct homi_raw_extent raw = { .length = 1U << bits };
	u64 block;
	int ret;

	for (block = start >> bits; block << bits < end; block++) {
		sector_t phys = block;

		if (mapping_tagged(inode->i_mapping, PAGECACHE_TAG_DIRTY) &&
		    ++flushes > HOMI_PIN_FLUSHES)
			return -EAGAIN;
		ret = bmap(inode, &phys);
		if (!ret && !phys)
			ret = homi_pin_never(pin);
		raw.logical = block << bits;
		raw.physical = (u64)phys << bits;
		if (!ret)
			ret = homi_collector_add(c, &raw);
		if (!ret && fatal_signal_pending(current))
			ret = -EINTR;
		if (ret)
			return ret;
		cond_resched();
	}
	return 0;
}

static int homi_pin_ask(struct homi_pin *pin, struct homi_collector *c,
			u64 start, u64 end)
{
	struct inode *inode = homi_pin_inode(pin);

	c->seen = 0;
	if (start >= end)
		return 0;
	if (homi_pin_by_bmap(inode))
		return homi_pin_bmap(pin, c, start, end);
	return homi_fiemap(c, inode, start, end - start);
}

/* Is it just a matter of writing it back that a block has no place yet? */
static bool homi_pin_is_delayed(const struct homi_collector *c)
{
	u32 i;

	for (i = 0; i < c->seen; i++)
		if (c->extents[i].flags & FIEMAP_EXTENT_DELALLOC)
			return true;
	return false;
}

static int homi_pin_table(struct homi_pin *pin, struct homi_collector *c,
			  const struct homi_place *place)
{
	u64 size = i_size_read(homi_pin_inode(pin));
	struct block_device *bdev = place->sb->s_bdev;
	struct homi_table_builder b = {
		.block_size = pin->ns.block_size,
		.start = pin->kiocb.ki_pos,
		.disk_offset = (u64)get_start_sect(bdev) << SECTOR_SHIFT,
		.write = pin->write,
	};
	struct homi_extent_table *table;
	int ret;

	b.end = min_t(u64, b.start + pin->length,
		      round_up(size, b.block_size));
	b.end = max(b.start, b.end);
	ret = homi_pin_ask(pin, c, b.start, b.end);
	if (ret)
		return ret;
	table = homi_table_make(&b, c->extents, c->seen, bdev, false);
	/* A WRITE is not for what has no blocks, however soon. */
	if (table == ERR_PTR(-EOPNOTSUPP) && !pin->write &&
	    homi_pin_is_delayed(c))
		return -EAGAIN;
	if (IS_ERR(table))
		return PTR_ERR(table);
	table->file_size = size;
	pin->table = table;
	return 0;
}

/* --- holding --- */

/*
 * What is in the page cache is on the drive, and for a WRITE in it no more; -EBUSY if
 * somebody dirties it again, or just has a page of it.
 */
static int homi_pin_clean(struct homi_pin *pin)
{
	struct address_space *mapping = homi_pin_mapping(pin);
	u64 start = pin->kiocb.ki_pos, last = start + pin->length - 1;
	int ret = filemap_write_and_wait_range(mapping, start, last);

	if (!ret && pin->write)
		ret = invalidate_inode_pages2_range(mapping, start >> PAGE_SHIFT,
						    last >> PAGE_SHIFT);
	return ret;
}

static void homi_pin_unfence(struct homi_pin *pin)
{
	up_read_non_owner(&homi_pin_mapping(pin)->invalidate_lock);
	inode_dio_end(homi_pin_inode(pin));
}

/* Its blocks, which stay where they are if this succeeds; i_rwsem is held. */
static int homi_pin_fence(struct homi_pin *pin, struct homi_collector *c,
			  const struct homi_place *place)
{
	int ret = homi_pin_clean(pin);

	if (ret)
		return ret;
	inode_dio_begin(homi_pin_inode(pin));
	/* Whoever's command is the last one gives it back. */
	down_read_non_owner(&homi_pin_mapping(pin)->invalidate_lock);
	ret = homi_pin_table(pin, c, place);
	if (ret)
		homi_pin_unfence(pin);
	return ret;
}

/* As direct I/O has it, of which only what needs no new block is done here. */
static int homi_pin_check_write(struct homi_pin *pin)
{
	struct inode *inode = homi_pin_inode(pin);
	struct kiocb *kiocb = &pin->kiocb;
	struct iov_iter iter;
	ssize_t ret;

	if (sb_rdonly(inode->i_sb))
		return -EROFS;
	if (kiocb->ki_flags & IOCB_APPEND)
		return -EOPNOTSUPP;
	/* A client of NFS may write to its blocks by itself. */
	ret = break_layout(inode, false);
	if (ret)
		return ret;
	iov_iter_kvec(&iter, WRITE, NULL, 0, pin->length);
	ret = generic_write_checks(kiocb, &iter);
	if (ret <= 0)
		return ret ? ret : -EINVAL;
	pin->length = ret;
	if ((kiocb->ki_pos | pin->length) & (pin->ns.block_size - 1))
		return -EINVAL;
	if (kiocb->ki_pos + pin->length > i_size_read(inode))
		return -EOPNOTSUPP;
	return file_modified(kiocb->ki_filp);
}

/* A file system that was shut down says so to who reads nothing. */
static int homi_pin_check_alive(struct file *file)
{
	struct iov_iter iter;
	struct kiocb kiocb;

	init_sync_kiocb(&kiocb, file);
	kiocb.ki_flags |= IOCB_DIRECT;
	iov_iter_kvec(&iter, READ, NULL, 0, 0);
	return file->f_op->read_iter(&kiocb, &iter);
}

/* Does all that moves its blocks wait for what is held here? */
static int homi_pin_check_kind(struct homi_pin *pin)
{
	struct file *file = pin->kiocb.ki_filp;
	struct homi_fileattr attr = {};
	int ret;

	if (homi_pin_by_bmap(file_inode(file))) {
		ret = homi_check_moves(&file->f_path);
		return ret == -EOPNOTSUPP ? homi_pin_never(pin) : ret;
	}
	/* homi_fiemap_may_lock() knows of files with extents. */
	ret = vfs_fileattr_get(file->f_path.dentry, &attr);
	if (!ret && !(attr.flags & FS_EXTENT_FL))
		ret = homi_pin_never(pin);
	return ret;
}

static int homi_pin_check(struct homi_pin *pin)
{
	struct file *file = pin->kiocb.ki_filp;
	u32 reason;
	int ret;

	ret = homi_check_inode(file_inode(file), &reason);
	if (!ret)
		ret = homi_check_file(&file->f_path, &reason);
	if (!ret)
		ret = homi_pin_check_kind(pin);
	return ret ? ret : homi_pin_check_alive(file);
}

/* What is not allocated yet is after another writeback. */
static bool homi_pin_may_change(struct address_space *mapping, int ret)
{
	if (ret == -EOPNOTSUPP || ret == -EAGAIN)
		return mapping_tagged(mapping, PAGECACHE_TAG_DIRTY) ||
		       mapping_tagged(mapping, PAGECACHE_TAG_WRITEBACK);
	return ret == -EBUSY;
}

static int homi_pin_locked(struct homi_pin *pin, struct homi_collector *c,
			   const struct homi_place *place)
{
	struct file *file = pin->kiocb.ki_filp;
	int ret, try = 0;

	ret = homi_pin_check(pin);
	if (!ret && pin->write)
		ret = homi_pin_check_write(pin);
	if (ret)
		return ret;
	do {
		ret = homi_pin_fence(pin, c, place);
	} while (homi_pin_may_change(file->f_mapping, ret) &&
		 ++try < HOMI_PIN_TRIES);
	return ret == -EBUSY ? -EAGAIN : ret;
}

/* What takes away rights of the file's by writing to it wants it alone. */
static void homi_pin_lock(struct homi_pin *pin, bool *alone)
{
	struct inode *inode = homi_pin_inode(pin);

	*alone = false;
	inode_lock_shared(inode);
	if (!pin->write || IS_NOSEC(inode))
		return;
	inode_unlock_shared(inode);
	*alone = true;
	inode_lock(inode);
}

static int homi_pin_hold(struct homi_pin *pin, const struct homi_place *place)
{
	struct inode *inode = homi_pin_inode(pin);
	struct homi_collector c;
	bool alone;
	int ret;

	ret = homi_fiemap_begin(&c);
	if (ret)
		return ret;
	if (!homi_pin_by_bmap(inode) &&
	    !homi_fiemap_may_lock(&c, inode, pin->kiocb.ki_pos, pin->length)) {
		ret = homi_pin_never(pin);
	} else {
		homi_pin_lock(pin, &alone);
		ret = homi_pin_locked(pin, &c, place);
		if (alone)
			inode_unlock(inode);
		else
			inode_unlock_shared(inode);
	}
	homi_fiemap_end(&c);
	return ret;
}

/**
 * homi_pin_leave - nothing uses the blocks any more
 * @pin: held
 *
 * In any context, but of a WRITE in one that may sleep; that waits for nobody who
 * waits for blocks to be let go.
 */
void homi_pin_leave(struct homi_pin *pin)
{
	struct address_space *mapping = homi_pin_mapping(pin);
	u64 start = pin->kiocb.ki_pos;

	/*
	 * Somebody may have read it meanwhile, and which parts were written is not
	 * known if one failed. If he holds on to it, tough.
	 */
	if (pin->write && mapping->nrpages)
		invalidate_inode_pages2_range(mapping, start >> PAGE_SHIFT,
					      (start + pin->length - 1) >>
					      PAGE_SHIFT);
	homi_pin_unfence(pin);
}

/**
 * homi_pin_is_durable - has what was written to be on the drive when it is over?
 * @pin: of a WRITE
 */
bool homi_pin_is_durable(const struct homi_pin *pin)
{
	return iocb_is_dsync(&pin->kiocb);
}

/**
 * homi_pin_end_write - the file system may freeze again
 * @pin: of a WRITE, left
 * @done: bytes that were written
 *
 * Waits for the drive if homi_pin_is_durable().
 *
 * Return: what came of that
 */
int homi_pin_end_write(struct homi_pin *pin, u32 done)
{
	ssize_t ret = 0;

	if (done) {
		pin->kiocb.ki_pos += done;
		ret = generic_write_sync(&pin->kiocb, done);
	}
	kiocb_end_write(&pin->kiocb);
	return min_t(ssize_t, ret, 0);
}

/**
 * homi_pin_free - the end of it
 * @pin: left, or NULL
 */
void homi_pin_free(struct homi_pin *pin)
{
	if (!pin)
		return;
	if (pin->queue)
		blk_put_queue(pin->queue);
	kvfree(pin->table);
	kfree(pin);
}

static struct homi_pin *homi_pin_alloc(struct homi_ctx *ctx, struct file *file,
				       const struct homi_uring_rw *rw,
				       bool write,
				       const struct homi_place *place)
{
	struct homi_pin *pin = kzalloc(sizeof(*pin), GFP_KERNEL_ACCOUNT);
	int ret;

	if (!pin)
		return ERR_PTR(-ENOMEM);
	init_sync_kiocb(&pin->kiocb, file);
	pin->kiocb.ki_flags |= IOCB_DIRECT;
	if (rw->flags & HOMI_RW_DSYNC)
		pin->kiocb.ki_flags |= IOCB_DSYNC;
	pin->kiocb.ki_pos = rw->file_offset;
	pin->length = rw->length;
	pin->write = write;
	pin->ns = place->ns;
	ret = ctx->ctrl->ops->io_queue(&ctx->ctrl->nvme, place->ns.nsid,
				       place->sb->s_bdev, &pin->queue);
	if (!ret)
		return pin;
	pin->queue = NULL;
	homi_pin_free(pin);
	return ERR_PTR(ret);
}

/**
 * homi_pin_get - where a range of a file lies, until homi_pin_leave()
 * @ctx: the open file
 * @file: open for what is to be done; stays until homi_pin_free()
 * @rw: the range, not empty
 * @write: every block of it has to be there, written, and of this file alone
 *
 * Waits for what the file system waits for before direct I/O.
 *
 * Return: held, to be ended by homi_pin_leave(), homi_pin_end_write() of a WRITE and
 * homi_pin_free(); or EAGAIN: not just now, or not here for a READ, EOPNOTSUPP: not
 * here, or what the file system says
 */
struct homi_pin *homi_pin_get(struct homi_ctx *ctx, struct file *file,
			      const struct homi_uring_rw *rw, bool write)
{
	struct inode *inode = file_inode(file);
	struct homi_place place;
	struct homi_pin *pin;
	u32 reason;
	int ret;

	ret = homi_check_inode(inode, &reason);
	if (!ret)
		ret = homi_place_find(ctx->ctrl, inode->i_sb, &place, &reason);
	if (!ret && (rw->file_offset | rw->length) & (place.ns.block_size - 1))
		ret = -EINVAL;
	if (ret)
		return ERR_PTR(ret);
	pin = homi_pin_alloc(ctx, file, rw, write, &place);
	if (IS_ERR(pin))
		return pin;
	if (write)
		kiocb_start_write(&pin->kiocb);
	ret = homi_pin_hold(pin, &place);
	if (!ret)
		return pin;
	if (write)
		kiocb_end_write(&pin->kiocb);
	homi_pin_free(pin);
	return ERR_PTR(ret);
}
