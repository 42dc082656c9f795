// SPDX-License-Identifier: MIT
/*
 * What fio calls, and the options.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine.h"

#include <optgroup.h>

int engine_fails(struct thread_data *td, int err, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	log_err("homi: %s\n", text);
	td_verror(td, -err, "homi");
	return 1;
}

bool engine_mem_offset(const struct engine *e, const struct io_u *io_u, uint64_t *offset)
{
	*offset = (uint64_t)((uintptr_t)io_u->xfer_buf - (uintptr_t)e->mem.addr);
	return *offset <= e->mem.length && io_u->xfer_buflen <= e->mem.length - *offset;
}

static struct fio_option options[] = {
	{
		.name = "homi_mode",
		.lname = "How homi does it",
		.type = FIO_OPT_STR,
		.off1 = offsetof(struct engine_options, mode),
		.help = "files by io_uring, or namespaces by a queue pair",
		.def = "uring",
		.posval = {
			{ .ival = "uring", .oval = MODE_URING,
			  .help = "files, by io_uring; no privilege is needed" },
			{ .ival = "raw", .oval = MODE_RAW,
			  .help = "a namespace or partition, by a queue pair; needs CAP_SYS_RAWIO" },
		},
		.category = FIO_OPT_C_ENGINE,
		.group = FIO_OPT_G_INVALID,
	}, {
		.name = "homi_way",
		.lname = "Way to a file",
		.type = FIO_OPT_STR,
		.off1 = offsetof(struct engine_options, way),
		.help = "how files are read and written, or not at all",
		.def = "auto",
		.posval = {
			{ .ival = "auto", .oval = WAY_AUTO,
			  .help = "by the file system, to a dma-buf by extents" },
			{ .ival = "by_fs", .oval = WAY_BY_FS,
			  .help = "by the file system's direct I/O" },
			{ .ival = "by_extents", .oval = WAY_BY_EXTENTS,
			  .help = "by the file's blocks" },
		},
		.category = FIO_OPT_C_ENGINE,
		.group = FIO_OPT_G_INVALID,
	}, {
		.name = "homi_ctrl",
		.lname = "Controller",
		.type = FIO_OPT_STR_STORE,
		.off1 = offsetof(struct engine_options, ctrl),
		.help = "nvme0 say; default: the one that the first file is on",
		.category = FIO_OPT_C_ENGINE,
		.group = FIO_OPT_G_INVALID,
	}, {
		.name = "homi_dmabuf",
		.lname = "Buffers in a dma-buf",
		.type = FIO_OPT_STR_STORE,
		.off1 = offsetof(struct engine_options, dmabuf),
		.help = "of this heap, /dev/dma_heap/system say, or /dev/udmabuf",
		.category = FIO_OPT_C_ENGINE,
		.group = FIO_OPT_G_INVALID,
	}, {
		.name = "homi_claim",
		.lname = "Claim what is written to",
		.type = FIO_OPT_BOOL,
		.off1 = offsetof(struct engine_options, claim),
		.help = "homi_mode=raw: nobody else may have it mounted or claimed",
		.def = "1",
		.category = FIO_OPT_C_ENGINE,
		.group = FIO_OPT_G_INVALID,
	}, {
		.name = NULL,
	},
};

static bool writes(struct thread_data *td)
{
	return td_write(td) || td_trim(td);
}

/* What no job could do */
static int check_options(struct thread_data *td, const struct engine_options *o)
{
	if (o->mode == MODE_RAW && o->way != WAY_AUTO)
		return engine_fails(td, -EINVAL, "homi_way is about files: leave it out with homi_mode=raw");
	if (o->way == WAY_BY_FS && o->dmabuf)
		return engine_fails(td, -EOPNOTSUPP, "homi_way=by_fs can't use a dma-buf, which has no pages: leave one of them out");
	if (td->o.sync_file_range && o->mode == MODE_RAW)
		return engine_fails(td, -EINVAL, "sync_file_range is about files: fsync is a Flush with homi_mode=raw");
	return 0;
}

static void engine_cleanup(struct thread_data *td)
{
	struct engine *e = td->io_ops_data;

	if (!e)
		return;
	uring_stop(e);
	raw_stop(e);
	place_free(e);
	if (e->has_dev)
		homi_close(&e->dev);
	free(e->events);
	free(e);
	td->io_ops_data = NULL;
}

static int engine_init(struct thread_data *td)
{
	struct engine *e = calloc(1, sizeof(*e));
	int ret;

	if (!e)
		return engine_fails(td, -ENOMEM, "out of memory");
	td->io_ops_data = e;
	e->options = td->eo;
	e->events = calloc(td->o.iodepth, sizeof(*e->events));
	if (!e->events)
		ret = engine_fails(td, -ENOMEM, "out of memory");
	else
		ret = check_options(td, e->options) || place_open(td, e, td->files[0]->file_name);
	if (!ret)
		ret = e->options->mode == MODE_RAW ? raw_start(td, e) : uring_start(td, e);
	if (ret)
		engine_cleanup(td);
	return ret;
}

static int engine_iomem_alloc(struct thread_data *td, size_t length)
{
	struct engine *e = td->io_ops_data;

	if (place_alloc(td, e, length))
		return 1;
	td->orig_buffer = e->mem.addr;
	return 0;
}

/* fio itself goes on without memory. */
static int engine_post_init(struct thread_data *td)
{
	return td->error != 0;
}

/* After the last command; a queue that is there could still be told to write to it. */
static void engine_iomem_free(struct thread_data *td)
{
	struct engine *e = td->io_ops_data;

	if (!e)
		return;
	raw_stop(e);
	place_free(e);
}

/* --- files --- */

/*
 * A raw queue knows no partitions and no file systems. So whoever has one mounted on what is to
 * be written to, or has claimed it otherwise, is found by claiming it too.
 */
static int open_block_device(struct thread_data *td, struct fio_file *f)
{
	const struct engine_options *o = td->eo;
	int flags = O_CLOEXEC | (writes(td) ? O_RDWR : O_RDONLY);

	if (writes(td) && o->claim)
		flags |= O_EXCL;
	f->fd = open(f->file_name, flags);
	if (f->fd < 0)
		return engine_fails(td, -errno, "%s: %s%s", f->file_name, strerror(errno),
				    errno == EBUSY ?
				    "; it, or a partition of it, is mounted or claimed by somebody; jobs that share it want homi_claim=0" :
				    "");
	/* What is in the page cache only is what others have written. */
	if (fdatasync(f->fd)) {
		engine_fails(td, -errno, "%s: %s", f->file_name, strerror(errno));
		close(f->fd);
		f->fd = -1;
		return 1;
	}
	return 0;
}

static int engine_close_file(struct thread_data *td, struct fio_file *f)
{
	const struct engine_options *o = td->eo;
	struct target *t = FILE_ENG_DATA(f);

	if (t && t->file_id)
		homi_destroy(&t->engine->dev, t->file_id);
	free(t);
	FILE_SET_ENG_DATA(f, NULL);
	/* Others must not find there what was before. */
	if (o->mode == MODE_RAW && writes(td))
		posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED);
	return generic_close_file(td, f);
}

/* fio opens files before the engine has begun, too, to see how large they are. */
static int engine_open_file(struct thread_data *td, struct fio_file *f)
{
	const struct engine_options *o = td->eo;
	struct engine *e = td->io_ops_data;
	struct target *t;
	int ret;

	if (o->mode == MODE_RAW ? open_block_device(td, f) : generic_open_file(td, f))
		return 1;
	FILE_SET_ENG_DATA(f, NULL);
	if (!e)
		return 0;
	t = calloc(1, sizeof(*t));
	if (t) {
		t->engine = e;
		FILE_SET_ENG_DATA(f, t);
		ret = o->mode == MODE_RAW ? raw_open(td, e, f, t) : uring_open(td, e, f, t);
	} else {
		ret = engine_fails(td, -ENOMEM, "out of memory");
	}
	if (ret)
		engine_close_file(td, f);
	return ret;
}

/* --- I/O --- */

/* More than the errno says; fio frees it. */
static char *engine_errdetails(struct io_u *io_u)
{
	const struct target *t = FILE_ENG_DATA(io_u->file);
	const struct engine_options *o = t->engine->options;
	char *text;

	if (o->mode == MODE_RAW) {
		if (!t->status)
			return strdup("homi: not within the partition, not in whole blocks, or the queue is lost");
		return asprintf(&text, "homi: NVMe status %#x", t->status) < 0 ? NULL : text;
	}
	if (io_u->error == EAGAIN)
		return strdup("homi: by extents this kernel does not read the file, or a part of it without blocks, while somebody has it open for writing: see fuser -v");
	if (io_u->error == EOPNOTSUPP && io_u->ddir == DDIR_WRITE)
		return strdup("homi: by extents a file is written where it has blocks already, and not on this kernel and file system perhaps: lay it out first, or leave homi_dmabuf out");
	if (io_u->error == EOPNOTSUPP)
		return strdup("homi: the file's data are not in plain blocks, or its holes can't be filled in; homi_way=by_fs may do");
	return strdup("homi: by io_uring; offset and bs have to be as direct I/O wants them");
}

static enum fio_q_status engine_queue(struct thread_data *td, struct io_u *io_u)
{
	struct engine *e = td->io_ops_data;
	enum fio_q_status ret;
	char *text;

	fio_ro_check(td, io_u);
	ret = e->options->mode == MODE_RAW ? raw_queue(e, io_u) : uring_queue(td, e, io_u);
	/* fio asks for details only of what was on its way. */
	if (ret == FIO_Q_COMPLETED && io_u->error) {
		text = engine_errdetails(io_u);
		log_err("%s\n", text ? text : "homi: out of memory");
		free(text);
	}
	return ret;
}

static int engine_commit(struct thread_data *td)
{
	struct engine *e = td->io_ops_data;

	return e->options->mode == MODE_RAW ? raw_commit(e) : uring_commit(e);
}

static int engine_getevents(struct thread_data *td, unsigned int min, unsigned int max,
			    const struct timespec *t)
{
	struct engine *e = td->io_ops_data;

	/* A time is given only where none is wanted for sure: @min is 0. */
	(void)t;
	return e->options->mode == MODE_RAW ? raw_getevents(td, e, min, max) :
					      uring_getevents(e, min, max);
}

static struct io_u *engine_event(struct thread_data *td, int event)
{
	struct engine *e = td->io_ops_data;

	return e->events[event];
}

/* By this name fio finds it. */
__attribute__((visibility("default"))) struct ioengine_ops ioengine = {
	.name = "homi",
	.version = FIO_IOOPS_VERSION,
	.flags = FIO_RAWIO | FIO_MEMALIGN | FIO_NO_OFFLOAD,
	.init = engine_init,
	.post_init = engine_post_init,
	.cleanup = engine_cleanup,
	.iomem_alloc = engine_iomem_alloc,
	.iomem_free = engine_iomem_free,
	.open_file = engine_open_file,
	.close_file = engine_close_file,
	.get_file_size = generic_get_file_size,
	.queue = engine_queue,
	.commit = engine_commit,
	.getevents = engine_getevents,
	.event = engine_event,
	.errdetails = engine_errdetails,
	.options = options,
	.option_struct_size = sizeof(struct engine_options),
};
