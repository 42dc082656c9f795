// SPDX-License-Identifier: GPL-2.0-only
/*
 * The leases that keep an EXTENT true, their recall, and the fence.
 *
 * A lease (FL_LEASE) first: each writing open and truncate(2) has to break it,
 * and calls us first. For a holder that reads it is F_RDLCK, for one that writes
 * F_WRLCK, which each open breaks. Then a delegation (FL_DELEG, F_RDLCK), for
 * those who break nothing else: nfsd and overlayfs when they truncate, and an
 * open that is O_RDONLY | O_TRUNC. The delegation must not be there beside
 * somebody who has the file open for writing, not for a moment: his ftruncate()
 * does not wait for it, and fails. So the lease comes first, which is refused
 * then. On XFS a layout (FL_LAYOUT) besides: its owner may exchange a file's
 * blocks by a deduplication through a descriptor that is open for reading, which
 * breaks only that.
 * All are held on a private open file and owned by the object, so that nothing
 * that user space does with its own descriptor touches them. Long because a recall,
 * its answer and the fence have to be read together.
 */
#include <linux/cred.h>
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/security.h>
#include <linux/slab.h>

#include "extent.h"
#include "trace.h"

/* Tries, a millisecond apart, to take a lease that is refused with EAGAIN */
#define HOMI_LEASE_TRIES	20

/* A fence waits for the controller; so recalls have their own queue. */
static struct workqueue_struct *homi_recall_wq;
/* Of leases that are nobody's; and on 6.1 who drops one has to have the right to it. */
static const struct cred *homi_lease_cred;

/* On the queue of recalls */
void homi_recall_queue(struct delayed_work *work, unsigned long delay)
{
	queue_delayed_work(homi_recall_wq, work, delay);
}

/**
 * homi_extent_wanted - somebody wants the file of an EXTENT, or its blocks
 * @e: with leases, which are there as long as this runs: they go before the object's
 *	last reference does
 */
void homi_extent_wanted(struct homi_extent_obj *e)
{
	if (test_and_set_bit(0, &e->recalled))
		return;
	kref_get(&e->obj.ref);
	homi_recall_queue(&e->recall, 0);
}

/*
 * Called under flc_lock by whoever breaks the lease. No time-out of the VFS's:
 * the blocks stay until we let go, however long the controller takes.
 */
static bool homi_lease_break(struct file_lease *lease)
{
	struct homi_lease *mine = homi_lease_core(lease, owner);

	lease->fl_break_time = 0;
	lease->fl_downgrade_time = 0;
	homi_extent_wanted(mine->extent);
	return false;
}

/*
 * Anybody who has the file open for writing, but for the holder himself if he is
 * to write. Who has it open for reading is not looked for here, but in
 * homi_extent_lease(), when the lease is there. Called for each of our leases.
 */
static int __maybe_unused homi_lease_open_conflict(struct file *file, int arg)
{
	int own = !!(file->f_mode & FMODE_WRITE);

	return atomic_read(&file_inode(file)->i_writecount) > own ? -EAGAIN : 0;
}

static const struct lease_manager_operations homi_lease_ops = {
	HOMI_LEASE_OPEN_CONFLICT
	.lm_break = homi_lease_break,
	.lm_change = lease_modify,
};

/*
 * Who is to have an EXTENT has to have the right to a lease, and security modules
 * are asked about him, as by fcntl(). One of homi's own is nobody's.
 */
static int homi_lease_try(struct homi_lease *mine, unsigned int flags, int type)
{
	struct homi_extent_obj *e = mine->extent;
	struct file_lease *lease = locks_alloc_lease();
	const struct cred *cred = NULL;
	int ret = -EAGAIN;

	if (!lease)
		return -ENOMEM;
	homi_lease_core(lease, flags) = flags;
	homi_lease_core(lease, type) = type;
	homi_lease_core(lease, owner) = (fl_owner_t)mine;
	homi_lease_core(lease, pid) = task_tgid_nr(current);
	homi_lease_end(lease);
	lease->fl_lmops = &homi_lease_ops;
	if (e->internal)
		cred = override_creds(homi_lease_cred);
	mutex_lock(&e->lock);
	/* A recall may have ended what is not even resolved, or a removal. */
	if (e->gone) {
		ret = -ENODEV;
	} else if (e->file) {
		homi_lease_core(lease, file) = e->file;
		ret = e->internal ?
			kernel_setlease(e->file, type, &lease, NULL) :
			vfs_setlease(e->file, type, &lease, NULL);
		mine->held = !ret;
	}
	mutex_unlock(&e->lock);
	if (cred)
		revert_creds(cred);
	if (lease)
		locks_free_lease(lease);
	return ret;
}

/* By anybody who should not have it, us not counted. */
static bool homi_extent_is_open(const struct homi_extent_obj *e,
				const struct inode *inode)
{
	if (!e->write)
		return inode_is_open_for_write(inode);
	return atomic_read(&inode->i_writecount) != 1 ||
	       atomic_read(&inode->i_readcount);
}

/**
 * homi_extent_check_open - -EAGAIN if anybody has the file open who should not
 * @e: an EXTENT; if it is to be written to it has the file open itself
 * @inode: its file
 * @reason: out: enum homi_reason
 */
int homi_extent_check_open(const struct homi_extent_obj *e,
			   const struct inode *inode, u32 *reason)
{
	if (!homi_extent_is_open(e, inode))
		return 0;
	*reason = homi_extent_rival(e);
	return -EAGAIN;
}

/* Who waits for the last holder's answer goes first. */
static int homi_extent_yield(const struct homi_extent_obj *e,
			     const struct inode *inode, u32 *reason)
{
	int ret = homi_look_yield(e, inode);

	if (ret)
		*reason = homi_extent_rival(e);
	return ret;
}

/*
 * A delegation is refused also while the inode is locked, be it for a read: the
 * VFS does not wait for that lock, and does not tell this from a conflict.
 */
static int homi_lease_take(struct homi_lease *mine, struct inode *inode,
			   unsigned int flags, int type, u32 *reason)
{
	struct homi_extent_obj *e = mine->extent;
	int ret, try;

	for (try = 0; try < HOMI_LEASE_TRIES; try++) {
		/*
		 * Not worth waiting for; and as it takes a lease the VFS has
		 * nfsd close its files, which may write to them, under e->lock.
		 */
		if (!e->write && homi_extent_check_open(e, inode, reason))
			return -EAGAIN;
		if (homi_extent_yield(e, inode, reason))
			return -EAGAIN;
		ret = homi_lease_try(mine, flags, type);
		if (ret != -EAGAIN || test_bit(0, &e->recalled))
			break;
		/* Of somebody else's lease: he is to have it before us. */
		if (homi_look_waits(inode)) {
			homi_look_mind(inode, false);
			break;
		}
		if (fatal_signal_pending(current))
			return -EINTR;
		fsleep(1000);
	}
	/* Not his any more; or a security module's word */
	if (ret == -EACCES)
		return -EPERM;
	if (ret == -EINVAL) {
		*reason = HOMI_REASON_LEASES_OFF;
		return -EOPNOTSUPP;
	}
	/* A recall that came meanwhile has let go of the file already. */
	if (ret == -EAGAIN)
		*reason = test_bit(0, &e->recalled) ?
			  homi_extent_rival(e) : HOMI_REASON_LEASE;
	return ret;
}

/**
 * homi_extent_lease - take the leases that keep an EXTENT true
 * @e: opened by homi_extent_open()
 * @inode: its file
 * @reason: out: enum homi_reason
 */
int homi_extent_lease(struct homi_extent_obj *e, struct inode *inode,
		      u32 *reason)
{
	int ret;

	/*
	 * First: to write it is refused where there is any other, ours
	 * included; to read where somebody has the file open for writing.
	 */
	ret = homi_lease_take(&e->lease, inode, FL_LEASE,
			      e->write ? F_WRLCK : F_RDLCK, reason);
	if (!ret)
		ret = homi_lease_take(&e->deleg, inode, FL_DELEG, F_RDLCK,
				      reason);
	/*
	 * The lease before the count of who has it open: who opens it counts
	 * first and then looks for leases, so one of us sees the other. (The VFS
	 * looks too as it gives the lease, in 7.0 only for who writes.)
	 */
	smp_mb();
	if ((!ret || ret == -EAGAIN) &&
	    homi_extent_check_open(e, inode, reason))
		return -EAGAIN;
	if (ret || strcmp(inode->i_sb->s_type->name, "xfs"))
		return ret;
	return homi_lease_take(&e->layout, inode, FL_LAYOUT, F_RDLCK, reason);
}

static void homi_lease_drop(struct homi_lease *mine)
{
	void *owner = mine;

	lockdep_assert_held(&mine->extent->lock);
	if (mine->held)
		kernel_setlease(mine->extent->file, F_UNLCK, NULL, &owner);
	mine->held = false;
}

/**
 * homi_extent_let_go - drop the leases: whoever waits goes on
 * @e: its lock is held
 *
 * Return: the private file or NULL, for fput() without the lock
 */
struct file *homi_extent_let_go(struct homi_extent_obj *e)
{
	const struct cred *cred = override_creds(homi_lease_cred);
	struct file *file = e->file;
	bool marked = file && inode_is_open_for_write(file_inode(file));

	/* For who takes one in between, and then for who came in between. */
	homi_extent_mind(e, marked);
	homi_lease_drop(&e->layout);
	homi_lease_drop(&e->deleg);
	homi_lease_drop(&e->lease);
	homi_extent_mind(e, marked);
	e->file = NULL;
	revert_creds(cred);
	return file;
}

/**
 * homi_extent_file - the private file of an EXTENT, with a reference, or NULL
 * @e: with or without a table
 */
struct file *homi_extent_file(struct homi_extent_obj *e)
{
	struct file *file;

	mutex_lock(&e->lock);
	file = e->file ? get_file(e->file) : NULL;
	mutex_unlock(&e->lock);
	return file;
}

static void homi_table_set_state(struct homi_extent_table *table, u32 state)
{
	WRITE_ONCE(table->generation, table->generation + 1);
	/* A reader that sees the new state also sees the new generation. */
	smp_store_release(&table->state, state);
}

/* Counted and traced; what is internal homi gives back by itself, as if it had answered. */
static void homi_extent_note(struct homi_extent_obj *e, u32 state)
{
	struct homi_ctrl *ctrl = e->obj.ctx->ctrl;
	u64 us = 0;

	lockdep_assert_held(&e->lock);
	if (state == HOMI_EXTENT_RECALLED) {
		e->since = ktime_get();
		atomic64_inc(&ctrl->recalls);
	} else if (e->since) {
		us = ktime_us_delta(ktime_get(), e->since);
	}
	if (state == HOMI_EXTENT_REVOKED && e->internal) {
		/* Nobody wanted it: it goes with the controller, or the namespace. */
		if (!e->since)
			return;
		state = HOMI_EXTENT_ACKED;
	}
	if (state == HOMI_EXTENT_REVOKED)
		atomic64_inc(&ctrl->revoked);
	trace_homi_recall(ctrl, e->obj.id, state, us);
}

/**
 * homi_extent_set_state - tell all who look at it
 * @e: its lock is held
 * @state: enum homi_extent_state
 */
void homi_extent_set_state(struct homi_extent_obj *e, u32 state)
{
	struct homi_ctrl *ctrl = e->obj.ctx->ctrl;

	lockdep_assert_held(&e->lock);
	if (!e->table || e->table->state == state)
		return;
	homi_table_set_state(e->table, state);
	homi_extent_note(e, state);
	spin_lock(&ctrl->lock);
	homi_event_signal(ctrl, e->obj.event);
	if (e->set) {
		/* A reader that sees it also sees the new state. */
		smp_store_release(&e->set->table->changes,
				  e->set->table->changes + 1);
		homi_event_signal(ctrl, e->set->obj.event);
	}
	spin_unlock(&ctrl->lock);
	wake_up_all(&ctrl->wait);
}

/*
 * The holder did not answer, or writes: delete its queues. Only when none of
 * them can act any more, if need be after a reset, the other side goes on.
 */
static void homi_extent_fence(struct homi_extent_obj *e)
{
	struct homi_ctx *ctx = e->obj.ctx;
	struct file *file;

	homi_ctx_revoke_queues(ctx);
	wait_event_idle(ctx->ctrl->wait, !atomic_read(&ctx->dma_users));
	homi_extent_settle(e);
	mutex_lock(&e->lock);
	if (!e->acked)
		homi_extent_set_state(e, HOMI_EXTENT_REVOKED);
	file = homi_extent_let_go(e);
	mutex_unlock(&e->lock);
	homi_ctx_revoke_end(ctx);
	homi_extent_close(file);
}

/*
 * Runs twice: at once, and recall_ms later. No worker is held in between, so
 * that no number of silent holders delays the recall of another one.
 */
static void homi_extent_recall(struct work_struct *work)
{
	struct homi_extent_obj *e = container_of(to_delayed_work(work),
						 struct homi_extent_obj, recall);
	bool fence = false, drain = false;
	struct file *file = NULL;

	mutex_lock(&e->lock);
	if (e->gone) {
		/* Nobody is held up by it any more. */
	} else if (!e->ended && !e->table) {
		/* Nobody has it yet, so nobody can answer: RESOLVE fails. */
		file = homi_extent_let_go(e);
	} else if (e->internal) {
		drain = !e->ended;
		if (drain && e->table->state == HOMI_EXTENT_VALID)
			homi_extent_note(e, HOMI_EXTENT_RECALLED);
	} else if (!e->ended && !e->warned) {
		e->warned = true;
		atomic_inc(&e->obj.ctx->recalled);
		homi_extent_set_state(e, HOMI_EXTENT_RECALLED);
		/* This one's reference is needed up to its last unlock. */
		kref_get(&e->obj.ref);
		queue_delayed_work(homi_recall_wq, &e->recall,
				   msecs_to_jiffies(READ_ONCE(homi_recall_ms)));
	} else {
		fence = !e->ended && (!e->acked || e->write);
		e->fenced = fence;
	}
	mutex_unlock(&e->lock);
	homi_extent_close(file);
	if (fence)
		homi_extent_fence(e);
	if (drain)
		homi_extent_drain(e);
	homi_object_put(&e->obj);
}

/**
 * homi_extent_expire - an EXTENT is not true any more: fence its holder off
 * @e: has a table
 *
 * As if somebody had waited for recall_ms already.
 */
void homi_extent_expire(struct homi_extent_obj *e)
{
	bool first;

	lockdep_assert_held(&e->lock);
	if (e->ended || e->acked || e->fenced || e->gone)
		return;
	if (e->internal) {
		homi_inflight_close(&e->inflight);
	} else {
		if (!e->warned)
			atomic_inc(&e->obj.ctx->recalled);
		e->warned = true;
	}
	homi_extent_set_state(e, HOMI_EXTENT_REVOKED);
	first = !test_and_set_bit(0, &e->recalled);
	if (first)
		kref_get(&e->obj.ref);
	/* A recall that waits is hurried, one that runs looks itself. */
	if (first || cancel_delayed_work(&e->recall))
		queue_delayed_work(homi_recall_wq, &e->recall, 0);
}

/**
 * homi_extent_gone - no queue can act on the blocks of an EXTENT any more
 * @e: with or without a table; of a controller that is gone
 */
void homi_extent_gone(struct homi_extent_obj *e)
{
	struct file *file = NULL;

	homi_inflight_close(&e->inflight);
	mutex_lock(&e->lock);
	e->gone = true;
	if (!e->acked)
		homi_extent_set_state(e, HOMI_EXTENT_REVOKED);
	/* Not waiting for a file system that waits for what goes */
	if (!e->fenced && e->write && e->table && e->file)
		homi_touch_later(e, e->file);
	if (!e->fenced)
		file = homi_extent_let_go(e);
	mutex_unlock(&e->lock);
	if (file)
		fput(file);
}

/* Recalled, as the holder has seen, and not too late */
static int homi_extent_may_ack(const struct homi_extent_obj *e, u64 generation)
{
	lockdep_assert_held(&e->lock);
	/* It may be destroyed by somebody else meanwhile. */
	if (e->ended)
		return -ENOENT;
	if (e->fenced || e->table->state == HOMI_EXTENT_REVOKED)
		return -ESTALE;
	if (e->table->state != HOMI_EXTENT_RECALLED ||
	    e->table->generation != generation)
		return -EINVAL;
	return 0;
}

/**
 * homi_extent_ack - the holder has answered a recall
 * @e: published
 * @generation: of the table, as the holder saw it
 *
 * Return: 0, or what EXTENT_ACK fails with
 */
int homi_extent_ack(struct homi_extent_obj *e, u64 generation)
{
	struct homi_ctx *ctx = e->obj.ctx;
	struct file *file = NULL;
	bool cancelled = false;
	int ret = 0;

	mutex_lock(&e->lock);
	if (!e->acked)
		ret = homi_extent_may_ack(e, generation);
	if (!ret && !e->acked) {
		e->acked = true;
		/* Before anybody can change what it says */
		homi_table_set_state(e->table, HOMI_EXTENT_ACKED);
		homi_extent_note(e, HOMI_EXTENT_ACKED);
		atomic_dec(&ctx->recalled);
		if (!e->write)
			file = homi_extent_let_go(e);
		cancelled = cancel_delayed_work(&e->recall);
		/* That is not taken on trust: as after recall_ms, but now. */
		if (cancelled && e->write) {
			queue_delayed_work(homi_recall_wq, &e->recall, 0);
			cancelled = false;
		}
	}
	mutex_unlock(&e->lock);
	if (file)
		fput(file);
	if (cancelled)
		homi_object_put(&e->obj);
	return ret;
}

/**
 * homi_lease_prepare - make a new EXTENT ready to be leased, and to be ended
 * @e: zeroed
 * @write: whether it is to be written to
 */
int homi_lease_prepare(struct homi_extent_obj *e, bool write)
{
	mutex_init(&e->lock);
	e->write = write;
	e->lease.extent = e;
	e->deleg.extent = e;
	e->layout.extent = e;
	INIT_DELAYED_WORK(&e->recall, homi_extent_recall);
	INIT_LIST_HEAD(&e->look);
	if (!write)
		return 0;
	/* The end of it must not fail for want of memory. */
	e->touch = homi_touch_alloc();
	return e->touch ? 0 : -ENOMEM;
}

void homi_lease_free(struct homi_extent_obj *e)
{
	kfree(e->touch);
}

/*
 * O_NONBLOCK: somebody's lease is told to end, and not waited for. For writing
 * by the caller's own right; for reading he has it open already, and security
 * modules, some of which look at who runs, are asked for homi then.
 */
static struct file *homi_extent_dentry_open(struct homi_extent_obj *e,
					    const struct path *path)
{
	const struct cred *cred = e->write ? current_cred() : homi_lease_cred;
	const struct cred *old = override_creds(cred);
	struct file *mine;

	mine = dentry_open(path, (e->write ? O_RDWR : O_RDONLY) | O_LARGEFILE |
			   O_NONBLOCK, cred);
	revert_creds(old);
	return mine;
}

int homi_extent_open(struct homi_extent_obj *e, struct file *file, u32 *reason)
{
	struct file *mine;
	int ret = homi_extent_yield(e, file_inode(file), reason);

	if (ret)
		return ret;
	mine = homi_extent_dentry_open(e, &file->f_path);
	if (mine == ERR_PTR(-EAGAIN)) {
		*reason = HOMI_REASON_LEASE;
		return -EAGAIN;
	}
	/* It is being executed. */
	if (mine == ERR_PTR(-ETXTBSY)) {
		*reason = HOMI_REASON_OPEN;
		return -EAGAIN;
	}
	if (mine == ERR_PTR(-EACCES))
		return -EPERM;
	if (IS_ERR(mine))
		return PTR_ERR(mine);
	/* To read he has opened it by himself, and was asked then. */
	ret = e->write ? security_file_post_open(mine, MAY_OPEN | MAY_READ |
						       MAY_WRITE) : 0;
	if (ret) {
		fput(mine);
		return ret == -EACCES ? -EPERM : ret;
	}
	mutex_lock(&e->lock);
	e->file = mine;
	mutex_unlock(&e->lock);
	return 0;
}

/*
 * Does not wait for the worker, which may wait for the controller. Once it
 * fences, the leases are its own: a queue may still act on the old blocks. Of an
 * internal one what is on its way is waited for here.
 */
void homi_extent_end(struct homi_object *obj)
{
	struct homi_extent_obj *e = container_of(obj, struct homi_extent_obj,
						 obj);
	struct file *file = NULL;
	bool cancelled, fenced;

	if (e->internal)
		homi_extent_stop(e);
	mutex_lock(&e->lock);
	e->ended = true;
	fenced = e->fenced;
	if (e->warned && !e->acked) {
		atomic_dec(&obj->ctx->recalled);
		/* That is an answer too. */
		if (e->table && e->table->state == HOMI_EXTENT_RECALLED)
			homi_extent_note(e, HOMI_EXTENT_ACKED);
	}
	cancelled = cancel_delayed_work(&e->recall);
	mutex_unlock(&e->lock);
	homi_look_end(e);
	if (!fenced) {
		homi_extent_settle(e);
		mutex_lock(&e->lock);
		file = homi_extent_let_go(e);
		mutex_unlock(&e->lock);
	}
	if (file)
		fput(file);
	if (cancelled)
		homi_object_put(obj);
}

int homi_lease_init(void)
{
	homi_lease_cred = prepare_kernel_cred(&init_task);
	if (!homi_lease_cred)
		return -ENOMEM;
	homi_recall_wq = alloc_workqueue("homi_recall", WQ_UNBOUND | WQ_MEM_RECLAIM,
					 0);
	homi_look_init();
	if (homi_recall_wq && !homi_touch_init())
		return 0;
	if (homi_recall_wq)
		destroy_workqueue(homi_recall_wq);
	put_cred(homi_lease_cred);
	return -ENOMEM;
}

void homi_lease_exit(void)
{
	homi_look_exit();
	/* A fence may leave a touch. */
	destroy_workqueue(homi_recall_wq);
	homi_touch_exit();
	put_cred(homi_lease_cred);
}
