// SPDX-License-Identifier: GPL-2.0-only
/*
 * When the poller looks: included by wait.c.
 */
#include <kunit/test.h>

static void homi_test_pauses(struct kunit *test)
{
	u64 waited = 0, looks = 0, pause;

	KUNIT_EXPECT_EQ(test, homi_poll_pause(0, 5000), HOMI_POLL_MIN_NS);
	KUNIT_EXPECT_EQ(test, homi_poll_pause(40 * NSEC_PER_USEC, 5000),
			10ull * NSEC_PER_USEC);
	KUNIT_EXPECT_EQ(test, homi_poll_pause(80 * NSEC_PER_USEC, 5000),
			20ull * NSEC_PER_USEC);
	KUNIT_EXPECT_EQ(test, homi_poll_pause(U64_MAX, 5000),
			5000ull * NSEC_PER_USEC);
	/* No parameter makes it spin, or overflows. */
	KUNIT_EXPECT_EQ(test, homi_poll_pause(U64_MAX, 0), HOMI_POLL_MIN_NS);
	KUNIT_EXPECT_EQ(test, homi_poll_pause(U64_MAX, UINT_MAX),
			(u64)UINT_MAX * NSEC_PER_USEC);
	/* Late by a quarter at most, and few looks for long waits */
	while (waited < 10 * NSEC_PER_MSEC) {
		pause = homi_poll_pause(waited, 5000);
		if (waited > 4 * HOMI_POLL_MIN_NS)
			KUNIT_EXPECT_LE(test, pause, waited / 4);
		waited += pause;
		looks++;
	}
	KUNIT_EXPECT_LT(test, looks, 40ull);
}

static void homi_test_first_look(struct kunit *test)
{
	u64 mean = 0;
	int i;

	KUNIT_EXPECT_EQ(test, homi_poll_first(0, 5000), HOMI_POLL_MIN_NS);
	KUNIT_EXPECT_EQ(test, homi_poll_first(80 * NSEC_PER_USEC, 5000),
			60ull * NSEC_PER_USEC);
	KUNIT_EXPECT_EQ(test, homi_poll_first(HOMI_MEAN_MAX_NS, 0), HOMI_POLL_MIN_NS);
	/* It gets to what waits last, and does not take a pause of the caller's for one. */
	for (i = 0; i < 100; i++)
		mean = homi_poll_mean(mean, 80 * NSEC_PER_USEC);
	KUNIT_EXPECT_GE(test, mean, 79ull * NSEC_PER_USEC);
	KUNIT_EXPECT_LE(test, mean, 80ull * NSEC_PER_USEC);
	for (i = 0; i < 100; i++)
		mean = homi_poll_mean(mean, U64_MAX);
	KUNIT_EXPECT_LE(test, mean, (u64)HOMI_MEAN_MAX_NS);
}

static struct kunit_case homi_wait_cases[] = {
	KUNIT_CASE(homi_test_pauses),
	KUNIT_CASE(homi_test_first_look),
	{}
};

static struct kunit_suite homi_wait_suite = {
	.name = "homi_wait",
	.test_cases = homi_wait_cases,
};

kunit_test_suite(homi_wait_suite);
