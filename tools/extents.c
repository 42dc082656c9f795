// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cli.h"

#define HOLDERS_MAX	64	/* more are not shown */

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

struct holders {
	struct holder list[HOLDERS_MAX];
	unsigned int count;
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

/* A process has several: homi takes two, on XFS three. */
static void add_holder(struct holders *all, const struct holder *h)
{
	unsigned int i;

	for (i = 0; i < all->count && all->list[i].pid != h->pid; i++)
		;
	if (i == HOLDERS_MAX)
		return;
	if (i == all->count) {
		all->list[all->count++] = *h;
		return;
	}
	all->list[i].delegation |= h->delegation;
	all->list[i].writes |= h->writes;
	all->list[i].recalled |= h->recalled;
}

static void find_holders(const char *path, struct holders *all)
{
	FILE *f = fopen("/proc/locks", "r");
	struct holder h;
	char line[256];
	struct stat st;

	all->count = 0;
	if (!f)
		return;
	if (!stat(path, &st))
		while (fgets(line, sizeof(line), f))
			if (parse_holder(line, &st, &h))
				add_holder(all, &h);
	fclose(f);
}

static void holders_text(const struct holders *all)
{
	const struct holder *h;
	char name[64];

	for (h = all->list; h < all->list + all->count; h++) {
		command_name((uint32_t)h->pid, name, sizeof(name));
		printf("held by process %d (%s), %s%s%s\n", h->pid, name,
		       h->delegation ? "delegation" : "lease",
		       h->writes ? ", to write" : "", h->recalled ? ", recalled" : "");
	}
}

static struct json_object *holders_json(const struct holders *all)
{
	struct json_object *array = json_object_new_array(), *o;
	const struct holder *h;

	for (h = all->list; h < all->list + all->count; h++) {
		o = json_object_new_object();
		add_number(o, "pid", (uint64_t)h->pid);
		add_bool(o, "delegation", h->delegation);
		add_bool(o, "writes", h->writes);
		add_bool(o, "recalled", h->recalled);
		json_object_array_add(array, o);
	}
	return array;
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

static void table_json(const struct target *target, const char *controller,
		       const struct holders *holders)
{
	struct json_object *top = json_object_new_object(), *all = json_object_new_array();
	const struct homi_extent_table *table = target->extents.table;
	struct json_object *o;
	uint64_t i;

	add_string(top, "path", target->path);
	add_string(top, "controller", controller);
	add_number(top, "size", target->size);
	if (table) {
		add_number(top, "nsid", table->nsid);
		add_number(top, "block_size", table->block_size);
		add_number(top, "generation", table->generation);
	}
	json_object_object_add(top, "holders", holders_json(holders));
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
	int dir = open(opt->operands[0], O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct holders holders;
	struct session s = { 0 };
	struct target target;
	struct trouble t;
	int ret;

	if (dir >= 0) {
		ret = show_tree(opt, dir);
		close(dir);
		return ret;
	}
	find_holders(opt->operands[0], &holders);
	if (target_open(&target, &s, opt, opt->operands[0], false, &t)) {
		/* They may be why. */
		if (!opt->json)
			holders_text(&holders);
		session_close(&s);
		return trouble_report(&t, opt);
	}
	if (opt->json) {
		table_json(&target, s.name, &holders);
	} else {
		printf("%s: %llu bytes on %s", target.path, (unsigned long long)target.size,
		       s.name);
		if (target.extents.table)
			printf(", namespace %u, blocks of %u bytes, %llu extents, generation %llu",
			       target.extents.table->nsid, target.extents.table->block_size,
			       (unsigned long long)target.extents.table->count,
			       (unsigned long long)target.extents.table->generation);
		putchar('\n');
		holders_text(&holders);
		table_text(&target);
	}
	/* Whoever takes what is shown may take his time. */
	fflush(stdout);
	ret = target_still_held(&target, &t);
	target_close(&target, &s);
	session_close(&s);
	return ret ? trouble_report(&t, opt) : EXIT_OK;
}
