// SPDX-License-Identifier: MIT
/*
 * What the module counts: by controller in sysfs, for everybody, and by open file in
 * debugfs, for root. See Documentation/observability.md.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "counters.h"

#define CLASS	"/sys/class/homi"

/* As the files, and the columns of debugfs, are called */
const char *const counter_names[COUNTERS] = {
	[FS + READS] = "fs_reads",
	[FS + READ_BYTES] = "fs_read_bytes",
	[FS + WRITES] = "fs_writes",
	[FS + WRITE_BYTES] = "fs_write_bytes",
	[FS + ERRORS] = "fs_errors",
	[EXTENTS + READS] = "extents_reads",
	[EXTENTS + READ_BYTES] = "extents_read_bytes",
	[EXTENTS + WRITES] = "extents_writes",
	[EXTENTS + WRITE_BYTES] = "extents_write_bytes",
	[EXTENTS + ERRORS] = "extents_errors",
	[RESETS] = "resets",
	[RECALLS] = "recalls",
	[REVOKED] = "revoked",
	[REFUSED] = "refused",
	[QUEUES_LENT] = "queues_lent",
	[QUEUES_QUARANTINED] = "queues_quarantined",
};

/* --- controllers --- */

/* False: there is no such controller, or it is just going. */
static bool read_controller(struct counted *c, const char *name)
{
	char path[PATH_MAX], line[64];
	unsigned int i;

	memset(c, 0, sizeof(*c));
	snprintf(c->name, sizeof(c->name), "%s", name);
	for (i = 0; i < COUNTERS; i++) {
		snprintf(path, sizeof(path), CLASS "/%s/stats/%s", name, counter_names[i]);
		if (!read_line(path, line, sizeof(line)))
			return false;
		c->value[i] = strtoull(line, NULL, 10);
	}
	return true;
}

static int by_name(const void *a, const void *b)
{
	return strverscmp(((const struct counted *)a)->name, ((const struct counted *)b)->name);
}

int counted_controllers(struct counted **list, unsigned int *count, const char *want)
{
	DIR *dir = opendir(CLASS);
	struct dirent *e;
	int ret = 0;

	*list = NULL;
	*count = 0;
	while (dir && (e = readdir(dir))) {
		struct counted *more, one;

		if (e->d_name[0] == '.' || (want && strcmp(want, e->d_name)) ||
		    !read_controller(&one, e->d_name))
			continue;
		more = realloc(*list, (*count + 1) * sizeof(**list));
		if (!more) {
			ret = -ENOMEM;
			break;
		}
		*list = more;
		more[(*count)++] = one;
	}
	if (dir)
		closedir(dir);
	if (*count)
		qsort(*list, *count, sizeof(**list), by_name);
	return ret;
}

/* --- open files --- */

/* As many ids as there is room for, and then "..." */
static void take_ids(char *ids, size_t len, const char *word)
{
	char *comma;

	if (!strcmp(word, "-"))
		word = "";
	if ((size_t)snprintf(ids, len, "%s", word) < len)
		return;
	ids[len - sizeof("...")] = 0;
	comma = strrchr(ids, ',');
	strcpy(comma ? comma + 1 : ids, "...");
}

static void take_column(struct counted_file *f, const char *column, const char *word)
{
	unsigned int i;

	if (!strcmp(column, "file"))
		f->nr = strtoull(word, NULL, 10);
	else if (!strcmp(column, "pid"))
		f->pid = (uint32_t)strtoul(word, NULL, 10);
	else if (!strcmp(column, "uid"))
		f->uid = (uint32_t)strtoul(word, NULL, 10);
	else if (!strcmp(column, "state"))
		snprintf(f->state, sizeof(f->state), "%s", word);
	else if (!strcmp(column, "queues"))
		f->queues = (uint32_t)strtoul(word, NULL, 10);
	else if (!strcmp(column, "quarantined"))
		take_ids(f->quarantined, sizeof(f->quarantined), word);
	for (i = 0; i < FILE_COUNTERS; i++)
		if (!strcmp(column, counter_names[i]))
			f->value[i] = strtoull(word, NULL, 10);
}

/* A line by the head above it, so that later columns are no trouble. Both are cut up. */
static void take_line(struct counted_file *f, const char *controller, char *head, char *line)
{
	char *column, *word, *rest_of_head, *rest;

	memset(f, 0, sizeof(*f));
	snprintf(f->controller, sizeof(f->controller), "%s", controller);
	column = strtok_r(head, " \n", &rest_of_head);
	word = strtok_r(line, " \n", &rest);
	while (column && word) {
		take_column(f, column, word);
		column = strtok_r(NULL, " \n", &rest_of_head);
		word = strtok_r(NULL, " \n", &rest);
	}
}

int counted_files(struct counted_file **list, unsigned int *count, const char *controller)
{
	char path[PATH_MAX], *head = NULL, *line = NULL;
	size_t head_size = 0, size = 0;
	int ret = 0;
	FILE *f;

	snprintf(path, sizeof(path), HOMI_DEBUG "/%s/files", controller);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	if (getline(&head, &head_size, f) < 0)
		ret = -EIO;
	while (!ret && getline(&line, &size, f) >= 0) {
		struct counted_file *more = realloc(*list, (*count + 1) * sizeof(**list));
		char *columns = strdup(head);

		if (more)
			*list = more;
		if (more && columns)
			take_line(&more[(*count)++], controller, columns, line);
		else
			ret = -ENOMEM;
		free(columns);
	}
	free(head);
	free(line);
	fclose(f);
	return ret;
}

/* --- homi stats --- */

static void stats_text(const struct counted *list, unsigned int count)
{
	unsigned int i, k;

	printf("%-20s", "");
	for (k = 0; k < count; k++)
		printf(" %16s", list[k].name);
	printf("\n");
	for (i = 0; i < COUNTERS; i++) {
		printf("%-20s", counter_names[i]);
		for (k = 0; k < count; k++)
			printf(" %16llu", (unsigned long long)list[k].value[i]);
		printf("\n");
	}
}

static void stats_json(const struct counted *list, unsigned int count)
{
	struct json_object *top = json_object_new_object(), *all = json_object_new_array();
	unsigned int i, k;

	for (k = 0; k < count; k++) {
		struct json_object *o = json_object_new_object();

		add_string(o, "name", list[k].name);
		for (i = 0; i < COUNTERS; i++)
			add_number(o, counter_names[i], list[k].value[i]);
		json_object_array_add(all, o);
	}
	json_object_object_add(top, "controllers", all);
	print_json(top);
}

const char *wanted_controller(const struct options *opt)
{
	const char *want = opt->count ? opt->operands[0] : NULL;

	return want && strrchr(want, '/') ? strrchr(want, '/') + 1 : want;
}

int cmd_stats(const struct options *opt)
{
	const char *want = wanted_controller(opt);
	struct counted *list;
	struct trouble t;
	unsigned int count;
	int ret;

	ret = counted_controllers(&list, &count, want);
	if (!ret && !count)
		ret = -ENOENT;
	if (ret) {
		free(list);
		diagnose(&t, STAGE_OPEN, ret, 0, want ? want : "stats");
		return trouble_report(&t, opt);
	}
	if (opt->json)
		stats_json(list, count);
	else
		stats_text(list, count);
	free(list);
	return EXIT_OK;
}
