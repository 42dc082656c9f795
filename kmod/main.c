// SPDX-License-Identifier: GPL-2.0-only
/*
 * Module entry and exit, the character device, and the command table.
 */
#include <linux/file.h>
#include <linux/module.h>
#include <linux/nospec.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "homi.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

union homi_cmd {
	struct homi_ctrl_info ctrl_info;
	struct homi_ns_info ns_info;
	struct homi_mem_register mem_register;
	struct homi_mem_segments mem_segments;
	struct homi_mem_info mem_info;
	struct homi_queue_create queue_create;
	struct homi_queue_recreate queue_recreate;
	struct homi_queue_info queue_info;
	struct homi_extent_resolve extent_resolve;
	struct homi_extent_ack extent_ack;
	struct homi_event_bind event_bind;
	struct homi_reserve reserve;
	struct homi_destroy destroy;
	struct homi_holders holders;
	struct homi_resolve_set resolve_set;
	struct homi_doorbell_export doorbell_export;
	struct homi_file_register file_register;
	struct homi_io_stats io_stats;
	struct homi_queue_arm queue_arm;
};

static int homi_cmd_destroy(struct homi_call *call)
{
	struct homi_destroy *cmd = call->cmd;

	if (cmd->flags || cmd->__reserved)
		return -EINVAL;
	return homi_object_destroy(call->ctx, cmd->id);
}

/**
 * struct homi_cmd_row - one command
 * @size: of its structure in this kernel
 * @min_size: of its first version; never changes
 * @silent: has no answer: once it acted it can't fail any more
 * @reason: where in it a refusal has its enum homi_reason, or 0
 * @fn: validates, acts, answers in the structure
 */
struct homi_cmd_row {
	u32 size;
	u32 min_size;
	bool silent;
	u32 reason;
	int (*fn)(struct homi_call *call);
};

/* Sizes by way of the union, so that each structure is sure to fit in it. */
static const struct homi_cmd_row homi_cmds[] = {
	[HOMI_CMD_CTRL_INFO - HOMI_CMD_BASE] = {
		.size = sizeof_field(union homi_cmd, ctrl_info),
		.min_size = offsetofend(union homi_cmd,
					ctrl_info.out_queues_reserved),
		.fn = homi_cmd_ctrl_info,
	},
	[HOMI_CMD_NS_INFO - HOMI_CMD_BASE] = {
		.size = sizeof_field(union homi_cmd, ns_info),
		.min_size = offsetofend(union homi_cmd, ns_info.__reserved),
		.fn = homi_cmd_ns_info,
	},
	[HOMI_CMD_MEM_REGISTER - HOMI_CMD_BASE] = {
		.size = sizeof_field(union homi_cmd, mem_register),
		.min_size = offsetofend(union homi_cmd, mem_register.out_segments),
		.reason = offsetof(union homi_cmd, mem_register.out_reason),
		.fn = homi_cmd_mem_register,
	},
	[HOMI_CMD_MEM_SEGMENTS - HOMI_CMD_BASE] = {
		.size = sizeof_field(union homi_cmd, mem_segments),
		.min_size = offsetofend(union homi_cmd, mem_segments.segments),
		.fn = homi_cmd_mem_segments,
	},
	[HOMI_CMD_MEM_INFO - HOMI_CMD_BASE] = {
		.size = sizeof_field(union homi_cmd, mem_info),
		.min_size = offsetofend(union homi_cmd, mem_info.out_exporter),
		.fn = homi_cmd_mem_info,
	},
	[HOMI_CMD_QUEUE_CREATE - HOMI_CMD_BASE] = {
		.size = sizeof_field(union homi_cmd, queue_create),
		.min_size = offsetofend(union homi_cmd, queue_create.out_generation),
		.fn = homi_cmd_queue_create,
	},
	[HOMI_CMD_QUEUE_RECREATE - HOMI_CMD_BASE] = {
		.size = sizeof_field(union homi_cmd, queue_recreate),
		.min_size = offsetofend(union homi_cmd,
					queue_recreate.out_cq_shadow_offset),
		.fn = homi_cmd_queue_recreate,
	},
	[HOMI_CMD_QUEUE_INFO - HOMI_CMD_BASE] = {
		.size = sizeof_field(union homi_cmd, queue_info),
		.min_size = offsetofend(union homi_cmd, queue_info.out_generation),
		.fn = homi_cmd_queue_info,
	},
	[HOMI_CMD_EXTENT_RESOLVE - HOMI_CMD_BASE] = {
		.size = sizeof_field(union homi_cmd, extent_resolve),
		.min_size = offsetofend(union homi_cmd, extent_resolve.out_reason),
		.reason = offsetof(union homi_cmd, extent_resolve.out_reason),
		.fn = homi_cmd_extent_resolve,
	},
	[HOMI_CMD_EXTENT_ACK - HOMI_CMD_BASE] = {
		.size = sizeof_field(union homi_cmd, extent_ack),
		.min_size = offsetofend(union homi_cmd, extent_ack.generation),
		.silent = true,
		.fn = homi_cmd_extent_ack,
	},
	[HOMI_CMD_EVENT_BIND - HOMI_CMD_BASE] = {
		.size = sizeof_field(union homi_cmd, event_bind),
		.min_size = offsetofend(union homi_cmd, event_bind.eventfd),
		.fn = homi_cmd_event_bind,
	},
	[HOMI_CMD_DOORBELL_EXPORT - HOMI_CMD_BASE] = {
		.size = sizeof_field(union homi_cmd, doorbell_export),
		.min_size = offsetofend(union homi_cmd,
					doorbell_export.__reserved),
		.fn = homi_cmd_doorbell_export,
	},
	[HOMI_CMD_RESERVE - HOMI_CMD_BASE] = {
		.size = sizeof_field(union homi_cmd, reserve),
		.min_size = offsetofend(union homi_cmd, reserve.out_generation),
		.fn = homi_cmd_reserve,
	},
	[HOMI_CMD_DESTROY - HOMI_CMD_BASE] = {
		.size = sizeof_field(union homi_cmd, destroy),
		.min_size = offsetofend(union homi_cmd, destroy.__reserved),
		.silent = true,
		.fn = homi_cmd_destroy,
	},
	[HOMI_CMD_HOLDERS - HOMI_CMD_BASE] = {
		.size = sizeof_field(union homi_cmd, holders),
		.min_size = offsetofend(union homi_cmd, holders.out_busy),
		.fn = homi_cmd_holders,
	},
	[HOMI_CMD_FILE_REGISTER - HOMI_CMD_BASE] = {
		.size = sizeof_field(union homi_cmd, file_register),
		.min_size = offsetofend(union homi_cmd,
					file_register.out_reason),
		.reason = offsetof(union homi_cmd, file_register.out_reason),
		.fn = homi_cmd_file_register,
	},
	[HOMI_CMD_IO_STATS - HOMI_CMD_BASE] = {
		.size = sizeof_field(union homi_cmd, io_stats),
		.min_size = offsetofend(union homi_cmd, io_stats.out_extents_errors),
		.fn = homi_cmd_io_stats,
	},
	[HOMI_CMD_QUEUE_ARM - HOMI_CMD_BASE] = {
		.size = sizeof_field(union homi_cmd, queue_arm),
		.min_size = offsetofend(union homi_cmd, queue_arm.__reserved),
		.fn = homi_cmd_queue_arm,
	},
	[HOMI_CMD_RESOLVE_SET - HOMI_CMD_BASE] = {
		.size = sizeof_field(union homi_cmd, resolve_set),
		.min_size = offsetofend(union homi_cmd,
					resolve_set.out_mmap_length),
		.fn = homi_cmd_resolve_set,
	},
};

/**
 * homi_refused - a command, or one file of a set, has failed: was it refused?
 * @ctrl: the controller
 * @nr: of the command, as ioctl() takes it
 * @error: negative errno. What is not possible here, or not allowed, is counted:
 *	EPERM, EOPNOTSUPP, EDQUOT, ENOSPC, and EAGAIN with a reason. Of READ and
 *	WRITE only EOPNOTSUPP is to get here: what else they end by is the I/O's.
 * @reason: enum homi_reason, or 0
 */
void homi_refused(struct homi_ctrl *ctrl, unsigned int nr, int error, u32 reason)
{
	switch (error) {
	case -EAGAIN:
		if (!reason)
			break;
		fallthrough;
	case -EPERM:
	case -EOPNOTSUPP:
	case -EDQUOT:
	case -ENOSPC:
		atomic64_inc(&ctrl->refused);
		trace_homi_refuse(ctrl, _IOC_NR(nr), error, reason);
	}
}

/* Handlers that have a reason clear it before they refuse anything. */
static void homi_call_look(struct homi_call *call, unsigned int nr,
			   const struct homi_cmd_row *row, int ret)
{
	u32 reason = row->reason ? *(u32 *)(call->cmd + row->reason) : 0;

	homi_refused(call->ctx->ctrl, nr, ret, reason);
}

/* Errors with which a command still answers: a needed count, or a reason. */
static bool homi_answers(int ret)
{
	return !ret || ret == -EMSGSIZE || ret == -EOPNOTSUPP || ret == -EAGAIN;
}

/* Likewise, and what it is known by is not to be had before. */
static void homi_call_give_file(struct homi_call *call, int ret)
{
	if (ret) {
		put_unused_fd(call->fd);
		fput(call->file);
	} else {
		fd_install(call->fd, call->file);
	}
}

/*
 * A new object is seen by others only when its id has reached user space: a
 * failed copy would leave one that nobody can name.
 */
static int homi_call_finish(struct homi_call *call, void __user *arg,
			    u32 size, int ret)
{
	if (homi_answers(ret) && copy_to_user(arg, call->cmd, size))
		ret = -EFAULT;
	if (call->file)
		homi_call_give_file(call, ret);
	if (!call->created)
		return ret;
	if (ret)
		homi_object_abort(call->created);
	else
		homi_object_publish(call->created);
	return ret;
}

/**
 * homi_call_user - one command, start to end
 * @ctx: the open file
 * @nr: of the command, as ioctl() takes it
 * @uptr: its structure
 *
 * The same table for both doors, ioctl() and io_uring. May sleep.
 */
int homi_call_user(struct homi_ctx *ctx, unsigned int nr, void __user *uptr)
{
	const struct homi_cmd_row *row;
	struct homi_call call = { .ctx = ctx };
	union homi_cmd cmd = {};
	u32 size, index;
	int ret;

	if (_IOC_TYPE(nr) != HOMI_TYPE || _IOC_NR(nr) < HOMI_CMD_BASE)
		return -ENOTTY;
	index = _IOC_NR(nr) - HOMI_CMD_BASE;
	if (index >= ARRAY_SIZE(homi_cmds) || !homi_cmds[index].fn ||
	    nr != _IO(HOMI_TYPE, _IOC_NR(nr)))
		return -ENOTTY;
	row = &homi_cmds[array_index_nospec(index, ARRAY_SIZE(homi_cmds))];
	if (get_user(size, (u32 __user *)uptr))
		return -EFAULT;
	if (size < row->min_size)
		return -EINVAL;
	if (size > PAGE_SIZE)
		return -E2BIG;
	ret = copy_struct_from_user(&cmd, row->size, uptr, size);
	if (ret)
		return ret;
	call.cmd = &cmd;
	ret = row->fn(&call);
	if (ret < 0)
		homi_call_look(&call, nr, row, ret);
	if (row->silent)
		return ret;
	/* The size that user space knows, whatever it wrote there since. */
	cmd.destroy.size = size;
	return homi_call_finish(&call, uptr, min(size, row->size), ret);
}

static long homi_ioctl(struct file *file, unsigned int nr, unsigned long arg)
{
	return homi_call_user(file->private_data, nr, (void __user *)arg);
}

static int homi_open(struct inode *inode, struct file *file)
{
	struct homi_ctrl *ctrl = container_of(inode->i_cdev, struct homi_ctrl,
					      cdev);
	struct homi_ctx *ctx;
	int ret;

	ret = homi_ctrl_wait_added(ctrl);
	if (ret)
		return ret;
	ctx = homi_ctx_alloc(ctrl);
	if (IS_ERR(ctx))
		return PTR_ERR(ctx);
	file->private_data = ctx;
	file->f_mapping = ctx->inode->i_mapping;
	return nonseekable_open(inode, file);
}

static int homi_release(struct inode *inode, struct file *file)
{
	homi_ctx_close(file->private_data);
	return 0;
}

static int homi_fop_mmap(struct file *file, struct vm_area_struct *vma)
{
	return homi_mmap(file->private_data, vma);
}

static __poll_t homi_poll(struct file *file, poll_table *wait)
{
	return homi_ctx_poll(file->private_data, file, wait);
}

const struct file_operations homi_fops = {
	.owner = THIS_MODULE,
	.open = homi_open,
	.release = homi_release,
	.unlocked_ioctl = homi_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.uring_cmd = homi_uring_cmd,
	.mmap = homi_fop_mmap,
	.poll = homi_poll,
};

static int __init homi_init(void)
{
	int ret;

	ret = homi_object_init();
	if (ret)
		return ret;
	ret = homi_ctrl_init();
	if (ret)
		goto err_object;
	ret = homi_import_init();
	if (ret)
		goto err_ctrl;
	ret = homi_extent_init();
	if (ret)
		goto err_import;
	ret = homi_rw_init();
	if (ret)
		goto err_extent;
	homi_debugfs_init();
	ret = homi_reset_init();
	if (ret)
		goto err_debugfs;
	return 0;

err_debugfs:
	homi_debugfs_exit();
	homi_rw_exit();
err_extent:
	homi_extent_exit();
err_import:
	homi_import_exit();
err_ctrl:
	homi_ctrl_exit();
err_object:
	homi_object_exit();
	homi_nvme_drain();
	return ret;
}

static void __exit homi_exit(void)
{
	homi_reset_exit();
	homi_debugfs_exit();
	homi_rw_exit();
	homi_extent_exit();
	homi_import_exit();
	homi_ctrl_exit();
	homi_object_exit();
	homi_nvme_drain();
}

module_init(homi_init);
module_exit(homi_exit);

MODULE_DESCRIPTION("Host orchestrated multipath I/O: queues of an NVMe controller beside the nvme driver");
MODULE_AUTHOR("The homi authors");
MODULE_LICENSE("GPL");
MODULE_VERSION(HOMI_VERSION);
