// SPDX-License-Identifier: GPL-2.0-only
/*
 * The list of a MEM, from mappings of all shapes: included by mem.c.
 */
#include <kunit/test.h>

#define P	4096ull
#define ENTRIES	5

struct homi_test_list {
	const char *name;
	struct {
		u64 addr;
		u32 len;
	} sg[ENTRIES];
	u64 offset;
	u64 length;
	int ret;
	u32 count;
	struct homi_segment want[ENTRIES];
};

static const struct homi_test_list homi_test_lists[] = {
	{ "one", { { 0x10000, P } }, 0, P, 0, 1, { { 0, 0x10000, P } } },
	{ "joined", { { 0x10000, P }, { 0x11000, 2 * P } }, 0, 3 * P, 0, 1,
	  { { 0, 0x10000, 3 * P } } },
	{ "apart", { { 0x10000, P }, { 0x12000, P }, { 0x11000, P } }, 0, 3 * P,
	  0, 3,
	  { { 0, 0x10000, P }, { P, 0x12000, P }, { 2 * P, 0x11000, P } } },
	{ "empty entries between", { { 0x10000, P }, { 0, 0 }, { 0x11000, P } },
	  0, 2 * P, 0, 1, { { 0, 0x10000, 2 * P } } },
	{ "only the beginning", { { 0x10000, 4 * P }, { 0x90000, P } }, 0, 3 * P,
	  0, 1, { { 0, 0x10000, 3 * P } } },
	{ "from within", { { 0x10000, 4 * P }, { 0x90000, 2 * P } }, 3 * P,
	  2 * P, 0, 2, { { 0, 0x13000, P }, { P, 0x90000, P } } },
	{ "without the first", { { 0x10000, P }, { 0x90000, 2 * P } }, P, 2 * P,
	  0, 1, { { 0, 0x90000, 2 * P } } },
	{ "the very last", { { 0x10000, P }, { 0x90000, 2 * P } }, 2 * P, P,
	  0, 1, { { 0, 0x91000, P } } },
	{ "above 4 GiB", { { 0x7fff00000000, P }, { 0x7fff00001000, P } }, 0,
	  2 * P, 0, 1, { { 0, 0x7fff00000000, 2 * P } } },
	{ "too short", { { 0x10000, P } }, 0, 2 * P, -EIO, },
	{ "too short from there", { { 0x10000, 2 * P } }, P, 2 * P, -EIO, },
	{ "nothing", { { 0, 0 } }, 0, P, -EIO, },
	{ "begins within a page", { { 0x10200, P } }, 0, P, -EOPNOTSUPP, },
	{ "ends within a page", { { 0x10000, 512 }, { 0x20000, P } }, 0, P,
	  -EOPNOTSUPP, },
	{ "goes on within a page", { { 0x10000, P }, { 0x20200, P } }, 0, 2 * P,
	  -EOPNOTSUPP, },
	{ "pieces that join to pages", { { 0x10000, 512 }, { 0x10200, 3584 } },
	  0, P, 0, 1, { { 0, 0x10000, P } } },
	/* The last one may end anywhere: nothing comes after it. */
	{ "cut within an entry", { { 0x10000, 8 * P } }, 0, P, 0, 1,
	  { { 0, 0x10000, P } } },
};

static void homi_test_list(struct kunit *test, const struct homi_test_list *c)
{
	struct homi_segment segments[ENTRIES] = {};
	struct homi_mem mem = { .length = c->length, .segments = segments };
	struct scatterlist *sg;
	struct sg_table sgt;
	int i, ret;

	KUNIT_ASSERT_EQ(test, sg_alloc_table(&sgt, ENTRIES, GFP_KERNEL), 0);
	for_each_sgtable_dma_sg(&sgt, sg, i) {
		sg_dma_address(sg) = c->sg[i].addr;
		sg_dma_len(sg) = c->sg[i].len;
	}
	ret = homi_mem_list(&mem, &sgt, c->offset, P);
	sg_free_table(&sgt);
	KUNIT_EXPECT_EQ_MSG(test, ret, c->ret, "%s", c->name);
	if (c->ret)
		return;
	KUNIT_ASSERT_EQ_MSG(test, mem.nr_segments, c->count, "%s", c->name);
	KUNIT_EXPECT_EQ_MSG(test, memcmp(segments, c->want,
					 c->count * sizeof(*segments)), 0,
			    "%s", c->name);
}

static void homi_test_mem_lists(struct kunit *test)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(homi_test_lists); i++)
		homi_test_list(test, &homi_test_lists[i]);
}

/* A ring has to be in one of three pieces. */
static void homi_test_mem_find(struct kunit *test)
{
	struct homi_segment segments[] = {
		{ 0, 0x10000, P }, { P, 0x90000, 2 * P }, { 3 * P, 0x50000, P },
	};
	struct homi_mem mem = {
		.length = 4 * P, .segments = segments, .nr_segments = 3,
	};
	static const struct {
		u64 offset, len;
		int ret;
		u64 dma;
	} cases[] = {
		{ 0, P, 0, 0x10000 },
		{ 0, P + 1, -EINVAL },
		{ P - 64, 64, 0, 0x10fc0 },
		{ P - 64, 65, -EINVAL },
		{ P, 2 * P, 0, 0x90000 },
		{ 2 * P, P, 0, 0x91000 },
		{ 2 * P, P + 1, -EINVAL },
		{ 3 * P, P, 0, 0x50000 },
		{ 3 * P, P + 1, -EINVAL },
		{ 4 * P, 0, -EINVAL },
		{ 4 * P, 1, -EINVAL },
		{ U64_MAX, 1, -EINVAL },
		{ 0, U64_MAX, -EINVAL },
		{ 3 * P, U64_MAX, -EINVAL },
	};
	u64 dma;
	int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		dma = 0;
		KUNIT_EXPECT_EQ_MSG(test, homi_mem_find(&mem, cases[i].offset,
							cases[i].len, &dma),
				    cases[i].ret, "case %d", i);
		KUNIT_EXPECT_EQ_MSG(test, dma, cases[i].dma, "case %d", i);
	}
}

static struct kunit_case homi_mem_cases[] = {
	KUNIT_CASE(homi_test_mem_lists),
	KUNIT_CASE(homi_test_mem_find),
	{ }
};

static struct kunit_suite homi_mem_suite = {
	.name = "homi_mem",
	.test_cases = homi_mem_cases,
};

kunit_test_suite(homi_mem_suite);
