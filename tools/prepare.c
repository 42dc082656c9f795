// SPDX-License-Identifier: MIT
/*
 * Makes a file that can be written in place: no holes, nothing that was never
 * written, no block that another file has too. What is in it stays.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <linux/falloc.h>
#include <linux/fiemap.h>
#include <linux/fs.h>

#include "cli.h"

#define CHUNK	(4u << 20)
#define EXTENTS	256u
/* Direct I/O of all file systems that homi knows is aligned to no more. */
#define ALIGN	4096u

#ifndef FALLOC_FL_WRITE_ZEROES
#define FALLOC_FL_WRITE_ZEROES	0x80	/* Linux 6.17 */
#endif

struct work {
	const char *path;
	int fd;
	int direct;		/* -1: not possible */
	bool created;		/* by us: there was none of that name */
	bool changed;
	uint64_t old_size;
	uint64_t size;
	uint64_t done;
	uint64_t written;	/* bytes of zeroes */
	uint64_t unshared;
	uint64_t extents;
	bool by_device;		/* the file system may have the drive write zeroes */
	void *zeroes;
	struct fiemap *map;
	struct progress progress;
};

static int parse_size(const char *text, uint64_t *size)
{
	static const char units[] = "kmgt";
	unsigned long long n;
	const char *unit;
	char *end;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (end == text || *text == '-' || errno)
		return -EINVAL;
	unit = *end ? strchr(units, *end | 0x20) : NULL;
	if (unit) {
		unsigned int shift = 10 * (unsigned int)(unit - units + 1);

		if (n > UINT64_MAX >> shift)
			return -EINVAL;
		n <<= shift;
		end++;
	}
	*size = n;
	return *end || !n || n > INT64_MAX ? -EINVAL : 0;
}

/* Extents from @from on; the first of those that were asked for before is not among them. */
static int look(struct work *w, uint64_t from)
{
	memset(w->map, 0, sizeof(*w->map));
	w->map->fm_start = from;
	w->map->fm_length = w->size - from;
	w->map->fm_flags = FIEMAP_FLAG_SYNC;
	w->map->fm_extent_count = EXTENTS;
	return ioctl(w->fd, FS_IOC_FIEMAP, w->map) ? -errno : 0;
}

static int put_zeroes(struct work *w, int fd, uint64_t from, uint64_t to)
{
	while (from < to) {
		size_t length = to - from < CHUNK ? to - from : CHUNK;
		ssize_t n = pwrite(fd, w->zeroes, length, (off_t)from);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		from += (uint64_t)n;
		w->written += (uint64_t)n;
		progress_to(&w->progress, w->done + w->written);
	}
	return 0;
}

static int zero(struct work *w, uint64_t from, uint64_t to)
{
	uint64_t whole = to / ALIGN * ALIGN;
	int ret = 0;

	/* Whole blocks: ext4 leaves a part of one as it is. */
	if (w->by_device && !(from % ALIGN) && from < whole) {
		if (!fallocate(w->fd, FALLOC_FL_WRITE_ZEROES, (off_t)from, (off_t)(whole - from))) {
			w->written += whole - from;
			return put_zeroes(w, w->fd, whole, to);
		}
		if (errno != EOPNOTSUPP && errno != EINVAL)
			return -errno;
		w->by_device = false;
	}
	if (w->direct < 0 || from % ALIGN || from >= whole)
		return put_zeroes(w, w->fd, from, to);
	ret = put_zeroes(w, w->direct, from, whole);
	return ret ? ret : put_zeroes(w, w->fd, whole, to);
}

static int own(struct work *w, uint64_t from, uint64_t to)
{
	if (fallocate(w->fd, FALLOC_FL_UNSHARE_RANGE, (off_t)from, (off_t)(to - from)))
		return -errno;
	w->unshared += to - from;
	return 0;
}

static int mend(struct work *w, uint64_t from, const struct fiemap_extent *e)
{
	uint64_t end = e->fe_logical + e->fe_length;
	int ret = 0;

	if (end > w->size)
		end = w->size;
	if (e->fe_logical > from)
		ret = zero(w, from, e->fe_logical < w->size ? e->fe_logical : w->size);
	if (ret || e->fe_logical >= w->size)
		return ret;
	from = e->fe_logical;
	if (e->fe_flags & FIEMAP_EXTENT_UNWRITTEN)
		return zero(w, from, end);
	w->done += end - from;
	if (e->fe_flags & FIEMAP_EXTENT_SHARED)
		return own(w, from, end);
	return 0;
}

/* Once over the file; what is changed may be told again, so not to look back. */
static int mend_all(struct work *w)
{
	uint64_t at = 0;
	uint32_t i;
	int ret;

	while (at < w->size) {
		ret = look(w, at);
		if (ret)
			return ret;
		if (!w->map->fm_mapped_extents)
			return zero(w, at, w->size);
		for (i = 0; i < w->map->fm_mapped_extents; i++) {
			struct fiemap_extent e = w->map->fm_extents[i];

			if (e.fe_logical < at) {
				e.fe_length -= at - e.fe_logical;
				e.fe_logical = at;
			}
			ret = mend(w, at, &e);
			if (ret)
				return ret;
			at = e.fe_logical + e.fe_length;
			progress_to(&w->progress, at < w->size ? at : w->size);
		}
	}
	return 0;
}

/* Is all there now? */
static int check_all(struct work *w, bool *good)
{
	uint64_t at = 0;
	uint32_t i;
	int ret;

	*good = true;
	while (at < w->size && *good) {
		ret = look(w, at);
		if (ret)
			return ret;
		*good = w->map->fm_mapped_extents > 0;
		for (i = 0; i < w->map->fm_mapped_extents; i++) {
			const struct fiemap_extent *e = &w->map->fm_extents[i];

			*good &= e->fe_logical <= at &&
				 !(e->fe_flags & (FIEMAP_EXTENT_UNWRITTEN | FIEMAP_EXTENT_SHARED |
						  FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_UNKNOWN));
			at = e->fe_logical + e->fe_length;
			w->extents++;
		}
	}
	return 0;
}

/*
 * Before anything is changed: ext4 allocates until nothing is left, and keeps that when it fails.
 * Blocks that are shared count as its own here, so they may still want room later.
 */
static int ask_for_room(const struct work *w, const struct stat *st, struct trouble *t)
{
	uint64_t have = (uint64_t)st->st_blocks * 512, room;
	struct statvfs fs;

	/* Some know nothing of blocks. */
	if (have >= w->size || fstatvfs(w->fd, &fs) || !fs.f_blocks)
		return 0;
	room = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (w->size - have <= room)
		return 0;
	return trouble_set(t, EXIT_REFUSED, -ENOSPC, "make room, or name a smaller SIZE",
			   "%s: %llu bytes more are needed, and the file system has %llu free",
			   w->path, (unsigned long long)(w->size - have),
			   (unsigned long long)room);
}

static int open_work(struct work *w, struct trouble *t)
{
	char self[64];
	struct stat st;

	w->fd = open_named(w->path, O_RDWR | O_CREAT | O_EXCL);
	w->created = w->fd >= 0;
	/* Or it is a link that leads to nothing yet. */
	if (w->fd < 0 && errno == EEXIST)
		w->fd = open_named(w->path, O_RDWR | O_CREAT);
	if (w->fd < 0 || fstat(w->fd, &st)) {
		diagnose(t, STAGE_FILE, -errno, 0, w->path);
		return t->exit = EXIT_REFUSED;
	}
	if (!S_ISREG(st.st_mode))
		return trouble_set(t, EXIT_REFUSED, -EINVAL, "", "%s: is not a regular file",
				   w->path);
	if ((uint64_t)st.st_size > w->size)
		return trouble_set(t, EXIT_REFUSED, -EINVAL, "nothing is cut off: give its size",
				   "%s: has %llu bytes already", w->path,
				   (unsigned long long)st.st_size);
	w->old_size = (uint64_t)st.st_size;
	if (ask_for_room(w, &st, t))
		return t->exit;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", w->fd);
	w->direct = open(self, O_WRONLY | O_DIRECT | O_CLOEXEC);
	w->map = malloc(sizeof(*w->map) + EXTENTS * sizeof(w->map->fm_extents[0]));
	if (!w->map || posix_memalign(&w->zeroes, ALIGN, CHUNK))
		return diagnose(t, STAGE_FILE, -ENOMEM, 0, w->path);
	memset(w->zeroes, 0, CHUNK);
	return 0;
}

static void close_work(struct work *w)
{
	if (w->direct >= 0)
		close(w->direct);
	if (w->fd >= 0)
		close(w->fd);
	free(w->map);
	free(w->zeroes);
}

/* As it was, but for blocks in what were holes. */
static void undo(const struct work *w)
{
	struct stat st;

	if (w->created) {
		unmake(w->path, w->fd);
		return;
	}
	/* Longer than we made it: somebody has appended, whose data are not ours to cut off. */
	if (!w->changed || fstat(w->fd, &st) || (uint64_t)st.st_size > w->size)
		return;
	/* Of the same size it frees what is allocated behind the end. */
	if (ftruncate(w->fd, (off_t)w->old_size))
		complain(0, "%s: can't be given its old size of %llu bytes: %s", w->path,
			 (unsigned long long)w->old_size, strerror(errno));
}

/* The signal that wants us to end, or 0 */
static volatile sig_atomic_t stopped;

static void on_stop(int number)
{
	stopped = number;
}

/*
 * All of it at once: it is known before that there is room, and it is in few pieces. Who is stopped
 * here has nothing yet that is worth to go on with, so that it is undone first.
 */
static int allocate(struct work *w)
{
	static const int stops[] = { SIGHUP, SIGINT, SIGTERM };
	struct sigaction stop = { .sa_handler = on_stop }, old[3];
	unsigned int i;
	int ret;

	/* Beyond "ulimit -f": an error is enough. */
	signal(SIGXFSZ, SIG_IGN);
	for (i = 0; i < 3; i++) {
		sigaction(stops[i], NULL, &old[i]);
		if (old[i].sa_handler != SIG_IGN)
			sigaction(stops[i], &stop, NULL);
	}
	w->changed = true;
	ret = fallocate(w->fd, 0, 0, (off_t)w->size) ? -errno : 0;
	for (i = 0; i < 3; i++)
		sigaction(stops[i], &old[i], NULL);
	return stopped ? -EINTR : ret;
}

static int prepare(struct work *w, struct trouble *t)
{
	bool good = false;
	int ret = allocate(w);

	if (!ret)
		ret = mend_all(w);
	if (!ret && fsync(w->fd))
		ret = -errno;
	if (!ret)
		ret = check_all(w, &good);
	if (ret)
		return diagnose(t, STAGE_PREPARE, ret, 0, w->path);
	if (!good)
		return trouble_set(t, EXIT_REFUSED, -EOPNOTSUPP,
				   "is somebody else changing it? homi knows ext4 and XFS",
				   "%s: the file system does not keep it as it has to be", w->path);
	return 0;
}

static void show(const struct options *opt, const struct work *w)
{
	struct json_object *o;
	char size[32];

	if (!opt->json) {
		printf("%s: %s in %llu extents, can be written in place\n", w->path,
		       size_text(w->size, size, sizeof(size)), (unsigned long long)w->extents);
		return;
	}
	o = json_object_new_object();
	add_string(o, "path", w->path);
	add_number(o, "size", w->size);
	add_number(o, "extents", w->extents);
	add_number(o, "zeroed", w->written);
	add_number(o, "unshared", w->unshared);
	print_json(o);
}

int cmd_prepare(const struct options *opt)
{
	struct work w = { .path = opt->operands[0], .fd = -1, .direct = -1, .by_device = true };
	struct trouble t;
	int ret;

	if (parse_size(opt->operands[1], &w.size))
		return report(opt, EXIT_USAGE, -EINVAL, "",
			      "SIZE: \"%s\" is not a number of bytes, or of k, m, g, t",
			      opt->operands[1]);
	ret = open_work(&w, &t);
	if (!ret) {
		progress_begin(&w.progress, opt, w.path, w.size);
		ret = prepare(&w, &t);
		progress_end(&w.progress);
	}
	if (ret)
		undo(&w);
	else
		show(opt, &w);
	close_work(&w);
	if (stopped)
		raise(stopped);
	return ret ? trouble_report(&t, opt) : EXIT_OK;
}
