// SPDX-License-Identifier: MIT
#include "cli.h"

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
	const struct homi_extent_table *table = target->extents.table;
	struct json_object *o;
	uint64_t i;

	add_string(top, "path", target->path);
	add_string(top, "controller", controller);
	add_number(top, "size", target->size);
	if (table) {
		add_number(top, "nsid", table->nsid);
		add_number(top, "block_size", table->block_size);
	}
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
	struct session s = { 0 };
	struct target target;
	struct trouble t;

	if (target_open(&target, &s, opt, opt->operands[0], false, &t)) {
		session_close(&s);
		return trouble_report(&t, opt);
	}
	if (opt->json) {
		table_json(&target, s.name);
	} else {
		printf("%s: %llu bytes on %s", target.path, (unsigned long long)target.size,
		       s.name);
		if (target.extents.table)
			printf(", namespace %u, blocks of %u bytes, %llu extents",
			       target.extents.table->nsid, target.extents.table->block_size,
			       (unsigned long long)target.extents.table->count);
		putchar('\n');
		table_text(&target);
	}
	target_close(&target, &s);
	session_close(&s);
	return EXIT_OK;
}
