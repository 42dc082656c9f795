// SPDX-License-Identifier: MIT
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"

#define RETRY_MS	50

/**
 * struct watched - a file whose blocks are held until somebody wants them
 * @s: its controller; each has its own, so that a fence takes no other's
 * @target: @target.extents.table is NULL while it is not held
 * @event: told when somebody wants it
 * @records: copy of the table as it was, to see what moved
 * @count: of these
 * @generation: of the table, as it was held
 * @given: what became of it, to be told; 0: nothing
 * @given_ns: how long it took to give it back
 */
struct watched {
	struct session s;
	struct target target;
	int event;
	struct homi_extent *records;
	uint64_t count;
	uint64_t generation;
	uint32_t given;
	uint64_t given_ns;
};

static volatile sig_atomic_t stopped;

static void on_stop(int number)
{
	(void)number;
	stopped = 1;
}

static struct json_object *line_begin(const struct watched *w, const char *what)
{
	struct json_object *o = json_object_new_object();

	add_number(o, "time_ns", clock_now_ns(CLOCK_REALTIME));
	add_string(o, "path", w->target.path);
	add_string(o, "event", what);
	add_number(o, "generation", w->generation);
	return o;
}

/* One object per line: it is read while it goes on. */
static void line_end(struct json_object *o)
{
	puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
	json_object_put(o);
	fflush(stdout);
}

static void stamp(void)
{
	char text[32];
	struct timespec ts;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &ts);
	localtime_r(&ts.tv_sec, &tm);
	strftime(text, sizeof(text), "%H:%M:%S", &tm);
	printf("%s.%03ld ", text, ts.tv_nsec / 1000000);
}

/* Records that are not what they were, or were not there; UINT64_MAX at first. */
static uint64_t count_changed(const struct watched *w)
{
	const struct homi_extent_table *table = w->target.extents.table;
	uint64_t i, was, changed = 0;

	if (!w->records)
		return UINT64_MAX;
	for (i = 0; i < table->count; i++) {
		was = homi_extent_find(w->records, w->count, table->block_size,
				       table->records[i].file_offset);
		changed += was == w->count ||
			   memcmp(&w->records[was], &table->records[i], sizeof(*w->records));
	}
	return changed;
}

static void tell_held(const struct watched *w, const struct options *opt, uint64_t changed)
{
	const struct homi_extent_table *table = w->target.extents.table;
	struct json_object *o;

	if (opt->json) {
		o = line_begin(w, "held");
		add_number(o, "size", table->file_size);
		add_number(o, "extents", table->count);
		if (changed != UINT64_MAX)
			add_number(o, "changed", changed);
		line_end(o);
		return;
	}
	stamp();
	printf("%s: held, generation %llu: %llu bytes in %llu extents", w->target.path,
	       (unsigned long long)w->generation, (unsigned long long)table->file_size,
	       (unsigned long long)table->count);
	if (changed != UINT64_MAX)
		printf(", %llu of them changed", (unsigned long long)changed);
	putchar('\n');
	fflush(stdout);
}

static void tell_given(struct watched *w, const struct options *opt)
{
	bool late = w->given != HOMI_EXTENT_RECALLED;
	struct json_object *o;

	w->given = 0;
	if (opt->json) {
		o = line_begin(w, late ? "revoked" : "recalled");
		add_number(o, "ns", w->given_ns);
		line_end(o);
		return;
	}
	stamp();
	if (late)
		printf("%s: revoked: not given back in time, or the namespace or controller went\n",
		       w->target.path);
	else
		printf("%s: recalled: somebody wants to write to it, or to move its blocks; given back in %.3f ms\n",
		       w->target.path, (double)w->given_ns / 1e6);
	fflush(stdout);
}

static int remember(struct watched *w)
{
	const struct homi_extent_table *table = w->target.extents.table;
	size_t bytes = table->count * sizeof(*w->records);

	free(w->records);
	w->count = table->count;
	w->records = malloc(bytes ? bytes : 1);
	if (!w->records)
		return -ENOMEM;
	memcpy(w->records, table->records, bytes);
	return 0;
}

/* 0: it is held, or will be tried again; or an exit status with @t set */
static int hold(struct watched *w, const struct options *opt, bool first, struct trouble *t)
{
	uint64_t changed;
	uint32_t reason;
	int ret;

	ret = homi_extents_open(&w->s.dev, w->target.fd, 0, 0, &w->target.extents, &reason);
	/* -EINVAL: there is nothing in it now. */
	if ((ret == -EAGAIN || ret == -EINVAL) && !first)
		return 0;
	if (!ret)
		ret = homi_event_bind(&w->s.dev, w->target.extents.id, w->event);
	if (ret)
		return diagnose(t, STAGE_RESOLVE, ret, reason, w->target.path);
	w->generation = w->target.extents.table->generation;
	changed = count_changed(w);
	if (remember(w))
		return diagnose(t, STAGE_RESOLVE, -ENOMEM, 0, w->target.path);
	tell_held(w, opt, changed);
	return 0;
}

/* No queue reads it, so there is nothing to end first. */
static void give_back(struct watched *w)
{
	uint64_t begin = clock_now_ns(CLOCK_MONOTONIC), count;
	uint32_t state;

	while (read(w->event, &count, sizeof(count)) < 0 && errno == EINTR)
		;
	state = homi_extent_get_state(w->target.extents.table);
	if (state == HOMI_EXTENT_VALID)
		return;
	w->generation = w->target.extents.table->generation;
	homi_extents_close(&w->s.dev, &w->target.extents);
	w->given = state;
	w->given_ns = clock_now_ns(CLOCK_MONOTONIC) - begin;
}

static int begin(struct watched *w, const struct options *opt, const char *path,
		 struct trouble *t)
{
	int ret;

	w->target.path = path;
	w->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	w->target.fd = open_named(path, O_RDONLY);
	if (w->target.fd < 0 || w->event < 0) {
		diagnose(t, STAGE_FILE, -errno, 0, path);
		return t->exit = EXIT_REFUSED;
	}
	ret = session_for(&w->s, opt, path, w->target.fd, false, t);
	return ret ? ret : hold(w, opt, true, t);
}

static void end(struct watched *w)
{
	if (w->target.extents.table)
		homi_extents_close(&w->s.dev, &w->target.extents);
	session_close(&w->s);
	if (w->target.fd >= 0)
		close(w->target.fd);
	if (w->event >= 0)
		close(w->event);
	free(w->records);
}

/* @mask lets the signals in that stop it. */
static int watch(struct watched *files, struct pollfd *fds, const struct options *opt,
		 const sigset_t *mask, struct trouble *t)
{
	static const struct timespec retry = { .tv_nsec = RETRY_MS * 1000000 };
	uint64_t recalls = 0;
	int i, ret = 0;

	while (!ret && !stopped && (!opt->recalls || recalls < opt->recalls)) {
		bool waits = false;

		for (i = 0; i < opt->count; i++) {
			fds[i] = (struct pollfd){ .fd = -1, .events = POLLIN };
			if (files[i].target.extents.table)
				fds[i].fd = files[i].event;
			else
				waits = true;
		}
		if (ppoll(fds, (nfds_t)opt->count, waits ? &retry : NULL, mask) < 0 &&
		    errno != EINTR)
			return diagnose(t, STAGE_FILE, -errno, 0, "poll");
		/* First, since stdout may be a pipe that is full. */
		for (i = 0; i < opt->count; i++)
			if (fds[i].fd >= 0 && fds[i].revents & POLLIN)
				give_back(&files[i]);
		for (i = 0; !ret && i < opt->count; i++) {
			if (files[i].given) {
				recalls++;
				tell_given(&files[i], opt);
			} else if (!files[i].target.extents.table) {
				ret = hold(&files[i], opt, false, t);
			}
		}
	}
	return ret;
}

int cmd_watch(const struct options *opt)
{
	struct sigaction stop = { .sa_handler = on_stop };
	struct watched *files = calloc((size_t)opt->count, sizeof(*files));
	struct pollfd *fds = calloc((size_t)opt->count, sizeof(*fds));
	sigset_t stops, mask;
	struct trouble t;
	int i, ret = 0;

	if (!files || !fds)
		return report(opt, EXIT_REFUSED, -ENOMEM, "", "out of memory");
	sigemptyset(&stops);
	sigaddset(&stops, SIGINT);
	sigaddset(&stops, SIGTERM);
	sigprocmask(SIG_BLOCK, &stops, &mask);
	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGTERM, &stop, NULL);
	for (i = 0; i < opt->count; i++)
		files[i].target.fd = files[i].event = -1;
	for (i = 0; !ret && i < opt->count; i++)
		ret = begin(&files[i], opt, opt->operands[i], &t);
	if (!ret)
		ret = watch(files, fds, opt, &mask, &t);
	for (i = 0; i < opt->count; i++)
		end(&files[i]);
	free(files);
	free(fds);
	return ret ? trouble_report(&t, opt) : EXIT_OK;
}
