// SPDX-License-Identifier: GPL-2.0-only
/*
 * EXTENT: a range of a file as blocks of a namespace, kept true by a lease.
 *
 * The lease is a delegation (FL_DELEG, F_RDLCK): each writing open and each
 * truncate has to break it, and calls us first. It is held on a private open
 * file with the object as owner, so that nothing that user space does with its
 * own descriptor touches it.
 */
#include <linux/blkdev.h>
#include <linux/cred.h>
#include <linux/fileattr.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/fscrypt.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "extent.h"

/**
 * struct homi_extent_obj - an EXTENT
 * @obj: must be first
 * @file: private; NULL when it was given back. Guarded by @lease_lock
 * @leased: the lease is held; guarded by @lease_lock
 * @lease_lock: end of the lease; sleeps
 * @recalled: somebody breaks the lease; set once, under the VFS's spinlock
 * @ended: destroyed, or closed
 * @recall: answers the break
 * @table: mapped read-only into user space; NULL until resolved
 * @table_len: bytes of @table
 */
struct homi_extent_obj {
	struct homi_object obj;
	struct file *file;
	bool leased;
	struct mutex lease_lock;	/* see @leased */
	unsigned long recalled;
	bool ended;
	struct work_struct recall;
	struct homi_extent_table *table;
	size_t table_len;
};

/* Recalls wait; so they have their own queue. */
static struct workqueue_struct *homi_recall_wq;
/* On 6.1 who drops a lease is asked for the same right as who takes it. */
static const struct cred *homi_lease_cred;

static struct homi_extent_obj *to_extent(struct homi_object *obj)
{
	return container_of(obj, struct homi_extent_obj, obj);
}

/* --- lease --- */

/*
 * Called under flc_lock by whoever breaks the lease. No time-out of the VFS's:
 * the blocks stay until we let go, however long the controller takes.
 */
static bool homi_lease_break(struct file_lease *lease)
{
	struct homi_extent_obj *e = homi_lease_core(lease, owner);

	lease->fl_break_time = 0;
	lease->fl_downgrade_time = 0;
	if (!test_and_set_bit(0, &e->recalled)) {
		/* The lease goes before the object's last reference does. */
		kref_get(&e->obj.ref);
		queue_work(homi_recall_wq, &e->recall);
	}
	return false;
}

static const struct lease_manager_operations homi_lease_ops = {
	.lm_break = homi_lease_break,
	.lm_change = lease_modify,
};

static struct file_lease *homi_lease_alloc(struct homi_extent_obj *e)
{
	struct file_lease *lease = locks_alloc_lease();

	if (!lease)
		return NULL;
	homi_lease_core(lease, flags) = FL_DELEG;
	homi_lease_core(lease, type) = F_RDLCK;
	homi_lease_core(lease, owner) = (fl_owner_t)e;
	homi_lease_core(lease, pid) = task_tgid_nr(current);
	homi_lease_core(lease, file) = e->file;
	homi_lease_end(lease);
	lease->fl_lmops = &homi_lease_ops;
	return lease;
}

static int homi_lease_take(struct homi_extent_obj *e, u32 *reason)
{
	struct inode *inode = file_inode(e->file);
	struct file_lease *lease = homi_lease_alloc(e);
	const struct cred *cred;
	int ret;

	if (!lease)
		return -ENOMEM;
	cred = override_creds(homi_lease_cred);
	ret = kernel_setlease(e->file, F_RDLCK, &lease, NULL);
	revert_creds(cred);
	if (lease)
		locks_free_lease(lease);
	if (ret == -EINVAL) {
		*reason = HOMI_REASON_LEASES_OFF;
		return -EOPNOTSUPP;
	}
	if (ret) {
		*reason = HOMI_REASON_LEASE;
		return -EAGAIN;
	}
	e->leased = true;
	/*
	 * The lease before the count of writers: who opens for writing counts
	 * first and then looks for leases, so one of us sees the other.
	 */
	smp_mb();
	if (inode_is_open_for_write(inode)) {
		*reason = HOMI_REASON_WRITER;
		return -EAGAIN;
	}
	return 0;
}

static void homi_lease_drop(struct homi_extent_obj *e)
{
	const struct cred *cred;
	void *owner = e;

	mutex_lock(&e->lease_lock);
	if (e->leased) {
		cred = override_creds(homi_lease_cred);
		kernel_setlease(e->file, F_UNLCK, NULL, &owner);
		revert_creds(cred);
		e->leased = false;
	}
	mutex_unlock(&e->lease_lock);
}

static void homi_extent_set_state(struct homi_extent_obj *e, u32 state)
{
	if (!e->table)
		return;
	WRITE_ONCE(e->table->generation, e->table->generation + 1);
	/* A reader that sees the new state also sees the new generation. */
	smp_store_release(&e->table->state, state);
}

/*
 * The fence: the holder has recall_ms to end the EXTENT. Then its queues are
 * deleted, and only when none of them can act any more the lease goes.
 */
static void homi_extent_recall(struct work_struct *work)
{
	struct homi_extent_obj *e = container_of(work, struct homi_extent_obj,
						 recall);
	struct homi_ctx *ctx = e->obj.ctx;
	struct homi_ctrl *ctrl = ctx->ctrl;

	homi_extent_set_state(e, HOMI_EXTENT_RECALLED);
	wait_event_idle_timeout(ctrl->wait, READ_ONCE(e->ended),
				msecs_to_jiffies(homi_recall_ms));
	if (!READ_ONCE(e->ended)) {
		homi_extent_set_state(e, HOMI_EXTENT_REVOKED);
		homi_ctx_revoke_queues(ctx);
		wait_event_idle(ctrl->wait, READ_ONCE(e->ended) ||
				!atomic_read(&ctx->dma_users));
		homi_lease_drop(e);
		homi_ctx_revoke_end(ctx);
	}
	homi_object_put(&e->obj);
}

/* --- object --- */

static void homi_extent_end(struct homi_object *obj)
{
	struct homi_extent_obj *e = to_extent(obj);
	struct file *file;

	homi_lease_drop(e);
	WRITE_ONCE(e->ended, true);
	wake_up_all(&obj->ctx->ctrl->wait);
	mutex_lock(&e->lease_lock);
	file = e->file;
	e->file = NULL;
	mutex_unlock(&e->lease_lock);
	if (file)
		fput(file);
}

static void homi_extent_free(struct homi_object *obj)
{
	struct homi_extent_obj *e = to_extent(obj);

	vfree(e->table);
	kfree(e);
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
	vmf->page = vmalloc_to_page((void *)e->table + off);
	get_page(vmf->page);
	return 0;
}

static const struct homi_object_ops homi_extent_ops = {
	.revoke = homi_extent_end,
	.free = homi_extent_free,
	.region_size = homi_extent_region_size,
	.fault = homi_extent_fault,
};

/* --- what may be resolved --- */

static int homi_refuse(u32 *reason, enum homi_reason why)
{
	*reason = why;
	return -EOPNOTSUPP;
}

static int homi_check_inode(struct inode *inode, u32 *reason)
{
	const char *fs = inode->i_sb->s_type->name;

	if (!S_ISREG(inode->i_mode))
		return homi_refuse(reason, HOMI_REASON_FILE_TYPE);
	if ((strcmp(fs, "ext4") && strcmp(fs, "xfs")) ||
	    !inode->i_sb->s_bdev || !inode->i_op->fiemap)
		return homi_refuse(reason, HOMI_REASON_FS);
	if (IS_ENCRYPTED(inode))
		return homi_refuse(reason, HOMI_REASON_ENCRYPTED);
	if (IS_DAX(inode))
		return homi_refuse(reason, HOMI_REASON_DAX);
	if (IS_SWAPFILE(inode))
		return homi_refuse(reason, HOMI_REASON_SWAPFILE);
	if (IS_IMMUTABLE(inode))
		return homi_refuse(reason, HOMI_REASON_IMMUTABLE);
	return 0;
}

/* Data where direct I/O is impossible is not in the blocks that FIEMAP names. */
static int homi_check_file(struct file *file, u32 *reason)
{
	struct homi_fileattr attr = {};
	struct kstat stat;
	int ret;

	ret = vfs_getattr(&file->f_path, &stat, STATX_DIOALIGN, 0);
	if (ret)
		return ret;
	if (!(stat.result_mask & STATX_DIOALIGN) || !stat.dio_offset_align)
		return homi_refuse(reason, HOMI_REASON_NO_DIO);
	ret = vfs_fileattr_get(file->f_path.dentry, &attr);
	if (ret && ret != -ENOIOCTLCMD && ret != -EOPNOTSUPP)
		return ret;
	if (!ret && attr.fsx_xflags & FS_XFLAG_REALTIME)
		return homi_refuse(reason, HOMI_REASON_REALTIME);
	return 0;
}

static int homi_check_device(struct homi_ctrl *ctrl, struct block_device *bdev,
			     struct homi_nvme_ns *ns, u32 *reason)
{
	int ret = ctrl->ops->find_ns_by_bdev(&ctrl->nvme, bdev, ns);

	if (ret == -EOPNOTSUPP)
		return homi_refuse(reason, HOMI_REASON_NO_BTF);
	if (ret)
		return homi_refuse(reason,
				   strncmp(bdev->bd_disk->disk_name, "nvme", 4) ?
				   HOMI_REASON_STACKED :
				   HOMI_REASON_OTHER_DEVICE);
	if (ns->zoned || ns->metadata_size)
		return homi_refuse(reason, HOMI_REASON_NS_FORMAT);
	return 0;
}

/* The rule of leases: the owner, or CAP_LEASE. No reader may stall a writer. */
static bool homi_may_lease(struct file *file)
{
	vfsuid_t uid = i_uid_into_vfsuid(file_mnt_idmap(file),
					 file_inode(file));

	return vfsuid_eq_kuid(uid, current_fsuid()) || capable(CAP_LEASE);
}

static int homi_check(struct homi_ctrl *ctrl, struct file *file,
		      struct homi_nvme_ns *ns, u32 *reason)
{
	struct inode *inode = file_inode(file);
	int ret;

	if (!(file->f_mode & FMODE_READ))
		return -EBADF;
	if (homi_ctrl_is_gone(ctrl))
		return -ENODEV;
	ret = homi_check_inode(inode, reason);
	if (ret)
		return ret;
	if (!homi_may_lease(file))
		return -EPERM;
	ret = homi_check_file(file, reason);
	if (ret)
		return ret;
	return homi_check_device(ctrl, inode->i_sb->s_bdev, ns, reason);
}

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
	b->end = (file_size + mask) & ~mask;
	if (cmd->length && end < b->end)
		b->end = end;
	return 0;
}

static int homi_extent_make_table(struct homi_extent_obj *e,
				  struct homi_table_builder *b,
				  const struct homi_raw_extent *raw, u32 nr)
{
	size_t len;
	int ret;

	b->records = NULL;
	ret = homi_table_build(b, raw, nr);
	if (ret)
		return ret;
	len = struct_size(e->table, records, b->count);
	if (len > SIZE_MAX - PAGE_SIZE)
		return -ENOMEM;
	e->table = vmalloc_user(PAGE_ALIGN(len));
	if (!e->table)
		return -ENOMEM;
	e->table_len = PAGE_ALIGN(len);
	b->records = e->table->records;
	return homi_table_build(b, raw, nr);
}

/* The lease is held: nobody writes to the file or moves its blocks. */
static int homi_extent_fill(struct homi_extent_obj *e,
			    struct homi_extent_resolve *cmd,
			    const struct homi_nvme_ns *ns)
{
	struct inode *inode = file_inode(e->file);
	u64 file_size = i_size_read(inode);
	struct homi_table_builder b = {
		.block_size = ns->block_size,
		.disk_offset = (u64)get_start_sect(inode->i_sb->s_bdev) <<
			       SECTOR_SHIFT,
	};
	struct homi_raw_extent *raw;
	u32 nr;
	int ret;

	ret = homi_extent_range(cmd, file_size, &b);
	if (ret)
		return ret;
	/* The allocation has to be committed, not only the data written. */
	ret = vfs_fsync(e->file, 0);
	if (ret)
		return ret;
	ret = homi_fiemap(inode, b.start, b.end - b.start, &raw, &nr);
	if (ret)
		return ret;
	ret = homi_extent_make_table(e, &b, raw, nr);
	kvfree(raw);
	if (ret == -EOPNOTSUPP)
		return homi_refuse(&cmd->out_reason, HOMI_REASON_EXTENT);
	if (ret)
		return ret;
	e->table->state = HOMI_EXTENT_VALID;
	e->table->nsid = ns->nsid;
	e->table->generation = 1;
	e->table->count = b.count;
	e->table->file_size = file_size;
	e->table->block_size = b.block_size;
	return 0;
}

static int homi_extent_grant(struct homi_extent_obj *e, struct file *file,
			     struct homi_extent_resolve *cmd,
			     const struct homi_nvme_ns *ns)
{
	int ret;

	e->file = dentry_open(&file->f_path, O_RDONLY | O_LARGEFILE,
			      homi_lease_cred);
	if (IS_ERR(e->file)) {
		ret = PTR_ERR(e->file);
		e->file = NULL;
		return ret;
	}
	ret = homi_lease_take(e, &cmd->out_reason);
	if (ret)
		return ret;
	/* What may have changed until nobody could change it any more. */
	ret = homi_check_inode(file_inode(file), &cmd->out_reason);
	if (!ret)
		ret = homi_check_file(file, &cmd->out_reason);
	if (!ret)
		ret = homi_extent_fill(e, cmd, ns);
	if (!ret && test_bit(0, &e->recalled)) {
		cmd->out_reason = HOMI_REASON_WRITER;
		ret = -EAGAIN;
	}
	return ret;
}

static int homi_extent_new(struct homi_call *call, struct file *file)
{
	struct homi_extent_resolve *cmd = call->cmd;
	struct homi_ctx *ctx = call->ctx;
	struct homi_extent_obj *e;
	struct homi_nvme_ns ns;
	int ret;

	ret = homi_check(ctx->ctrl, file, &ns, &cmd->out_reason);
	if (ret)
		return ret;
	e = kzalloc(sizeof(*e), GFP_KERNEL_ACCOUNT);
	if (!e)
		return -ENOMEM;
	mutex_init(&e->lease_lock);
	INIT_WORK(&e->recall, homi_extent_recall);
	ret = homi_object_reserve(ctx, &e->obj, HOMI_OBJ_EXTENT,
				  &homi_extent_ops);
	if (ret) {
		kfree(e);
		return ret;
	}
	ret = homi_extent_grant(e, file, cmd, &ns);
	if (ret) {
		homi_object_abort(&e->obj);
		return ret;
	}
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
	struct file *file;
	int ret;

	if (cmd->flags || cmd->__reserved)
		return -EINVAL;
	cmd->out_reason = HOMI_REASON_NONE;
	file = fget(cmd->fd);
	if (!file)
		return -EBADF;
	ret = homi_extent_new(call, file);
	fput(file);
	return ret;
}

int homi_extent_init(void)
{
	int ret = -ENOMEM;

	homi_lease_cred = prepare_kernel_cred(&init_task);
	if (!homi_lease_cred)
		return ret;
	homi_recall_wq = alloc_workqueue("homi_recall", WQ_UNBOUND, 0);
	if (!homi_recall_wq)
		goto err_cred;
	ret = homi_fiemap_init();
	if (ret)
		goto err_wq;
	return 0;

err_wq:
	destroy_workqueue(homi_recall_wq);
err_cred:
	put_cred(homi_lease_cred);
	return ret;
}

void homi_extent_exit(void)
{
	homi_fiemap_exit();
	destroy_workqueue(homi_recall_wq);
	put_cred(homi_lease_cred);
}
