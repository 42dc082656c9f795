// SPDX-License-Identifier: GPL-2.0-only
/*
 * In debugfs: homi/nvmeN/state, files, queues and dmabufs to look at, and
 * homi/nvmeN/fault and homi/quiesce_ms, by which tests make queue creation and
 * deletion go wrong and resets slow.
 */
#include <linux/bitmap.h>
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/seq_file.h>
#include <linux/uaccess.h>

#include "homi.h"
#include "show.h"

static struct dentry *homi_debugfs_root;

static const char *homi_state_name(u32 state)
{
	switch (state) {
	case HOMI_CTRL_LIVE:
		return "live";
	case HOMI_CTRL_RESETTING:
		return "resetting";
	case HOMI_CTRL_GONE:
		return "gone";
	default:
		return "unknown";
	}
}

/*
 * An open file that is listed with dma_users and whose process is gone waits
 * for the controller to let go of its queues.
 */
static int homi_state_show(struct seq_file *m, void *unused)
{
	struct homi_ctrl *ctrl = m->private;
	struct homi_ctx *ctx;

	spin_lock(&ctrl->lock);
	seq_printf(m, "state %s\n", homi_state_name(ctrl->state));
	seq_printf(m, "reason %u\n", ctrl->reason);
	seq_printf(m, "generation %llu\n", ctrl->generation);
	seq_printf(m, "hook_generation %llu\n", ctrl->hook_generation);
	seq_printf(m, "granted %u\n", ctrl->granted);
	seq_printf(m, "kernel %u\n", min(ctrl->kernel_queues, ctrl->granted));
	seq_printf(m, "reserved %u\n", ctrl->reserved);
	seq_printf(m, "lent %u\n",
		   bitmap_weight(ctrl->qids, HOMI_MAX_QID + 1));
	list_for_each_entry(ctx, &ctrl->ctxs, entry)
		seq_printf(m, "file pid %d dma_users %d%s\n", pid_nr(ctx->pid),
			   atomic_read(&ctx->dma_users),
			   ctx->dma_released ? " dma_released" : "");
	homi_users_show(ctrl, m);
	spin_unlock(&ctrl->lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(homi_state);

static const char *homi_file_state(struct homi_ctx *ctx)
{
	if (!READ_ONCE(ctx->closed))
		return "open";
	return atomic_read(&ctx->dma_users) ? "parked" : "closed";
}

static void homi_file_show(struct seq_file *m, struct homi_ctx *ctx)
{
	int by;

	seq_printf(m, "%llu %d %u %s %d", ctx->nr, pid_nr(ctx->pid),
		   from_kuid(&init_user_ns, homi_user_uid(ctx->user)),
		   homi_file_state(ctx), atomic_read(&ctx->dma_users));
	for (by = 0; by < HOMI_WAYS; by++)
		seq_printf(m, " %lld %lld %lld %lld %lld",
			   atomic64_read(&ctx->io.by[by].ios[0]),
			   atomic64_read(&ctx->io.by[by].bytes[0]),
			   atomic64_read(&ctx->io.by[by].ios[1]),
			   atomic64_read(&ctx->io.by[by].bytes[1]),
			   atomic64_read(&ctx->io.by[by].errors));
	homi_ctx_show_queues(ctx, m);
	seq_putc(m, '\n');
}

/*
 * Open files, and those that are closed and not gone: "parked" is one of which the
 * controller has not let go, and what "closed" waits for is a mapping or a dma-buf.
 */
static int homi_files_show(struct seq_file *m, void *unused)
{
	struct homi_ctrl *ctrl = m->private;
	struct homi_ctx *ctx;

	seq_puts(m, "file pid uid state dma_users");
	seq_puts(m, " fs_reads fs_read_bytes fs_writes fs_write_bytes fs_errors");
	seq_puts(m, " extents_reads extents_read_bytes extents_writes");
	seq_puts(m, " extents_write_bytes extents_errors queues quarantined\n");
	spin_lock(&ctrl->lock);
	list_for_each_entry(ctx, &ctrl->ctxs, entry) {
		/* Then all of it comes again, with more room. */
		if (seq_has_overflowed(m))
			break;
		homi_file_show(m, ctx);
	}
	spin_unlock(&ctrl->lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(homi_files);

static int homi_dmabufs_show(struct seq_file *m, void *unused)
{
	homi_imports_show(m->private, m);
	homi_exports_show(m->private, m);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(homi_dmabufs);

static int homi_queues_list_show(struct seq_file *m, void *unused)
{
	homi_queues_show(m->private, m);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(homi_queues_list);

static const char * const homi_fault_names[] = {
	[HOMI_FAULT_NONE] = "none",
	[HOMI_FAULT_FAIL] = "fail",
	[HOMI_FAULT_HANG] = "hang",
	[HOMI_FAULT_LOSE] = "lose",
};

/**
 * homi_fault_take - has a test anything to say about an admin command?
 * @ctrl: the controller
 * @opcode: of the command, which is about to be sent
 */
enum homi_fault homi_fault_take(struct homi_ctrl *ctrl, u8 opcode)
{
	enum homi_fault mode = HOMI_FAULT_NONE;

	spin_lock(&ctrl->lock);
	if (ctrl->fault.count && ctrl->fault.opcode == opcode) {
		ctrl->fault.count--;
		mode = ctrl->fault.mode;
	}
	spin_unlock(&ctrl->lock);
	return mode;
}

static u32 homi_quiesce_ms;

/* A reset that sleeps in our wrapper for as long as a test wants, at most 10 s */
void homi_fault_hold(void)
{
	u32 ms = READ_ONCE(homi_quiesce_ms);

	if (ms)
		msleep(min(ms, 10000U));
}

static int homi_fault_show(struct seq_file *m, void *unused)
{
	struct homi_ctrl *ctrl = m->private;

	spin_lock(&ctrl->lock);
	seq_printf(m, "%#x %s %u\n", ctrl->fault.opcode,
		   homi_fault_names[ctrl->fault.mode], ctrl->fault.count);
	spin_unlock(&ctrl->lock);
	return 0;
}

/* "OPCODE none|fail|hang|lose COUNT": so many of homi's commands from now on */
static ssize_t homi_fault_write(struct file *file, const char __user *ubuf,
				size_t len, loff_t *pos)
{
	struct homi_ctrl *ctrl = file_inode(file)->i_private;
	char buf[32], name[8];
	u32 count;
	int mode;
	u8 opcode;

	if (len >= sizeof(buf))
		return -EINVAL;
	if (copy_from_user(buf, ubuf, len))
		return -EFAULT;
	buf[len] = '\0';
	if (sscanf(buf, "%hhi %7s %u", &opcode, name, &count) != 3)
		return -EINVAL;
	mode = match_string(homi_fault_names, ARRAY_SIZE(homi_fault_names),
			    name);
	if (mode < 0)
		return -EINVAL;
	spin_lock(&ctrl->lock);
	ctrl->fault.opcode = opcode;
	ctrl->fault.mode = mode;
	ctrl->fault.count = count;
	spin_unlock(&ctrl->lock);
	return len;
}

static int homi_fault_open(struct inode *inode, struct file *file)
{
	return single_open(file, homi_fault_show, inode->i_private);
}

static const struct file_operations homi_fault_fops = {
	.owner = THIS_MODULE,
	.open = homi_fault_open,
	.read = seq_read,
	.write = homi_fault_write,
	.llseek = seq_lseek,
	.release = single_release,
};

/**
 * homi_debugfs_add - show a controller that is attached
 * @ctrl: stays as it is until homi_debugfs_del()
 *
 * A failure is no reason to do without the controller.
 */
void homi_debugfs_add(struct homi_ctrl *ctrl)
{
	ctrl->debugfs = debugfs_create_dir(dev_name(ctrl->nvme.class_dev),
					   homi_debugfs_root);
	debugfs_create_file("state", 0400, ctrl->debugfs, ctrl,
			    &homi_state_fops);
	debugfs_create_file("files", 0400, ctrl->debugfs, ctrl,
			    &homi_files_fops);
	debugfs_create_file("dmabufs", 0400, ctrl->debugfs, ctrl,
			    &homi_dmabufs_fops);
	debugfs_create_file("queues", 0400, ctrl->debugfs, ctrl,
			    &homi_queues_list_fops);
	debugfs_create_file("fault", 0600, ctrl->debugfs, ctrl,
			    &homi_fault_fops);
}

/* Waits for whoever is reading. */
void homi_debugfs_del(struct homi_ctrl *ctrl)
{
	debugfs_remove(ctrl->debugfs);
	ctrl->debugfs = NULL;
}

void homi_debugfs_init(void)
{
	homi_debugfs_root = debugfs_create_dir("homi", NULL);
	debugfs_create_u32("quiesce_ms", 0600, homi_debugfs_root,
			   &homi_quiesce_ms);
}

void homi_debugfs_exit(void)
{
	debugfs_remove(homi_debugfs_root);
}
