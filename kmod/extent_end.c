// SPDX-License-Identifier: GPL-2.0-only
/*
 * What becomes of the file of an EXTENT at its end.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/pagemap.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "extent.h"

/* For what waits for a frozen file system, for which a recall may have to end */
static struct workqueue_struct *homi_touch_wq;

/**
 * homi_extent_close - the private file of an EXTENT was let go of
 * @file: or NULL
 *
 * In a worker, where fput() has it closed some time later: until then its file
 * system can't be unmounted, and who was to write to it counts as if he had it open.
 * If the file was deleted its blocks are freed here. That waits for the file system, so
 * this is for those for whom nobody who removes the controller waits; and not while
 * it is frozen, since other recalls may have to be answered for it to go on.
 */
void homi_extent_close(struct file *file)
{
	if (!file)
		return;
	if (file_inode(file)->i_sb->s_writers.frozen == SB_UNFROZEN)
		__fput_sync(file);
	else
		fput(file);
}

/**
 * struct homi_touch - the times of a file, to be updated later
 * @work: does it, and frees this
 * @file: holds a reference
 */
struct homi_touch {
	struct work_struct work;
	struct file *file;
};

static void homi_touch_fn(struct work_struct *work)
{
	struct homi_touch *touch = container_of(work, struct homi_touch, work);
	struct super_block *sb = file_inode(touch->file)->i_sb;

	sb_start_write(sb);
	file_update_time(touch->file);
	sb_end_write(sb);
	homi_extent_close(touch->file);
	kfree(touch);
	module_put(THIS_MODULE);
}

/**
 * homi_touch_later - update the times of a file when its file system lets
 * @e: to be written to
 * @file: its file
 *
 * Somebody freezes the file system, or has: he may be waiting for who waits for us.
 */
void homi_touch_later(struct homi_extent_obj *e, struct file *file)
{
	struct homi_touch *touch = xchg(&e->touch, NULL);

	if (!touch)
		return;
	__module_get(THIS_MODULE);
	touch->file = get_file(file);
	INIT_WORK(&touch->work, homi_touch_fn);
	queue_work(homi_touch_wq, &touch->work);
}

/**
 * homi_extent_settle - the end of writing
 * @e: with or without a table; no queue can act on its blocks any more
 *
 * What was written is the file's now: no page that was cached before is served
 * again, and its times tell. Before anybody is let at the file, after the last
 * queue is gone. Waits for the file system, so without @e's lock: it may be the
 * controller that this waits for, and a removal takes that lock.
 */
void homi_extent_settle(struct homi_extent_obj *e)
{
	struct file *file = e->write && e->table ? homi_extent_file(e) : NULL;
	struct super_block *sb;

	if (!file)
		return;
	sb = file_inode(file)->i_sb;
	invalidate_inode_pages2(file->f_mapping);
	if (sb_start_write_trylock(sb)) {
		file_update_time(file);
		sb_end_write(sb);
	} else {
		homi_touch_later(e, file);
	}
	fput(file);
}

struct homi_touch *homi_touch_alloc(void)
{
	return kzalloc(sizeof(struct homi_touch), GFP_KERNEL_ACCOUNT);
}

int homi_touch_init(void)
{
	homi_touch_wq = alloc_workqueue("homi_touch", WQ_UNBOUND, 0);
	return homi_touch_wq ? 0 : -ENOMEM;
}

void homi_touch_exit(void)
{
	destroy_workqueue(homi_touch_wq);
}
