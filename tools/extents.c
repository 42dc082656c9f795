// SPDX-License-Identifier: MIT
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cli.h"

#define HOLDERS_MAX	64

/**
 * struct holder - a process that has leases on the file, by homi or otherwise
 * @delegation: what homi always takes; else it is another kind of lease
 * @writes: it is exclusive, what homi takes to write; not told once it is recalled
 * @recalled: somebody waits for it to end
 * @pid: as this process sees it; who is in another pid namespace is left out
 */
struct holder {
	bool delegation;
	bool writes;
	bool recalled;
	int pid;
};

/* One line of /proc/locks, if it is a lease on the file and not our own. */
static bool parse_holder(const char *line, const struct stat *st, struct holder *h)
{
	char kind[16], how[16], access[16];
	unsigned int major, minor;
	unsigned long ino;

	if (sscanf(line, "%*d: %15s %15s %15s %d %x:%x:%lu", kind, how, access, &h->pid, &major,
		   &minor, &ino) != 7)
		return false;
	h->delegation = !strcmp(kind, "DELEG");
	h->writes = !strcmp(access, "WRITE");
	h->recalled = !strcmp(how, "BREAKING");
	return (h->delegation || !strcmp(kind, "LEASE")) && strcmp(how, "BREAKER") &&
	       h->pid != getpid() && makedev(major, minor) == st->st_dev && ino == st->st_ino;
}

/* A process has several: homi takes two on XFS, three to write. */
static unsigned int add_holder(struct holder *holders, unsigned int count, const struct holder *h)
{
	unsigned int i;

	for (i = 0; i < count && holders[i].pid != h->pid; i++)
		;
	if (i == HOLDERS_MAX)
		return count;
	if (i == count) {
		holders[i] = *h;
		return count + 1;
	}
	holders[i].delegation |= h->delegation;
	holders[i].writes |= h->writes;
	holders[i].recalled |= h->recalled;
	return count;
}

static unsigned int find_holders(const char *path, struct holder *holders)
{
	FILE *f = fopen("/proc/locks", "r");
	unsigned int count = 0;
	struct holder h;
	char line[256];
	struct stat st;

	if (!f)
		return 0;
	if (!stat(path, &st))
		while (fgets(line, sizeof(line), f))
			if (parse_holder(line, &st, &h))
				count = add_holder(holders, count, &h);
	fclose(f);
	return count;
}

static void holder_text(const struct holder *h)
{
	char name[64], path[64];

	snprintf(path, sizeof(path), "/proc/%d/comm", h->pid);
	if (!read_line(path, name, sizeof(name)))
		snprintf(name, sizeof(name), "?");
	printf("held by process %d (%s), %s%s%s\n", h->pid, name,
	       h->delegation ? "delegation" : "lease",
	       h->writes ? ", to write" : "", h->recalled ? ", recalled" : "");
}

static struct json_object *holder_json(const struct holder *h)
{
	struct json_object *o = json_object_new_object();

	add_number(o, "pid", (uint64_t)h->pid);
	add_bool(o, "delegation", h->delegation);
	add_bool(o, "writes", h->writes);
	add_bool(o, "recalled", h->recalled);
	return o;
}

static void table_text(const struct target *target)
{
	const struct homi_extent_table *table = target->extents.table;
	uint64_t i;

	printf("%16s %16s %14s %10s  %s\n", "OFFSET", "LENGTH", "SLBA", "BLOCKS", "KIND");
	for (i = 0; table && i < table->count; i++) {
		const struct homi_extent *e = &table->records[i];
		bool hole = e->flags & HOMI_EXTENT_HOLE;

		printf("%16llu %16llu ", (unsigned long long)e->file_offset,
		       (unsigned long long)e->blocks * table->block_size);
		if (hole)
			printf("%14s", "-");
		else
			printf("%14llu", (unsigned long long)e->slba);
		printf(" %10llu  %s\n", (unsigned long long)e->blocks, hole ? "hole" : "data");
	}
}

static void table_json(const struct target *target, const char *controller)
{
	struct json_object *top = json_object_new_object(), *all = json_object_new_array();
	struct json_object *holders = json_object_new_array();
	const struct homi_extent_table *table = target->extents.table;
	struct holder holder[HOLDERS_MAX];
	struct json_object *o;
	unsigned int count;
	uint64_t i;

	add_string(top, "path", target->path);
	add_string(top, "controller", controller);
	add_number(top, "size", target->size);
	if (table) {
		add_number(top, "nsid", table->nsid);
		add_number(top, "block_size", table->block_size);
		add_number(top, "generation", table->generation);
	}
	count = find_holders(target->path, holder);
	for (i = 0; i < count; i++)
		json_object_array_add(holders, holder_json(&holder[i]));
	json_object_object_add(top, "holders", holders);
	for (i = 0; table && i < table->count; i++) {
		const struct homi_extent *e = &table->records[i];
		bool hole = e->flags & HOMI_EXTENT_HOLE;

		o = json_object_new_object();
		add_number(o, "offset", e->file_offset);
		add_number(o, "length", e->blocks * table->block_size);
		add_number(o, "blocks", e->blocks);
		if (!hole)
			add_number(o, "slba", e->slba);
		add_bool(o, "hole", hole);
		json_object_array_add(all, o);
	}
	json_object_object_add(top, "extents", all);
	print_json(top);
}

int cmd_extents(const struct options *opt)
{
	struct holder holder[HOLDERS_MAX];
	unsigned int i, count;
	struct session s = { 0 };
	struct target target;
	struct trouble t;

	count = find_holders(opt->operands[0], holder);
	if (target_open(&target, &s, opt, opt->operands[0], false, &t)) {
		/* They may be why. */
		for (i = 0; !opt->json && i < count; i++)
			holder_text(&holder[i]);
		session_close(&s);
		return trouble_report(&t, opt);
	}
	if (opt->json) {
		table_json(&target, s.name);
	} else {
		printf("%s: %llu bytes on %s", target.path, (unsigned long long)target.size,
		       s.name);
		if (target.extents.table)
			printf(", namespace %u, blocks of %u bytes, %llu extents, generation %llu",
			       target.extents.table->nsid, target.extents.table->block_size,
			       (unsigned long long)target.extents.table->count,
			       (unsigned long long)target.extents.table->generation);
		putchar('\n');
		for (i = 0; i < count; i++)
			holder_text(&holder[i]);
		table_text(&target);
	}
	target_close(&target, &s);
	session_close(&s);
	return EXIT_OK;
}
