// SPDX-License-Identifier: GPL-2.0-only
/*
 * SET: the EXTENTs of many files, made by one call and mapped as one. Each file
 * has an EXTENT of its own, which is recalled, acknowledged and destroyed by
 * itself; its table lies in the mapping of the set.
 */
#include <linux/file.h>
#include <linux/freezer.h>
#include <linux/fs.h>
#include <linux/namei.h>
#include <linux/sched/signal.h>
#include <linux/security.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#include "extent.h"

#define HOMI_SET_NAMES	(64U << 20)	/* bytes */
/* As openat2() with RESOLVE_IN_ROOT */
#define HOMI_SET_LOOKUP	(LOOKUP_FOLLOW | LOOKUP_IN_ROOT)
/* So that a table's head is in one cache line */
#define HOMI_SET_ALIGN	64
/* Above are the kernel's own, see linux/errno.h */
#define HOMI_SET_ERRNO	511

/**
 * struct homi_set_file - a file of a set that is being made
 * @e: its EXTENT, or NULL
 * @table: until it is copied into the set's
 * @error: why it has no EXTENT, 0 or -errno
 * @reason: enum homi_reason
 */
struct homi_set_file {
	struct homi_extent_obj *e;
	struct homi_extent_table *table;
	int error;
	u32 reason;
};

/**
 * struct homi_set_work - what the files of a set that is being made share
 * @set: it
 * @root: directory that names are looked up in
 * @dir: directory that the last name was in, with a reference, or none
 * @dir_name: its name, not terminated
 * @dir_len: bytes of it
 * @place: of the last file
 * @mnt: it was found by, with a reference, which keeps the file system; or NULL
 * @error: what homi_place_find() said of it
 * @reason: likewise
 * @collector: begun
 */
struct homi_set_work {
	struct homi_set *set;
	const struct path *root;
	struct path dir;
	const char *dir_name;
	size_t dir_len;
	struct homi_place place;
	struct vfsmount *mnt;
	int error;
	u32 reason;
	struct homi_collector collector;
};

static struct homi_set *to_set(struct homi_object *obj)
{
	return container_of(obj, struct homi_set, obj);
}

static void homi_set_free(struct homi_object *obj)
{
	struct homi_set *set = to_set(obj);

	vfree(set->table);
	kvfree(set->members);
	kfree(set);
}

/* One that the holder has destroyed by itself is not found, and is no error. */
static void homi_set_end(struct homi_object *obj)
{
	struct homi_set *set = to_set(obj);
	struct homi_extent_obj *e;
	u32 i;

	for (i = 0; i < set->count; i++) {
		e = set->members[i];
		if (!e)
			continue;
		homi_object_abort(&e->obj);
		homi_object_put(&e->obj);
		cond_resched();
	}
	set->count = 0;
}

static bool homi_set_has_news(struct homi_object *obj)
{
	return READ_ONCE(to_set(obj)->table->changes);
}

static size_t homi_set_region_size(struct homi_object *obj,
				   enum homi_region region)
{
	return region == HOMI_REGION_TABLE ? to_set(obj)->table_len : 0;
}

static vm_fault_t homi_set_fault(struct homi_object *obj,
				 enum homi_region region, struct vm_fault *vmf)
{
	struct homi_set *set = to_set(obj);

	return homi_table_fault(set->table, set->table_len, vmf);
}

static const struct homi_object_ops homi_set_ops = {
	.has_news = homi_set_has_news,
	.revoke = homi_set_end,
	.free = homi_set_free,
	.region_size = homi_set_region_size,
	.fault = homi_set_fault,
};

/* --- making one --- */

static struct homi_extent_obj *homi_set_member(struct homi_set *set,
					       struct file *file)
{
	struct homi_extent_obj *e = homi_extent_alloc(set->obj.ctx, false);

	if (IS_ERR(e))
		return e;
	kref_get(&set->obj.ref);
	e->set = set;
	mutex_lock(&e->lock);
	e->file = get_file(file);
	mutex_unlock(&e->lock);
	return e;
}

/* Most are where the one before was. */
static int homi_set_place(struct homi_set_work *w, const struct path *path,
			  u32 *reason)
{
	struct super_block *sb = path->dentry->d_sb;

	if (!w->mnt || w->place.sb != sb) {
		mntput(w->mnt);
		w->mnt = NULL;
		w->reason = HOMI_REASON_NONE;
		w->error = homi_place_find(w->set->obj.ctx->ctrl, sb,
					   &w->place, &w->reason);
		w->place.sb = sb;
		/* Other errors may be of the moment. */
		if (!w->error || w->error == -EOPNOTSUPP)
			w->mnt = mntget(path->mnt);
	}
	*reason = w->reason;
	return w->error;
}

static int homi_set_ask(struct homi_set_work *w, struct file *file,
			struct homi_set_file *f)
{
	struct homi_extent_obj *e;
	int ret;

	e = homi_set_member(w->set, file);
	if (IS_ERR(e))
		return PTR_ERR(e);
	ret = homi_extent_lock(e, file, &f->reason);
	if (!ret) {
		f->table = homi_extent_ask(e, file, 0, 0, &w->place,
					   &w->collector, &f->reason);
		ret = PTR_ERR_OR_ZERO(f->table);
	}
	if (ret) {
		f->table = NULL;
		homi_object_abort(&e->obj);
		return homi_extent_refused(&file->f_path, ret, &f->reason);
	}
	kref_get(&e->obj.ref);
	f->e = e;
	return 0;
}

static void homi_set_leave_dir(struct homi_set_work *w)
{
	path_put(&w->dir);
	w->dir = (struct path){};
}

/* @len bytes of @name are the directory's, with a slash behind them if any. */
static int homi_set_enter_dir(struct homi_set_work *w, char *name, size_t len)
{
	int ret = 0;

	if (w->dir.dentry && w->dir_len == len &&
	    !memcmp(w->dir_name, name, len))
		return 0;
	homi_set_leave_dir(w);
	if (len) {
		name[len] = '\0';
		ret = vfs_path_lookup(w->root->dentry, w->root->mnt, name,
				      HOMI_SET_LOOKUP | LOOKUP_DIRECTORY,
				      &w->dir);
		name[len] = '/';
	} else {
		w->dir = *w->root;
		path_get(&w->dir);
	}
	if (ret)
		w->dir = (struct path){};
	w->dir_name = name;
	w->dir_len = len;
	return ret;
}

/*
 * Most names are in the directory that the one before was in, and need no walk
 * but its last step; unless that leads elsewhere. As if the caller held a
 * descriptor of the directory: it may be moved meanwhile.
 */
static int homi_set_look_up(struct homi_set_work *w, char *name,
			    struct path *path)
{
	char *slash = strrchr(name, '/');
	char *step = slash ? slash + 1 : name;
	struct dentry *dentry;
	int ret;

	if (!*name)
		return -ENOENT;
	/* What open() sees to, and not all file systems do */
	if (strlen(name) >= PATH_MAX || strlen(step) > NAME_MAX)
		return -ENAMETOOLONG;
	if (*step && strcmp(step, ".") && strcmp(step, "..")) {
		ret = homi_set_enter_dir(w, name, slash ? slash - name : 0);
		if (ret)
			return ret;
		dentry = homi_lookup_one(w->dir.mnt, step, w->dir.dentry);
		if (IS_ERR(dentry))
			return PTR_ERR(dentry);
		if (!d_is_symlink(dentry) && !d_managed(dentry)) {
			path->mnt = mntget(w->dir.mnt);
			path->dentry = dentry;
			return 0;
		}
		dput(dentry);
	}
	return vfs_path_lookup(w->root->dentry, w->root->mnt, name,
			       HOMI_SET_LOOKUP, path);
}

/*
 * As open() for reading does it. O_NONBLOCK: somebody's lease is told to end, and
 * not waited for.
 */
static struct file *homi_set_open_path(const struct path *path, u32 *reason)
{
	struct file *file;
	int ret;

	file = dentry_open(path, O_RDONLY | O_LARGEFILE | O_NONBLOCK,
			   current_cred());
	if (IS_ERR(file)) {
		if (PTR_ERR(file) == -EAGAIN)
			*reason = HOMI_REASON_LEASE;
		return file;
	}
	ret = security_file_post_open(file, MAY_OPEN | MAY_READ);
	if (!ret)
		return file;
	fput(file);
	return ERR_PTR(ret);
}

/*
 * What need not be opened is not: a device might do something, a pipe might wait,
 * and what is closed again stays open until the call returns.
 */
static int homi_set_may_open(struct homi_set_work *w, const struct path *path,
			     u32 *reason)
{
	struct inode *inode = d_inode(path->dentry);
	int ret;

	ret = path_permission(path, MAY_OPEN | MAY_READ);
	if (!ret)
		ret = homi_path_may(path, reason);
	if (!ret)
		ret = homi_set_place(w, path, reason);
	if (ret)
		return ret;
	if (!i_size_read(inode))
		return -EINVAL;
	if (!inode_is_open_for_write(inode))
		return 0;
	*reason = HOMI_REASON_WRITER;
	return homi_extent_refused(path, -EAGAIN, reason);
}

/* With the caller's rights; it is the EXTENT's private one then. */
static struct file *homi_set_open(struct homi_set_work *w, char *name,
				  u32 *reason)
{
	struct file *file;
	struct path path;
	int ret;

	ret = homi_set_look_up(w, name, &path);
	if (ret)
		return ERR_PTR(ret);
	ret = homi_set_may_open(w, &path, reason);
	file = ret ? ERR_PTR(ret) : homi_set_open_path(&path, reason);
	path_put(&path);
	return file;
}

static void homi_set_resolve(struct homi_set_work *w, char *name,
			     struct homi_set_file *f)
{
	struct file *file;

	file = homi_set_open(w, name, &f->reason);
	if (!IS_ERR(file)) {
		f->error = homi_set_ask(w, file, f);
		fput(file);
		return;
	}
	f->error = PTR_ERR(file);
	/* That of a network's, for those who restart a call, say */
	if (f->error < -HOMI_SET_ERRNO)
		f->error = -EINTR;
}

static int homi_set_resolve_all(struct homi_set_work *w, char *names,
				struct homi_set_file *files)
{
	struct homi_set *set = w->set;
	u32 i;

	for (i = 0; i < set->count; i++) {
		if (fatal_signal_pending(current))
			return -EINTR;
		/* Who suspends does not wait for us; all is done again then. */
		if (freezing(current) && signal_pending(current))
			return -ERESTARTSYS;
		if (homi_ctrl_is_gone(set->obj.ctx->ctrl))
			return -ENODEV;
		homi_set_resolve(w, names, &files[i]);
		set->members[i] = files[i].e;
		names += strlen(names) + 1;
		cond_resched();
	}
	return 0;
}

static size_t homi_set_table_size(const struct homi_extent_table *table)
{
	return ALIGN(struct_size(table, records, table->count), HOMI_SET_ALIGN);
}

static int homi_set_alloc_table(struct homi_set *set,
				const struct homi_set_file *files)
{
	size_t len = ALIGN(struct_size(set->table, entries, set->count),
			   HOMI_SET_ALIGN);
	u32 i;

	for (i = 0; i < set->count; i++) {
		if (files[i].table)
			len += homi_set_table_size(files[i].table);
		if (len > INT_MAX)
			return -ENOMEM;
	}
	len = PAGE_ALIGN(len);
	set->table = __vmalloc(len, GFP_KERNEL_ACCOUNT | __GFP_ZERO |
				    __GFP_NOWARN);
	if (!set->table)
		return -ENOMEM;
	set->table_len = len;
	return 0;
}

static void homi_set_grant(struct homi_set *set, struct homi_set_file *f,
			   u32 i, size_t at)
{
	struct homi_set_entry *entry = &set->table->entries[i];
	struct homi_extent_table *table = (void *)set->table + at;

	if (f->e) {
		memcpy(table, f->table, struct_size(table, records,
						    f->table->count));
		f->error = homi_extent_grant(f->e, table, &f->reason);
	}
	if (!f->error) {
		entry->table = at;
		entry->extent_id = f->e->obj.id;
		set->table->resolved++;
		homi_object_publish(&f->e->obj);
		return;
	}
	entry->error = -f->error;
	entry->reason = f->reason;
	homi_refused(set->obj.ctx->ctrl, HOMI_RESOLVE_SET, f->error, f->reason);
	if (!f->e)
		return;
	set->members[i] = NULL;
	homi_object_abort(&f->e->obj);
	homi_object_put(&f->e->obj);
}

static int homi_set_fill(struct homi_set *set, struct homi_set_file *files)
{
	size_t at = ALIGN(struct_size(set->table, entries, set->count),
			  HOMI_SET_ALIGN);
	int ret = homi_set_alloc_table(set, files);
	u32 i;

	if (ret)
		return ret;
	set->table->count = set->count;
	for (i = 0; i < set->count; i++) {
		homi_set_grant(set, &files[i], i, at);
		if (files[i].table)
			at += homi_set_table_size(files[i].table);
		cond_resched();
	}
	return 0;
}

/* Exactly @count names, one after the other */
static bool homi_set_names_good(const char *names, size_t len, u32 count)
{
	const char *end = names + len;

	if (end[-1])
		return false;
	for (; names < end; names += strlen(names) + 1)
		if (!count--)
			return false;
	return !count;
}

static int homi_set_ask_all(struct homi_set *set, const struct path *root,
			    char *names, struct homi_set_file *files)
{
	struct homi_set_work w = { .set = set, .root = root };
	int ret = homi_fiemap_begin(&w.collector);

	if (ret)
		return ret;
	ret = homi_set_resolve_all(&w, names, files);
	homi_set_leave_dir(&w);
	mntput(w.mnt);
	homi_fiemap_end(&w.collector);
	return ret;
}

static int homi_set_make(struct homi_set *set, const struct path *root,
			 char *names)
{
	struct homi_set_file *files;
	int ret;
	u32 i;

	files = kvcalloc(set->count, sizeof(*files),
			 GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!files)
		return -ENOMEM;
	ret = homi_set_ask_all(set, root, names, files);
	if (!ret)
		ret = homi_set_fill(set, files);
	for (i = 0; i < set->count; i++)
		kvfree(files[i].table);
	kvfree(files);
	return ret;
}

static struct homi_set *homi_set_alloc(struct homi_ctx *ctx, u32 count)
{
	struct homi_set *set = kzalloc(sizeof(*set), GFP_KERNEL_ACCOUNT);
	int ret = -ENOMEM;

	if (!set)
		return ERR_PTR(-ENOMEM);
	set->count = count;
	set->members = kvcalloc(count, sizeof(*set->members),
				GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (set->members)
		ret = homi_object_reserve(ctx, &set->obj, HOMI_OBJ_SET,
					  &homi_set_ops);
	if (!ret)
		return set;
	kvfree(set->members);
	kfree(set);
	return ERR_PTR(ret);
}

static int homi_set_new(struct homi_call *call, const struct path *root,
			char *names)
{
	struct homi_resolve_set *cmd = call->cmd;
	struct homi_set *set = homi_set_alloc(call->ctx, cmd->count);
	int ret;

	if (IS_ERR(set))
		return PTR_ERR(set);
	ret = homi_set_make(set, root, names);
	/* None of its tables might have had to do with the controller. */
	if (!ret && homi_ctrl_is_gone(call->ctx->ctrl))
		ret = -ENODEV;
	if (ret) {
		homi_object_abort(&set->obj);
		return ret;
	}
	homi_extents_watch(call->ctx);
	cmd->out_set_id = set->obj.id;
	cmd->out_resolved = set->table->resolved;
	cmd->out_mmap_offset = homi_cookie(&set->obj, HOMI_REGION_TABLE);
	cmd->out_mmap_length = set->table_len;
	call->created = &set->obj;
	return 0;
}

/* Accounted, for it stays as long as the slowest file system takes. */
static char *homi_set_names(const struct homi_resolve_set *cmd)
{
	size_t len = cmd->names_length;
	char *names = kvmalloc(len, GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	int ret = -EFAULT;

	if (!names)
		return ERR_PTR(-ENOMEM);
	if (!copy_from_user(names, u64_to_user_ptr(cmd->names), len))
		ret = homi_set_names_good(names, len, cmd->count) ? 0 : -EINVAL;
	if (!ret)
		return names;
	kvfree(names);
	return ERR_PTR(ret);
}

int homi_cmd_resolve_set(struct homi_call *call)
{
	struct homi_resolve_set *cmd = call->cmd;
	struct file *dir;
	char *names;
	int ret;

	if (cmd->flags || !cmd->count || cmd->count > HOMI_SET_FILES_MAX ||
	    !cmd->names_length || cmd->names_length > HOMI_SET_NAMES)
		return -EINVAL;
	dir = fget_raw(cmd->dirfd);
	if (!dir)
		return -EBADF;
	/* A place where something is mounted when it is needed is none either. */
	if (!d_can_lookup(dir->f_path.dentry)) {
		fput(dir);
		return -ENOTDIR;
	}
	names = homi_set_names(cmd);
	ret = PTR_ERR_OR_ZERO(names);
	if (!ret) {
		ret = homi_set_new(call, &dir->f_path, names);
		kvfree(names);
	}
	fput(dir);
	return ret;
}
