// SPDX-License-Identifier: MIT
/*
 * Limits of a controller and what its users hold, as the kernel shows them in sysfs to everybody.
 */
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static const char *const limit_names[] = {
	"queues_per_user", "queues_total", "pinned_mib_per_user", "pinned_mib_total",
	"ios_per_second_per_user", "kib_per_second_per_user", "extents_per_user",
};

enum { LIMITS = sizeof(limit_names) / sizeof(limit_names[0]), LIMIT_EXTENTS = LIMITS - 1 };

/* The only one that there is without anybody having set it (extents_per_user in modinfo homi) */
enum { EXTENTS_UNLESS_SET = 262144 };

/* What each line of "users" has, names and numbers in turn */
static const char *const use_names[] = {
	"uid", "files", "queues", "pinned", "registered", "extents", "ios", "bytes", "waits", "waited_us",
};

enum {
	USE_UID, USE_FILES, USE_QUEUES, USE_PINNED, USE_REGISTERED, USE_EXTENTS, USE_IOS, USE_BYTES,
	USE_WAITS, USE_WAITED, USES,
};

_Static_assert(sizeof(use_names) / sizeof(use_names[0]) == USES, "one name for each");

struct use {
	uint64_t value[USES];
};

static FILE *quota_open(const char *controller, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "/sys/class/homi/%s/quota/%s", controller, name);
	return fopen(path, "re");
}

/* False: homi is not attached to it, or does not show this. */
static bool read_limits(const char *controller, uint64_t limits[LIMITS])
{
	bool good = true;
	unsigned int i;

	for (i = 0; good && i < LIMITS; i++) {
		FILE *f = quota_open(controller, limit_names[i]);
		unsigned long long value;

		good = f && fscanf(f, "%llu", &value) == 1;
		if (f)
			fclose(f);
		if (good)
			limits[i] = value;
	}
	return good;
}

/* Of one user; false for another line. What it has besides is of a later kernel. */
static bool read_use(char *line, struct use *use)
{
	char *rest, *name, *number;
	unsigned int i;

	memset(use, 0, sizeof(*use));
	if (strncmp(line, "uid ", 4))
		return false;
	for (name = strtok_r(line, " \n", &rest); name; name = strtok_r(NULL, " \n", &rest)) {
		number = strtok_r(NULL, " \n", &rest);
		for (i = 0; number && i < USES; i++)
			if (!strcmp(name, use_names[i]))
				use->value[i] = strtoull(number, NULL, 10);
	}
	return true;
}

/* The account's name, or else its number */
static const char *user_text(const struct use *use, char *buf, size_t len)
{
	const struct passwd *entry = getpwuid((uid_t)use->value[USE_UID]);

	if (entry)
		snprintf(buf, len, "%s", entry->pw_name);
	else
		snprintf(buf, len, "%llu", (unsigned long long)use->value[USE_UID]);
	return buf;
}

struct json_object *quota_json(const char *controller)
{
	struct json_object *o, *limits, *users;
	uint64_t limit[LIMITS];
	struct use use;
	char line[512], name[64];
	unsigned int more = 0, i;
	FILE *f;

	if (!read_limits(controller, limit))
		return NULL;
	o = json_object_new_object();
	limits = json_object_new_object();
	users = json_object_new_array();
	for (i = 0; i < LIMITS; i++)
		add_number(limits, limit_names[i], limit[i]);
	f = quota_open(controller, "users");
	while (f && fgets(line, sizeof(line), f)) {
		struct json_object *user;

		sscanf(line, "and %u more", &more);
		if (!read_use(line, &use))
			continue;
		user = json_object_new_object();
		add_string(user, "user", user_text(&use, name, sizeof(name)));
		for (i = 0; i < USES; i++)
			add_number(user, use_names[i], use.value[i]);
		json_object_array_add(users, user);
	}
	if (f)
		fclose(f);
	json_object_object_add(o, "limits", limits);
	json_object_object_add(o, "users", users);
	add_number(o, "users_not_listed", more);
	return o;
}

/* A limit in bytes, or a plain number; "-" for none */
static const char *limit_text(uint64_t value, uint64_t unit, char *buf, size_t len)
{
	if (!value)
		snprintf(buf, len, "-");
	else if (unit)
		size_text(value * unit, buf, len);
	else
		snprintf(buf, len, "%llu", (unsigned long long)value);
	return buf;
}

/* Of those controllers that have some; as read_limits() has them */
static void show_limits(const struct controller *list, unsigned int count)
{
	static const uint64_t units[LIMITS] = { 0, 0, 1 << 20, 1 << 20, 0, 1 << 10, 0 };
	uint64_t limits[LIMITS], any;
	char text[LIMITS][32];
	bool head = false;
	unsigned int i, k;

	for (i = 0; i < count; i++) {
		if (!read_limits(list[i].name, limits))
			continue;
		for (any = 0, k = 0; k < LIMITS; k++) {
			any |= limits[k] != (k == LIMIT_EXTENTS ? EXTENTS_UNLESS_SET : 0);
			limit_text(limits[k], units[k], text[k], sizeof(text[k]));
		}
		if (!any)
			continue;
		if (!head)
			printf("\n%-8s %-11s %-10s %-11s %-10s %-9s %-15s %s\n", "LIMITS",
			       "QUEUES/USER", "QUEUES", "PINNED/USER", "PINNED", "IOPS/USER",
			       "PER SECOND/USER", "EXTENTS/USER");
		head = true;
		printf("%-8s %-11s %-10s %-11s %-10s %-9s %-15s %s\n", list[i].name, text[0],
		       text[1], text[2], text[3], text[4], text[5], text[LIMIT_EXTENTS]);
	}
}

static void show_use(const char *controller, const struct use *use)
{
	char name[64], size[32];

	printf("%-8s %-11s %-10llu %-11llu %-10s %-9llu %-9llu %llu, %.1f s\n", controller,
	       user_text(use, name, sizeof(name)), (unsigned long long)use->value[USE_FILES],
	       (unsigned long long)use->value[USE_QUEUES],
	       size_text(use->value[USE_PINNED], size, sizeof(size)),
	       (unsigned long long)use->value[USE_REGISTERED],
	       (unsigned long long)use->value[USE_EXTENTS],
	       (unsigned long long)use->value[USE_WAITS], (double)use->value[USE_WAITED] / 1e6);
}

/* Who has a controller's device open */
static void show_users(const struct controller *list, unsigned int count)
{
	char line[512];
	bool head = false;
	unsigned int i, more;
	struct use use;
	FILE *f;

	for (i = 0; i < count; i++) {
		f = quota_open(list[i].name, "users");
		while (f && fgets(line, sizeof(line), f)) {
			if (sscanf(line, "and %u more", &more) == 1)
				printf("%-8s and %u more\n", list[i].name, more);
			if (!read_use(line, &use))
				continue;
			if (!head)
				printf("\n%-8s %-11s %-10s %-11s %-10s %-9s %-9s %s\n", "USERS",
				       "USER", "OPEN", "QUEUES", "PINNED", "FILES", "EXTENTS",
				       "WAITED FOR THE BUDGET");
			head = true;
			show_use(list[i].name, &use);
		}
		if (f)
			fclose(f);
	}
}

void show_quotas(const struct controller *list, unsigned int count)
{
	show_limits(list, count);
	show_users(list, count);
}
