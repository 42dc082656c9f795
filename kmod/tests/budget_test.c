// SPDX-License-Identifier: GPL-2.0-only
/*
 * The arithmetic of buckets, at all rates, and whose turn it is: included by budget.c.
 */
#include <kunit/test.h>

static const u32 homi_test_rates[] = { 1, 2, 7, 64, 1000, 1 << 20, S32_MAX, U32_MAX };

static void homi_test_bucket(struct kunit *test)
{
	s64 level = 0;

	/* 10 in a second: 4 after 400 ms, and never more than 10 */
	homi_bucket_fill(&level, 10, 400 * NSEC_PER_MSEC);
	KUNIT_EXPECT_EQ(test, level, 4ll * NSEC_PER_SEC);
	KUNIT_EXPECT_EQ(test, homi_bucket_wait(level, 10, 4ull * NSEC_PER_SEC), 0ull);
	KUNIT_EXPECT_EQ(test, homi_bucket_wait(level, 10, 5ull * NSEC_PER_SEC),
			100ull * NSEC_PER_MSEC);
	homi_bucket_fill(&level, 10, NSEC_PER_SEC);
	KUNIT_EXPECT_EQ(test, level, homi_bucket_full(10));
	/* What is more than a full one goes when it is full, and is owed. */
	KUNIT_EXPECT_EQ(test, homi_bucket_wait(level, 10, 35ull * NSEC_PER_SEC), 0ull);
	homi_bucket_take(&level, 35ull * NSEC_PER_SEC);
	KUNIT_EXPECT_EQ(test, level, -25ll * NSEC_PER_SEC);
	KUNIT_EXPECT_EQ(test, homi_bucket_wait(level, 10, NSEC_PER_SEC),
			2600ull * NSEC_PER_MSEC);
	homi_bucket_fill(&level, 10, 2600ull * NSEC_PER_MSEC);
	KUNIT_EXPECT_EQ(test, level, (s64)NSEC_PER_SEC);
	KUNIT_EXPECT_EQ(test, homi_bucket_wait(level, 10, NSEC_PER_SEC), 0ull);
	/* Given back it is there again. */
	homi_bucket_take(&level, NSEC_PER_SEC);
	homi_bucket_give(&level, NSEC_PER_SEC);
	KUNIT_EXPECT_EQ(test, level, (s64)NSEC_PER_SEC);
	/* Less in a second: no more than that is left. */
	homi_bucket_fill(&level, 10, NSEC_PER_SEC);
	homi_bucket_fill(&level, 3, 0);
	KUNIT_EXPECT_EQ(test, level, 3ll * NSEC_PER_SEC);
	/* None: always enough, and nothing owed afterwards. */
	homi_bucket_take(&level, 50ull * NSEC_PER_SEC);
	homi_bucket_fill(&level, 0, 0);
	KUNIT_EXPECT_EQ(test, homi_bucket_wait(level, 0, U64_MAX), 0ull);
	homi_bucket_fill(&level, 3, 0);
	KUNIT_EXPECT_EQ(test, level, 3ll * NSEC_PER_SEC);
}

/* After the time that it says, and not before, it can be taken, at each rate. */
static void homi_test_bucket_waits(struct kunit *test)
{
	static const u32 bytes[] = { 0, 512, 4096, SZ_1M, INT_MAX, U32_MAX };
	int r, b, i;

	for (r = 0; r < ARRAY_SIZE(homi_test_rates); r++)
		for (b = 0; b < ARRAY_SIZE(bytes); b++)
			for (i = 0; i < HOMI_BUCKETS; i++) {
				u64 cost = homi_budget_cost(bytes[b], i), ns;
				u32 rate = homi_test_rates[r];
				s64 level = -(s64)cost, before = level;

				ns = homi_bucket_wait(level, rate, cost);
				homi_bucket_fill(&level, rate, ns);
				KUNIT_EXPECT_EQ(test, homi_bucket_wait(level, rate, cost),
						0ull);
				if (ns < 2)
					continue;
				homi_bucket_fill(&before, rate, ns - 1);
				KUNIT_EXPECT_EQ(test, homi_bucket_wait(before, rate, cost),
						1ull);
			}
}

static void homi_test_bucket_overflow(struct kunit *test)
{
	static const u64 times[] = { 0, 1, NSEC_PER_SEC, S64_MAX, U64_MAX };
	u64 most = homi_budget_cost(U32_MAX, 1);
	int r, k;

	KUNIT_EXPECT_GT(test, most, 0ull);
	KUNIT_EXPECT_GT(test, homi_bucket_full(U32_MAX), 0ll);
	for (r = 0; r < ARRAY_SIZE(homi_test_rates); r++) {
		u32 rate = homi_test_rates[r];
		s64 full = homi_bucket_full(rate);

		for (k = 0; k < ARRAY_SIZE(times); k++) {
			s64 level = -HOMI_DEBT_MOST;

			homi_bucket_fill(&level, rate, times[k]);
			KUNIT_EXPECT_GE(test, level, -HOMI_DEBT_MOST);
			KUNIT_EXPECT_LE(test, level, full);
			if (times[k] >= S64_MAX)
				KUNIT_EXPECT_EQ(test, level, full);
			/* A sleep can be as long. */
			KUNIT_EXPECT_LE(test, homi_bucket_wait(level, rate, most),
					(u64)S64_MAX);
		}
	}
	for (k = 0; k < 10000; k++) {
		s64 level = k ? -HOMI_DEBT_MOST + k : S64_MAX;

		homi_bucket_take(&level, most);
		KUNIT_EXPECT_EQ(test, level, k ? -HOMI_DEBT_MOST :
						 S64_MAX - (s64)most);
		level = S64_MAX - k;
		homi_bucket_give(&level, most);
		KUNIT_EXPECT_EQ(test, level, S64_MAX);
	}
}

static struct homi_ctrl *homi_test_budget_of(struct kunit *test, u32 ios, u32 kib)
{
	struct homi_ctrl *ctrl = kunit_kzalloc(test, sizeof(*ctrl), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, ctrl);
	spin_lock_init(&ctrl->lock);
	INIT_LIST_HEAD(&ctrl->users);
	ctrl->state = HOMI_CTRL_LIVE;
	homi_limit_set(ctrl, HOMI_LIMIT_IOS, &ios);
	homi_limit_set(ctrl, HOMI_LIMIT_KIB, &kib);
	return ctrl;
}

/* A user who owes something is kept, and has no more when he comes again. */
static void homi_test_kept(struct kunit *test)
{
	struct homi_ctrl *ctrl = homi_test_budget_of(test, 0, 1);
	struct homi_ctx ctx = { .ctrl = ctrl };
	struct homi_toll toll = {};
	u32 none = 0;

	ctx.user = homi_user_get(ctrl, KUIDT_INIT(1000));
	KUNIT_ASSERT_NOT_NULL(test, ctx.user);
	/* Days */
	KUNIT_EXPECT_TRUE(test, homi_budget_take(&ctx, &toll, SZ_1G));
	KUNIT_EXPECT_TRUE(test, toll.paid);
	KUNIT_EXPECT_EQ(test, ctx.user->ios, 1ull);
	KUNIT_EXPECT_EQ(test, ctx.user->bytes, (u64)SZ_1G);
	homi_user_put(ctrl, ctx.user);
	KUNIT_EXPECT_FALSE(test, list_empty(&ctrl->users));
	KUNIT_EXPECT_PTR_EQ(test, homi_user_get(ctrl, KUIDT_INIT(1000)), ctx.user);
	KUNIT_EXPECT_FALSE(test, homi_budget_is_whole(ctrl, ctx.user));
	/* Given back there is nothing to keep it for. */
	homi_budget_refund(&ctx, &toll);
	KUNIT_EXPECT_EQ(test, ctx.user->ios, 0ull);
	KUNIT_EXPECT_EQ(test, ctx.user->bytes, 0ull);
	KUNIT_EXPECT_TRUE(test, homi_budget_is_whole(ctrl, ctx.user));
	KUNIT_EXPECT_TRUE(test, homi_budget_take(&ctx, &toll, SZ_1G));
	homi_user_put(ctrl, ctx.user);
	KUNIT_EXPECT_FALSE(test, list_empty(&ctrl->users));
	/* Nor without a budget. */
	homi_limit_set(ctrl, HOMI_LIMIT_KIB, &none);
	homi_user_put(ctrl, homi_user_get(ctrl, KUIDT_INIT(1001)));
	KUNIT_EXPECT_TRUE(test, list_empty(&ctrl->users));
}

/* What it is for another length, those who come next have more or less. */
static void homi_test_adjusted(struct kunit *test)
{
	struct homi_ctrl *ctrl = homi_test_budget_of(test, 0, 1024);
	struct homi_toll toll = {}, other = {};
	struct homi_ctx ctx = { .ctrl = ctrl };
	u32 none = 0;

	ctx.user = homi_user_get(ctrl, KUIDT_INIT(1000));
	KUNIT_ASSERT_NOT_NULL(test, ctx.user);
	KUNIT_EXPECT_TRUE(test, homi_budget_take(&ctx, &toll, SZ_4K));
	homi_budget_adjust(&ctx, &toll, SZ_1G);
	KUNIT_EXPECT_EQ(test, ctx.user->bytes, (u64)SZ_1G);
	homi_budget_take(&ctx, &other, SZ_4K);
	KUNIT_EXPECT_FALSE(test, other.paid);
	homi_budget_adjust(&ctx, &toll, 0);
	KUNIT_EXPECT_EQ(test, ctx.user->ios, 1ull);
	KUNIT_EXPECT_EQ(test, ctx.user->bytes, 0ull);
	KUNIT_EXPECT_TRUE(test, homi_budget_is_whole(ctrl, ctx.user));
	homi_budget_take(&ctx, &other, SZ_4K);
	KUNIT_EXPECT_TRUE(test, other.paid);
	homi_budget_refund(&ctx, &other);
	homi_budget_refund(&ctx, &toll);
	KUNIT_EXPECT_EQ(test, ctx.user->ios, 0ull);
	KUNIT_EXPECT_EQ(test, ctx.user->bytes, 0ull);
	homi_limit_set(ctrl, HOMI_LIMIT_KIB, &none);
	homi_user_put(ctrl, ctx.user);
	KUNIT_EXPECT_TRUE(test, list_empty(&ctrl->users));
}

static struct kunit_case homi_budget_cases[] = {
	KUNIT_CASE(homi_test_bucket),
	KUNIT_CASE(homi_test_bucket_waits),
	KUNIT_CASE(homi_test_bucket_overflow),
	KUNIT_CASE(homi_test_kept),
	KUNIT_CASE(homi_test_adjusted),
	{}
};

static struct kunit_suite homi_budget_suite = {
	.name = "homi_budget",
	.test_cases = homi_budget_cases,
};

kunit_test_suite(homi_budget_suite);
