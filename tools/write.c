// SPDX-License-Identifier: MIT
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"

/* What can't be read twice is written piece by piece. */
#define WINDOW	(16u << 20)
/* Resets that a write from a file sits out, each time from its beginning */
#define TRIES	5

/* @size: of a file; else the bytes of @window, which are those from @start on */
struct input {
	const char *name;
	int fd;
	bool file;
	uint64_t size;
	char *window;
	uint64_t start;
	struct progress progress;
};

static int read_all(int fd, void *data, size_t length, off_t offset, bool at, size_t *got)
{
	for (*got = 0; *got < length;) {
		ssize_t n = at ? pread(fd, (char *)data + *got, length - *got,
				       offset + (off_t)*got) :
				 read(fd, (char *)data + *got, length - *got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		*got += (size_t)n;
	}
	return 0;
}

static int give(void *arg, uint64_t offset, void *data, size_t length)
{
	struct input *in = arg;
	size_t got;
	int ret;

	progress_to(&in->progress, offset);
	if (!in->file) {
		memcpy(data, in->window + (offset - in->start), length);
		return 0;
	}
	ret = read_all(in->fd, data, length, (off_t)offset, true, &got);
	if (ret)
		return ret;
	/* It was cut meanwhile. */
	return got == length ? 0 : -ENODATA;
}

static int open_input(struct input *in, const struct options *opt, const struct stat *target,
		      struct trouble *t)
{
	struct stat st;

	memset(in, 0, sizeof(*in));
	in->name = opt->from && strcmp(opt->from, "-") ? opt->from : "stdin";
	in->fd = STDIN_FILENO;
	if (opt->from && strcmp(opt->from, "-"))
		in->fd = open(opt->from, O_RDONLY | O_CLOEXEC);
	if (in->fd < 0 || fstat(in->fd, &st)) {
		diagnose(t, STAGE_FILE, -errno, 0, in->name);
		return t->exit = EXIT_REFUSED;
	}
	if (st.st_dev == target->st_dev && st.st_ino == target->st_ino)
		return trouble_set(t, EXIT_USAGE, -EINVAL, "", "%s: is the file that is written",
				   in->name);
	in->file = S_ISREG(st.st_mode) && !lseek(in->fd, 0, SEEK_CUR);
	in->size = (uint64_t)st.st_size;
	if (in->file)
		return 0;
	in->window = malloc(WINDOW);
	if (!in->window)
		return diagnose(t, STAGE_FILE, -ENOMEM, 0, in->name);
	return 0;
}

static void close_input(struct input *in)
{
	free(in->window);
	if (in->fd > STDIN_FILENO)
		close(in->fd);
}

static int too_long(const struct input *in, const struct target *target, struct trouble *t)
{
	return trouble_set(t, EXIT_REFUSED, -EFBIG,
			   "make it larger first: homi prepare FILE SIZE",
			   "%s is longer than the whole blocks of %s", in->name, target->path);
}

static int no_whole_blocks(const struct input *in, const struct target *target, uint64_t bytes,
			   struct trouble *t)
{
	return trouble_set(t, EXIT_REFUSED, -EINVAL, "only whole blocks can be written in place",
			   "%s: %llu bytes are no multiple of the block size of %u", in->name,
			   (unsigned long long)bytes, target->extents.table->block_size);
}

static uint64_t room(const struct target *target)
{
	return target->size / target->extents.table->block_size *
	       target->extents.table->block_size;
}

static int write_file(struct input *in, struct target *target, struct session *s,
		      struct homi_pump_stats *stats, struct trouble *t)
{
	unsigned int tries;
	int ret = 0;

	if (in->size > room(target))
		return too_long(in, target, t);
	if (in->size % target->extents.table->block_size)
		return no_whole_blocks(in, target, in->size, t);
	for (tries = 0; tries < TRIES; tries++) {
		ret = target_write(target, s, 0, in->size, give, in, stats, t);
		/* The queue was lost, and the file is still ours. */
		if (!ret || t->err != -ESTALE ||
		    homi_extent_get_state(target->extents.table) != HOMI_EXTENT_VALID)
			break;
	}
	return ret;
}

static int write_windows(struct input *in, struct target *target, struct session *s,
			 struct homi_pump_stats *sum, struct trouble *t)
{
	uint32_t block = target->extents.table->block_size;
	struct homi_pump_stats stats;
	size_t got;
	int ret;

	do {
		ret = read_all(in->fd, in->window, WINDOW, 0, false, &got);
		if (ret)
			return diagnose(t, STAGE_FILE, ret, 0, in->name);
		if (got > room(target) - in->start)
			return too_long(in, target, t);
		if (got % block)
			return no_whole_blocks(in, target, in->start + got, t);
		if (!got)
			break;
		ret = target_write(target, s, in->start, got, give, in, &stats, t);
		if (ret)
			return ret;
		sum->ios += stats.ios;
		sum->bytes += stats.bytes;
		in->start += got;
	} while (got == WINDOW);
	return 0;
}

/* That it is too long, or ends within a block, is seen at its end only: some is written by then. */
static int write_stream(struct input *in, struct target *target, struct session *s,
			struct homi_pump_stats *sum, struct trouble *t)
{
	int ret = write_windows(in, target, s, sum, t);
	char why[sizeof(t->text)];

	if (!ret || !in->start)
		return ret;
	snprintf(why, sizeof(why), "%s", t->text);
	snprintf(t->text, sizeof(t->text), "the first %llu bytes have been written, but %.300s",
		 (unsigned long long)in->start, why);
	if (t->exit == EXIT_REFUSED)
		t->exit = EXIT_IO;
	return t->exit;
}

static void show(const struct options *opt, const struct target *target, const char *controller,
		 const struct homi_pump_stats *stats, uint64_t ns)
{
	double seconds = (double)(ns ? ns : 1) / 1e9;
	struct json_object *o;
	char size[32], rate[32];

	if (opt->json) {
		o = json_object_new_object();
		add_string(o, "path", target->path);
		add_string(o, "controller", controller);
		add_number(o, "bytes", stats->bytes);
		add_number(o, "ios", stats->ios);
		add_number(o, "ns", ns);
		print_json(o);
		return;
	}
	printf("%s: %s written and flushed in %.3f s by %llu I/Os: %s/s\n", target->path,
	       size_text(stats->bytes, size, sizeof(size)), seconds,
	       (unsigned long long)stats->ios,
	       size_text((uint64_t)((double)stats->bytes / seconds), rate, sizeof(rate)));
}

/* The queue first: the blocks are not given back while something could be written to them. */
static int end(struct target *target, struct session *s, struct trouble *t)
{
	int ret = homi_reader_close(s->reader), closed;

	s->reader = NULL;
	closed = homi_extents_close(&s->dev, &target->extents);
	close(target->fd);
	/* It has its fence: closing the device waits for what is left. */
	if (ret || closed)
		return trouble_set(t, EXIT_IO, ret ? ret : closed, "\"dmesg\" may tell more",
				   "%s: the queue could not be deleted", target->path);
	return 0;
}

int cmd_write(const struct options *opt)
{
	struct homi_pump_stats stats = { 0 };
	struct session s = { 0 };
	struct target target;
	struct input in;
	struct trouble t, other;
	struct stat st = { 0 };
	uint64_t begin;
	int ret;

	if (stat(opt->operands[0], &st)) {
		diagnose(&t, STAGE_FILE, -errno, 0, opt->operands[0]);
		t.exit = EXIT_REFUSED;
		return trouble_report(&t, opt);
	}
	ret = open_input(&in, opt, &st, &t);
	if (!ret)
		ret = target_open_to_write(&target, &s, opt, opt->operands[0], &t);
	if (ret)
		goto out;
	begin = clock_now_ns(CLOCK_MONOTONIC);
	progress_begin(&in.progress, opt, target.path, in.file ? in.size : room(&target));
	ret = in.file ? write_file(&in, &target, &s, &stats, &t) :
			write_stream(&in, &target, &s, &stats, &t);
	progress_end(&in.progress);
	if (end(&target, &s, &other) && !ret) {
		t = other;
		ret = t.exit;
	}
	if (!ret)
		show(opt, &target, s.name, &stats, clock_now_ns(CLOCK_MONOTONIC) - begin);
out:
	session_close(&s);
	close_input(&in);
	return ret ? trouble_report(&t, opt) : EXIT_OK;
}
