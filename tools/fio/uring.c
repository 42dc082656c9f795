// SPDX-License-Identifier: MIT
/*
 * Files: HOMI_READ and HOMI_WRITE, and beside them in the same ring what else is done to files.
 */
#include <errno.h>
#include <linux/falloc.h>
#include <string.h>

#include "engine.h"

int uring_start(struct thread_data *td, struct engine *e)
{
	struct io_uring_params p = { .flags = IORING_SETUP_SQE128 };
	int ret = io_uring_queue_init_params(td->o.iodepth, &e->ring, &p);

	if (ret)
		return engine_fails(td, ret, "io_uring with SQEs of 128 bytes, %u of them: %s",
				    td->o.iodepth, strerror(-ret));
	e->has_ring = true;
	return 0;
}

void uring_stop(struct engine *e)
{
	if (e->has_ring)
		io_uring_queue_exit(&e->ring);
	e->has_ring = false;
}

int uring_open(struct thread_data *td, struct engine *e, struct fio_file *f, struct target *t)
{
	uint32_t reason = 0;
	int ret = homi_file_register(&e->dev, f->fd, &t->file_id, &reason);

	if (!ret)
		return 0;
	return engine_fails(td, ret, "%s: %s%s", f->file_name,
			    reason ? homi_strreason(reason) : strerror(-ret),
			    reason == HOMI_REASON_FILE_TYPE ?
			    "; a namespace or partition wants homi_mode=raw" :
			    ret == -EDQUOT ? "; more files want a higher \"ulimit -n\"" : "");
}

static void prep_rw(struct engine *e, struct io_uring_sqe *sqe, const struct io_u *io_u,
		    uint64_t mem_offset)
{
	const struct target *t = FILE_ENG_DATA(io_u->file);
	struct homi_uring_rw rw;

	memset(&rw, 0, sizeof(rw));
	rw.file = (int32_t)t->file_id;
	rw.file_offset = io_u->offset;
	rw.mem_id = e->mem.id;
	rw.length = (uint32_t)io_u->xfer_buflen;
	rw.mem_offset = mem_offset;
	if (e->options->way == WAY_BY_FS)
		rw.flags = HOMI_RW_BY_FS;
	else if (e->options->way == WAY_BY_EXTENTS)
		rw.flags = HOMI_RW_BY_EXTENTS;
	homi_uring_prep_rw(sqe, &e->dev, io_u->ddir == DDIR_READ ? HOMI_READ : HOMI_WRITE, &rw);
}

enum fio_q_status uring_queue(struct thread_data *td, struct engine *e, struct io_u *io_u)
{
	struct fio_file *f = io_u->file;
	struct io_uring_sqe *sqe;
	uint64_t mem_offset = 0;

	if ((io_u->ddir == DDIR_READ || io_u->ddir == DDIR_WRITE) &&
	    (!engine_mem_offset(e, io_u, &mem_offset) || io_u->xfer_buflen > INT32_MAX)) {
		io_u->error = EINVAL;
		return FIO_Q_COMPLETED;
	}
	sqe = io_uring_get_sqe(&e->ring);
	if (!sqe)
		return FIO_Q_BUSY;
	switch (io_u->ddir) {
	case DDIR_READ:
	case DDIR_WRITE:
		prep_rw(e, sqe, io_u, mem_offset);
		break;
	case DDIR_TRIM:
		io_uring_prep_fallocate(sqe, f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					(off_t)io_u->offset, (off_t)io_u->xfer_buflen);
		break;
	case DDIR_SYNC:
		io_uring_prep_fsync(sqe, f->fd, 0);
		break;
	case DDIR_DATASYNC:
		io_uring_prep_fsync(sqe, f->fd, IORING_FSYNC_DATASYNC);
		break;
	default:
		/* The SQE was taken, so that it has to be one. */
		io_uring_prep_sync_file_range(sqe, f->fd,
					      (unsigned int)(f->last_write - f->first_write),
					      f->first_write, (int)td->o.sync_file_range);
	}
	io_uring_sqe_set_data(sqe, io_u);
	return FIO_Q_QUEUED;
}

/* What no room was for now goes with a later one. */
static bool is_transient(int ret)
{
	return ret == -EINTR || ret == -EAGAIN || ret == -EBUSY;
}

int uring_commit(struct engine *e)
{
	int ret = io_uring_submit(&e->ring);

	return ret < 0 && !is_transient(ret) ? ret : 0;
}

static struct io_u *take(const struct io_uring_cqe *cqe)
{
	struct io_u *io_u = io_uring_cqe_get_data(cqe);

	if (cqe->res < 0)
		io_u->error = (unsigned int)-cqe->res;
	else if (io_u->ddir == DDIR_READ || io_u->ddir == DDIR_WRITE)
		io_u->resid = io_u->xfer_buflen - (unsigned int)cqe->res;
	return io_u;
}

int uring_getevents(struct engine *e, unsigned int min, unsigned int max)
{
	struct io_uring_cqe *cqe;
	unsigned int n = 0;
	int ret;

	for (;;) {
		while (n < max && !io_uring_peek_cqe(&e->ring, &cqe)) {
			e->events[n++] = take(cqe);
			io_uring_cqe_seen(&e->ring, cqe);
		}
		if (n >= min)
			return (int)n;
		ret = io_uring_submit_and_wait(&e->ring, 1);
		if (ret < 0 && !is_transient(ret))
			return ret;
	}
}
