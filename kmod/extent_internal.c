// SPDX-License-Identifier: GPL-2.0-only
/*
 * EXTENTs that homi has for itself, for READs of files by their blocks. They are never
 * published: no process can have one, and none has to answer when one is recalled.
 */
#include <linux/fs.h>

#include "extent.h"

/**
 * homi_extent_stop - no READ goes by it when this returns
 * @e: internal
 *
 * Waits for the controller.
 */
void homi_extent_stop(struct homi_extent_obj *e)
{
	homi_inflight_stop(&e->inflight, &e->obj.ctx->ctrl->wait);
}

/**
 * homi_extent_mind - its leases go: is anybody to find none when he comes again?
 * @e: still with its file; its lock is held
 * @marked: somebody has the file open for writing, or waits for that, as most do: no
 *	lease can be had then
 *
 * Of who was told to try again nothing is to be seen here any more, but that somebody
 * wanted it; so of what homi has for itself that is for longer.
 */
void homi_extent_mind(struct homi_extent_obj *e, bool marked)
{
	struct inode *inode;

	lockdep_assert_held(&e->lock);
	if (!e->file || !test_bit(0, &e->recalled))
		return;
	inode = file_inode(e->file);
	homi_look_mind(inode, marked);
	if (e->internal && !marked)
		homi_backoff_begin(inode);
}

/**
 * homi_extent_drain - somebody wants the file
 * @e: internal, with a table
 *
 * In a worker. The holder is homi: it begins nothing more by it, waits for what is on
 * its way, and lets go. No process has to do anything for that.
 */
void homi_extent_drain(struct homi_extent_obj *e)
{
	struct file *file;

	homi_extent_stop(e);
	mutex_lock(&e->lock);
	homi_extent_set_state(e, HOMI_EXTENT_REVOKED);
	file = homi_extent_let_go(e);
	mutex_unlock(&e->lock);
	homi_extent_close(file);
}

/**
 * homi_extent_drop - end of an internal EXTENT
 * @e: left by whoever calls this, who has its reference
 *
 * If the open file is being closed that may have ended it already.
 */
void homi_extent_drop(struct homi_extent_obj *e)
{
	homi_object_abort(&e->obj);
	homi_object_put(&e->obj);
}

/**
 * homi_extent_internal - where a file lies, for READs that homi does by itself
 * @ctx: the open file
 * @file: open for reading, and not empty
 *
 * Not by the caller's right to have a lease: who wants the file waits for no more
 * than the commands that are on their way to the drive.
 *
 * Return: to be ended by homi_extent_drop(); it may have been recalled already.
 * -EAGAIN if somebody has it open for writing or leased, wanted it a moment ago, or has
 * just emptied it, -EDQUOT, or why it can't be had.
 */
struct homi_extent_obj *homi_extent_internal(struct homi_ctx *ctx,
					     struct file *file)
{
	struct inode *inode = file_inode(file);
	struct homi_extent_resolve all = {};
	struct homi_extent_obj *e;
	struct homi_place place;
	int ret;

	ret = homi_check_inode(inode, &all.out_reason);
	if (!ret)
		ret = homi_place_find(ctx->ctrl, inode->i_sb, &place,
				      &all.out_reason);
	if (!ret && homi_backoff_is_on(inode))
		ret = -EAGAIN;
	if (ret)
		return ERR_PTR(ret);
	e = homi_extent_alloc(ctx, false);
	if (IS_ERR(e))
		return e;
	e->internal = true;
	kref_get(&e->obj.ref);
	ret = ctx->ctrl->ops->io_queue(&ctx->ctrl->nvme, place.ns.nsid,
				       inode->i_sb->s_bdev, &e->queue);
	if (ret)
		e->queue = NULL;
	else
		ret = homi_extent_grant_read(e, file, &all, &place);
	if (ret) {
		homi_extent_drop(e);
		return ERR_PTR(ret);
	}
	homi_extents_watch(ctx);
	return e;
}

/**
 * homi_extent_leave - a READ by an internal EXTENT is over; in any context
 * @e: as it was entered
 */
void homi_extent_leave(struct homi_extent_obj *e)
{
	homi_inflight_leave(&e->inflight, &e->obj.ctx->ctrl->wait);
}
