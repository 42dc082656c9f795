// SPDX-License-Identifier: MIT
/*
 * Namespaces and partitions, through a queue pair of the job's own. A controller reset takes it
 * away; it is made anew then, and what was in flight is sent again: of reads, writes, trims and
 * flushes that have not been reported one more does not matter.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "engine.h"

#define NS_PER_MS	1000000ull
#define LOOK_NS		(10 * NS_PER_MS)	/* between looks at the queue */
#define COMMAND_NS	(30000 * NS_PER_MS)	/* for one command */
#define RESET_NS	(90000 * NS_PER_MS)	/* for the controller to come back */
#define RETRY_NS	(20 * NS_PER_MS)
#define SPINS		2000u			/* polls before sleeping between them */
#define SLEEP_NS	50000

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static void nap(uint64_t ns)
{
	struct timespec ts = { .tv_nsec = (long)ns };

	nanosleep(&ts, NULL);
}

/* --- the queue --- */

/* EAGAIN: the controller resets, which ends. */
static int open_queue(struct engine *e)
{
	uint64_t end = now_ns() + RESET_NS;
	int ret;

	while ((ret = homi_queue_open(&e->dev, e->depth + 1, &e->queue)) == -EAGAIN) {
		if (now_ns() > end)
			return ret;
		nap(RETRY_NS);
	}
	e->has_queue = !ret;
	return ret;
}

static void close_queue(struct engine *e)
{
	if (e->has_queue)
		homi_queue_close(&e->dev, &e->queue);
	e->has_queue = false;
}

static int recreate_queue(struct engine *e)
{
	uint64_t end = now_ns() + RESET_NS;
	int ret;

	while ((ret = homi_queue_recreate(&e->dev, &e->queue)) == -EAGAIN) {
		if (now_ns() > end)
			return ret;
		nap(RETRY_NS);
	}
	/* Taken back by an administrator: another one would be against his will. */
	if (!ret || ret == -ESTALE)
		return ret;
	close_queue(e);
	return open_queue(e);
}

static void post(struct engine *e, unsigned int i)
{
	e->slots[i].posted_ns = now_ns();
	/* Fits: the queue has room for all slots. */
	homi_ring_post(&e->queue.ring, &e->slots[i].sqe, i);
}

static int recover(struct engine *e)
{
	int ret = recreate_queue(e);
	unsigned int i;

	if (ret)
		return ret;
	for (i = 0; i < e->depth; i++) {
		if (!e->slots[i].io_u)
			continue;
		post(e, i);
		e->resent++;
	}
	homi_ring_ring(&e->queue.ring);
	e->recoveries++;
	e->looked_ns = now_ns();
	e->overdue = 0;
	return 0;
}

/* --- start --- */

static int check_sizes(struct thread_data *td, const struct engine *e)
{
	const struct homi_ctrl_info *info = &e->dev.info;
	uint64_t page = info->out_page_size, most = page * (page / 16), bs;

	if (e->depth > info->out_max_depth - 1)
		return engine_fails(td, -EINVAL, "iodepth=%u: the controller takes %u at most",
				    e->depth, info->out_max_depth - 1);
	/* A PRP list is one page, of whose entries some stay unused. */
	if (info->out_max_transfer && info->out_max_transfer < most)
		most = info->out_max_transfer;
	bs = td->o.max_bs[DDIR_READ];
	if (td->o.max_bs[DDIR_WRITE] > bs)
		bs = td->o.max_bs[DDIR_WRITE];
	if (bs > most && (td_read(td) || td_write(td)))
		return engine_fails(td, -EINVAL, "bs=%llu: a command takes %llu bytes at most",
				    (unsigned long long)bs, (unsigned long long)most);
	return 0;
}

static uint64_t list_dma(const struct engine *e, unsigned int i)
{
	uint64_t at = (uint64_t)i * e->dev.info.out_page_size;
	uint32_t n = homi_seg_find(e->lists.segs, e->lists.seg_count, at);

	return e->lists.segs[n].dma_addr + (at - e->lists.segs[n].offset);
}

static void *list_of(const struct engine *e, unsigned int i)
{
	return (char *)e->lists.addr + (uint64_t)i * e->dev.info.out_page_size;
}

static int alloc_lists(struct thread_data *td, struct engine *e)
{
	uint32_t page = e->dev.info.out_page_size;
	int ret;

	/* Pages of the system's are in one piece for the controller, larger ones need not be. */
	if (page > sysconf(_SC_PAGESIZE))
		return engine_fails(td, -EOPNOTSUPP, "the controller's pages are %u bytes, larger than the system's",
				    page);
	ret = homi_mem_alloc(&e->dev, (uint64_t)e->depth * page, HOMI_MEM_WRITE, &e->lists);
	if (ret)
		return engine_fails(td, ret, "memory for %u commands: %s", e->depth, strerror(-ret));
	e->slots = calloc(e->depth, sizeof(*e->slots));
	return e->slots ? 0 : engine_fails(td, -ENOMEM, "out of memory");
}

int raw_start(struct thread_data *td, struct engine *e)
{
	int ret;

	e->depth = td->o.iodepth;
	if (check_sizes(td, e))
		return 1;
	ret = open_queue(e);
	if (ret)
		return engine_fails(td, ret, "a queue pair of depth %u: %s%s", e->depth + 1,
				    strerror(-ret), ret == -EPERM ?
				    "; it needs CAP_SYS_RAWIO, and homi_mode=uring nothing" :
				    ret == -ENOSPC ?
				    "; \"homi reserve\" has the nvme driver leave some" : "");
	return alloc_lists(td, e);
}

/* Before the job's memory is: no queue may be there that could still write to it. */
void raw_stop(struct engine *e)
{
	close_queue(e);
	if (e->recoveries)
		log_err("homi: the queue pair was lost and made anew %u times, and %llu commands sent again\n",
			 e->recoveries, (unsigned long long)e->resent);
	e->recoveries = 0;
	if (e->lists.length)
		homi_mem_release(&e->dev, &e->lists);
	free(e->slots);
	e->slots = NULL;
}

int raw_open(struct thread_data *td, struct engine *e, struct fio_file *f, struct target *t)
{
	if (place_find_blocks(td, e, f, t))
		return 1;
	if ((td_write(td) || td_trim(td)) && (t->ns.out_features & HOMI_NS_READ_ONLY))
		return engine_fails(td, -EROFS, "%s: the namespace is write protected",
				    f->file_name);
	return 0;
}

/* --- commands --- */

static int prep_rw(struct engine *e, const struct io_u *io_u, const struct target *t,
		   struct homi_sqe *sqe)
{
	uint32_t page = e->dev.info.out_page_size, block = t->ns.out_block_size;
	struct homi_prp_list list = {
		.entries = list_of(e, io_u->index), .dma_addr = list_dma(e, io_u->index),
		.count = page / 8,
	};
	uint64_t at, prp1, prp2;

	if (!engine_mem_offset(e, io_u, &at) || io_u->xfer_buflen / block > HOMI_RW_MAX_BLOCKS ||
	    homi_prp_build(e->mem.segs, e->mem.seg_count, at, io_u->xfer_buflen, page, &list,
			   &prp1, &prp2))
		return -EINVAL;
	homi_sqe_rw(sqe, io_u->ddir == DDIR_READ ? HOMI_OP_READ : HOMI_OP_WRITE, t->ns.out_nsid,
		    (t->start + io_u->offset) / block, (uint32_t)(io_u->xfer_buflen / block), 0,
		    prp1, prp2);
	return 0;
}

static int prep_trim(struct engine *e, const struct io_u *io_u, const struct target *t,
		     struct homi_sqe *sqe)
{
	struct homi_dsm_range *range = list_of(e, io_u->index);
	uint32_t block = t->ns.out_block_size;

	if (io_u->xfer_buflen / block > UINT32_MAX)
		return -EINVAL;
	range->cattr = 0;
	range->nlb = homi_cpu_to_le32((uint32_t)(io_u->xfer_buflen / block));
	range->slba = homi_cpu_to_le64((t->start + io_u->offset) / block);
	homi_sqe_dsm(sqe, t->ns.out_nsid, 1, HOMI_DSM_AD, list_dma(e, io_u->index), 0);
	return 0;
}

/* A partition ends where the next one begins, of which the controller knows nothing. */
static bool is_within(const struct target *t, const struct io_u *io_u)
{
	uint32_t block = t->ns.out_block_size;

	return io_u->xfer_buflen && !(io_u->offset % block) && !(io_u->xfer_buflen % block) &&
	       io_u->offset <= t->length && io_u->xfer_buflen <= t->length - io_u->offset;
}

static int prep(struct engine *e, const struct io_u *io_u, struct homi_sqe *sqe)
{
	const struct target *t = FILE_ENG_DATA(io_u->file);

	if (io_u->ddir == DDIR_SYNC || io_u->ddir == DDIR_DATASYNC) {
		homi_sqe_flush(sqe, t->ns.out_nsid);
		return 0;
	}
	if (!ddir_rw(io_u->ddir) || !is_within(t, io_u))
		return -EINVAL;
	return io_u->ddir == DDIR_TRIM ? prep_trim(e, io_u, t, sqe) : prep_rw(e, io_u, t, sqe);
}

enum fio_q_status raw_queue(struct engine *e, struct io_u *io_u)
{
	struct slot *slot = &e->slots[io_u->index];
	int ret = e->failed ? e->failed : prep(e, io_u, &slot->sqe);

	if (ret) {
		io_u->error = (unsigned int)-ret;
		return FIO_Q_COMPLETED;
	}
	slot->io_u = io_u;
	e->busy++;
	post(e, io_u->index);
	return FIO_Q_QUEUED;
}

int raw_commit(struct engine *e)
{
	if (!e->failed)
		homi_ring_ring(&e->queue.ring);
	return e->failed;
}

/* --- completions --- */

static unsigned int error_of(uint16_t status)
{
	switch (HOMI_STATUS_CODE(status)) {
	case HOMI_SC_INVALID_OPCODE:
		return EOPNOTSUPP;
	case HOMI_SC_UNRECOVERED_READ:
		return ENODATA;
	default:
		return EIO;
	}
}

/*
 * A command may complete with an error since its queue was deleted below it, which is no error
 * of the drive's: it is still to be sent.
 */
static bool is_lost(struct engine *e)
{
	if (!homi_queue_check(&e->dev, &e->queue))
		return false;
	e->looked_ns = 0;
	return true;
}

static int reap(struct engine *e, unsigned int n, unsigned int max)
{
	struct homi_completion done;
	struct target *t;
	struct io_u *io_u;
	int ret;

	while (n < max && (ret = homi_ring_poll(&e->queue.ring, &done)) != HOMI_RING_EMPTY) {
		if (ret == HOMI_RING_PROTOCOL || done.user >= e->depth)
			return -EPROTO;
		if (ret == HOMI_RING_STATUS && is_lost(e))
			break;
		io_u = e->slots[done.user].io_u;
		e->slots[done.user].io_u = NULL;
		e->busy--;
		if (ret == HOMI_RING_STATUS) {
			t = FILE_ENG_DATA(io_u->file);
			t->status = done.status;
			io_u->error = error_of(done.status);
		}
		e->events[n++] = io_u;
	}
	homi_ring_release(&e->queue.ring);
	return (int)n;
}

static bool any_overdue(const struct engine *e, uint64_t now)
{
	unsigned int i;

	for (i = 0; i < e->depth; i++)
		if (e->slots[i].io_u && now - e->slots[i].posted_ns > COMMAND_NS)
			return true;
	return false;
}

/*
 * A command is given up only if it was overdue at two looks with a poll between them: this
 * process may not have run for a long time.
 */
static int look(struct engine *e)
{
	uint64_t now = now_ns();
	int ret;

	if (now - e->looked_ns < LOOK_NS)
		return 0;
	ret = homi_queue_check(&e->dev, &e->queue);
	if (ret == -ESTALE)
		return recover(e);
	e->looked_ns = now;
	if (ret)
		return ret;
	if (!any_overdue(e, now))
		e->overdue = 0;
	else if (e->overdue++)
		return -ETIMEDOUT;
	return 0;
}

static int fail(struct thread_data *td, struct engine *e, int err)
{
	e->failed = err;
	engine_fails(td, err, "the queue pair is lost: %s%s", strerror(-err),
		     err == -ESTALE ? "; an administrator took it back" :
		     err == -EAGAIN ? "; the controller does not come back from a reset" :
		     err == -ENOSPC ? "; after a reset there was none to be had" :
		     err == -ETIMEDOUT ? "; a command did not complete" : "");
	return err;
}

int raw_getevents(struct thread_data *td, struct engine *e, unsigned int min, unsigned int max)
{
	unsigned int spins = 0;
	int n = 0, ret;

	if (e->failed)
		return e->failed;
	for (;;) {
		ret = reap(e, (unsigned int)n, max);
		if (ret < 0)
			return fail(td, e, ret);
		if (ret > n)
			spins = 0;
		n = ret;
		if ((unsigned int)n >= min && (n || !e->busy))
			return n;
		ret = look(e);
		if (ret)
			return fail(td, e, ret);
		if ((unsigned int)n >= min)
			return n;
		if (++spins < SPINS)
			homi_relax();
		else
			nap(SLEEP_NS);
	}
}
