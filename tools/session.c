// SPDX-License-Identifier: MIT
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

static int no_queue(struct trouble *t, struct session *s, int err)
{
	char advice[sizeof(t->advice)];
	struct homi_ctrl_info info;
	uint32_t reason = 0;

	if (!homi_get_ctrl_info(&s->dev, &info) && (err == -ENOSPC || err == -EOPNOTSUPP))
		reason = info.out_reason;
	if (err != -ENOSPC)
		return diagnose(t, STAGE_QUEUE, err, reason, s->name);
	return trouble_set(t, EXIT_REFUSED, err, no_spare_advice(&info, advice, sizeof(advice)),
			   "%s: no spare queue", s->name);
}

void session_close(struct session *s)
{
	if (!s->name[0])
		return;
	homi_reader_close(s->reader);
	homi_close(&s->dev);
	memset(s, 0, sizeof(*s));
}

static int session_open(struct session *s, const struct options *opt, const char *name,
			bool with_reader, struct trouble *t)
{
	int ret;

	if (s->name[0] && !strcmp(s->name, name))
		return 0;
	session_close(s);
	ret = homi_open(&s->dev, name);
	if (ret)
		return diagnose(t, STAGE_OPEN, ret, 0, name);
	snprintf(s->name, sizeof(s->name), "%s", name);
	if (!with_reader)
		return 0;
	ret = homi_reader_open(&s->reader, &s->dev, &opt->reader);
	if (!ret)
		return 0;
	ret = no_queue(t, s, ret);
	session_close(s);
	return ret;
}

int session_for(struct session *s, const struct options *opt, const char *path, int fd,
		bool with_reader, struct trouble *t)
{
	char name[NAME_LEN];
	struct stat st;
	int ret;

	if (opt->device)
		return session_open(s, opt, opt->device, with_reader, t);
	if (fstat(fd, &st))
		return diagnose(t, STAGE_FILE, -errno, 0, path);
	ret = find_controller_of(&st, path, name, t);
	if (ret)
		return ret;
	return session_open(s, opt, name, with_reader, t);
}

static int target_resolve(struct target *target, struct session *s, struct trouble *t)
{
	uint32_t reason;
	struct stat st;
	int ret;

	if (fstat(target->fd, &st))
		return diagnose(t, STAGE_FILE, -errno, 0, target->path);
	/* An empty file has no blocks; the kernel has nothing to resolve. */
	if (S_ISREG(st.st_mode) && !st.st_size)
		return 0;
	ret = homi_extents_open(&s->dev, target->fd, 0, 0, &target->extents, &reason);
	if (ret)
		return diagnose(t, STAGE_RESOLVE, ret, reason, target->path);
	target->size = target->extents.table->file_size;
	return 0;
}

static int target_resolve_to_write(struct target *target, struct session *s, struct trouble *t)
{
	uint32_t reason;
	int ret;

	ret = homi_extents_open_to_write(&s->dev, target->fd, 0, 0, &target->extents, &reason);
	if (ret)
		return diagnose(t, STAGE_RESOLVE_WRITE, ret, reason, target->path);
	target->size = target->extents.table->file_size;
	return 0;
}

/*
 * O_NONBLOCK is not to wait for the other end of a FIFO, but then who has a lease is told and not
 * waited for.
 */
int open_named(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK, 0666);
	struct stat st;

	if (fd >= 0 || errno != EWOULDBLOCK)
		return fd;
	if (stat(path, &st) || !S_ISREG(st.st_mode)) {
		errno = EWOULDBLOCK;
		return -1;
	}
	return open(path, flags | O_CLOEXEC, 0666);
}

void unmake(const char *path, int fd)
{
	struct stat named, st;

	if (!lstat(path, &named) && !fstat(fd, &st) && named.st_dev == st.st_dev &&
	    named.st_ino == st.st_ino)
		unlink(path);
}

static int target_begin(struct target *target, struct session *s, const struct options *opt,
			const char *path, int flags, bool with_reader,
			int (*resolve)(struct target *target, struct session *s,
				       struct trouble *t),
			struct trouble *t)
{
	int ret;

	memset(target, 0, sizeof(*target));
	target->path = path;
	target->fd = open_named(path, flags);
	if (target->fd < 0) {
		diagnose(t, STAGE_FILE, -errno, 0, path);
		return t->exit = EXIT_REFUSED;
	}
	ret = session_for(s, opt, path, target->fd, with_reader, t);
	if (!ret)
		ret = resolve(target, s, t);
	if (ret)
		close(target->fd);
	return ret;
}

int target_open(struct target *target, struct session *s, const struct options *opt,
		const char *path, bool with_reader, struct trouble *t)
{
	return target_begin(target, s, opt, path, O_RDONLY, with_reader, target_resolve, t);
}

int target_open_to_write(struct target *target, struct session *s, const struct options *opt,
			 const char *path, struct trouble *t)
{
	/* To name it: nobody may have it open, ourselves included. */
	return target_begin(target, s, opt, path, O_PATH, true, target_resolve_to_write, t);
}

void target_close(struct target *target, struct session *s)
{
	if (target->extents.table)
		homi_extents_close(&s->dev, &target->extents);
	close(target->fd);
}

/* Lets the caller's errors pass by those of the queue. */
struct delivery {
	homi_deliver_fn deliver;
	homi_fetch_fn fetch;	/* NULL: it is a read */
	void *arg;
	uint64_t offset, length;
	int err;
};

static int pass_on(void *arg, uint64_t offset, const void *data, size_t length)
{
	struct delivery *d = arg;

	d->err = d->deliver(d->arg, offset, data, length);
	return d->err;
}

static int pull(void *arg, uint64_t offset, void *data, size_t length)
{
	struct delivery *d = arg;

	d->err = d->fetch(d->arg, offset, data, length);
	return d->err;
}

static int lost(const struct target *target, struct trouble *t)
{
	if (homi_extent_get_state(target->extents.table) != HOMI_EXTENT_VALID)
		return trouble_set(t, EXIT_LOST, -ESTALE, "run again when the other side is done",
				   "%s: somebody else wants the file, so its blocks were given back",
				   target->path);
	return trouble_set(t, EXIT_LOST, -ESTALE, "run again",
			   "%s: the queue was lost: the controller was reset, or the queue revoked",
			   target->path);
}

int target_still_held(const struct target *target, struct trouble *t)
{
	return target->extents.table &&
	       homi_extent_get_state(target->extents.table) > HOMI_EXTENT_RECALLED ?
	       lost(target, t) : 0;
}

static int failed_io(struct target *target, const struct homi_pump_stats *stats,
		     struct trouble *t)
{
	return trouble_set(t, EXIT_IO, -EIO, "\"dmesg\" and \"nvme smart-log\" may tell more",
			   "%s: NVMe status %#x (type %u, code %#x) for block %llu, file offset %llu",
			   target->path, stats->status, HOMI_STATUS_SCT(stats->status),
			   HOMI_STATUS_SC(stats->status),
			   (unsigned long long)stats->error_slba,
			   (unsigned long long)stats->error_offset);
}

/*
 * When the controller is removed its rings go too, and polling them is SIGBUS.
 * Nothing but the ring raises it in there.
 */
static sigjmp_buf ring_gone;
static volatile sig_atomic_t reading;

static void on_sigbus(int number)
{
	if (reading)
		siglongjmp(ring_gone, 1);
	signal(number, SIG_DFL);
	raise(number);
}

static int guarded_read(struct target *target, struct session *s, unsigned int flags,
			struct delivery *d)
{
	int ret;

	signal(SIGBUS, on_sigbus);
	if (sigsetjmp(ring_gone, 1)) {
		reading = 0;
		return -ENODEV;
	}
	reading = 1;
	if (d->fetch)
		ret = homi_reader_write(s->reader, &target->extents, d->offset, d->length, pull,
					d);
	else
		ret = homi_reader_read(s->reader, &target->extents, 0, target->size, flags,
				       pass_on, d);
	reading = 0;
	return ret;
}

static int moved(struct target *target, struct session *s, const struct delivery *d, int ret,
		 struct homi_pump_stats *stats, struct trouble *t)
{
	homi_reader_get_stats(s->reader, stats);
	if (!ret)
		return 0;
	if (d->err)
		return diagnose(t, STAGE_FILE, d->err, 0, target->path);
	if (ret == -ESTALE)
		return lost(target, t);
	if (ret == -EIO && stats->status)
		return failed_io(target, stats, t);
	return diagnose(t, STAGE_READ, ret, 0, target->path);
}

int target_read(struct target *target, struct session *s, unsigned int flags,
		homi_deliver_fn deliver, void *arg, struct homi_pump_stats *stats,
		struct trouble *t)
{
	struct delivery d = { .deliver = deliver, .arg = arg };
	int ret;

	memset(stats, 0, sizeof(*stats));
	if (!target->extents.table)
		return 0;
	ret = guarded_read(target, s, flags, &d);
	return moved(target, s, &d, ret, stats, t);
}

int target_write(struct target *target, struct session *s, uint64_t offset, uint64_t length,
		 homi_fetch_fn fetch, void *arg, struct homi_pump_stats *stats, struct trouble *t)
{
	struct delivery d = { .fetch = fetch, .arg = arg, .offset = offset, .length = length };
	int ret = guarded_read(target, s, 0, &d);

	return moved(target, s, &d, ret, stats, t);
}
