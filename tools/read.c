// SPDX-License-Identifier: MIT
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"

struct sink {
	int fd;			/* -1: nowhere */
	bool created;		/* by us: there was none of that name */
	uint64_t done;
	struct progress progress;
};

static int put(void *arg, uint64_t offset, const void *data, size_t length)
{
	struct sink *sink = arg;
	const char *at = data;

	(void)offset;
	sink->done += length;
	progress_to(&sink->progress, sink->done);
	while (sink->fd >= 0 && length) {
		ssize_t n = write(sink->fd, at, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		at += n;
		length -= (size_t)n;
	}
	return 0;
}

/* Not the file that is read; emptied when there is something to put in. */
static int open_sink(struct sink *sink, const struct options *opt, struct trouble *t)
{
	struct stat in, out;

	sink->fd = -1;
	if (!opt->to)
		return 0;
	if (!strcmp(opt->to, "-")) {
		if (opt->json)
			return trouble_set(t, EXIT_USAGE, -EINVAL, "",
					   "-O - and -o json both want stdout");
		sink->fd = STDOUT_FILENO;
		return 0;
	}
	if (!stat(opt->operands[0], &in) && !stat(opt->to, &out) && in.st_dev == out.st_dev &&
	    in.st_ino == out.st_ino)
		return trouble_set(t, EXIT_USAGE, -EINVAL, "", "%s: is the file that is read",
				   opt->to);
	sink->fd = open(opt->to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	sink->created = sink->fd >= 0;
	/* Or it is a link that leads to nothing yet. */
	if (sink->fd < 0 && errno == EEXIST)
		sink->fd = open(opt->to, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
	if (sink->fd >= 0)
		return 0;
	diagnose(t, STAGE_FILE, -errno, 0, opt->to);
	return t->exit = EXIT_REFUSED;
}

static int empty_sink(struct sink *sink, const struct options *opt, struct trouble *t)
{
	struct stat st;

	if (sink->fd <= STDOUT_FILENO || fstat(sink->fd, &st) || !S_ISREG(st.st_mode))
		return 0;
	return ftruncate(sink->fd, 0) ? diagnose(t, STAGE_FILE, -errno, 0, opt->to) : 0;
}

static int close_sink(struct sink *sink, const struct options *opt, struct trouble *t)
{
	int fd = sink->fd;

	sink->fd = -1;
	if (fd > STDOUT_FILENO && close(fd))
		return diagnose(t, STAGE_FILE, -errno, 0, opt->to);
	return 0;
}

static void show(const struct options *opt, const struct target *target, const char *controller,
		 const struct homi_pump_stats *stats, uint64_t ns)
{
	FILE *f = opt->to && !strcmp(opt->to, "-") ? stderr : stdout;
	double seconds = (double)(ns ? ns : 1) / 1e9;
	struct json_object *o;
	char size[32], rate[32];

	if (opt->json) {
		o = json_object_new_object();
		add_string(o, "path", target->path);
		add_string(o, "controller", controller);
		add_number(o, "bytes", stats->bytes);
		add_number(o, "hole_bytes", stats->hole_bytes);
		add_number(o, "ios", stats->ios);
		add_number(o, "extents", target->extents.table ? target->extents.table->count : 0);
		add_number(o, "ns", ns);
		print_json(o);
		return;
	}
	fprintf(f, "%s: %s in %.3f s by %llu I/Os: %s/s\n", target->path,
		size_text(stats->bytes, size, sizeof(size)), seconds,
		(unsigned long long)stats->ios,
		size_text((uint64_t)((double)stats->bytes / seconds), rate, sizeof(rate)));
}

int cmd_read(const struct options *opt)
{
	struct homi_pump_stats stats;
	struct session s = { 0 };
	struct target target;
	struct sink sink = { 0 };
	struct trouble t;
	uint64_t begin;
	int ret;

	if (open_sink(&sink, opt, &t))
		return trouble_report(&t, opt);
	ret = target_open(&target, &s, opt, opt->operands[0], true, &t);
	if (ret)
		goto out;
	progress_begin(&sink.progress, opt, target.path, target.size);
	begin = clock_now_ns(CLOCK_MONOTONIC);
	ret = empty_sink(&sink, opt, &t);
	if (!ret)
		ret = target_read(&target, &s, opt->to ? 0 : HOMI_PUMP_ANY_ORDER, put, &sink,
				  &stats, &t);
	progress_end(&sink.progress);
	if (!ret)
		ret = close_sink(&sink, opt, &t);
	if (!ret)
		show(opt, &target, s.name, &stats, clock_now_ns(CLOCK_MONOTONIC) - begin);
	target_close(&target, &s);
out:
	session_close(&s);
	/*
	 * No empty one for a file that was refused. To open it only when that is held would have
	 * who wants to write there wait for the other end of a pipe.
	 */
	if (ret && sink.created && !sink.done)
		unmake(opt->to, sink.fd);
	if (sink.fd > STDOUT_FILENO)
		close(sink.fd);
	return ret ? trouble_report(&t, opt) : EXIT_OK;
}
