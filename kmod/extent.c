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
static struct homi_extent_table *homi_table_alloc(size_t len)
{
	gfp_t gfp = GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_NOWARN;

	/* Most files have few extents, and a mapping of one page is dear. */
	if (len <= PAGE_SIZE)
		return (void *)__get_free_page(gfp);
	return __vmalloc(PAGE_ALIGN(len), gfp);
}

static void homi_table_free(struct homi_extent_table *table)
{
	if (is_vmalloc_addr(table))
		vfree(table);
	else
		free_page((unsigned long)table);
}

/* --- object --- */

static void homi_extent_free(struct homi_object *obj)
{
	struct homi_extent_obj *e = to_extent(obj);

	homi_table_free(e->table);
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

static vm_fault_t homi_extent_fault(struct homi_object *obj,
				    enum homi_region region,
				    struct vm_fault *vmf)
{
	struct homi_extent_obj *e = to_extent(obj);
	size_t off = (vmf->address - vmf->vma->vm_start) & PAGE_MASK;

	if (off >= e->table_len)
		return VM_FAULT_SIGBUS;
	vmf->page = is_vmalloc_addr(e->table) ?
		    vmalloc_to_page((void *)e->table + off) :
		    virt_to_page(e->table);
	get_page(vmf->page);
	return 0;
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
static int homi_extent_range(struct homi_extent_resolve *cmd, u64 file_size,
			     struct homi_table_builder *b)
{
	u64 mask = b->block_size - 1, end;

	if ((cmd->offset | cmd->length) & mask || cmd->offset >= file_size)
		return -EINVAL;
	if (check_add_overflow(cmd->offset, cmd->length, &end))
		return -EINVAL;
	b->start = cmd->offset;
	/* Behind its end a file is zero, for when it grows. */
	b->end = (b->write ? file_size : file_size + mask) & ~mask;
	if (cmd->length && end < b->end)
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

static struct homi_extent_table *
homi_table_make(struct homi_table_builder *b, const struct homi_raw_extent *raw,
		u32 nr, struct block_device *bdev)
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
	table = homi_table_alloc(len);
	if (!table)
		return ERR_PTR(-ENOMEM);
	b->records = table->records;
	ret = homi_table_build(b, raw, nr);
	if (!ret)
		ret = homi_table_check(table, b, bdev);
	if (ret) {
		homi_table_free(table);
		return ERR_PTR(ret);
	}
	return table;
}

/*
 * The allocation has to be committed, not only the data written. The drive need
 * not flush its cache for somebody who reads from that drive, and a flush is
 * most of what vfs_fsync() costs.
 */
static int homi_extent_commit(struct file *file, bool write)
{
	struct inode *inode = file_inode(file);
	struct super_block *sb = inode->i_sb;
	int ret;

	if (write || !homi_commits_metadata(sb))
		return vfs_fsync(file, 0);
	ret = file_write_and_wait_range(file, 0, LLONG_MAX);
	if (!ret)
		ret = sb->s_export_op->commit_metadata(inode);
	/* One that has failed, and is read-only by now, does not tell by that. */
	if (!ret && sb_rdonly(sb))
		ret = vfs_fsync(file, 0);
	return ret;
}

static struct homi_extent_table *homi_table_read(struct homi_table_builder *b,
						 struct file *file)
{
	struct inode *inode = file_inode(file);
	struct homi_extent_table *table;
	struct homi_raw_extent *raw;
	int ret, try = 0;
	u32 nr;

	do {
		ret = homi_extent_commit(file, b->write);
		if (!ret)
			ret = homi_fiemap(inode, b->start, b->end - b->start,
					  &raw, &nr);
		if (ret)
			return ERR_PTR(ret);
		table = homi_table_make(b, raw, nr, inode->i_sb->s_bdev);
		kvfree(raw);
	} while (table == ERR_PTR(-EOPNOTSUPP) && ++try < HOMI_RESOLVE_TRIES);
	return table;
}

/* The leases are held: nobody writes to the file or moves its blocks. */
static int homi_extent_fill(struct homi_extent_obj *e, struct file *file,
			    struct homi_extent_resolve *cmd,
			    const struct homi_nvme_ns *ns)
{
	struct block_device *bdev = file_inode(file)->i_sb->s_bdev;
	u64 file_size = i_size_read(file_inode(file));
	struct homi_table_builder b = {
		.block_size = ns->block_size,
		.disk_offset = (u64)get_start_sect(bdev) << SECTOR_SHIFT,
		.write = e->write,
	};
	struct homi_extent_table *table;
	int ret;

	ret = homi_extent_range(cmd, file_size, &b);
	if (ret)
		return ret;
	table = homi_table_read(&b, file);
	if (table == ERR_PTR(-EOPNOTSUPP))
		return homi_refuse(&cmd->out_reason, b.reason);
	if (IS_ERR(table))
		return PTR_ERR(table);
	table->state = HOMI_EXTENT_VALID;
	table->nsid = ns->nsid;
	/* Room for each change of state, so that no other one's is taken for it */
	table->generation = atomic64_fetch_add(HOMI_EXTENT_GENERATIONS,
					       &e->obj.ctx->extents) + 1;
	table->count = b.count;
	table->file_size = file_size;
	table->block_size = b.block_size;
	mutex_lock(&e->lock);
	e->ns = *ns;
	e->table = table;
	e->table_len = PAGE_ALIGN(struct_size(table, records, b.count));
	/* A recall from now on finds the table, one before is found here. */
	if (test_bit(0, &e->recalled)) {
		cmd->out_reason = homi_extent_rival(e);
		ret = -EAGAIN;
	}
	/* Likewise a removal, which lets go of all that there are. */
	if (homi_ctrl_is_gone(e->obj.ctx->ctrl))
		ret = -ENODEV;
	mutex_unlock(&e->lock);
	return ret;
}

static int homi_extent_lock(struct homi_extent_obj *e, struct file *file,
			    u32 *reason)
{
	int ret = homi_extent_lease(e, file_inode(file), reason);

	/* What may have changed until nobody could change it any more. */
	if (!ret)
		ret = homi_check_inode(file_inode(file), reason);
	if (!ret && e->write && IS_APPEND(file_inode(file)))
		ret = -EPERM;
	if (!ret)
		ret = homi_check_file(file, reason);
	return ret;
}

static int homi_extent_grant_read(struct homi_extent_obj *e, struct file *file,
				  struct homi_extent_resolve *cmd,
				  const struct homi_nvme_ns *ns)
{
	u32 reason = HOMI_REASON_NONE;
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
		ret = homi_extent_fill(e, file, cmd, ns);
	/* What can never be had is not to be tried again. */
	if (ret == -EAGAIN && homi_check_file(file, &reason) == -EOPNOTSUPP)
		return homi_refuse(&cmd->out_reason, reason);
	return ret;
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
				   const struct homi_nvme_ns *ns)
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
		ret = homi_extent_fill(e, file, cmd, ns);
	fput(file);
	return ret;
}

static int homi_extent_grant(struct homi_extent_obj *e, struct file *file,
			     struct homi_extent_resolve *cmd,
			     const struct homi_nvme_ns *ns)
{
	if (e->write)
		return homi_extent_grant_write(e, file, cmd, ns);
	return homi_extent_grant_read(e, file, cmd, ns);
}

static int homi_extent_new(struct homi_call *call, struct file *file,
			   bool write)
{
	struct homi_extent_resolve *cmd = call->cmd;
	struct homi_ctx *ctx = call->ctx;
	struct homi_extent_obj *e;
	struct homi_nvme_ns ns;
	int ret;

	ret = homi_check_resolve(ctx->ctrl, file, write, &ns, &cmd->out_reason);
	if (ret)
		return ret;
	e = kzalloc(sizeof(*e), GFP_KERNEL_ACCOUNT);
	if (!e)
		return -ENOMEM;
	ret = homi_lease_prepare(e, write);
	if (!ret)
		ret = homi_object_reserve(ctx, &e->obj, HOMI_OBJ_EXTENT,
					  &homi_extent_ops);
	if (ret) {
		homi_lease_free(e);
		kfree(e);
		return ret;
	}
	ret = homi_extent_grant(e, file, cmd, &ns);
	if (ret) {
		homi_object_abort(&e->obj);
		return ret;
	}
	homi_extents_watch(ctx);
	cmd->out_extent_id = e->obj.id;
	cmd->out_nsid = ns.nsid;
	cmd->out_count = e->table->count;
	cmd->out_mmap_offset = homi_cookie(&e->obj, HOMI_REGION_TABLE);
	cmd->out_mmap_length = e->table_len;
	cmd->out_block_size = ns.block_size;
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
	ret = homi_extent_new(call, file, write);
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
