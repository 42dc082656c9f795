// SPDX-License-Identifier: GPL-2.0-only
/*
 * EXTENTs whose namespace goes away or becomes another one under them. No lease
 * tells of that, and stock tells nobody: its disks are looked at from time to
 * time while there are EXTENTs. What is not true any more is revoked.
 */
#include <linux/blkdev.h>
#include <linux/fs.h>

#include "extent.h"

#define HOMI_WATCH_MS	500

static struct homi_extent_obj *homi_extent_next(struct homi_ctx *ctx,
						unsigned long *id)
{
	struct homi_object *obj = homi_object_next(ctx, id, HOMI_OBJ_EXTENT);

	return obj ? container_of(obj, struct homi_extent_obj, obj) : NULL;
}

/* Its blocks are where they were: same disk, same block size, not shorter. */
static bool homi_ns_is_same(struct homi_ctrl *ctrl, struct block_device *bdev,
			    const struct homi_nvme_ns *was)
{
	struct homi_nvme_ns ns;

	return !ctrl->ops->find_ns_on(&ctrl->nvme, was->nsid, bdev, &ns) &&
	       ns.block_size == was->block_size &&
	       ns.metadata_size == was->metadata_size &&
	       ns.zoned == was->zoned && ns.blocks >= was->blocks;
}

/**
 * struct homi_ns_answer - what one EXTENT was told, for the next one
 * @bdev: that was looked at
 * @ns: as it was when the EXTENT was resolved
 * @same: and still is
 */
struct homi_ns_answer {
	struct block_device *bdev;
	struct homi_nvme_ns ns;
	bool same;
};

static bool homi_ns_equal(const struct homi_nvme_ns *a,
			  const struct homi_nvme_ns *b)
{
	return a->nsid == b->nsid && a->dev == b->dev &&
	       a->blocks == b->blocks && a->block_size == b->block_size &&
	       a->metadata_size == b->metadata_size && a->zoned == b->zoned;
}

static void homi_extent_look(struct homi_extent_obj *e,
			     struct homi_ns_answer *last)
{
	struct homi_ctrl *ctrl = e->obj.ctx->ctrl;
	struct block_device *bdev;

	/* The file keeps the disk. Before there is a table nobody is misled. */
	mutex_lock(&e->lock);
	if (e->file && e->table && homi_ctrl_is_live(ctrl)) {
		bdev = file_inode(e->file)->i_sb->s_bdev;
		if (last->bdev != bdev || !homi_ns_equal(&last->ns, &e->ns)) {
			last->bdev = bdev;
			last->ns = e->ns;
			last->same = homi_ns_is_same(ctrl, bdev, &e->ns);
		}
		if (!last->same)
			homi_extent_expire(e);
	}
	mutex_unlock(&e->lock);
}

static void homi_extents_watch_fn(struct work_struct *work)
{
	struct homi_ctx *ctx = container_of(to_delayed_work(work),
					    struct homi_ctx, watch);
	struct homi_ns_answer last = {};
	struct homi_extent_obj *e;
	unsigned long id = 0;
	bool any = false;

	while ((e = homi_extent_next(ctx, &id))) {
		homi_extent_look(e, &last);
		homi_object_put(&e->obj);
		any = true;
		cond_resched();
	}
	if (any && !homi_ctrl_is_gone(ctx->ctrl))
		homi_extents_watch(ctx);
}

/**
 * homi_extents_watch - look after the EXTENTs of an open file from now on
 * @ctx: the open file, which has one, granted or not
 */
void homi_extents_watch(struct homi_ctx *ctx)
{
	queue_delayed_work(homi_wq, &ctx->watch,
			   msecs_to_jiffies(HOMI_WATCH_MS));
}

void homi_extents_watch_prepare(struct homi_ctx *ctx)
{
	INIT_DELAYED_WORK(&ctx->watch, homi_extents_watch_fn);
}

/**
 * homi_extents_watch_end - the open file is being closed
 * @ctx: the open file
 */
void homi_extents_watch_end(struct homi_ctx *ctx)
{
	cancel_delayed_work_sync(&ctx->watch);
}

/**
 * homi_extents_gone - the controller is gone, or dead
 * @ctx: an open file; its queues do not act any more
 * @unused: see homi_ctrl_each_ctx()
 *
 * Nothing that is left could read from the blocks: let others have the files,
 * and the file system be unmounted, however long the holder sleeps.
 */
void homi_extents_gone(struct homi_ctx *ctx, void *unused)
{
	struct homi_extent_obj *e;
	unsigned long id = 0;

	while ((e = homi_extent_next(ctx, &id))) {
		homi_extent_gone(e);
		homi_object_put(&e->obj);
		cond_resched();
	}
}
