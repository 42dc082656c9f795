// SPDX-License-Identifier: GPL-2.0-only
/*
 * The lists of only= and except=: included by policy.c.
 */
#include <kunit/test.h>

static void homi_test_listed(struct kunit *test)
{
	static const struct {
		const char *list;
		const char *name;
		bool listed;
	} cases[] = {
		{ NULL, "0000:01:00.0", false },
		{ "", "0000:01:00.0", false },
		{ ",", "0000:01:00.0", false },
		{ "0000:01:00.0", "0000:01:00.0", true },
		{ "0000:01:00.0,0000:02:00.0", "0000:01:00.0", true },
		{ "0000:01:00.0,0000:02:00.0", "0000:02:00.0", true },
		{ "0000:01:00.0,0000:02:00.0", "0000:03:00.0", false },
		{ "0000:01:00.0,0000:02:00.0,0000:03:00.0", "0000:02:00.0", true },
		{ ",,0000:01:00.0,,", "0000:01:00.0", true },
		{ "0000:01:00.0,", "0000:01:00.0", true },
		/* Letters as they come */
		{ "0000:AB:0c.0", "0000:ab:0c.0", true },
		{ "0000:ab:0c.0", "0000:AB:0C.0", true },
		/* A part is not the whole. */
		{ "0000:01:00.00", "0000:01:00.0", false },
		{ "0000:01:00", "0000:01:00.0", false },
		{ "10000:01:00.0", "0000:01:00.0", false },
		{ "0000:01:00.0 ", "0000:01:00.0", false },
		{ "0000:01:00.0:0000:02:00.0", "0000:01:00.0", false },
		/* What a beginning leads to is looked at to the end. */
		{ "0000:01:00.01,0000:01:00.0", "0000:01:00.0", true },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++)
		KUNIT_EXPECT_EQ_MSG(test, homi_listed(cases[i].list,
						      cases[i].name),
				    cases[i].listed, "%s in \"%s\"",
				    cases[i].name, cases[i].list);
}

static struct pci_dev *homi_test_function(struct kunit *test, const char *name)
{
	struct pci_dev *pdev = kunit_kzalloc(test, sizeof(*pdev), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, pdev);
	pdev->dev.init_name = name;
	return pdev;
}

static void homi_test_may_attach(struct kunit *test)
{
	/* Parameters are not constant. */
	char one[] = "0000:01:00.0", both[] = "0000:02:00.0,0000:01:00.0";
	char none[] = "";
	const struct {
		char *only;
		char *except;
		bool first;
		bool second;
	} cases[] = {
		{ NULL, NULL, true, true },
		{ none, none, true, true },
		{ one, NULL, true, false },
		{ both, NULL, true, true },
		{ NULL, one, false, true },
		{ NULL, both, false, false },
		{ both, one, false, true },
		{ one, one, false, false },
	};
	struct pci_dev *first = homi_test_function(test, "0000:01:00.0");
	struct pci_dev *second = homi_test_function(test, "0000:02:00.0");
	char *old_only = only, *old_except = except;
	int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		only = cases[i].only;
		except = cases[i].except;
		KUNIT_EXPECT_EQ_MSG(test, homi_may_attach(first),
				    cases[i].first, "row %d", i);
		KUNIT_EXPECT_EQ_MSG(test, homi_may_attach(second),
				    cases[i].second, "row %d", i);
	}
	only = old_only;
	except = old_except;
}

static struct kunit_case homi_policy_cases[] = {
	KUNIT_CASE(homi_test_listed),
	KUNIT_CASE(homi_test_may_attach),
	{}
};

static struct kunit_suite homi_policy_suite = {
	.name = "homi_policy",
	.test_cases = homi_policy_cases,
};

kunit_test_suite(homi_policy_suite);
