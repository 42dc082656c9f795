// SPDX-License-Identifier: GPL-2.0-only
/*
 * Read-only state in debugfs: homi/nvmeN/state and homi/nvmeN/queues.
 */
#include <linux/bitmap.h>
#include <linux/debugfs.h>
#include <linux/seq_file.h>

#include "homi.h"

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
	seq_printf(m, "lent %u\n",
		   bitmap_weight(ctrl->qids, HOMI_MAX_QID + 1));
	list_for_each_entry(ctx, &ctrl->ctxs, entry)
		seq_printf(m, "file pid %d dma_users %d%s\n", ctx->pid,
			   atomic_read(&ctx->dma_users),
			   ctx->dma_released ? " dma_released" : "");
	spin_unlock(&ctrl->lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(homi_state);

static int homi_queues_list_show(struct seq_file *m, void *unused)
{
	homi_queues_show(m->private, m);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(homi_queues_list);

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
	debugfs_create_file("queues", 0400, ctrl->debugfs, ctrl,
			    &homi_queues_list_fops);
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
}

void homi_debugfs_exit(void)
{
	debugfs_remove(homi_debugfs_root);
}
