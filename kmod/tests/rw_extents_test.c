// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which PRP lists there are: included by rw_extents.c.
 */
#include <kunit/test.h>

static void homi_test_short_lists(struct kunit *test)
{
	u32 pages;

	/* Of 32 pages, and of 33: the first page has no entry. */
	KUNIT_EXPECT_TRUE(test, homi_list_is_short(32 - 1));
	KUNIT_EXPECT_FALSE(test, homi_list_is_short(33 - 1));
	for (pages = 3; pages <= 512; pages++)
		KUNIT_EXPECT_LT_MSG(test, (pages - 1) * sizeof(__le64),
				    homi_list_is_short(pages - 1) ?
				    HOMI_SHORT_LIST : (size_t)4096,
				    "%u pages", pages);
}

/* As long as a command may be its list does not fill a page. */
static void homi_test_longest(struct kunit *test)
{
	static const u32 offsets[] = { 0, 4, 512, 2048, 4092 };
	struct homi_direct *d = kunit_kzalloc(test, sizeof(*d), GFP_KERNEL);
	struct homi_ctrl *ctrl = kunit_kzalloc(test, sizeof(*ctrl), GFP_KERNEL);
	struct homi_ctx *ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);
	struct homi_mem *mem = kunit_kzalloc(test, sizeof(*mem), GFP_KERNEL);
	struct homi_nvme_ns ns = { .block_size = 512 };
	u32 length, pages, i;

	KUNIT_ASSERT_TRUE(test, d && ctrl && ctx && mem);
	ctrl->page_size = 4096;
	ctx->ctrl = ctrl;
	mem->obj.ctx = ctx;
	d->named.mem = mem;
	d->ns = &ns;
	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		length = homi_part_length(d, offsets[i], SZ_16M);
		pages = DIV_ROUND_UP(offsets[i] + length, 4096);
		KUNIT_EXPECT_GE_MSG(test, length, 511 * 4096 - 512, "%u",
				    offsets[i]);
		KUNIT_EXPECT_LT_MSG(test, (pages - 1) * sizeof(__le64),
				    (size_t)4096, "%u", offsets[i]);
	}
	ctrl->max_transfer = SZ_128K;
	KUNIT_EXPECT_EQ(test, homi_part_length(d, 0, SZ_16M), SZ_128K);
}

static struct kunit_case homi_rw_extents_cases[] = {
	KUNIT_CASE(homi_test_short_lists),
	KUNIT_CASE(homi_test_longest),
	{}
};

static struct kunit_suite homi_rw_extents_suite = {
	.name = "homi_rw_extents",
	.test_cases = homi_rw_extents_cases,
};

kunit_test_suite(homi_rw_extents_suite);
