// SPDX-License-Identifier: GPL-2.0-only
/*
 * From extents of a file system to records: included by fiemap.c.
 */
#include <kunit/test.h>

#define K		1024ULL
#define HOLE		HOMI_EXTENT_HOLE
#define UNWRITTEN	FIEMAP_EXTENT_UNWRITTEN
#define MAX_PIECES	6

/* Raw extents end with length 0, records with 0 blocks. */
struct homi_table_case {
	const char *name;
	u32 block_size;
	u64 start;
	u64 end;
	u64 disk_offset;
	struct homi_raw_extent raw[MAX_PIECES];
	int ret;
	struct homi_extent want[MAX_PIECES];
};

static const struct homi_table_case homi_table_cases[] = {
	{ "one extent", 512, 0, 8 * K, 0,
	  { { 0, 64 * K, 8 * K } }, 0,
	  { { 0, 128, 16, 0 } } },
	{ "blocks of 4 KiB", 4096, 0, 8 * K, 0,
	  { { 0, 64 * K, 8 * K } }, 0,
	  { { 0, 16, 2, 0 } } },
	{ "clipped at the start", 512, 4 * K, 8 * K, 0,
	  { { 0, 64 * K, 8 * K } }, 0,
	  { { 4 * K, 136, 8, 0 } } },
	{ "clipped at the end", 512, 0, 4 * K, 0,
	  { { 0, 64 * K, 8 * K } }, 0,
	  { { 0, 128, 8, 0 } } },
	{ "clipped at both ends", 512, 1 * K, 2 * K, 0,
	  { { 0, 64 * K, 8 * K } }, 0,
	  { { 1 * K, 130, 2, 0 } } },
	{ "extents before and behind the range", 512, 16 * K, 32 * K, 0,
	  { { 0, 0, 8 * K }, { 8 * K, 640 * K, 8 * K },
	    { 16 * K, 64 * K, 16 * K }, { 32 * K, 320 * K, 8 * K } }, 0,
	  { { 16 * K, 128, 32, 0 } } },
	{ "merged", 512, 0, 12 * K, 0,
	  { { 0, 64 * K, 4 * K }, { 4 * K, 68 * K, 4 * K },
	    { 8 * K, 72 * K, 4 * K } }, 0,
	  { { 0, 128, 24, 0 } } },
	{ "next in the file, not on the disk", 512, 0, 8 * K, 0,
	  { { 0, 64 * K, 4 * K }, { 4 * K, 72 * K, 4 * K } }, 0,
	  { { 0, 128, 8, 0 }, { 4 * K, 144, 8, 0 } } },
	{ "next on the disk backwards", 512, 0, 8 * K, 0,
	  { { 0, 68 * K, 4 * K }, { 4 * K, 64 * K, 4 * K } }, 0,
	  { { 0, 136, 8, 0 }, { 4 * K, 128, 8, 0 } } },
	{ "next on the disk, not in the file", 512, 0, 12 * K, 0,
	  { { 0, 64 * K, 4 * K }, { 8 * K, 68 * K, 4 * K } }, 0,
	  { { 0, 128, 8, 0 }, { 4 * K, 0, 8, HOLE }, { 8 * K, 136, 8, 0 } } },
	{ "the same blocks twice", 512, 0, 8 * K, 0,
	  { { 0, 64 * K, 4 * K }, { 4 * K, 64 * K, 4 * K } }, 0,
	  { { 0, 128, 8, 0 }, { 4 * K, 128, 8, 0 } } },
	{ "no extent at all", 512, 4 * K, 12 * K, 0,
	  { }, 0,
	  { { 4 * K, 0, 16, HOLE } } },
	{ "holes at both ends", 512, 0, 12 * K, 0,
	  { { 4 * K, 64 * K, 4 * K } }, 0,
	  { { 0, 0, 8, HOLE }, { 4 * K, 128, 8, 0 }, { 8 * K, 0, 8, HOLE } } },
	{ "unwritten is a hole", 512, 0, 8 * K, 0,
	  { { 0, 64 * K, 4 * K, UNWRITTEN }, { 4 * K, 68 * K, 4 * K } }, 0,
	  { { 0, 0, 8, HOLE }, { 4 * K, 136, 8, 0 } } },
	{ "unwritten joins holes around it", 512, 0, 16 * K, 0,
	  { { 4 * K, 64 * K, 4 * K, UNWRITTEN }, { 12 * K, 68 * K, 4 * K } }, 0,
	  { { 0, 0, 24, HOLE }, { 12 * K, 136, 8, 0 } } },
	{ "two unwritten ones join", 512, 0, 8 * K, 0,
	  { { 0, 64 * K, 4 * K, UNWRITTEN },
	    { 4 * K, 640 * K, 4 * K, UNWRITTEN } }, 0,
	  { { 0, 0, 16, HOLE } } },
	{ "unwritten parts data that goes on", 512, 0, 12 * K, 0,
	  { { 0, 64 * K, 4 * K }, { 4 * K, 68 * K, 4 * K, UNWRITTEN },
	    { 8 * K, 72 * K, 4 * K } }, 0,
	  { { 0, 128, 8, 0 }, { 4 * K, 0, 8, HOLE }, { 8 * K, 144, 8, 0 } } },
	{ "shared and merged are plain data", 512, 0, 8 * K, 0,
	  { { 0, 64 * K, 4 * K, FIEMAP_EXTENT_SHARED },
	    { 4 * K, 68 * K, 4 * K, FIEMAP_EXTENT_MERGED | FIEMAP_EXTENT_LAST } },
	  0, { { 0, 128, 16, 0 } } },
	{ "on a partition", 512, 4 * K, 8 * K, 1024 * K,
	  { { 0, 64 * K, 8 * K } }, 0,
	  { { 4 * K, 2184, 8, 0 } } },
	{ "a partition that no block of 4 KiB fits", 4096, 0, 8 * K, 512,
	  { { 0, 64 * K, 8 * K } }, -EOPNOTSUPP },
	{ "an empty range", 512, 4 * K, 4 * K, 0,
	  { { 0, 64 * K, 8 * K } }, 0, { } },
	{ "disk not aligned", 4096, 0, 8 * K, 0,
	  { { 0, 64 * K + 512, 8 * K } }, -EOPNOTSUPP },
	{ "starts within a block", 4096, 0, 8 * K, 0,
	  { { 512, 64 * K, 4 * K } }, -EOPNOTSUPP },
	{ "ends within a block", 4096, 0, 8 * K, 0,
	  { { 0, 64 * K, 4 * K + 512 } }, -EOPNOTSUPP },
	{ "ends within a block behind the range", 4096, 0, 4 * K, 0,
	  { { 0, 64 * K, 4 * K + 512 } }, 0,
	  { { 0, 16, 1, 0 } } },
	{ "not aligned outside the range", 4096, 8 * K, 12 * K, 0,
	  { { 0, 512, 4 * K }, { 8 * K, 64 * K, 4 * K } }, 0,
	  { { 8 * K, 16, 1, 0 } } },
	{ "out of order", 512, 0, 8 * K, 0,
	  { { 4 * K, 64 * K, 4 * K }, { 0, 128 * K, 4 * K } }, -EIO },
	{ "out of order behind the range", 512, 0, 4 * K, 0,
	  { { 0, 64 * K, 4 * K }, { 12 * K, 64 * K, 4 * K },
	    { 8 * K, 64 * K, 4 * K } }, -EIO },
	{ "overlapping", 512, 0, 8 * K, 0,
	  { { 0, 64 * K, 4 * K }, { 4 * K - 512, 128 * K, 4 * K } }, -EIO },
	{ "the same twice", 512, 0, 8 * K, 0,
	  { { 0, 64 * K, 4 * K }, { 0, 64 * K, 4 * K } }, -EIO },
	{ "ends behind the end of all files", 512, 0, 8 * K, 0,
	  { { 0, 64 * K, 4 * K }, { 4 * K, 128 * K, U64_MAX - 4 * K + 1 } },
	  -EIO },
	{ "up to the end of all files", 512, 0, 8 * K, 0,
	  { { 4 * K, 128 * K, U64_MAX - 4 * K } }, 0,
	  { { 0, 0, 8, HOLE }, { 4 * K, 256, 8, 0 } } },
	{ "disk address and partition overflow", 512, 0, 4 * K, 2 * K,
	  { { 0, U64_MAX - K + 1, 4 * K } }, -EIO },
	{ "disk address and clipping overflow", 512, 4 * K, 8 * K, 0,
	  { { 0, U64_MAX - 2 * K + 1, 8 * K } }, -EIO },
	{ "large numbers", 4096, 1ULL << 60, (1ULL << 60) + 8 * K, 1ULL << 40,
	  { { 1ULL << 59, 1ULL << 50, 1ULL << 60 } }, 0,
	  { { 1ULL << 60, (1ULL << 28) + (1ULL << 38) + (1ULL << 47), 2, 0 } } },
};

static u32 homi_test_raws(const struct homi_table_case *c)
{
	u32 nr = 0;

	while (nr < MAX_PIECES && c->raw[nr].length)
		nr++;
	return nr;
}

static void homi_test_records(struct kunit *test,
			      const struct homi_table_case *c,
			      const struct homi_extent *got, u64 count)
{
	u64 i, wanted = 0;

	while (wanted < MAX_PIECES && c->want[wanted].blocks)
		wanted++;
	KUNIT_ASSERT_EQ_MSG(test, count, wanted, "%s", c->name);
	for (i = 0; i < count; i++) {
		KUNIT_EXPECT_EQ_MSG(test, got[i].file_offset,
				    c->want[i].file_offset, "%s", c->name);
		KUNIT_EXPECT_EQ_MSG(test, got[i].blocks, c->want[i].blocks,
				    "%s", c->name);
		KUNIT_EXPECT_EQ_MSG(test, got[i].flags, c->want[i].flags,
				    "%s", c->name);
		KUNIT_EXPECT_EQ_MSG(test, got[i].__reserved, 0, "%s", c->name);
		if (!(got[i].flags & HOLE))
			KUNIT_EXPECT_EQ_MSG(test, got[i].slba, c->want[i].slba,
					    "%s", c->name);
	}
}

/* Counted first, then filled into exactly so much memory, which KASAN watches */
static void homi_test_table(struct kunit *test)
{
	const struct homi_table_case *c = homi_table_cases;

	for (; c < homi_table_cases + ARRAY_SIZE(homi_table_cases); c++) {
		struct homi_table_builder b = {
			.block_size = c->block_size,
			.start = c->start,
			.end = c->end,
			.disk_offset = c->disk_offset,
		};
		u32 nr = homi_test_raws(c);
		u64 count;

		KUNIT_EXPECT_EQ_MSG(test, homi_table_build(&b, c->raw, nr),
				    c->ret, "%s", c->name);
		if (c->ret)
			continue;
		count = b.count;
		b.records = kunit_kzalloc(test, count * sizeof(*b.records),
					  GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, b.records);
		KUNIT_EXPECT_EQ(test, homi_table_build(&b, c->raw, nr), 0);
		KUNIT_EXPECT_EQ_MSG(test, b.count, count, "%s", c->name);
		homi_test_records(test, c, b.records, b.count);
	}
}

/* Each flag by which an address is no plain one; outside the range it may be */
static void homi_test_refused_flags(struct kunit *test)
{
	static const u32 refused[] = {
		FIEMAP_EXTENT_UNKNOWN, FIEMAP_EXTENT_DELALLOC,
		FIEMAP_EXTENT_ENCODED, FIEMAP_EXTENT_DATA_ENCRYPTED,
		FIEMAP_EXTENT_NOT_ALIGNED, FIEMAP_EXTENT_DATA_INLINE,
		FIEMAP_EXTENT_DATA_TAIL,
	};
	struct homi_raw_extent raw[] = {
		{ 0, 64 * K, 4 * K }, { 4 * K, 68 * K, 4 * K },
	};
	struct homi_table_builder b = { .block_size = 512 };
	int i, at;

	for (i = 0; i < ARRAY_SIZE(refused); i++) {
		for (at = 0; at < 2; at++) {
			raw[at].flags = refused[i] | FIEMAP_EXTENT_LAST;
			b.start = 0;
			b.end = 8 * K;
			KUNIT_EXPECT_EQ_MSG(test, homi_table_build(&b, raw, 2),
					    -EOPNOTSUPP, "%#x", refused[i]);
			raw[at].flags |= UNWRITTEN;
			KUNIT_EXPECT_EQ_MSG(test, homi_table_build(&b, raw, 2),
					    -EOPNOTSUPP, "%#x", refused[i]);
			b.start = at ? 0 : 4 * K;
			b.end = b.start + 4 * K;
			KUNIT_EXPECT_EQ_MSG(test, homi_table_build(&b, raw, 2),
					    0, "%#x", refused[i]);
			raw[at].flags = 0;
		}
	}
}

/* To be written to: all of it there, written, and nobody else's */
static void homi_test_to_write(struct kunit *test)
{
	static const struct {
		u64 start, end;
		u32 flags[2];
		u64 behind;	/* where the second one begins */
		u32 reason;
	} wants[] = {
		{ 0, 8 * K, { 0, FIEMAP_EXTENT_LAST }, 4 * K, 0 },
		{ 0, 8 * K, { FIEMAP_EXTENT_MERGED }, 4 * K, 0 },
		{ 0, 8 * K, { UNWRITTEN }, 4 * K, HOMI_REASON_HOLE },
		{ 0, 8 * K, { 0, UNWRITTEN }, 4 * K, HOMI_REASON_HOLE },
		{ 0, 4 * K, { 0, UNWRITTEN }, 4 * K, 0 },
		{ 0, 8 * K, { FIEMAP_EXTENT_SHARED }, 4 * K,
		  HOMI_REASON_SHARED },
		{ 0, 8 * K, { 0, FIEMAP_EXTENT_SHARED }, 4 * K,
		  HOMI_REASON_SHARED },
		{ 4 * K, 8 * K, { FIEMAP_EXTENT_SHARED }, 4 * K, 0 },
		{ 0, 12 * K, { }, 4 * K, HOMI_REASON_HOLE },
		{ 0, 12 * K, { }, 8 * K, HOMI_REASON_HOLE },
		{ 0, 8 * K, { FIEMAP_EXTENT_ENCODED }, 4 * K,
		  HOMI_REASON_EXTENT },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(wants); i++) {
		struct homi_raw_extent raw[] = {
			{ 0, 64 * K, 4 * K, wants[i].flags[0] },
			{ wants[i].behind, 640 * K, 4 * K, wants[i].flags[1] },
		};
		struct homi_table_builder b = {
			.block_size = 512, .write = true,
			.start = wants[i].start, .end = wants[i].end,
		};
		int ret = homi_table_build(&b, raw, 2);

		KUNIT_EXPECT_EQ_MSG(test, ret,
				    wants[i].reason ? -EOPNOTSUPP : 0,
				    "case %d", i);
		KUNIT_EXPECT_EQ_MSG(test, b.reason, wants[i].reason,
				    "case %d", i);
	}
}

/* A file of many pieces: all of it is there, in order, without a gap. */
static void homi_test_many(struct kunit *test)
{
	const u32 nr = 2000;
	struct homi_table_builder b = { .block_size = 4096 };
	struct homi_raw_extent *raw;
	u64 i, at = 0, holes = 0;

	raw = kunit_kcalloc(test, nr, sizeof(*raw), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, raw);
	for (i = 0; i < nr; i++) {
		at += i % 3 ? 0 : 4 * K;
		raw[i].logical = at;
		raw[i].physical = (nr - i) * 64 * K;
		raw[i].length = (1 + i % 7) * 4 * K;
		raw[i].flags = i % 5 ? 0 : UNWRITTEN;
		at += raw[i].length;
	}
	b.end = at + 4 * K;
	KUNIT_EXPECT_EQ(test, homi_table_build(&b, raw, nr), 0);
	b.records = kunit_kcalloc(test, b.count, sizeof(*b.records),
				  GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, b.records);
	KUNIT_EXPECT_EQ(test, homi_table_build(&b, raw, nr), 0);
	for (i = 0, at = 0; i < b.count; i++) {
		KUNIT_ASSERT_EQ(test, b.records[i].file_offset, at);
		at += b.records[i].blocks * 4096;
		holes += b.records[i].flags == HOLE;
	}
	KUNIT_EXPECT_EQ(test, at, b.end);
	KUNIT_EXPECT_GT(test, holes, nr / 3);
}

#undef K
#undef HOLE
#undef UNWRITTEN
#undef MAX_PIECES

static struct kunit_case homi_fiemap_cases[] = {
	KUNIT_CASE(homi_test_table),
	KUNIT_CASE(homi_test_refused_flags),
	KUNIT_CASE(homi_test_to_write),
	KUNIT_CASE(homi_test_many),
	{}
};

static struct kunit_suite homi_fiemap_suite = {
	.name = "homi_fiemap",
	.test_cases = homi_fiemap_cases,
};

kunit_test_suite(homi_fiemap_suite);
