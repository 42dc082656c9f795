// SPDX-License-Identifier: GPL-2.0-only
/*
 * EXTENT: a range of a file as blocks of a namespace, kept true by leases.
 */
#include <linux/blkdev.h>
#include <linux/exportfs.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/pagemap.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "extent.h"

/* More than an EXTENT has states; ids are used again, these are not */
#define HOMI_EXTENT_GENERATIONS	16
/* Tries to see extents without delayed allocation */
#define HOMI_RESOLVE_TRIES	3

static struct homi_extent_obj *to_extent(struct homi_object *obj)
{
	return container_of(obj, struct homi_extent_obj, obj);
}

/* --- table --- */

/* Whole pages, zeroed, since user space maps them; and accounted. */
static struct homi_extent_table *homi_table_alloc(size_t len, bool mapped)
{
	gfp_t gfp = GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_NOWARN;

	if (!mapped)
		return kvmalloc(len, gfp);
	/* Most files have few extents, and a mapping of one page is dear. */
	if (len <= PAGE_SIZE)
		return (void *)__get_free_page(gfp);
	return __vmalloc(PAGE_ALIGN(len), gfp);
}

static void homi_table_free(struct homi_extent_table *table, bool mapped)
{
	if (!mapped)
		kvfree(table);
	else if (is_vmalloc_addr(table))
		vfree(table);
	else
		free_page((unsigned long)table);
}

/* --- object --- */

static void homi_extent_free(struct homi_object *obj)
{
	struct homi_extent_obj *e = to_extent(obj);

	if (e->set)
		homi_object_put(&e->set->obj);
	else
		homi_table_free(e->table, true);
	if (e->queue)
		blk_put_queue(e->queue);
	homi_quota_uncharge(obj->ctx, HOMI_QUOTA_EXTENTS, 1);
	homi_lease_free(e);
	kfree(e);
}

/* A queue could still write. */
static bool homi_extent_is_busy(struct homi_object *obj)
{
	struct homi_extent_obj *e = to_extent(obj);

	return e->write && READ_ONCE(e->file) &&
	       atomic_read(&obj->ctx->dma_users) > 0;
}

static bool homi_extent_bars_queues(struct homi_object *obj)
{
	return to_extent(obj)->write;
}

static size_t homi_extent_region_size(struct homi_object *obj,
				      enum homi_region region)
{
	return region == HOMI_REGION_TABLE ? to_extent(obj)->table_len : 0;
}

/**
 * homi_table_fault - a page of what is mapped of an EXTENT or a SET
 * @table: by vmalloc(), or one page
 * @len: bytes of it, whole pages
 * @vmf: out: its page
 */
vm_fault_t homi_table_fault(void *table, size_t len, struct vm_fault *vmf)
{
	size_t off = (vmf->address - vmf->vma->vm_start) & PAGE_MASK;

	if (off >= len)
		return VM_FAULT_SIGBUS;
	vmf->page = is_vmalloc_addr(table) ? vmalloc_to_page(table + off) :
					     virt_to_page(table);
	get_page(vmf->page);
	return 0;
}

static vm_fault_t homi_extent_fault(struct homi_object *obj,
				    enum homi_region region,
				    struct vm_fault *vmf)
{
	struct homi_extent_obj *e = to_extent(obj);

	return homi_table_fault(e->table, e->table_len, vmf);
}

/* Of a published one, which has a table. */
static bool homi_extent_has_news(struct homi_object *obj)
{
	struct homi_extent_obj *e = container_of(obj, struct homi_extent_obj,
						 obj);

	return READ_ONCE(e->table->state) != HOMI_EXTENT_VALID;
}

static const struct homi_object_ops homi_extent_ops = {
	.has_news = homi_extent_has_news,
	.is_busy = homi_extent_is_busy,
	.bars_queues = homi_extent_bars_queues,
	.revoke = homi_extent_end,
	.free = homi_extent_free,
	.region_size = homi_extent_region_size,
	.fault = homi_extent_fault,
};

/* --- resolve --- */

/* The wanted range, cut at the end of the file, in whole blocks. */
static int homi_extent_range(u64 offset, u64 length, u64 file_size,
			     struct homi_table_builder *b)
{
	u64 mask = b->block_size - 1, end;

	if ((offset | length) & mask || offset >= file_size)
		return -EINVAL;
	if (check_add_overflow(offset, length, &end))
		return -EINVAL;
	b->start = offset;
	/* Behind its end a file is zero, for when it grows. */
	b->end = (b->write ? file_size : file_size + mask) & ~mask;
	if (length && end < b->end)
		b->end = end;
	return b->start < b->end ? 0 : -EINVAL;
}

/* Blocks outside of the file system's device can't be the file's. */
static int homi_table_check(const struct homi_extent_table *table,
			    const struct homi_table_builder *b,
			    struct block_device *bdev)
{
	u64 first = b->disk_offset / b->block_size;
	u64 end = first + bdev_nr_bytes(bdev) / b->block_size;
	u64 i;

	for (i = 0; i < b->count; i++) {
		const struct homi_extent *r = &table->records[i];

		if (!(r->flags & HOMI_EXTENT_HOLE) &&
		    (r->slba < first || r->slba >= end ||
		     r->blocks > end - r->slba))
			return -EIO;
		if (!(i % 4096))
			cond_resched();
	}
	return 0;
}

/**
 * homi_table_make - a table of what the file system said
 * @b: see homi_table_build()
 * @raw: likewise
 * @nr: likewise
 * @bdev: the file system's
 * @mapped: into user space, or for kvfree()
 *
 * Return: with its records, their number and the block size; or an error
 */
struct homi_extent_table *homi_table_make(struct homi_table_builder *b,
					  const struct homi_raw_extent *raw,
					  u32 nr, struct block_device *bdev,
					  bool mapped)
{
	struct homi_extent_table *table;
	size_t len;
	int ret;

	b->records = NULL;
	ret = homi_table_build(b, raw, nr);
	if (ret)
		return ERR_PTR(ret);
	len = struct_size(table, records, b->count);
	if (len > INT_MAX)
		return ERR_PTR(-ENOMEM);
	table = homi_table_alloc(len, mapped);
	if (!table)
		return ERR_PTR(-ENOMEM);
	b->records = table->records;
	ret = homi_table_build(b, raw, nr);
	if (!ret)
		ret = homi_table_check(table, b, bdev);
	if (ret) {
		homi_table_free(table, mapped);
		return ERR_PTR(ret);
	}
	table->count = b->count;
	table->block_size = b->block_size;
	return table;
}

/*
 * The allocation has to be committed, not only the data written. The drive need
 * not flush its cache for somebody who reads from that drive, and a flush is
 * most of what vfs_fsync() costs.
 */
static int homi_extent_commit(struct file *file, bool write,
			      const struct homi_place *place)
{
	struct super_block *sb = place->sb;
	int ret;

	if (write || !place->commits)
		return vfs_fsync(file, 0);
	ret = file_write_and_wait_range(file, 0, LLONG_MAX);
	if (!ret)
		ret = sb->s_export_op->commit_metadata(file_inode(file));
	/* One that has failed, and is read-only by now, does not tell by that. */
	if (!ret && sb_rdonly(sb))
		ret = vfs_fsync(file, 0);
	return ret;
}

static struct homi_extent_table *homi_table_read(struct homi_table_builder *b,
						 struct homi_extent_obj *e,
						 struct file *file,
						 const struct homi_place *place,
						 struct homi_collector *c)
{
	struct homi_extent_table *table;
	int ret, try = 0;

	do {
		ret = homi_extent_commit(file, b->write, place);
		if (ret)
			return ERR_PTR(ret);
		ret = homi_fiemap(c, file_inode(file), b->start,
				  b->end - b->start);
		table = ret ? ERR_PTR(ret) :
			homi_table_make(b, c->extents, c->seen,
					place->sb->s_bdev, !e->set);
		/*
		 * Nobody answers for what is not resolved yet: who wants it
		 * may write to it by now, and so it looks.
		 */
		if ((table == ERR_PTR(-EOPNOTSUPP) ||
		     table == ERR_PTR(-EIO)) && test_bit(0, &e->recalled)) {
			b->reason = homi_extent_rival(e);
			return ERR_PTR(-EAGAIN);
		}
	} while (table == ERR_PTR(-EOPNOTSUPP) && ++try < HOMI_RESOLVE_TRIES);
	return table;
}

/**
 * homi_extent_ask - the table of a range of a file
 * @e: its leases are held: nobody writes to the file or moves its blocks
 * @file: it
 * @offset: bytes
 * @length: bytes, 0 for all
 * @place: where it is
 * @c: see homi_fiemap()
 * @reason: out: enum homi_reason
 *
 * Return: to be mapped, or for a member of a set to be given to kvfree(); or an
 * error
 */
struct homi_extent_table *homi_extent_ask(struct homi_extent_obj *e,
					  struct file *file, u64 offset,
					  u64 length,
					  const struct homi_place *place,
					  struct homi_collector *c,
					  u32 *reason)
{
	u64 file_size = i_size_read(file_inode(file));
	struct homi_table_builder b = {
		.block_size = place->ns.block_size,
		.disk_offset = (u64)get_start_sect(place->sb->s_bdev) <<
			       SECTOR_SHIFT,
		.write = e->write,
	};
	struct homi_extent_table *table;
	int ret;

	/* Its READ found something in it, and may do so again by now. */
	if (e->internal && !file_size)
		return ERR_PTR(-EAGAIN);
	ret = homi_extent_range(offset, length, file_size, &b);
	if (ret)
		return ERR_PTR(ret);
	table = homi_table_read(&b, e, file, place, c);
	if (table == ERR_PTR(-EOPNOTSUPP) || table == ERR_PTR(-EAGAIN))
		*reason = b.reason;
	if (IS_ERR(table))
		return table;
	/* Nobody looks at it before there is a table, see homi_extent_grant(). */
	e->ns = place->ns;
	table->state = HOMI_EXTENT_VALID;
	table->nsid = place->ns.nsid;
	/* Room for each change of state, so that no other one's is taken for it */
	table->generation = atomic64_fetch_add(HOMI_EXTENT_GENERATIONS,
					       &e->obj.ctx->extents) + 1;
	table->file_size = file_size;
	return table;
}

/**
 * homi_extent_grant - an EXTENT has its table
 * @e: its leases are held, unless somebody wants the file by now
 * @table: of homi_extent_ask(), where it is to stay
 * @reason: out: enum homi_reason
 *
 * The table is @e's also when this fails, unless it is in a set.
 */
int homi_extent_grant(struct homi_extent_obj *e,
		      struct homi_extent_table *table, u32 *reason)
{
	int ret = 0;

	mutex_lock(&e->lock);
	e->table = table;
	if (!e->set)
		e->table_len = PAGE_ALIGN(struct_size(table, records,
						      table->count));
	/* A recall from now on finds the table, one before is found here. */
	if (test_bit(0, &e->recalled)) {
		*reason = homi_extent_rival(e);
		ret = -EAGAIN;
	}
	/* Likewise a removal, which lets go of all that there are. */
	if (homi_ctrl_is_gone(e->obj.ctx->ctrl)) {
		*reason = HOMI_REASON_NONE;
		ret = -ENODEV;
	}
	/* Of a set it is the set's, where nothing is told of it. */
	if (ret && e->set)
		e->table = NULL;
	mutex_unlock(&e->lock);
	return ret;
}

static int homi_extent_fill(struct homi_extent_obj *e, struct file *file,
			    struct homi_extent_resolve *cmd,
			    const struct homi_place *place)
{
	struct homi_extent_table *table;
	struct homi_collector c;
	int ret;

	ret = homi_fiemap_begin(&c);
	if (ret)
		return ret;
	table = homi_extent_ask(e, file, cmd->offset, cmd->length, place, &c,
				&cmd->out_reason);
	homi_fiemap_end(&c);
	if (IS_ERR(table))
		return PTR_ERR(table);
	return homi_extent_grant(e, table, &cmd->out_reason);
}

/**
 * homi_extent_lock - from here on the file stays as it is
 * @e: opened by homi_extent_open(), or the like
 * @file: its file
 * @reason: out: enum homi_reason
 */
int homi_extent_lock(struct homi_extent_obj *e, struct file *file, u32 *reason)
{
	int ret = homi_extent_lease(e, file_inode(file), reason);

	if (!ret)
		homi_look_begin(e, file_inode(file));
	/* What may have changed until nobody could change it any more. */
	if (!ret)
		ret = homi_check_inode(file_inode(file), reason);
	if (!ret && e->write && IS_APPEND(file_inode(file)))
		ret = -EPERM;
	if (!ret)
		ret = homi_check_file(&file->f_path, reason);
	return ret;
}

/**
 * homi_extent_refused - what can never be had is not to be tried again
 * @path: of a file to be read
 * @ret: what its EXTENT can't be had with, or 0
 * @reason: why; out: likewise
 */
int homi_extent_refused(const struct path *path, int ret, u32 *reason)
{
	u32 never = HOMI_REASON_NONE;

	if (ret == -EAGAIN && homi_check_file(path, &never) == -EOPNOTSUPP)
		return homi_refuse(reason, never);
	return ret;
}

/**
 * homi_extent_grant_read - from a new EXTENT to one that is true
 * @e: to be read
 * @file: open for reading
 * @cmd: the range; out: @out_reason
 * @place: where it is
 */
int homi_extent_grant_read(struct homi_extent_obj *e, struct file *file,
			   struct homi_extent_resolve *cmd,
			   const struct homi_place *place)
{
	int ret;

	/* Who tries again and again must not sync what is being written. */
	ret = homi_extent_check_open(e, file_inode(file), &cmd->out_reason);
	/* Most of the writing back is done before anybody has to wait for us. */
	if (!ret)
		ret = file_write_and_wait_range(file, 0, LLONG_MAX);
	if (!ret)
		ret = homi_extent_open(e, file, &cmd->out_reason);
	if (!ret)
		ret = homi_extent_lock(e, file, &cmd->out_reason);
	if (!ret)
		ret = homi_extent_fill(e, file, cmd, place);
	return homi_extent_refused(&file->f_path, ret, &cmd->out_reason);
}

/* As a first write() does: it may run with somebody's rights no longer. */
static int homi_extent_modify(struct file *file)
{
	struct inode *inode = file_inode(file);
	int ret;

	file_start_write(file);
	inode_lock(inode);
	ret = file_modified(file);
	inode_unlock(inode);
	file_end_write(file);
	return ret;
}

/*
 * The caller's file can only name it; all is done with the private one. Nobody
 * else has it open, so what is dropped from the cache is not read again before
 * the end.
 */
static int homi_extent_grant_write(struct homi_extent_obj *e,
				   struct file *path_only,
				   struct homi_extent_resolve *cmd,
				   const struct homi_place *place)
{
	struct file *file;
	int ret;

	ret = homi_extent_open(e, path_only, &cmd->out_reason);
	if (ret)
		return ret;
	file = homi_extent_file(e);
	if (!file)
		return -ENODEV;
	/* Nor have its times told of what is not written. */
	ret = homi_extent_check_open(e, file_inode(file), &cmd->out_reason);
	if (!ret)
		ret = vfs_fsync(file, 0);
	/* Before there is a lease, which this might break. */
	if (!ret)
		ret = homi_extent_modify(file);
	if (!ret)
		ret = homi_extent_lock(e, file, &cmd->out_reason);
	if (!ret && invalidate_inode_pages2(file->f_mapping)) {
		cmd->out_reason = HOMI_REASON_OPEN;
		ret = -EAGAIN;
	}
	if (!ret)
		ret = homi_extent_fill(e, file, cmd, place);
	fput(file);
	return ret;
}

/**
 * homi_extent_alloc - a new EXTENT, without a file
 * @ctx: the open file
 * @write: to be written to
 *
 * Return: charged, and reserved, see homi_object_reserve(); or an error
 */
struct homi_extent_obj *homi_extent_alloc(struct homi_ctx *ctx, bool write)
{
	int ret = homi_quota_charge(ctx, HOMI_QUOTA_EXTENTS, 1);
	struct homi_extent_obj *e;

	if (ret)
		return ERR_PTR(ret);
	e = kzalloc(sizeof(*e), GFP_KERNEL_ACCOUNT);
	ret = e ? homi_lease_prepare(e, write) : -ENOMEM;
	if (!ret)
		ret = homi_object_reserve(ctx, &e->obj, HOMI_OBJ_EXTENT,
					  &homi_extent_ops);
	if (!ret)
		return e;
	if (e)
		homi_lease_free(e);
	kfree(e);
	homi_quota_uncharge(ctx, HOMI_QUOTA_EXTENTS, 1);
	return ERR_PTR(ret);
}

static int homi_extent_new(struct homi_call *call, struct file *file,
			   bool write)
{
	struct super_block *sb = file_inode(file)->i_sb;
	struct homi_extent_resolve *cmd = call->cmd;
	struct homi_ctx *ctx = call->ctx;
	struct homi_extent_obj *e;
	struct homi_place place;
	int ret;

	if (homi_ctrl_is_gone(ctx->ctrl))
		return -ENODEV;
	ret = homi_extent_may(file, write, &cmd->out_reason);
	if (!ret)
		ret = homi_place_find(ctx->ctrl, sb, &place, &cmd->out_reason);
	/* Of one to read homi_extent_lock() asks, before anything is handed out. */
	if (!ret && write)
		ret = homi_check_file(&file->f_path, &cmd->out_reason);
	if (ret)
		return ret;
	e = homi_extent_alloc(ctx, write);
	if (IS_ERR(e))
		return PTR_ERR(e);
	if (write)
		ret = homi_extent_grant_write(e, file, cmd, &place);
	else
		ret = homi_extent_grant_read(e, file, cmd, &place);
	if (ret) {
		homi_object_abort(&e->obj);
		return ret;
	}
	homi_extents_watch(ctx);
	cmd->out_extent_id = e->obj.id;
	cmd->out_nsid = place.ns.nsid;
	cmd->out_count = e->table->count;
	cmd->out_mmap_offset = homi_cookie(&e->obj, HOMI_REGION_TABLE);
	cmd->out_mmap_length = e->table_len;
	cmd->out_block_size = place.ns.block_size;
	call->created = &e->obj;
	return 0;
}

int homi_cmd_extent_resolve(struct homi_call *call)
{
	struct homi_extent_resolve *cmd = call->cmd;
	bool write = cmd->flags & HOMI_RESOLVE_WRITE;
	struct file *file;
	int ret;

	if (cmd->flags & ~HOMI_RESOLVE_WRITE || cmd->__reserved)
		return -EINVAL;
	cmd->out_reason = HOMI_REASON_NONE;
	file = write ? fget_raw(cmd->fd) : fget(cmd->fd);
	if (!file)
		return -EBADF;
	ret = homi_extent_errno(homi_extent_new(call, file, write), write);
	fput(file);
	return ret;
}

int homi_cmd_extent_ack(struct homi_call *call)
{
	struct homi_extent_ack *cmd = call->cmd;
	struct homi_object *obj;
	int ret;

	if (cmd->flags || cmd->__reserved)
		return -EINVAL;
	obj = homi_object_get(call->ctx, cmd->extent_id, HOMI_OBJ_EXTENT);
	if (!obj)
		return -ENOENT;
	ret = homi_extent_ack(to_extent(obj), cmd->generation);
	homi_object_put(obj);
	return ret;
}

int homi_extent_init(void)
{
	int ret = homi_lease_init();

	if (ret)
		return ret;
	homi_backoff_init();
	ret = homi_fiemap_init();
	if (ret)
		homi_lease_exit();
	return ret;
}

void homi_extent_exit(void)
{
	homi_fiemap_exit();
	homi_lease_exit();
}
