// SPDX-License-Identifier: GPL-2.0-only
/*
 * How long a file is let alone after it was recalled: included by extent_backoff.c.
 */
#include <kunit/test.h>

/* Times of the table that are not used for anything else yet */
#define HOMI_TEST_START		BIT_ULL(40)

static int homi_test_backoff_init(struct kunit *test)
{
	memset(homi_backoffs, 0, sizeof(homi_backoffs));
	return 0;
}

static void homi_test_backoff_exit(struct kunit *test)
{
	memset(homi_backoffs, 0, sizeof(homi_backoffs));
}

/* How long a recall at @now has the file let alone */
static u64 homi_test_recall(u64 hash, u64 now)
{
	u64 n = 0;

	spin_lock(&homi_backoff_lock);
	homi_backoff_recalled(hash, now);
	spin_unlock(&homi_backoff_lock);
	while (homi_backoff_lasts(hash, now + n))
		n++;
	return n;
}

/* Tried again as soon as there is a lease again */
static void homi_test_longer(struct kunit *test)
{
	static const u64 want[] = { 2, 4, 8, 16, 30, 30, 30 };
	u64 now = HOMI_TEST_START, n;
	int i;

	KUNIT_EXPECT_FALSE(test, homi_backoff_lasts(0x12345678, now));
	for (i = 0; i < ARRAY_SIZE(want); i++) {
		n = homi_test_recall(0x12345678, now);
		KUNIT_EXPECT_EQ(test, n, want[i] * HZ);
		now += n;
	}
	/* Not recalled for as long as the longest: as if for the first time */
	now += HOMI_BACKOFF_MOST - 1;
	KUNIT_EXPECT_EQ(test, homi_test_recall(0x12345678, now), 30ull * HZ);
	now += 30 * HZ + HOMI_BACKOFF_MOST;
	KUNIT_EXPECT_EQ(test, homi_test_recall(0x12345678, now), 2ull * HZ);
}

/* Other leases that end meanwhile are each let alone for the first time, and count once. */
static void homi_test_once(struct kunit *test)
{
	u64 now = HOMI_TEST_START;

	KUNIT_EXPECT_EQ(test, homi_test_recall(7, now), 2ull * HZ);
	KUNIT_EXPECT_EQ(test, homi_test_recall(7, now + 1), 2ull * HZ);
	KUNIT_EXPECT_EQ(test, homi_test_recall(7, now + 2 * HZ), 2ull * HZ);
	now += 4 * HZ;
	KUNIT_EXPECT_EQ(test, homi_test_recall(7, now), 4ull * HZ);
	KUNIT_EXPECT_EQ(test, homi_test_recall(7, now + 1), 4ull * HZ - 1);
	KUNIT_EXPECT_EQ(test, homi_test_recall(7, now + 4 * HZ), 8ull * HZ);
}

/* Whoever comes back from time to time, be it as late as may be, gets it some time. */
static void homi_test_comes_back(struct kunit *test)
{
	unsigned int seconds, tries;
	u64 now;

	for (seconds = 1; seconds < 30; seconds++) {
		homi_test_backoff_init(test);
		now = HOMI_TEST_START;
		for (tries = 0; !homi_backoff_lasts(99, now); tries++) {
			homi_test_recall(99, now);
			now += seconds * HZ;
			KUNIT_ASSERT_LT(test, tries, 6u);
		}
	}
}

/* One that shares some of its times with others is another file all the same. */
static void homi_test_shared(struct kunit *test)
{
	u64 now = HOMI_TEST_START;

	KUNIT_EXPECT_EQ(test, homi_test_recall(0x01010101, now), 2ull * HZ);
	KUNIT_EXPECT_FALSE(test, homi_backoff_lasts(0x02010101, now));
	KUNIT_EXPECT_FALSE(test, homi_backoff_lasts(0x01010102, now));
	now += 2 * HZ;
	KUNIT_EXPECT_EQ(test, homi_test_recall(0x01010101, now), 4ull * HZ);
	/* It has its own first time, and does not make the other one's shorter. */
	KUNIT_EXPECT_EQ(test, homi_test_recall(0x01010201, now), 2ull * HZ);
	KUNIT_EXPECT_TRUE(test, homi_backoff_lasts(0x01010101,
						   now + 4 * HZ - 1));
	now += 4 * HZ;
	KUNIT_EXPECT_EQ(test, homi_test_recall(0x01010101, now), 8ull * HZ);
}

/* However many others are recalled, none is forgotten. */
static void homi_test_flood(struct kunit *test)
{
	u64 now = HOMI_TEST_START, hash;

	homi_test_recall(0xdeadbeef, now);
	spin_lock(&homi_backoff_lock);
	for (hash = 0; hash < 10000; hash++)
		homi_backoff_recalled(hash * 2654435761u, now);
	spin_unlock(&homi_backoff_lock);
	KUNIT_EXPECT_TRUE(test, homi_backoff_lasts(0xdeadbeef,
						   now + 2 * HZ - 1));
}

static struct kunit_case homi_backoff_cases[] = {
	KUNIT_CASE(homi_test_longer),
	KUNIT_CASE(homi_test_once),
	KUNIT_CASE(homi_test_comes_back),
	KUNIT_CASE(homi_test_shared),
	KUNIT_CASE(homi_test_flood),
	{}
};

static struct kunit_suite homi_backoff_suite = {
	.name = "homi_backoff",
	.init = homi_test_backoff_init,
	.exit = homi_test_backoff_exit,
	.test_cases = homi_backoff_cases,
};

kunit_test_suite(homi_backoff_suite);
