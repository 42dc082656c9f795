// SPDX-License-Identifier: GPL-2.0-only
/*
 * The way from one function to another: included by mem_where.c.
 */
#include <kunit/test.h>

/*
 * Buses: 0 is the root, with root ports a and b; 1 is below a, with a switch s,
 * whose bus 2 has ports t and u; 3 below t, 4 below u, 5 below b.
 */
enum { ROOT, BELOW_A, WITHIN, BELOW_T, BELOW_U, BELOW_B, BUSES };

static const int homi_test_parent[BUSES] = {
	[BELOW_A] = ROOT, [WITHIN] = BELOW_A, [BELOW_T] = WITHIN,
	[BELOW_U] = WITHIN, [BELOW_B] = ROOT,
};

struct homi_test_tree {
	struct pci_bus bus[BUSES];
	struct pci_dev bridge[BUSES];	/* what leads to that bus */
	struct pci_dev on[BUSES];	/* a function on that bus */
	struct pci_dev other;		/* one more, below t */
};

static void homi_test_path(struct kunit *test)
{
	struct homi_test_tree *tree = kunit_kzalloc(test, sizeof(*tree),
						    GFP_KERNEL);
	const struct {
		struct pci_dev *from, *to;
		u32 path, distance;
	} cases[] = {
		{ &tree->on[BELOW_T], &tree->on[BELOW_T], HOMI_PATH_SELF, 0 },
		{ &tree->on[BELOW_T], &tree->other, HOMI_PATH_SWITCH, 1 },
		{ &tree->on[BELOW_T], &tree->on[BELOW_U], HOMI_PATH_SWITCH, 3 },
		{ &tree->on[BELOW_U], &tree->on[BELOW_T], HOMI_PATH_SWITCH, 3 },
		{ &tree->on[BELOW_T], &tree->on[BELOW_A], HOMI_PATH_SWITCH, 3 },
		{ &tree->on[BELOW_A], &tree->on[BELOW_T], HOMI_PATH_SWITCH, 3 },
		{ &tree->on[BELOW_B], &tree->on[BELOW_T], HOMI_PATH_ROOT, 4 },
		{ &tree->on[BELOW_T], &tree->on[BELOW_B], HOMI_PATH_ROOT, 4 },
		{ &tree->on[ROOT], &tree->on[BELOW_B], HOMI_PATH_ROOT, 1 },
		{ &tree->on[BELOW_B], &tree->on[ROOT], HOMI_PATH_ROOT, 1 },
	};
	struct homi_mem_where where;
	int i;

	KUNIT_ASSERT_NOT_NULL(test, tree);
	for (i = 0; i < BUSES; i++) {
		tree->on[i].bus = &tree->bus[i];
		if (i == ROOT)
			continue;
		tree->bus[i].parent = &tree->bus[homi_test_parent[i]];
		tree->bus[i].self = &tree->bridge[i];
		tree->bridge[i].bus = tree->bus[i].parent;
	}
	tree->other.bus = &tree->bus[BELOW_T];
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		homi_where_path(cases[i].from, cases[i].to, &where);
		KUNIT_EXPECT_EQ_MSG(test, where.path, cases[i].path, "case %d",
				    i);
		KUNIT_EXPECT_EQ_MSG(test, where.distance, cases[i].distance,
				    "case %d", i);
	}
}

static struct kunit_case homi_where_cases[] = {
	KUNIT_CASE(homi_test_path),
	{ }
};

static struct kunit_suite homi_where_suite = {
	.name = "homi_mem_where",
	.test_cases = homi_where_cases,
};

kunit_test_suite(homi_where_suite);
