// SPDX-License-Identifier: MIT
/*
 * The files below a directory, resolved by one call.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

#define OPEN_DIRECTORIES	32	/* that the walk may have at a time */

/**
 * struct leaf - a regular file
 * @name: below the directory
 * @empty: it has no blocks; the kernel has nothing to resolve
 */
struct leaf {
	char *name;
	bool empty;
};

/**
 * struct tree - the regular files below a directory
 * @leaves: sorted by name
 * @unread: directories that could not be looked into
 */
struct tree {
	struct leaf *leaves;
	uint32_t count, room, unread;
};

/* nftw() has no argument for its caller. */
static struct tree walked;

static int add_leaf(const char *path, const struct stat *st, int kind, struct FTW *where)
{
	struct tree *tree = &walked;

	(void)where;
	tree->unread += kind == FTW_DNR || kind == FTW_NS;
	if (kind != FTW_F || !S_ISREG(st->st_mode))
		return 0;
	if (tree->count == tree->room) {
		uint32_t room = tree->room ? 2 * tree->room : 1024;
		struct leaf *leaves = realloc(tree->leaves, room * sizeof(*leaves));

		if (!leaves)
			return ENOMEM;
		tree->leaves = leaves;
		tree->room = room;
	}
	/* Behind the "./" */
	tree->leaves[tree->count] = (struct leaf){ strdup(path + 2), !st->st_size };
	return tree->leaves[tree->count].name ? tree->count++, 0 : ENOMEM;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct leaf *)a)->name, ((const struct leaf *)b)->name);
}

static void tree_free(struct tree *tree)
{
	uint32_t i;

	for (i = 0; i < tree->count; i++)
		free(tree->leaves[i].name);
	free(tree->leaves);
	memset(tree, 0, sizeof(*tree));
}

/* 0 or a negative errno; those of other file systems are left out. */
static int tree_walk(struct tree *tree, int dir)
{
	int ret = fchdir(dir);

	memset(&walked, 0, sizeof(walked));
	if (!ret)
		ret = nftw(".", add_leaf, OPEN_DIRECTORIES, FTW_PHYS | FTW_MOUNT);
	*tree = walked;
	if (ret) {
		ret = ret < 0 ? -errno : -ret;
		tree_free(tree);
		return ret;
	}
	qsort(tree->leaves, tree->count, sizeof(tree->leaves[0]), by_name);
	return 0;
}

static bool is_refused(const struct tree *tree, const struct homi_set *set, uint32_t i)
{
	uint32_t error = set->head->entries[i].error;

	return error && !(tree->leaves[i].empty && error == EINVAL);
}

static const char *why_not(const struct homi_set_entry *entry)
{
	return entry->reason ? homi_strreason(entry->reason) : strerror((int)entry->error);
}

static void tree_text(const struct tree *tree, const struct homi_set *set)
{
	uint32_t i;

	printf("%10s %16s  %s\n", "EXTENTS", "BYTES", "FILE");
	for (i = 0; i < tree->count; i++) {
		const struct homi_extent_table *table = homi_set_get_table(set->head, i);
		const struct homi_set_entry *entry = &set->head->entries[i];

		if (table)
			printf("%10llu %16llu  %s\n", (unsigned long long)table->count,
			       (unsigned long long)table->file_size, tree->leaves[i].name);
		else if (!is_refused(tree, set, i))
			printf("%10u %16u  %s\n", 0, 0, tree->leaves[i].name);
		else
			printf("%10s %16s  %s: %s\n", "-", "-", tree->leaves[i].name, why_not(entry));
	}
}

static struct json_object *file_json(const struct tree *tree, const struct homi_set *set,
				     uint32_t i)
{
	const struct homi_extent_table *table = homi_set_get_table(set->head, i);
	const struct homi_set_entry *entry = &set->head->entries[i];
	struct json_object *o = json_object_new_object();

	add_string(o, "path", tree->leaves[i].name);
	if (!is_refused(tree, set, i)) {
		add_number(o, "size", table ? table->file_size : 0);
		add_number(o, "count", table ? table->count : 0);
	} else {
		add_string(o, "error", why_not(entry));
	}
	if (table)
		add_number(o, "generation", table->generation);
	return o;
}

static void tree_json(const char *path, const char *controller, const struct tree *tree,
		      const struct homi_set *set, const struct trouble *t)
{
	struct json_object *top = json_object_new_object(), *files = json_object_new_array();
	uint32_t i;

	add_string(top, "path", path);
	add_string(top, "controller", controller);
	for (i = 0; i < tree->count; i++)
		json_object_array_add(files, file_json(tree, set, i));
	json_object_object_add(top, "files", files);
	if (t->exit)
		json_object_object_add(top, "error", trouble_json(t));
	print_json(top);
}

/* Returns the exit status. */
static int tree_show(const struct tree *tree, const struct homi_set *set, const char *controller,
		     const struct options *opt)
{
	const char *path = opt->operands[0];
	struct trouble t = { 0 };
	uint32_t i, refused = 0;

	if (tree->unread)
		trouble_set(&t, EXIT_REFUSED, -EACCES, "",
			    "%s: %u directories or files below it can't be looked at", path,
			    tree->unread);
	for (i = 0; i < tree->count; i++)
		refused += is_refused(tree, set, i);
	if (opt->json) {
		tree_json(path, controller, tree, set, &t);
	} else {
		printf("%s: %u files on %s", path, tree->count, controller);
		printf(refused ? ", %u of them refused\n" : "\n", refused);
		tree_text(tree, set);
	}
	if (t.exit)
		trouble_print(&t);
	return refused || t.exit ? EXIT_REFUSED : EXIT_OK;
}

static int tree_open(const struct tree *tree, int dir, struct session *s, struct homi_set *set)
{
	const char **names = calloc(tree->count, sizeof(*names));
	uint32_t i;
	int ret;

	if (!names)
		return -ENOMEM;
	for (i = 0; i < tree->count; i++)
		names[i] = tree->leaves[i].name;
	ret = homi_set_open(&s->dev, dir, names, tree->count, set);
	free(names);
	return ret;
}

static int tree_resolve(const struct tree *tree, int dir, const struct options *opt,
			struct session *s)
{
	const char *path = opt->operands[0];
	struct homi_set set = { 0 };
	struct trouble t = { 0 };
	int ret;

	if (!tree->count)
		trouble_set(&t, EXIT_REFUSED, -ENOENT, "", "%s: no regular file is below it", path);
	else if (tree->count > HOMI_SET_FILES_MAX)
		trouble_set(&t, EXIT_REFUSED, -E2BIG, "ask for its subdirectories",
			    "%s: %u files are below it, more than the kernel takes in one call (%d)",
			    path, tree->count, HOMI_SET_FILES_MAX);
	if (t.exit)
		return trouble_report(&t, opt);
	ret = tree_open(tree, dir, s, &set);
	/* The kernel's word for names that are longer than it takes, all together. */
	if (ret == -EINVAL)
		trouble_set(&t, EXIT_REFUSED, -E2BIG, "ask for its subdirectories",
			    "%s: the names of the files below it are too long for one call", path);
	else if (ret)
		diagnose(&t, STAGE_RESOLVE, ret, 0, path);
	if (ret)
		return trouble_report(&t, opt);
	ret = tree_show(tree, &set, s->name, opt);
	homi_set_close(&s->dev, &set);
	return ret;
}

int show_tree(const struct options *opt, int dir)
{
	struct session s = { 0 };
	struct trouble t;
	struct tree tree;
	int ret;

	if (session_for(&s, opt, opt->operands[0], dir, false, &t))
		return trouble_report(&t, opt);
	ret = tree_walk(&tree, dir);
	if (ret) {
		diagnose(&t, STAGE_FILE, ret, 0, opt->operands[0]);
		ret = trouble_report(&t, opt);
	} else {
		ret = tree_resolve(&tree, dir, opt, &s);
		tree_free(&tree);
	}
	session_close(&s);
	return ret;
}
