// SPDX-License-Identifier: GPL-2.0-only
/* READ and WRITE of MEMs of pages, by the file system's direct I/O. See also rw_extents.c. */
#include <linux/blkdev.h>
#include <linux/cred.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/fsnotify.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uio.h>

#include "mem.h"
#include "rw.h"
#include "show.h"
#include "trace.h"

/**
 * struct homi_io - a READ or WRITE on its way
 * @kiocb: what the file system has
 * @refs: of an attempt: who begins it, and its completion. File systems look at
 *	@kiocb after they have handed it on, so what follows waits for both.
 * @next: another one that is spare
 * @cmd: what io_uring waits for
 * @named: what it names, and the pages of its MEM
 * @offset: in the file
 * @mem_offset: in @mem
 * @length: bytes
 * @done: of these
 * @ret: what came of the last attempt
 * @write: or read
 * @guarded: the file system is kept from freezing
 * @cred: the caller's
 * @work: another attempt, which may wait
 */
struct homi_io {
	struct kiocb kiocb;
	atomic_t refs;
	struct homi_io *next;
	struct io_uring_cmd *cmd;
	struct homi_named named;
	u64 offset;
	u64 mem_offset;
	u32 length;
	u32 done;
	long ret;
	bool write;
	bool guarded;
	const struct cred *cred;
	struct work_struct work;
};

/* What io_uring's command has room for */
struct homi_io_pdu {
	struct homi_io *io;
};

static struct kmem_cache *homi_io_cache;

/* That an open file keeps: allocating one and freeing it is a good part of a READ. */
#define HOMI_SPARES	64

/* The lock of @ctx->objects is held. */
static struct homi_io *homi_spare_take(struct homi_ctx *ctx)
{
	struct homi_io *io = ctx->spares;

	if (io) {
		ctx->spares = io->next;
		ctx->nr_spares--;
	}
	return io;
}

static void homi_spare_give(struct homi_ctx *ctx, struct homi_io *io)
{
	xa_lock(&ctx->objects);
	if (ctx->nr_spares < HOMI_SPARES) {
		io->next = ctx->spares;
		ctx->spares = io;
		ctx->nr_spares++;
		io = NULL;
	}
	xa_unlock(&ctx->objects);
	if (io)
		kmem_cache_free(homi_io_cache, io);
}

/**
 * homi_rw_spares_free - the end of what an open file keeps
 * @ctx: its file is closed, so no READ or WRITE of it is left
 */
void homi_rw_spares_free(struct homi_ctx *ctx)
{
	struct homi_io *io;

	while ((io = homi_spare_take(ctx)))
		kmem_cache_free(homi_io_cache, io);
}

/**
 * homi_rw_put - as it was named
 * @named: all there
 */
void homi_rw_put(const struct homi_named *named)
{
	if (named->file)
		homi_object_put(named->file);
	else
		fput(named->of);
	homi_object_put(&named->mem->obj);
}

/* --- the end --- */

/* @ctx stays: its file is io_uring's until the command is completed. */
static void homi_io_free(struct homi_io *io)
{
	struct homi_ctx *ctx = io->named.mem->obj.ctx;

	homi_mem_drop_pages(io->named.mem);
	homi_rw_put(&io->named);
	put_cred(io->cred);
	homi_spare_give(ctx, io);
}

/* What the caller gets */
static long homi_io_result(struct homi_io *io)
{
	long ret = io->done ? io->done : io->ret;

	homi_rw_count(io->named.mem->obj.ctx, HOMI_BY_FS, io->write, ret);
	trace_homi_rw_complete(&io->named, io, HOMI_BY_FS, io->write, io->offset,
			       io->length, ret);
	if (ret > 0 && io->write)
		fsnotify_modify(io->kiocb.ki_filp);
	else if (ret > 0)
		fsnotify_access(io->kiocb.ki_filp);
	return homi_no_restart(ret);
}

static void homi_io_finish(struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	struct homi_io *io = ((struct homi_io_pdu *)cmd->pdu)->io;
	long ret = homi_io_result(io);

	homi_io_free(io);
	homi_uring_end(cmd, ret, issue_flags);
}

HOMI_URING_TASK_WORK(homi_io_task_work, homi_io_finish)

/*
 * The first attempt did not wait for anything, and may have ended for want of that.
 * A read that is short otherwise met the end of the file.
 */
static bool homi_io_wants_more(struct homi_io *io)
{
	if (!(io->kiocb.ki_flags & IOCB_NOWAIT))
		return false;
	/* Some of ext4 says EOPNOTSUPP where it would have to wait. */
	if (io->ret == -EAGAIN || io->ret == -EOPNOTSUPP)
		return true;
	if (io->ret <= 0 || io->done >= io->length)
		return false;
	return io->write || io->offset + io->done <
	       i_size_read(file_inode(io->kiocb.ki_filp));
}

/* On a queue of its controller's: another one's file systems may wait in a reset. */
static void homi_io_queue(struct homi_io *io)
{
	struct homi_ctrl *ctrl = io->named.mem->obj.ctx->ctrl;

	queue_work(ctrl->works[HOMI_WORK_IO], &io->work);
}

/* One of the two is through with an attempt that was not over at once. */
static void homi_io_put(struct homi_io *io)
{
	if (!atomic_dec_and_test(&io->refs))
		return;
	if (homi_io_wants_more(io))
		homi_io_queue(io);
	else
		io_uring_cmd_complete_in_task(io->cmd, homi_io_task_work);
}

static void homi_io_over(struct homi_io *io, long ret)
{
	if (io->guarded)
		kiocb_end_write(&io->kiocb);
	io->guarded = false;
	io->ret = ret;
	if (ret > 0)
		io->done += ret;
}

/* From the file system, in any context */
static void homi_io_complete(struct kiocb *kiocb, long ret)
{
	struct homi_io *io = container_of(kiocb, struct homi_io, kiocb);

	homi_io_over(io, ret);
	homi_io_put(io);
}

/* --- the beginning --- */

static bool homi_io_guard(struct homi_io *io)
{
	struct super_block *sb = file_inode(io->kiocb.ki_filp)->i_sb;

	if (!(io->kiocb.ki_flags & IOCB_NOWAIT))
		kiocb_start_write(&io->kiocb);
	else if (sb_start_write_trylock(sb))
		/* Another context ends it; this is for lockdep. */
		__sb_writers_release(sb, SB_FREEZE_WRITE);
	else
		return false;
	io->guarded = true;
	return true;
}

/*
 * As vfs_iocb_iter_write(), which since 6.8 keeps off freezing by itself, and waits
 * for that also where one may not.
 *
 * What is left of it. EIOCBQUEUED: homi_io_complete() is called, or was, and the
 * caller has a reference to drop. Otherwise it is over.
 */
static long homi_io_attempt(struct homi_io *io)
{
	u64 start = io->mem_offset + io->done;
	u32 length = io->length - io->done;
	struct file *file = io->kiocb.ki_filp;
	struct iov_iter iter;
	long ret;

	atomic_set(&io->refs, 2);
	io->kiocb.ki_pos = io->offset + io->done;
	ret = rw_verify_area(io->write ? WRITE : READ, file, &io->kiocb.ki_pos,
			     length);
	if (ret < 0)
		goto out;
	/* After who may have to be asked, who might have to write for the answer. */
	ret = -EAGAIN;
	if (io->write && !homi_io_guard(io))
		goto out;
	homi_mem_iter(io->named.mem, &iter, io->write ? WRITE : READ, start, length);
	ret = io->write ? file->f_op->write_iter(&io->kiocb, &iter) :
			  file->f_op->read_iter(&io->kiocb, &iter);
out:
	if (ret != -EIOCBQUEUED)
		homi_io_over(io, ret);
	return ret;
}

static void homi_io_work(struct work_struct *work)
{
	struct homi_io *io = container_of(work, struct homi_io, work);
	const struct cred *cred = get_cred(io->cred);
	const struct cred *old = override_creds(cred);

	io->kiocb.ki_flags &= ~IOCB_NOWAIT;
	io->kiocb.ki_flags |= IOCB_DIRECT;
	if (homi_io_attempt(io) != -EIOCBQUEUED)
		atomic_dec(&io->refs);
	homi_io_put(io);
	revert_creds(old);
	put_cred(cred);
}

static int homi_io_run(struct homi_io *io)
{
	long ret;

	trace_homi_rw_submit(&io->named, io, HOMI_BY_FS, io->write, io->offset,
			     io->length, 0);
	ret = homi_io_attempt(io);
	if (ret == -EIOCBQUEUED) {
		homi_io_put(io);
		return ret;
	}
	if (!homi_io_wants_more(io)) {
		ret = homi_io_result(io);
		homi_io_free(io);
		return ret;
	}
	if (io->done) {
		homi_io_queue(io);
		return -EIOCBQUEUED;
	}
	/* io_uring asks again where one may wait. */
	trace_homi_rw_complete(&io->named, io, HOMI_BY_FS, io->write, io->offset,
			       io->length, -EAGAIN);
	homi_io_free(io);
	return -EAGAIN;
}

/*
 * What a limit cuts off has to be cut off in the caller's own context, so whatever
 * may meet one is not tried without waiting.
 */
static bool homi_io_is_limited(const struct homi_io *io)
{
	return io->write &&
	       (io->kiocb.ki_flags & IOCB_APPEND ||
		io->offset + io->length > rlimit(RLIMIT_FSIZE));
}

static int homi_io_flags(struct homi_io *io, const struct homi_uring_rw *rw,
			 bool may_wait)
{
	struct file *file = io->kiocb.ki_filp;

	if (!(file->f_mode & (io->write ? FMODE_WRITE : FMODE_READ)))
		return -EBADF;
	io->kiocb.ki_flags |= IOCB_DIRECT;
	if (rw->flags & HOMI_RW_DSYNC)
		io->kiocb.ki_flags |= IOCB_DSYNC;
	if (may_wait)
		return 0;
	if (!(file->f_mode & FMODE_NOWAIT) || homi_io_is_limited(io))
		return -EAGAIN;
	io->kiocb.ki_flags |= IOCB_NOWAIT;
	return 0;
}

static int homi_rw_check(const struct homi_uring_rw *rw, bool write)
{
	u32 by = rw->flags & (HOMI_RW_BY_FS | HOMI_RW_BY_EXTENTS);

	if (rw->flags & ~(HOMI_RW_FD | HOMI_RW_DSYNC | HOMI_RW_BY_FS |
			  HOMI_RW_BY_EXTENTS) ||
	    (rw->flags & HOMI_RW_DSYNC && !write) ||
	    by == (HOMI_RW_BY_FS | HOMI_RW_BY_EXTENTS) ||
	    rw->__reserved[0] | rw->__reserved[1] | rw->__reserved[2] |
	    rw->__reserved[3])
		return -EINVAL;
	if (rw->length > MAX_RW_COUNT || rw->file_offset > LLONG_MAX ||
	    rw->length > LLONG_MAX - rw->file_offset)
		return -EINVAL;
	return 0;
}

/* The file system knows nothing but pages. */
static bool homi_rw_goes_by_extents(const struct homi_mem *mem,
				    const struct homi_uring_rw *rw)
{
	if (rw->flags & HOMI_RW_BY_FS)
		return false;
	return rw->flags & HOMI_RW_BY_EXTENTS || mem->type != HOMI_MEM_USER;
}

/* Consumes @named, and @io if there is one, if it fails too. */
static struct homi_io *homi_io_new(const struct homi_named *named,
				   struct homi_io *io, struct io_uring_cmd *cmd,
				   const struct homi_uring_rw *rw, bool write,
				   bool may_wait)
{
	int ret = -ENOMEM;

	if (!io)
		io = kmem_cache_alloc(homi_io_cache, GFP_KERNEL_ACCOUNT);
	if (io)
		ret = homi_mem_hold_pages(named->mem, may_wait);
	if (ret) {
		if (io)
			homi_spare_give(named->mem->obj.ctx, io);
		homi_rw_put(named);
		return ERR_PTR(ret);
	}
	io->named = *named;
	io->write = write;
	io->guarded = false;
	init_sync_kiocb(&io->kiocb, named->of);
	io->kiocb.ki_complete = homi_io_complete;
	io->cmd = cmd;
	io->offset = rw->file_offset;
	io->mem_offset = rw->mem_offset;
	io->length = rw->length;
	io->done = 0;
	io->cred = get_current_cred();
	INIT_WORK(&io->work, homi_io_work);
	ret = homi_io_flags(io, rw, may_wait);
	if (!ret)
		return io;
	homi_io_free(io);
	return ERR_PTR(ret);
}

/* Is the MEM one that can do it? */
static int homi_rw_check_mem(const struct homi_mem *mem,
			     const struct homi_uring_rw *rw, bool write)
{
	if (rw->mem_offset > mem->length ||
	    rw->length > mem->length - rw->mem_offset)
		return -EINVAL;
	return !write && mem->dir != DMA_BIDIRECTIONAL ? -EFAULT : 0;
}

static struct file *homi_rw_fget(struct homi_ctx *ctx, int fd)
{
	struct file *file = fget(fd);
	u32 reason;
	int ret;

	if (!file)
		return ERR_PTR(-EBADF);
	ret = homi_file_check(ctx->ctrl, file, &reason);
	if (!ret)
		return file;
	fput(file);
	return ERR_PTR(ret);
}

/*
 * What it names, all or nothing, and with one look at the table; and a spare homi_io if
 * there is one for it.
 */
static int homi_rw_get(struct homi_ctx *ctx, const struct homi_uring_rw *rw,
		       bool write, struct homi_named *named,
		       struct homi_io **spare)
{
	bool by_fd = rw->flags & HOMI_RW_FD;
	struct homi_object *mem, *file = NULL;
	int ret = -ENOENT;

	*spare = NULL;
	xa_lock(&ctx->objects);
	mem = homi_object_find(ctx, rw->mem_id, HOMI_OBJ_MEM);
	if (mem && !by_fd)
		file = homi_object_find(ctx, rw->file, HOMI_OBJ_FILE);
	if (file && !homi_rw_goes_by_extents(to_mem(mem), rw))
		*spare = homi_spare_take(ctx);
	xa_unlock(&ctx->objects);
	if (!mem)
		return ret;
	*named = (struct homi_named){ .mem = to_mem(mem), .file = file };
	ret = homi_rw_check_mem(named->mem, rw, write);
	if (!ret && by_fd)
		named->of = homi_rw_fget(ctx, rw->file);
	else if (!ret)
		named->of = file ? homi_file_of(file) : ERR_PTR(-ENOENT);
	if (!ret)
		ret = PTR_ERR_OR_ZERO(named->of);
	if (!ret)
		return 0;
	if (*spare)
		homi_spare_give(ctx, *spare);
	if (file)
		homi_object_put(file);
	homi_object_put(mem);
	return ret;
}

/* As homi_rw(); if @toll is due then, nothing was done and nothing is held. */
static int homi_rw_begin(struct homi_ctx *ctx, struct io_uring_cmd *cmd,
			 const struct homi_uring_rw *rw, bool write,
			 bool may_wait, struct homi_toll *toll)
{
	struct homi_named named;
	struct homi_io *io;
	int ret;

	ret = homi_rw_get(ctx, rw, write, &named, &io);
	if (ret)
		return ret;
	if (homi_rw_goes_by_extents(named.mem, rw)) {
		if (!homi_budget_is_set(ctx->ctrl) ||
		    homi_budget_take(ctx, toll, homi_rw_bytes(&named, rw)))
			return homi_rw_by_extents(&named, cmd, rw, write,
						  may_wait, toll);
		homi_rw_put(&named);
		return -EAGAIN;
	}
	/* While it waited its MEM has become another one, of pages. */
	if (toll->paid)
		homi_budget_refund(ctx, toll);
	io = homi_io_new(&named, io, cmd, rw, write, may_wait);
	if (IS_ERR(io))
		return PTR_ERR(io);
	if (!rw->length) {
		homi_io_free(io);
		return 0;
	}
	((struct homi_io_pdu *)cmd->pdu)->io = io;
	return homi_io_run(io);
}

/**
 * homi_rw - READ or WRITE
 * @ctx: the open file
 * @cmd: io_uring's command, with a struct homi_uring_rw
 * @write: which
 * @issue_flags: IO_URING_F_*
 *
 * Return: bytes or a negative errno, or -EIOCBQUEUED if the command is completed
 * later. -EAGAIN where waiting is not allowed: to be asked again where it is.
 */
int homi_rw(struct homi_ctx *ctx, struct io_uring_cmd *cmd, bool write,
	    unsigned int issue_flags)
{
	bool may_wait = !(issue_flags & IO_URING_F_NONBLOCK);
	struct homi_toll toll = {};
	struct homi_uring_rw rw;
	int ret;

	if (!(issue_flags & IO_URING_F_SQE128))
		return -EINVAL;
	/* Once: it may be in memory that is shared with the caller. */
	memcpy(&rw, homi_uring_payload(cmd), sizeof(rw));
	ret = homi_rw_check(&rw, write);
	if (ret)
		return ret;
	if (homi_ctrl_is_gone(ctx->ctrl))
		return -ENODEV;
	/* Where its file is may take a while to find out. */
	if (rw.flags & HOMI_RW_FD && !may_wait)
		return -EAGAIN;
	ret = homi_rw_begin(ctx, cmd, &rw, write, may_wait, &toll);
	if (toll.due && may_wait) {
		ret = homi_budget_wait(ctx, &toll);
		if (!ret)
			ret = homi_rw_begin(ctx, cmd, &rw, write, may_wait,
					    &toll);
	}
	if (toll.paid && ret != -EIOCBQUEUED)
		homi_budget_refund(ctx, &toll);
	return ret;
}

/* --- what was done --- */

/**
 * homi_rw_count - one more is over
 * @ctx: the open file
 * @by: who did it
 * @write: or read
 * @ret: bytes or a negative errno
 */
void homi_rw_count(struct homi_ctx *ctx, enum homi_way by, bool write, long ret)
{
	if (ret < 0) {
		atomic64_inc(&ctx->io.by[by].errors);
		return;
	}
	atomic64_inc(&ctx->io.by[by].ios[write]);
	atomic64_add(ret, &ctx->io.by[by].bytes[write]);
}

int homi_rw_init(void)
{
	int ret;

	homi_io_cache = KMEM_CACHE(homi_io, SLAB_ACCOUNT);
	if (!homi_io_cache)
		return -ENOMEM;
	ret = homi_rw_extents_init();
	if (ret)
		kmem_cache_destroy(homi_io_cache);
	return ret;
}

void homi_rw_exit(void)
{
	homi_rw_extents_exit();
	kmem_cache_destroy(homi_io_cache);
}
