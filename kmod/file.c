// SPDX-License-Identifier: GPL-2.0-only
/*
 * FILE: a file that is registered for READ and WRITE; and where it lies, for those
 * that do not ask its file system each time.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/slab.h>

#include "extent.h"
#include "rw.h"

/* Of a file that somebody opens for writing again and again */
#define HOMI_MAP_TRIES	2

/**
 * struct homi_file - a FILE
 * @obj: must be first
 * @file: holds a reference
 * @map_mutex: one at a time finds out where it lies
 * @lock: guards @map
 * @map: an internal EXTENT, with a reference, or NULL
 */
struct homi_file {
	struct homi_object obj;
	struct file *file;
	struct mutex map_mutex;	/* see above */
	spinlock_t lock;	/* likewise */
	struct homi_extent_obj *map;
};

static struct homi_file *to_file(struct homi_object *obj)
{
	return container_of(obj, struct homi_file, obj);
}

static void homi_file_free(struct homi_object *obj)
{
	struct homi_file *f = to_file(obj);

	if (f->map)
		homi_extent_drop(f->map);
	fput(f->file);
	homi_quota_uncharge(obj->ctx, HOMI_QUOTA_FILES, 1);
	kfree(f);
}

static const struct homi_object_ops homi_file_ops = {
	.free = homi_file_free,
};

/**
 * homi_file_check - is it one that READ and WRITE can do?
 * @ctrl: the controller
 * @file: any; how it is open is looked at each time
 * @reason: out: enum homi_reason
 */
int homi_file_check(struct homi_ctrl *ctrl, struct file *file, u32 *reason)
{
	struct inode *inode = file_inode(file);
	struct homi_place place;
	int ret;

	ret = homi_check_kind(inode, reason);
	if (!ret)
		ret = homi_place_find(ctrl, inode->i_sb, &place, reason);
	if (!ret && !(file->f_mode & FMODE_CAN_ODIRECT))
		ret = homi_refuse(reason, HOMI_REASON_NO_DIO);
	return ret;
}

static int homi_file_new(struct homi_call *call, struct file *file)
{
	struct homi_file_register *cmd = call->cmd;
	struct homi_ctx *ctx = call->ctx;
	struct homi_file *f;
	int ret;

	ret = homi_file_check(ctx->ctrl, file, &cmd->out_reason);
	if (ret)
		return ret;
	ret = homi_quota_charge(ctx, HOMI_QUOTA_FILES, 1);
	if (ret)
		return ret;
	f = kzalloc(sizeof(*f), GFP_KERNEL_ACCOUNT);
	ret = f ? homi_object_reserve(ctx, &f->obj, HOMI_OBJ_FILE,
				      &homi_file_ops) : -ENOMEM;
	if (ret) {
		kfree(f);
		homi_quota_uncharge(ctx, HOMI_QUOTA_FILES, 1);
		return ret;
	}
	f->file = get_file(file);
	mutex_init(&f->map_mutex);
	spin_lock_init(&f->lock);
	cmd->out_file_id = f->obj.id;
	call->created = &f->obj;
	return 0;
}

int homi_cmd_file_register(struct homi_call *call)
{
	struct homi_file_register *cmd = call->cmd;
	struct file *file;
	int ret;

	if (cmd->flags || cmd->__reserved)
		return -EINVAL;
	cmd->out_reason = HOMI_REASON_NONE;
	file = fget(cmd->fd);
	if (!file)
		return -EBADF;
	ret = homi_file_new(call, file);
	fput(file);
	return ret;
}

struct file *homi_file_of(struct homi_object *obj)
{
	return to_file(obj)->file;
}

/* --- where it lies --- */

/* Entered, and with a reference; NULL if there is none, or not any more. */
static struct homi_extent_obj *homi_map_find(struct homi_file *f)
{
	struct homi_extent_obj *map;

	spin_lock(&f->lock);
	map = f->map;
	if (map && homi_inflight_enter(&map->inflight))
		kref_get(&map->obj.ref);
	else
		map = NULL;
	spin_unlock(&f->lock);
	return map;
}

static int homi_map_make(struct homi_file *f)
{
	struct homi_extent_obj *map, *old;

	map = homi_extent_internal(f->obj.ctx, f->file);
	if (IS_ERR(map))
		return PTR_ERR(map);
	spin_lock(&f->lock);
	old = f->map;
	f->map = map;
	spin_unlock(&f->lock);
	if (old)
		homi_extent_drop(old);
	return 0;
}

/**
 * homi_file_map - where a FILE lies, as long as nobody may change that
 * @obj: a FILE, open for reading, and not empty
 * @may_wait: or -EAGAIN if that would be needed
 *
 * Return: an internal EXTENT, entered, and with a reference; or see
 * homi_extent_internal()
 */
struct homi_extent_obj *homi_file_map(struct homi_object *obj, bool may_wait)
{
	struct homi_file *f = to_file(obj);
	struct homi_extent_obj *map = homi_map_find(f);
	int try, ret = 0;

	if (map)
		return map;
	if (!may_wait)
		return ERR_PTR(-EAGAIN);
	if (mutex_lock_killable(&f->map_mutex))
		return ERR_PTR(-EINTR);
	map = homi_map_find(f);
	for (try = 0; !map && !ret && try < HOMI_MAP_TRIES; try++) {
		ret = homi_map_make(f);
		map = homi_map_find(f);
	}
	mutex_unlock(&f->map_mutex);
	if (map)
		return map;
	return ERR_PTR(ret ? ret : -EAGAIN);
}
