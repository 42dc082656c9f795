// SPDX-License-Identifier: GPL-2.0-only
/*
 * What READs and WRITEs did, added up: of an open file, and of a controller's, with those
 * that are closed.
 */
#include "show.h"

/**
 * homi_io_counts_add - to what somebody did, what somebody else did
 * @sum: out
 * @more: may be counted meanwhile
 */
void homi_io_counts_add(struct homi_io_counts *sum,
			const struct homi_io_counts *more)
{
	int by, i;

	for (by = 0; by < HOMI_WAYS; by++) {
		for (i = 0; i < 2; i++) {
			atomic64_add(atomic64_read(&more->by[by].ios[i]),
				     &sum->by[by].ios[i]);
			atomic64_add(atomic64_read(&more->by[by].bytes[i]),
				     &sum->by[by].bytes[i]);
		}
		atomic64_add(atomic64_read(&more->by[by].errors),
			     &sum->by[by].errors);
	}
}

/**
 * homi_io_counts_all - of all open files, those that are closed too
 * @ctrl: the controller
 * @sum: zeroed; out
 */
void homi_io_counts_all(struct homi_ctrl *ctrl, struct homi_io_counts *sum)
{
	struct homi_ctx *ctx;

	spin_lock(&ctrl->lock);
	homi_io_counts_add(sum, &ctrl->past);
	list_for_each_entry(ctx, &ctrl->ctxs, entry)
		homi_io_counts_add(sum, &ctx->io);
	spin_unlock(&ctrl->lock);
}

int homi_cmd_io_stats(struct homi_call *call)
{
	struct homi_io_stats *cmd = call->cmd;
	struct homi_io_counts sum = {};

	if (cmd->flags & ~HOMI_STATS_CTRL)
		return -EINVAL;
	if (cmd->flags & HOMI_STATS_CTRL)
		homi_io_counts_all(call->ctx->ctrl, &sum);
	else
		homi_io_counts_add(&sum, &call->ctx->io);
	cmd->out_fs_reads = atomic64_read(&sum.by[HOMI_BY_FS].ios[0]);
	cmd->out_fs_writes = atomic64_read(&sum.by[HOMI_BY_FS].ios[1]);
	cmd->out_fs_read_bytes = atomic64_read(&sum.by[HOMI_BY_FS].bytes[0]);
	cmd->out_fs_written_bytes = atomic64_read(&sum.by[HOMI_BY_FS].bytes[1]);
	cmd->out_fs_errors = atomic64_read(&sum.by[HOMI_BY_FS].errors);
	cmd->out_extents_reads =
		atomic64_read(&sum.by[HOMI_BY_EXTENTS].ios[0]);
	cmd->out_extents_read_bytes =
		atomic64_read(&sum.by[HOMI_BY_EXTENTS].bytes[0]);
	cmd->out_extents_writes =
		atomic64_read(&sum.by[HOMI_BY_EXTENTS].ios[1]);
	cmd->out_extents_written_bytes =
		atomic64_read(&sum.by[HOMI_BY_EXTENTS].bytes[1]);
	cmd->out_extents_errors = atomic64_read(&sum.by[HOMI_BY_EXTENTS].errors);
	return 0;
}
