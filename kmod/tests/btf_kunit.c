// SPDX-License-Identifier: GPL-2.0-only
/*
 * The BTF parser, in the kernel: included by btf.c. btf_test.c runs the same
 * cases in user space, and more of them.
 */
#include <kunit/test.h>
#include <kunit/test-bug.h>

/* Fewer than in user space: KASAN in an emulator is slow. */
#define BTF_STRIDE	5

static void ok(bool good, const char *what)
{
	KUNIT_EXPECT_TRUE_MSG(kunit_get_current_test(), good, "%s", what);
}

#define note(format, ...) \
	kunit_info(kunit_get_current_test(), format "\n", ##__VA_ARGS__)

static void *take(size_t len)
{
	return kmalloc(len, GFP_KERNEL | __GFP_NOFAIL);
}

static void drop(void *data)
{
	kfree(data);
}

#include "btf_cases.h"

struct homi_test_pair {
	void *base;
	size_t base_len;
	void *split;
	size_t split_len;
};

static int homi_test_pair_init(struct kunit *test)
{
	struct homi_test_pair *pair = kunit_kzalloc(test, sizeof(*pair),
						    GFP_KERNEL);

	if (!pair)
		return -ENOMEM;
	make_pair(&pair->base, &pair->base_len, &pair->split,
		  &pair->split_len);
	test->priv = pair;
	return 0;
}

static void homi_test_pair_exit(struct kunit *test)
{
	struct homi_test_pair *pair = test->priv;

	if (!pair)
		return;
	drop(pair->base);
	drop(pair->split);
}

static void homi_test_queries(struct kunit *test)
{
	struct homi_test_pair *pair = test->priv;

	test_queries(pair->base, pair->base_len, pair->split, pair->split_len);
}

static void homi_test_truncated(struct kunit *test)
{
	struct homi_test_pair *pair = test->priv;

	test_truncated(pair->base, pair->base_len, pair->split,
		       pair->split_len);
}

static void homi_test_flipped(struct kunit *test)
{
	struct homi_test_pair *pair = test->priv;

	test_flipped(pair->base, pair->base_len, pair->split, pair->split_len);
}

static void homi_test_words(struct kunit *test)
{
	struct homi_test_pair *pair = test->priv;

	test_words(pair->base, pair->base_len);
}

static void homi_test_refused(struct kunit *test)
{
	test_refused();
}

static void homi_test_header(struct kunit *test)
{
	test_header();
}

/* The running kernel's, by what the compiler says of it */
static void homi_test_running(struct kunit *test)
{
	struct homi_btf_query q[] = {
		{ "list_head", "prev" }, { "btf_header", "str_len" },
		{ "task_struct", "comm" }, { "task_struct", "no_such" },
	};

	KUNIT_ASSERT_EQ(test, homi_btf_lookup("no_such_module", q,
					      ARRAY_SIZE(q)), 0);
	KUNIT_EXPECT_EQ(test, q[0].offset, offsetof(struct list_head, prev));
	KUNIT_EXPECT_EQ(test, q[0].size, sizeof(void *));
	KUNIT_EXPECT_EQ(test, q[1].offset,
			offsetof(struct btf_header, str_len));
	KUNIT_EXPECT_EQ(test, q[2].offset, offsetof(struct task_struct, comm));
	KUNIT_EXPECT_EQ(test, q[2].size, TASK_COMM_LEN);
	KUNIT_EXPECT_EQ(test, q[3].offset, -1);
}

static struct kunit_case homi_btf_cases[] = {
	KUNIT_CASE(homi_test_queries),
	KUNIT_CASE(homi_test_truncated),
	KUNIT_CASE(homi_test_flipped),
	KUNIT_CASE(homi_test_words),
	KUNIT_CASE(homi_test_refused),
	KUNIT_CASE(homi_test_header),
	KUNIT_CASE(homi_test_running),
	{}
};

static struct kunit_suite homi_btf_suite = {
	.name = "homi_btf",
	.init = homi_test_pair_init,
	.exit = homi_test_pair_exit,
	.test_cases = homi_btf_cases,
};

kunit_test_suite(homi_btf_suite);
