// SPDX-License-Identifier: MIT
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

/* Between two tries to have a file that somebody else has */
#define NAP_MIN_NS	10000000
#define NAP_MAX_NS	200000000
/* Resets in a row that a call begins again after */
#define LOSSES		5

struct homi_file {
	struct homi_file *next;	/* of the same reader */
	const struct homi_dev *dev;
	struct homi_reader *reader;
	struct homi_extents extents;	/* table NULL: not held, or empty */
	int fd;
	int event;
	unsigned int flags;
	uint32_t wait_ms;
	uint32_t reason;
	int busy;		/* a command may be in flight */
};

/**
 * struct patience - of one call
 * @left_ns: what it may still wait, or do in vain
 * @losses: resets since there was anything to show for it
 */
struct patience {
	uint64_t left_ns;
	unsigned int losses;
};

static struct patience patience_of(const struct homi_file *file)
{
	return (struct patience){ .left_ns = file->wait_ms * 1000000ull };
}

static void charge(struct patience *p, uint64_t since_ns)
{
	uint64_t ns = homi_clock_ns() - since_ns;

	p->left_ns = ns < p->left_ns ? p->left_ns - ns : 0;
}

static int is_held(const struct homi_file *file)
{
	return file->extents.table &&
	       homi_extent_get_state(file->extents.table) == HOMI_EXTENT_VALID;
}

static int is_wanted(const struct homi_file *file)
{
	return file->extents.table && !is_held(file);
}

/* No command is in flight between calls. */
static int let_go(struct homi_file *file)
{
	int ret;

	if (!file->extents.table)
		return 0;
	/* With a queue it could still be written to. */
	if (file->flags & HOMI_FILE_WRITE)
		homi_reader_rest(file->reader);
	ret = homi_extents_close(file->dev, &file->extents);
	/* -ENOENT and the like: it went, and that is what was wanted. */
	return ret == -EBUSY ? ret : 0;
}

void homi_files_give_way(struct homi_file *files, int all)
{
	struct homi_file *file;

	for (file = files; file; file = file->next)
		if (!file->busy && is_wanted(file) && (all || !(file->flags & HOMI_FILE_WRITE)))
			let_go(file);
}

static void clear_event(const struct homi_file *file)
{
	eventfd_t count;

	/* It fails if nothing has happened. */
	eventfd_read(file->event, &count);
}

/* Once. 0 with no table: there is nothing in the file. */
static int resolve(struct homi_file *file)
{
	struct stat st;
	int ret;

	if (fstat(file->fd, &st))
		return -errno;
	/* An empty file has no blocks; the kernel has nothing to resolve. */
	if (S_ISREG(st.st_mode) && !st.st_size && !(file->flags & HOMI_FILE_WRITE))
		return 0;
	clear_event(file);
	if (file->flags & HOMI_FILE_WRITE)
		ret = homi_extents_open_to_write(file->dev, file->fd, 0, 0, &file->extents,
						 &file->reason);
	else
		ret = homi_extents_open(file->dev, file->fd, 0, 0, &file->extents, &file->reason);
	/* It was empty for a moment; or is, which is found out above. */
	if (ret == -EINVAL && S_ISREG(st.st_mode) && !(file->flags & HOMI_FILE_WRITE))
		return -EAGAIN;
	if (ret)
		return ret;
	ret = homi_event_bind(file->dev, file->extents.id, file->event);
	if (ret)
		let_go(file);
	return ret;
}

static int may_wait(struct homi_file *file, struct patience *p, uint64_t *nap_ns)
{
	struct timespec nap = { .tv_nsec = (long)*nap_ns };
	uint64_t begin = homi_clock_ns();

	if (file->flags & HOMI_FILE_NO_WAIT || !p->left_ns)
		return 0;
	/* Who has this one may be waiting for another one. */
	homi_files_give_way(*homi_reader_files(file->reader), 1);
	nanosleep(&nap, NULL);
	charge(p, begin);
	*nap_ns = *nap_ns * 2 < NAP_MAX_NS ? *nap_ns * 2 : NAP_MAX_NS;
	return 1;
}

/*
 * The file is held, or empty, if 0. A queue that the controller does not let go
 * of, for which a reset is under way, is waited for too.
 */
static int hold(struct homi_file *file, struct patience *p)
{
	uint64_t nap_ns = NAP_MIN_NS, begin;
	int ret;

	if (is_held(file))
		return 0;
	do {
		begin = homi_clock_ns();
		ret = let_go(file);
		if (!ret)
			ret = resolve(file);
		if (ret)
			charge(p, begin);
	} while ((ret == -EAGAIN || ret == -EBUSY) && may_wait(file, p, &nap_ns));
	return ret;
}

/*
 * After an I/O that ended with -ESTALE: 0 if it is to be tried again. Somebody
 * wants the file, which hold() sees to, or the queue was lost.
 */
static int again(struct homi_file *file, struct patience *p)
{
	if (is_held(file))
		return ++p->losses < LOSSES ? 0 : -ESTALE;
	if (file->flags & HOMI_FILE_NO_WAIT || !p->left_ns) {
		file->reason = file->flags & HOMI_FILE_WRITE ? HOMI_REASON_OPEN :
							       HOMI_REASON_WRITER;
		let_go(file);
		return -EAGAIN;
	}
	return 0;
}

static void link_file(struct homi_file *file)
{
	struct homi_file **at = homi_reader_files(file->reader);

	file->next = *at;
	*at = file;
}

static void free_file(struct homi_file *file)
{
	struct homi_file **at = homi_reader_files(file->reader);

	while (*at && *at != file)
		at = &(*at)->next;
	if (*at)
		*at = file->next;
	if (file->fd >= 0)
		close(file->fd);
	if (file->event >= 0)
		close(file->event);
	free(file);
}

int homi_file_open(struct homi_file **out, struct homi_reader *reader,
		   const struct homi_dev *dev, int fd, const struct homi_file_options *options,
		   uint32_t *reason)
{
	struct homi_file *file;
	struct patience p;
	int ret;

	if (options && options->flags & ~(unsigned int)(HOMI_FILE_WRITE | HOMI_FILE_NO_WAIT))
		return -EINVAL;
	file = calloc(1, sizeof(*file));
	if (!file)
		return -ENOMEM;
	file->dev = dev;
	file->reader = reader;
	file->flags = options ? options->flags : 0;
	file->wait_ms = options && options->wait_ms ? options->wait_ms : HOMI_FILE_WAIT_MS;
	file->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	file->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	ret = file->event < 0 || file->fd < 0 ? -errno : 0;
	p = patience_of(file);
	if (!ret)
		ret = hold(file, &p);
	if (reason)
		*reason = file->reason;
	if (ret) {
		/* What can't be let go of ends with the device. */
		let_go(file);
		free_file(file);
		return ret;
	}
	link_file(file);
	*out = file;
	return 0;
}

/* A stretch of a file on its way to the caller */
struct stretch {
	const struct homi_extent_table *table;
	homi_deliver_fn deliver;
	void *arg;
	char *buf;		/* NULL: to @deliver */
	uint64_t begin;
	uint64_t done;		/* bytes from @begin */
	int err;		/* the caller's */
};

/*
 * Blocks that are another file's by now must not pass for this one's. And who
 * waits for the file does not wait for a slow receiver.
 */
static int pass_on(void *arg, uint64_t offset, const void *data, size_t length)
{
	struct stretch *s = arg;

	if (s->err)
		return s->err;
	if (homi_extent_get_state(s->table) != HOMI_EXTENT_VALID)
		return -ESTALE;
	if (s->buf) {
		memcpy(s->buf + (offset - s->begin), data, length);
		s->done += length;
		return 0;
	}
	s->err = s->deliver(s->arg, offset, data, length);
	s->done += length;
	return s->err;
}

static int read_on(struct homi_file *file, struct stretch *s, uint64_t length)
{
	uint64_t size = file->extents.table->file_size, left;
	int ret;

	left = s->begin < size ? size - s->begin : 0;
	if (left > length)
		left = length;
	s->table = file->extents.table;
	file->busy = 1;
	ret = homi_reader_read(file->reader, &file->extents, s->begin + s->done,
			       length - s->done, s->buf ? HOMI_PUMP_ANY_ORDER : 0, pass_on, s);
	file->busy = 0;
	/* All was delivered, and each piece was the file's when it was. */
	if (ret == -ESTALE && !s->buf && !s->err && s->done >= left)
		return 0;
	return ret;
}

/* In order it goes on where it was; else it begins anew. */
static int stretch_read(struct homi_file *file, struct stretch *s, uint64_t length)
{
	struct patience p = patience_of(file);
	uint64_t before, begin;
	int ret;

	for (;;) {
		if (s->buf)
			s->done = 0;
		ret = hold(file, &p);
		if (ret || !file->extents.table)
			return ret;
		before = s->done;
		begin = homi_clock_ns();
		ret = read_on(file, s, length);
		if (ret != -ESTALE || s->err)
			return s->err ? s->err : ret;
		/* In order nothing was done in vain. */
		if (s->buf)
			charge(&p, begin);
		else if (s->done > before)
			p.losses = 0;
		ret = again(file, &p);
		if (ret)
			return ret;
	}
}

int64_t homi_file_pread(struct homi_file *file, void *buf, uint64_t length, uint64_t offset)
{
	struct stretch s = { .buf = buf, .begin = offset };
	int ret;

	if (length > INT64_MAX || offset > INT64_MAX)
		return -EINVAL;
	ret = length ? stretch_read(file, &s, length) : 0;
	return ret ? ret : (int64_t)s.done;
}

int homi_file_read(struct homi_file *file, uint64_t offset, uint64_t length,
		   homi_deliver_fn deliver, void *arg)
{
	struct stretch s = { .deliver = deliver, .arg = arg, .begin = offset };

	if (length > INT64_MAX || offset > INT64_MAX)
		return -EINVAL;
	return length ? stretch_read(file, &s, length) : 0;
}

struct source {
	const char *buf;
	uint64_t begin;
};

static int pull(void *arg, uint64_t offset, void *data, size_t length)
{
	const struct source *s = arg;

	memcpy(data, s->buf + (offset - s->begin), length);
	return 0;
}

int64_t homi_file_pwrite(struct homi_file *file, const void *buf, uint64_t length,
			 uint64_t offset)
{
	struct source s = { .buf = buf, .begin = offset };
	struct patience p = patience_of(file);
	uint64_t begin;
	int ret;

	if (!(file->flags & HOMI_FILE_WRITE))
		return -EBADF;
	if (length > INT64_MAX || offset > INT64_MAX)
		return -EINVAL;
	do {
		ret = hold(file, &p);
		if (ret)
			return ret;
		begin = homi_clock_ns();
		file->busy = 1;
		ret = homi_reader_write(file->reader, &file->extents, offset, length, pull, &s);
		file->busy = 0;
		if (ret != -ESTALE)
			return ret ? ret : (int64_t)length;
		charge(&p, begin);
		ret = again(file, &p);
	} while (!ret);
	return ret;
}

int homi_file_get_event(const struct homi_file *file)
{
	return file->event;
}

int homi_file_give_way(struct homi_file *file)
{
	int ret;

	clear_event(file);
	ret = is_held(file) ? 0 : let_go(file);
	/* To be called again */
	if (ret)
		eventfd_write(file->event, 1);
	return ret;
}

const struct homi_extent_table *homi_file_get_table(const struct homi_file *file)
{
	return file->extents.table;
}

uint32_t homi_file_get_reason(const struct homi_file *file)
{
	return file->reason;
}

int homi_file_close(struct homi_file *file)
{
	uint64_t nap_ns = NAP_MIN_NS;
	struct patience p;
	int ret;

	if (!file)
		return 0;
	p = patience_of(file);
	do {
		ret = let_go(file);
	} while (ret && may_wait(file, &p, &nap_ns));
	if (ret)
		return ret;
	free_file(file);
	return 0;
}
