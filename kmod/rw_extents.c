// SPDX-License-Identifier: GPL-2.0-only
/*
 * READ and WRITE of files to and from memory that need not have pages, a GPU's BAR
 * say: by where the file lies, with commands on stock's own queue. An internal EXTENT
 * keeps that true, or a pin (rw_pin.c) if nobody can have a lease of the file.
 *
 * Each has entered the EXTENT, which somebody may want back, or holds the pin, and has
 * entered the controller, until its last command is over, in whatever context that is;
 * and each command, or writing of zeroes, the MEM, which its exporter may want back. So none
 * waits for the process that wanted it, nor, once it is in, for memory that this is
 * short of, and the exporter, for whom memory may be waiting, for nothing but the
 * controller, to the end of a reset if there is one, since stock holds commands back
 * until then.
 *
 * Long because who enters and who leaves have to be read together.
 */
#include <linux/blk-mq.h>
#include <linux/completion.h>
#include <linux/dmapool.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/fsnotify.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "extent.h"
#include "mem.h"
#include "rw.h"
#include "rw_pin.h"
#include "trace.h"

/*
 * Stock repeats a command that a reset took away, some times; this often that is
 * asked for again, so that who resets again and again is not seen either.
 */
#define HOMI_PART_TRIES		20
/* Between two looks for a free request */
#define HOMI_AGAIN_MS		20
/* Zeroes that are written before anybody who wants something back is heard again */
#define HOMI_ZERO_STEP		SZ_2M
/* For what there is another way without */
#define HOMI_PART_GFP		(GFP_NOWAIT | __GFP_NOWARN)

struct homi_direct;

/**
 * struct homi_part - one command
 * @io: must be first
 * @direct: the READ that it is of
 * @offset: of its first byte, from the start of the READ
 * @length: bytes
 * @tries: how often it was handed to stock
 * @list: its PRP list, or NULL
 * @is_short: as homi_list_is_short() says
 * @list_dma: its address
 * @work: hands it to stock once more
 */
struct homi_part {
	struct homi_nvme_io io;
	struct homi_direct *direct;
	u32 offset;
	u32 length;
	u32 tries;
	__le64 *list;
	bool is_short;
	dma_addr_t list_dma;
	struct delayed_work work;
};

/**
 * struct homi_direct - a READ or WRITE on its way
 * @cmd: what io_uring waits for
 * @named: what it names
 * @map: entered, and with a reference; this READ's own if there is no FILE; NULL if
 *	there is a @pin
 * @pin: held, or left; NULL if there is a @map
 * @table: of the one or the other
 * @ns: likewise
 * @queue: likewise
 * @write: or read
 * @offset: in the file
 * @mem_offset: in @mem
 * @length: bytes, not beyond the end of the file; 0 after an error from the start on
 * @blocks: bytes, whole blocks
 * @left: commands that are on their way, and one for who begins them
 * @idle: who begins them waits for those that are on their way; or NULL
 * @lock: guards @bad and @error
 * @bad: where the first error was, from the start of the READ; @blocks for none
 * @error: which
 * @work: what comes after the last command and may sleep
 * @first: most need no other
 */
struct homi_direct {
	struct io_uring_cmd *cmd;
	struct homi_named named;
	struct homi_extent_obj *map;
	struct homi_pin *pin;
	const struct homi_extent_table *table;
	const struct homi_nvme_ns *ns;
	struct request_queue *queue;
	bool write;
	u64 offset;
	u64 mem_offset;
	u32 length;
	u32 blocks;
	atomic_t left;
	struct completion *idle;
	spinlock_t lock;	/* see above */
	u32 bad;
	int error;
	struct work_struct work;
	struct homi_part first;
};

struct homi_direct_pdu {
	struct homi_direct *direct;
};

static struct kmem_cache *homi_direct_cache;
static struct kmem_cache *homi_part_cache;
/* What it does waits for nobody: one controller's is not behind another one's. */
static struct workqueue_struct *homi_direct_wq;

static struct homi_ctrl *homi_direct_ctrl(const struct homi_direct *d)
{
	return d->named.mem->obj.ctx->ctrl;
}

/* --- the end --- */

/* In any context */
static void homi_direct_fail(struct homi_direct *d, u32 offset, int error)
{
	unsigned long flags;

	spin_lock_irqsave(&d->lock, flags);
	if (offset < d->bad) {
		d->bad = offset;
		d->error = error;
	}
	spin_unlock_irqrestore(&d->lock, flags);
}

/* The file's blocks */
static void homi_direct_let_go(struct homi_direct *d)
{
	if (d->map)
		homi_extent_leave(d->map);
	else
		homi_pin_leave(d->pin);
}

/* The function is needed for nothing more. */
static void homi_direct_leave_ctrl(struct homi_direct *d)
{
	struct homi_ctrl *ctrl = homi_direct_ctrl(d);

	homi_inflight_leave(&ctrl->inflight, &ctrl->wait);
}

static void homi_direct_leave(struct homi_direct *d)
{
	/* Whoever waits for commands does not wait for a file system, too. */
	homi_direct_leave_ctrl(d);
	homi_direct_let_go(d);
}

static void homi_direct_queue(struct homi_direct *d, enum homi_work which)
{
	queue_work(homi_direct_ctrl(d)->works[which], &d->work);
}

/* A WRITE has left; @done: bytes that were written */
static void homi_direct_end_write(struct homi_direct *d, u32 done)
{
	int ret = homi_pin_end_write(d->pin, done);

	if (ret)
		homi_direct_fail(d, 0, ret);
}

/* Of a file that was named by a descriptor it is this READ's own. */
static void homi_direct_put_map(struct homi_direct *d)
{
	homi_pin_free(d->pin);
	if (!d->map)
		return;
	if (!d->named.file)
		homi_object_abort(&d->map->obj);
	homi_object_put(&d->map->obj);
}

/* What has entered nothing, or has left it */
static void homi_direct_drop(struct homi_direct *d)
{
	homi_rw_put(&d->named);
	kmem_cache_free(homi_direct_cache, d);
}

/* After it has left */
static void homi_direct_free(struct homi_direct *d)
{
	homi_direct_put_map(d);
	homi_direct_drop(d);
}

static long homi_direct_result(struct homi_direct *d)
{
	long ret = min(d->bad, d->length);

	if (!ret && d->error)
		ret = d->error;
	homi_rw_count(d->named.mem->obj.ctx, HOMI_BY_EXTENTS, d->write, ret);
	trace_homi_rw_complete(&d->named, d, HOMI_BY_EXTENTS, d->write, d->offset,
			       d->length, ret);
	if (ret > 0 && d->write) {
		fsnotify_modify(d->named.of);
	} else if (ret > 0) {
		file_accessed(d->named.of);
		fsnotify_access(d->named.of);
	}
	return ret;
}

static void homi_direct_finish(struct io_uring_cmd *cmd,
			       unsigned int issue_flags)
{
	struct homi_direct *d = ((struct homi_direct_pdu *)cmd->pdu)->direct;
	long ret = homi_direct_result(d);

	homi_direct_free(d);
	homi_uring_end(cmd, ret, issue_flags);
}

HOMI_URING_TASK_WORK(homi_direct_task_work, homi_direct_finish)

/*
 * What the last block has behind the end of the file is not data of it. (As with
 * direct I/O of file systems, who looks while the READ is under way may see it.)
 */
static void homi_direct_cut(struct homi_direct *d)
{
	int ret;

	if (d->length == d->blocks)
		return;
	ret = homi_mem_zero(d->named.mem, d->mem_offset + d->length,
			    d->blocks - d->length);
	if (ret)
		homi_direct_fail(d, 0, ret);
}

static void homi_direct_work(struct work_struct *work)
{
	struct homi_direct *d = container_of(work, struct homi_direct, work);

	homi_direct_cut(d);
	homi_direct_leave(d);
	io_uring_cmd_complete_in_task(d->cmd, homi_direct_task_work);
}

/* Waits for a file system, and nobody waits for this but who asked for it. */
static void homi_durable_work(struct work_struct *work)
{
	struct homi_direct *d = container_of(work, struct homi_direct, work);

	homi_direct_end_write(d, min(d->bad, d->length));
	io_uring_cmd_complete_in_task(d->cmd, homi_direct_task_work);
}

static void homi_written_work(struct work_struct *work)
{
	struct homi_direct *d = container_of(work, struct homi_direct, work);

	homi_direct_let_go(d);
	if (homi_pin_is_durable(d->pin)) {
		INIT_WORK(&d->work, homi_durable_work);
		homi_direct_queue(d, HOMI_WORK_DURABLE);
		return;
	}
	homi_direct_end_write(d, 0);
	io_uring_cmd_complete_in_task(d->cmd, homi_direct_task_work);
}

/* All of its commands are over; in any context. */
static void homi_direct_over(struct homi_direct *d)
{
	if (d->idle) {
		complete(d->idle);
		return;
	}
	if (d->write) {
		/* Whoever takes the drive away does not wait for locked pages. */
		homi_direct_leave_ctrl(d);
		homi_direct_queue(d, HOMI_WORK_WRITTEN);
		return;
	}
	if (d->length != d->blocks) {
		queue_work(homi_direct_wq, &d->work);
		return;
	}
	homi_direct_leave(d);
	io_uring_cmd_complete_in_task(d->cmd, homi_direct_task_work);
}

/* What a bio would say */
static int homi_part_error(u16 status)
{
	switch (status) {
	case NVME_SC_SUCCESS:
		return 0;
	case NVME_SC_CAP_EXCEEDED:
		return -ENOSPC;
	case NVME_SC_WRITE_FAULT:
	case NVME_SC_READ_ERROR:
	case NVME_SC_ACCESS_DENIED:
	case NVME_SC_UNWRITTEN_BLOCK:
		return -ENODATA;
	default:
		return -EIO;
	}
}

static struct dma_pool *homi_part_pool(const struct homi_part *part)
{
	return homi_direct_ctrl(part->direct)->lists[part->is_short];
}

static void homi_part_free(struct homi_part *part)
{
	struct homi_direct *d = part->direct;

	if (part->list)
		dma_pool_free(homi_part_pool(part), part->list, part->list_dma);
	if (part != &d->first)
		kmem_cache_free(homi_part_cache, part);
}

static void homi_part_over(struct homi_part *part, int error)
{
	struct homi_direct *d = part->direct;

	if (error)
		homi_direct_fail(d, part->offset, error);
	homi_part_free(part);
	if (atomic_dec_and_test(&d->left))
		homi_direct_over(d);
}

/* Somebody wants the file: no command is to be begun any more. */
static bool homi_direct_is_recalled(struct homi_direct *d)
{
	return d->map && homi_inflight_closed(&d->map->inflight);
}

static void homi_part_work(struct work_struct *work)
{
	struct homi_part *part = container_of(to_delayed_work(work),
					      struct homi_part, work);
	struct homi_direct *d = part->direct;
	struct homi_ctrl *ctrl = homi_direct_ctrl(d);
	int ret;

	if (homi_ctrl_is_gone(ctrl))
		ret = -ENODEV;
	else if (homi_direct_is_recalled(d))
		ret = -EAGAIN;
	else
		ret = ctrl->ops->io(d->queue, &part->io, false);
	/* There is no request just now; or somebody waits for the file. */
	if (ret == -EAGAIN && !homi_direct_is_recalled(d))
		queue_delayed_work(homi_direct_wq, &part->work,
				   msecs_to_jiffies(HOMI_AGAIN_MS));
	else if (ret)
		homi_part_over(part, ret);
}

/* In any context */
static void homi_part_done(struct homi_nvme_io *io, u16 status)
{
	struct homi_part *part = container_of(io, struct homi_part, io);

	homi_mem_leave(part->direct->named.mem);
	if ((status == NVME_SC_HOST_PATH_ERROR ||
	     status == NVME_SC_HOST_ABORTED_CMD) &&
	    ++part->tries < HOMI_PART_TRIES)
		queue_delayed_work(homi_direct_wq, &part->work,
				   msecs_to_jiffies(HOMI_AGAIN_MS));
	else
		homi_part_over(part, homi_part_error(status));
}

/* --- the beginning --- */

/* What one command can have of @len bytes that go to @dma. */
static u32 homi_part_length(struct homi_direct *d, dma_addr_t dma, u64 len)
{
	struct homi_ctrl *ctrl = homi_direct_ctrl(d);
	u32 page = ctrl->page_size, block = d->ns->block_size;
	/* As many pages as fit in a list, the first of them not whole */
	u64 most = (u64)page / sizeof(__le64) * page - (dma & (page - 1));

	if (ctrl->max_transfer)
		most = min(most, ctrl->max_transfer);
	most = min_t(u64, most, (u64)block << 16);
	return min(len, round_down(most, block));
}

/*
 * PRP1 and PRP2, or a list; NVM Express Base Specification, "Physical Region Page
 * Entry and List". Only the first may begin within a page, and homi_mem_list() has
 * seen to it that this can be had.
 */
static void homi_part_prps(struct homi_part *part)
{
	struct homi_direct *d = part->direct;
	u64 offset = d->mem_offset + part->offset;
	const struct homi_segment *seg = homi_mem_segment(d->named.mem, offset);
	struct nvme_rw_command *rw = &part->io.cmd.rw;
	u64 addr = seg->dma_addr + (offset - seg->offset);
	u32 page = homi_direct_ctrl(d)->page_size;
	u32 n = min_t(u32, part->length, page - (addr & (page - 1)));
	u32 len = part->length - n, i = 0;

	rw->dptr.prp1 = cpu_to_le64(addr);
	rw->dptr.prp2 = cpu_to_le64(part->list ? part->list_dma : 0);
	for (; len; len -= n) {
		offset += n;
		if (offset >= seg->offset + seg->length)
			seg++;
		addr = seg->dma_addr + (offset - seg->offset);
		n = min(len, page);
		if (part->list)
			part->list[i++] = cpu_to_le64(addr);
		else
			rw->dptr.prp2 = cpu_to_le64(addr);
	}
}

/* One descriptor; NVM Express Base Specification, "SGL Data Block descriptor" */
static void homi_part_sgl(struct homi_part *part)
{
	struct homi_direct *d = part->direct;
	struct nvme_sgl_desc *sgl = &part->io.cmd.rw.dptr.sgl;

	sgl->addr = cpu_to_le64(homi_mem_dma(d->named.mem,
					     d->mem_offset + part->offset));
	sgl->length = cpu_to_le32(part->length);
	sgl->type = NVME_SGL_FMT_DATA_DESC << 4;
}

/* Stock has a request for it: from here to the end of the command it uses the MEM. */
static int homi_part_ready(struct homi_nvme_io *io)
{
	struct homi_part *part = container_of(io, struct homi_part, io);
	int ret = homi_mem_enter(part->direct->named.mem);

	if (ret)
		return ret;
	if (io->sgl)
		homi_part_sgl(part);
	else
		homi_part_prps(part);
	return 0;
}

/*
 * Some drives (stock's NVME_QUIRK_DMAPOOL_ALIGN_512) take a last entry that ends where a
 * page ends for a pointer to another list, which only one with more entries would have.
 * So no list fills what is allocated for it, which may be the end of a page: short ones
 * have room for one entry less, and in a page there is one left, since the first page of
 * a command is in PRP1.
 */
static bool homi_list_is_short(u32 entries)
{
	return entries * sizeof(__le64) < HOMI_SHORT_LIST;
}

/*
 * More pages than the first one and PRP2 want one, unless they are one piece for the
 * controller.
 */
static bool homi_part_wants_list(struct homi_part *part, dma_addr_t dma)
{
	struct homi_direct *d = part->direct;
	struct homi_ctrl *ctrl = homi_direct_ctrl(d);
	u32 page = ctrl->page_size;
	u32 pages = DIV_ROUND_UP((dma & (page - 1)) + part->length, page);
	u64 addr;

	if (pages <= 2)
		return false;
	part->io.sgl = ctrl->takes_sgl &&
		       !homi_mem_find(d->named.mem, d->mem_offset + part->offset,
				      part->length, &addr);
	part->is_short = homi_list_is_short(pages - 1);
	return !part->io.sgl;
}

/* Is it still to go on, where it is long? */
static int homi_direct_may_go_on(struct homi_direct *d)
{
	if (homi_direct_is_recalled(d))
		return -EAGAIN;
	if (homi_inflight_closed(&homi_direct_ctrl(d)->inflight))
		return -ENODEV;
	return fatal_signal_pending(current) ? -EINTR : 0;
}

/* No command of it is on its way when this returns; by who begins them. */
static void homi_direct_drain(struct homi_direct *d)
{
	DECLARE_COMPLETION_ONSTACK(idle);

	d->idle = &idle;
	if (!atomic_dec_and_test(&d->left))
		wait_for_completion_io(&idle);
	d->idle = NULL;
	atomic_set(&d->left, 1);
}

/*
 * Whoever wants the file, or the controller, waits for what has entered, so that does
 * not wait for memory, of which the caller's cgroup may have none left. Where there is
 * none the commands that are on their way are waited for, and then @first is free.
 */
static struct homi_part *homi_part_new(struct homi_direct *d)
{
	struct homi_part *part = &d->first;
	int ret;

	if (!part->direct)
		return part;
	part = kmem_cache_alloc(homi_part_cache, HOMI_PART_GFP);
	if (part)
		return part;
	homi_direct_drain(d);
	ret = homi_direct_may_go_on(d);
	return ret ? ERR_PTR(ret) : &d->first;
}

/*
 * Likewise: where there is no memory for a list it is as much as needs none. Only of
 * blocks larger than a page there may be nothing as short as that.
 */
static int homi_part_get_list(struct homi_part *part, dma_addr_t dma,
			      bool may_wait)
{
	struct homi_direct *d = part->direct;
	u32 page = homi_direct_ctrl(d)->page_size, block = d->ns->block_size;
	bool must = may_wait && block > page;

	part->list = dma_pool_alloc(homi_part_pool(part),
				    must ? GFP_KERNEL : HOMI_PART_GFP,
				    &part->list_dma);
	if (part->list)
		return 0;
	if (must)
		return -ENOMEM;
	if (!may_wait)
		return -EAGAIN;
	part->length = round_down(2 * page - (dma & (page - 1)), block);
	return 0;
}

/* Of up to @len bytes, or an error */
static struct homi_part *homi_part_alloc(struct homi_direct *d, u32 offset,
					 u64 len, bool may_wait)
{
	dma_addr_t dma = homi_mem_dma(d->named.mem, d->mem_offset + offset);
	struct homi_part *part = homi_part_new(d);
	int ret;

	if (IS_ERR(part))
		return part;
	memset(part, 0, sizeof(*part));
	part->direct = d;
	part->offset = offset;
	part->length = homi_part_length(d, dma, len);
	part->io.block_size = d->ns->block_size;
	part->io.metadata_size = d->ns->metadata_size;
	part->io.ready = homi_part_ready;
	part->io.done = homi_part_done;
	INIT_DELAYED_WORK(&part->work, homi_part_work);
	if (!homi_part_wants_list(part, dma))
		return part;
	ret = homi_part_get_list(part, dma, may_wait);
	if (!ret)
		return part;
	homi_part_free(part);
	return ERR_PTR(ret);
}

/* One command, of up to @len bytes; returns how many, or an error. */
static int homi_part_begin(struct homi_direct *d, u32 offset, u64 slba, u64 len,
			   bool may_wait)
{
	struct homi_part *part = homi_part_alloc(d, offset, len, may_wait);
	struct nvme_rw_command *rw;
	u32 part_len;
	int ret;

	if (IS_ERR(part))
		return PTR_ERR(part);
	part_len = part->length;
	rw = &part->io.cmd.rw;
	rw->opcode = d->write ? nvme_cmd_write : nvme_cmd_read;
	rw->nsid = cpu_to_le32(d->ns->nsid);
	rw->slba = cpu_to_le64(slba);
	rw->length = cpu_to_le16(part_len / part->io.block_size - 1);
	/* Before it may be over */
	atomic_inc(&d->left);
	ret = homi_direct_ctrl(d)->ops->io(d->queue, &part->io, may_wait);
	if (!ret)
		return part_len;
	homi_part_free(part);
	atomic_dec(&d->left);
	return ret;
}

/* The record with a byte of the file; there is one. */
static const struct homi_extent *homi_direct_record(struct homi_direct *d,
						    u64 offset)
{
	const struct homi_extent_table *table = d->table;
	u64 low = 0, high = table->count;

	while (high - low > 1) {
		u64 middle = low + (high - low) / 2;

		if (table->records[middle].file_offset <= offset)
			low = middle;
		else
			high = middle;
	}
	return &table->records[low];
}

/* The next piece from @offset of the READ on: how long it was, or an error */
static int homi_direct_piece(struct homi_direct *d, u32 offset, bool may_wait)
{
	const struct homi_extent *r = homi_direct_record(d, d->offset + offset);
	u32 block = d->ns->block_size;
	u64 within = d->offset + offset - r->file_offset;
	u64 len = min_t(u64, r->blocks * block - within, d->blocks - offset);
	int ret;

	if (!(r->flags & HOMI_EXTENT_HOLE))
		return homi_part_begin(d, offset, r->slba + within / block, len,
				       may_wait);
	len = min_t(u64, len, HOMI_ZERO_STEP);
	ret = homi_mem_zero(d->named.mem, d->mem_offset + offset, len);
	return ret ? ret : len;
}

/* Can it be begun without waiting, and as a whole, or not? */
static bool homi_direct_is_short(struct homi_direct *d)
{
	const struct homi_extent *r = homi_direct_record(d, d->offset);
	dma_addr_t dma = homi_mem_dma(d->named.mem, d->mem_offset);
	u64 within = d->offset - r->file_offset;

	return !(r->flags & HOMI_EXTENT_HOLE) &&
	       d->blocks <= r->blocks * d->ns->block_size - within &&
	       d->blocks == homi_part_length(d, dma, d->blocks);
}

/* None of it is under way, and for who is asked again where one may wait it never was. */
static int homi_direct_refuse(struct homi_direct *d, int ret, bool may_wait)
{
	if (ret != -EAGAIN || may_wait)
		homi_rw_count(d->named.mem->obj.ctx, HOMI_BY_EXTENTS, d->write,
			      ret);
	trace_homi_rw_complete(&d->named, d, HOMI_BY_EXTENTS, d->write, d->offset,
			       d->length, ret);
	return ret;
}

/* Consumes @d, unless its first command can't be made. */
static int homi_direct_run(struct homi_direct *d, bool may_wait)
{
	u32 offset;
	int ret;

	if (!may_wait && !homi_direct_is_short(d))
		return -EAGAIN;
	trace_homi_rw_submit(&d->named, d, HOMI_BY_EXTENTS, d->write, d->offset,
			     d->length, 0);
	for (offset = 0; offset < d->blocks; offset += ret) {
		ret = offset ? homi_direct_may_go_on(d) : 0;
		if (!ret)
			ret = homi_direct_piece(d, offset, may_wait);
		if (ret < 0 && !offset)
			return homi_direct_refuse(d, ret, may_wait);
		if (ret < 0) {
			homi_direct_fail(d, offset, ret);
			break;
		}
		cond_resched();
	}
	if (atomic_dec_and_test(&d->left))
		homi_direct_over(d);
	return -EIOCBQUEUED;
}

/* As direct I/O has it: whole blocks, and addresses that a PRP can hold */
static int homi_direct_range(struct homi_direct *d,
			     const struct homi_uring_rw *rw)
{
	const struct homi_extent_table *table = d->table;
	u32 length = d->pin ? d->pin->length : rw->length;
	u64 most = homi_direct_ctrl(d)->max_transfer;
	u32 mask = table->block_size - 1;

	if (most && most < table->block_size)
		return -EOPNOTSUPP;
	if ((rw->file_offset | rw->length) & mask)
		return -EINVAL;
	d->offset = rw->file_offset;
	d->mem_offset = rw->mem_offset;
	d->length = 0;
	if (d->offset < table->file_size)
		d->length = min_t(u64, length, table->file_size - d->offset);
	d->blocks = (d->length + mask) & ~mask;
	/* The rest of the last block can't be taken away where nobody knows how. */
	return d->length == d->blocks || homi_mem_may_zero(d->named.mem) ? 0 :
								     -EOPNOTSUPP;
}

/* The place of its file, entered; see homi_file_map(). */
static struct homi_extent_obj *homi_direct_map(struct homi_direct *d,
					       bool may_wait)
{
	struct homi_extent_obj *map;

	if (d->named.file)
		return homi_file_map(d->named.file, may_wait);
	map = homi_extent_internal(d->named.mem->obj.ctx, d->named.of);
	if (IS_ERR(map) || homi_inflight_enter(&map->inflight))
		return map;
	/* Somebody wants it already. */
	homi_extent_drop(map);
	return ERR_PTR(-EAGAIN);
}

static int homi_direct_take_map(struct homi_direct *d, bool may_wait)
{
	struct homi_extent_obj *map;

	/*
	 * It has become so by a descriptor that is open for reading, which breaks no lease:
	 * the blocks stay what they were, but who reads them does not verify them.
	 */
	if (IS_VERITY(file_inode(d->named.of)))
		return -EOPNOTSUPP;
	map = homi_direct_map(d, may_wait);
	if (IS_ERR(map))
		return PTR_ERR(map);
	d->map = map;
	d->table = map->table;
	d->ns = &map->ns;
	d->queue = map->queue;
	return 0;
}

static int homi_direct_take_pin(struct homi_direct *d,
				const struct homi_uring_rw *rw, bool may_wait)
{
	struct homi_pin *pin;

	if (!may_wait)
		return -EAGAIN;
	pin = homi_pin_get(d->named.mem->obj.ctx, d->named.of, rw, d->write);
	if (IS_ERR(pin))
		return PTR_ERR(pin);
	d->pin = pin;
	d->table = pin->table;
	d->ns = &pin->ns;
	d->queue = pin->queue;
	return 0;
}

/*
 * By a lease, which most that is read has; else what is asked for this range only, also
 * where the caller has too many leases.
 */
static int homi_direct_where(struct homi_direct *d,
			     const struct homi_uring_rw *rw, bool may_wait)
{
	int ret = -EAGAIN, pinned;

	if (!d->write && !inode_is_open_for_write(file_inode(d->named.of)))
		ret = homi_direct_take_map(d, may_wait);
	if (ret != -EAGAIN && ret != -EDQUOT)
		return ret;
	pinned = homi_direct_take_pin(d, rw, may_wait);
	return pinned == -EAGAIN && may_wait ? ret : pinned;
}

/*
 * All that it is to leave, or nothing. The controller is entered last: who removes it
 * waits for commands, but not for a file system that is frozen.
 */
static int homi_direct_enter(struct homi_direct *d,
			     const struct homi_uring_rw *rw, bool may_wait)
{
	int ret = homi_direct_where(d, rw, may_wait);

	if (ret || homi_inflight_enter(&homi_direct_ctrl(d)->inflight))
		return ret;
	homi_direct_let_go(d);
	if (d->write)
		homi_direct_end_write(d, 0);
	homi_direct_put_map(d);
	return -ENODEV;
}

/* So that nobody asks where a file lies for what can't be done */
static int homi_direct_check_mem(struct homi_mem *mem)
{
	int ret = homi_mem_enter(mem);

	if (!ret)
		homi_mem_leave(mem);
	return ret;
}

static int homi_direct_check(struct file *file, const struct homi_uring_rw *rw,
			     bool write)
{
	loff_t pos = rw->file_offset;

	if (!(file->f_mode & (write ? FMODE_WRITE : FMODE_READ)))
		return -EBADF;
	if (rw->mem_offset & 3)
		return -EINVAL;
	return rw_verify_area(write ? WRITE : READ, file, &pos, rw->length);
}

static struct homi_direct *homi_direct_new(const struct homi_named *named,
					   struct io_uring_cmd *cmd, bool write)
{
	struct homi_direct *d = kmem_cache_zalloc(homi_direct_cache,
						  GFP_KERNEL_ACCOUNT);

	if (!d)
		return NULL;
	d->cmd = cmd;
	d->named = *named;
	d->write = write;
	atomic_set(&d->left, 1);
	spin_lock_init(&d->lock);
	INIT_WORK(&d->work, write ? homi_written_work : homi_direct_work);
	return d;
}

static bool homi_direct_is_empty(const struct homi_direct *d)
{
	return !d->write && !i_size_read(file_inode(d->named.of));
}

/* Its file is not empty, and there may be something to read. */
static int homi_direct_begin(struct homi_direct *d,
			     const struct homi_uring_rw *rw, bool may_wait,
			     struct homi_toll *toll)
{
	int ret = homi_direct_enter(d, rw, may_wait);

	if (ret) {
		/* Emptied just now */
		if (ret == -EAGAIN && homi_direct_is_empty(d))
			ret = 0;
		homi_direct_drop(d);
		return ret;
	}
	ret = homi_direct_range(d, rw);
	d->bad = d->blocks;
	if (!ret && d->blocks) {
		((struct homi_direct_pdu *)d->cmd->pdu)->direct = d;
		/* Its file may have grown while it waited for its place. */
		if (toll->paid)
			homi_budget_adjust(d->named.mem->obj.ctx, toll,
					   d->length);
		ret = homi_direct_run(d, may_wait);
		if (ret == -EIOCBQUEUED)
			return ret;
	}
	homi_direct_leave(d);
	if (d->write)
		homi_direct_end_write(d, 0);
	homi_direct_free(d);
	return ret;
}

/**
 * homi_rw_by_extents - READ or WRITE, by where the file lies
 * @named: what it names, which this consumes
 * @cmd: io_uring's command
 * @rw: checked as far as both ways are alike
 * @write: which
 * @may_wait: or -EAGAIN if that would be needed
 * @toll: of it; for what it is by then, if it is paid
 *
 * Return: see homi_rw()
 */
int homi_rw_by_extents(const struct homi_named *named,
		       struct io_uring_cmd *cmd,
		       const struct homi_uring_rw *rw, bool write,
		       bool may_wait, struct homi_toll *toll)
{
	struct homi_direct *d = homi_direct_new(named, cmd, write);
	int ret;

	if (!d) {
		homi_rw_put(named);
		return -ENOMEM;
	}
	ret = homi_direct_check(named->of, rw, write);
	if (ret >= 0)
		ret = homi_direct_check_mem(named->mem);
	if (ret < 0 || !rw->length || homi_direct_is_empty(d)) {
		homi_direct_drop(d);
		return min(ret, 0);
	}
	return homi_direct_begin(d, rw, may_wait, toll);
}

int homi_rw_extents_init(void)
{
	homi_direct_cache = KMEM_CACHE(homi_direct, SLAB_ACCOUNT);
	homi_part_cache = KMEM_CACHE(homi_part, SLAB_ACCOUNT);
	homi_direct_wq = alloc_workqueue("homi_direct",
					 WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	if (homi_direct_cache && homi_part_cache && homi_direct_wq)
		return 0;
	homi_rw_extents_exit();
	return -ENOMEM;
}

void homi_rw_extents_exit(void)
{
	if (homi_direct_wq)
		destroy_workqueue(homi_direct_wq);
	kmem_cache_destroy(homi_part_cache);
	kmem_cache_destroy(homi_direct_cache);
}

#if IS_ENABLED(CONFIG_HOMI_KUNIT_TEST)
#include "tests/rw_extents_test.c"
#endif
