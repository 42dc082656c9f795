// SPDX-License-Identifier: MIT
/*
 * What goes on now: counters, read again and again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "counters.h"

/* On a terminal; who wants all of them has a pipe. */
#define ROWS_MAX	16u

/**
 * struct sample - all counters at one time
 * @at_ns: CLOCK_MONOTONIC
 * @controllers: sorted
 * @files: of all of these
 * @files_error: 0, or why these can't be told, a negative errno
 */
struct sample {
	uint64_t at_ns;
	struct counted *controllers;
	unsigned int nr_controllers;
	struct counted_file *files;
	unsigned int nr_files;
	int files_error;
};

static void sample_free(struct sample *s)
{
	free(s->controllers);
	free(s->files);
	memset(s, 0, sizeof(*s));
}

static int sample_take(struct sample *s, const char *want)
{
	unsigned int i;
	int ret;

	memset(s, 0, sizeof(*s));
	ret = counted_controllers(&s->controllers, &s->nr_controllers, want);
	if (!ret && !s->nr_controllers)
		ret = -ENOENT;
	for (i = 0; !ret && i < s->nr_controllers && !s->files_error; i++) {
		s->files_error = counted_files(&s->files, &s->nr_files, s->controllers[i].name);
		/* It is just going; or there is no debugfs at all. */
		if (s->files_error == -ENOENT && !access(HOMI_DEBUG, X_OK))
			s->files_error = 0;
	}
	s->at_ns = clock_now_ns(CLOCK_MONOTONIC);
	return ret;
}

/* --- what has changed --- */

/* All of them grow, unless it is another one: that has counted from 0. */
static void since(uint64_t *now, const uint64_t *before, unsigned int count)
{
	unsigned int i;

	for (i = 0; before && i < count; i++)
		if (now[i] < before[i])
			return;
	for (i = 0; before && i < count; i++)
		now[i] -= before[i];
}

static const uint64_t *controller_before(const struct sample *s, const char *name)
{
	unsigned int i;

	for (i = 0; i < s->nr_controllers; i++)
		if (!strcmp(s->controllers[i].name, name))
			return s->controllers[i].value;
	return NULL;
}

static const uint64_t *file_before(const struct sample *s, const struct counted_file *f)
{
	unsigned int i;

	for (i = 0; i < s->nr_files; i++)
		if (s->files[i].nr == f->nr && s->files[i].pid == f->pid &&
		    !strcmp(s->files[i].controller, f->controller))
			return s->files[i].value;
	return NULL;
}

static uint64_t bytes_of(const struct counted_file *f)
{
	return f->value[FS + READ_BYTES] + f->value[FS + WRITE_BYTES] +
	       f->value[EXTENTS + READ_BYTES] + f->value[EXTENTS + WRITE_BYTES];
}

/* Who does most first */
static int by_bytes(const void *a, const void *b)
{
	const struct counted_file *one = a, *other = b;

	if (bytes_of(one) != bytes_of(other))
		return bytes_of(one) < bytes_of(other) ? 1 : -1;
	if (one->nr != other->nr)
		return one->nr < other->nr ? -1 : 1;
	return strverscmp(one->controller, other->controller);
}

/* A copy of @now with what was counted after @before; of what is new, all */
static int difference(struct sample *d, const struct sample *now, const struct sample *before)
{
	unsigned int i;

	*d = *now;
	d->controllers = malloc((now->nr_controllers + 1) * sizeof(*d->controllers));
	d->files = malloc((now->nr_files + 1) * sizeof(*d->files));
	if (!d->controllers || !d->files)
		return -ENOMEM;
	for (i = 0; i < now->nr_controllers; i++) {
		d->controllers[i] = now->controllers[i];
		since(d->controllers[i].value, controller_before(before, d->controllers[i].name),
		      GROWING);
	}
	/* What they did until now, if nobody could tell before, is not what they do now. */
	d->files_error = now->files_error ? now->files_error : before->files_error;
	for (i = 0; i < now->nr_files; i++) {
		d->files[i] = now->files[i];
		since(d->files[i].value, file_before(before, &d->files[i]), FILE_COUNTERS);
	}
	qsort(d->files, d->nr_files, sizeof(*d->files), by_bytes);
	return 0;
}

/* --- shown as text --- */

static void io_text(const uint64_t *value, double seconds)
{
	char read[32], written[32];

	size_text((uint64_t)((double)value[READ_BYTES] / seconds), read, sizeof(read));
	size_text((uint64_t)((double)value[WRITE_BYTES] / seconds), written, sizeof(written));
	printf(" %10.0f %10s/s %10.0f %10s/s", (double)value[READS] / seconds, read,
	       (double)value[WRITES] / seconds, written);
}

static void controller_text(const struct counted *c, double seconds)
{
	const uint64_t *v = c->value;

	printf("%-8s %-7s", c->name, "fs");
	io_text(v + FS, seconds);
	printf(" %8.0f\n%-8s %-7s", (double)v[FS + ERRORS] / seconds, "", "extents");
	io_text(v + EXTENTS, seconds);
	printf(" %8.0f\n%-8s queues: %llu lent, %llu of these quarantined; +%llu resets, +%llu recalls, +%llu revoked, +%llu refused\n",
	       (double)v[EXTENTS + ERRORS] / seconds, "", (unsigned long long)v[QUEUES_LENT],
	       (unsigned long long)v[QUEUES_QUARANTINED], (unsigned long long)v[RESETS],
	       (unsigned long long)v[RECALLS], (unsigned long long)v[REVOKED],
	       (unsigned long long)v[REFUSED]);
}

static void file_text(const struct counted_file *f, double seconds)
{
	uint64_t sum[PER_WAY];
	char name[32];
	unsigned int i;

	for (i = 0; i < PER_WAY; i++)
		sum[i] = f->value[FS + i] + f->value[EXTENTS + i];
	command_name(f->pid, name, sizeof(name));
	printf("%-8s %7u %-16s %6u %-6s", f->controller, f->pid, name, f->uid, f->state);
	io_text(sum, seconds);
	printf(" %6u %s\n", f->queues, f->quarantined);
}

static void show_text(const struct sample *d, double seconds, bool terminal)
{
	unsigned int rows = terminal && d->nr_files > ROWS_MAX ? ROWS_MAX : d->nr_files, i;
	time_t now = time(NULL);
	char clock[16];

	strftime(clock, sizeof(clock), "%H:%M:%S", localtime(&now));
	/* Home, and nothing below */
	if (terminal)
		fputs("\033[H\033[J", stdout);
	printf("%s, in %.1f s\n%-8s %-7s %10s %12s %10s %12s %8s\n", clock, seconds, "NAME", "WAY",
	       "READS/S", "READ", "WRITES/S", "WRITTEN", "ERRORS/S");
	for (i = 0; i < d->nr_controllers; i++)
		controller_text(&d->controllers[i], seconds);
	printf("\n");
	if (d->files_error) {
		printf("open files: %s\n", strerror(-d->files_error));
	} else {
		printf("%-8s %7s %-16s %6s %-6s %10s %12s %10s %12s %6s %s\n", "NAME", "PID",
		       "COMMAND", "UID", "STATE", "READS/S", "READ", "WRITES/S", "WRITTEN",
		       "QUEUES", "QUARANTINED");
		for (i = 0; i < rows; i++)
			file_text(&d->files[i], seconds);
		if (rows < d->nr_files)
			printf("and %u others\n", d->nr_files - rows);
	}
	if (!terminal)
		printf("\n");
	fflush(stdout);
}

/* --- shown as JSON --- */

static void show_json(const struct sample *d, double seconds)
{
	struct json_object *top = json_object_new_object(), *all = json_object_new_array(), *o;
	unsigned int i, k;
	char name[32];

	add_number(top, "time_ns", clock_now_ns(CLOCK_REALTIME));
	json_object_object_add(top, "seconds", json_object_new_double(seconds));
	for (i = 0; i < d->nr_controllers; i++) {
		o = json_object_new_object();
		add_string(o, "name", d->controllers[i].name);
		for (k = 0; k < COUNTERS; k++)
			add_number(o, counter_names[k], d->controllers[i].value[k]);
		json_object_array_add(all, o);
	}
	json_object_object_add(top, "controllers", all);
	all = d->files_error ? NULL : json_object_new_array();
	for (i = 0; all && i < d->nr_files; i++) {
		const struct counted_file *f = &d->files[i];

		o = json_object_new_object();
		command_name(f->pid, name, sizeof(name));
		add_string(o, "controller", f->controller);
		add_number(o, "file", f->nr);
		add_number(o, "pid", f->pid);
		add_string(o, "command", name);
		add_number(o, "uid", f->uid);
		add_string(o, "state", f->state);
		add_number(o, "queues", f->queues);
		add_string(o, "quarantined", f->quarantined);
		for (k = 0; k < FILE_COUNTERS; k++)
			add_number(o, counter_names[k], f->value[k]);
		json_object_array_add(all, o);
	}
	json_object_object_add(top, "files", all);
	puts(json_object_to_json_string_ext(top, JSON_C_TO_STRING_PLAIN));
	json_object_put(top);
	fflush(stdout);
}

/* --- homi top --- */

static int refresh(struct sample *before, const struct options *opt, const char *want)
{
	struct sample now, d = { 0 };
	double seconds;
	int ret;

	ret = sample_take(&now, want);
	if (!ret)
		ret = difference(&d, &now, before);
	if (!ret) {
		seconds = (double)(now.at_ns - before->at_ns) / 1e9;
		if (opt->json)
			show_json(&d, seconds);
		else
			show_text(&d, seconds, isatty(STDOUT_FILENO));
	}
	sample_free(&d);
	sample_free(before);
	*before = now;
	return ret;
}

int cmd_top(const struct options *opt)
{
	uint32_t ms = opt->interval_ms ? opt->interval_ms : 1000, shown = 0;
	struct timespec nap = { ms / 1000, ms % 1000 * 1000000l };
	const char *want = wanted_controller(opt);
	struct sample before;
	struct trouble t;
	int ret;

	ret = sample_take(&before, want);
	while (!ret && (!opt->refreshes || shown++ < opt->refreshes) && !ferror(stdout)) {
		nanosleep(&nap, NULL);
		ret = refresh(&before, opt, want);
	}
	sample_free(&before);
	if (!ret)
		return EXIT_OK;
	diagnose(&t, STAGE_OPEN, ret, 0, want ? want : "top");
	return trouble_report(&t, opt);
}
