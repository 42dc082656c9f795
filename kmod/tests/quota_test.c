// SPDX-License-Identifier: GPL-2.0-only
/*
 * The arithmetic of quotas, and whose account it is: included by quota.c.
 */
#include <kunit/test.h>

static void homi_test_fits(struct kunit *test)
{
	static const struct {
		u64 used, more, limit;
		bool fits;
	} cases[] = {
		{ 0, 0, 0, true },
		{ 0, 1, 0, false },
		{ 0, 1, 1, true },
		{ 1, 1, 1, false },
		{ 3, 4, 7, true },
		{ 3, 5, 7, false },
		/* Over a limit that was lowered: nothing more, but that is no error. */
		{ 9, 0, 7, false },
		{ 9, 1, 7, false },
		{ 0, U64_MAX, U64_MAX, true },
		{ 1, U64_MAX, U64_MAX, false },
		{ U64_MAX, 1, U64_MAX, false },
		{ U64_MAX, 0, U64_MAX, true },
		{ U64_MAX - 5, 5, U64_MAX, true },
		{ U64_MAX - 5, 6, U64_MAX, false },
		{ 1ull << 63, 1ull << 63, U64_MAX, false },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++)
		KUNIT_EXPECT_EQ_MSG(test, homi_quota_fits(cases[i].used,
							  cases[i].more,
							  cases[i].limit),
				    cases[i].fits, "%llu + %llu of %llu",
				    cases[i].used, cases[i].more,
				    cases[i].limit);
}

static struct homi_ctrl *homi_test_users_of(struct kunit *test)
{
	struct homi_ctrl *ctrl = kunit_kzalloc(test, sizeof(*ctrl), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, ctrl);
	spin_lock_init(&ctrl->lock);
	INIT_LIST_HEAD(&ctrl->users);
	return ctrl;
}

/* Its own, or the module's; and in units of the kind */
static void homi_test_limits(struct kunit *test)
{
	struct homi_ctrl *ctrl = homi_test_users_of(test);
	static const u32 values[] = { 3, 1, 9, 2, 0, 0 };
	unsigned int before[HOMI_LIMITS];
	u32 own = UINT_MAX, none = 0, five = 5;
	int i;

	memcpy(before, homi_defaults, sizeof(before));
	memset(homi_defaults, 0, sizeof(homi_defaults));
	homi_limits_refresh(ctrl);
	for (i = 0; i < HOMI_QUOTA_FILES; i++) {
		KUNIT_EXPECT_EQ(test, homi_quota_limit(ctrl, i, false), U64_MAX);
		KUNIT_EXPECT_EQ(test, homi_quota_limit(ctrl, i, true), U64_MAX);
	}
	memcpy(homi_defaults, values, sizeof(values));
	homi_limits_refresh(ctrl);
	KUNIT_EXPECT_EQ(test, homi_quota_limit(ctrl, HOMI_QUOTA_QUEUES, false), 3ull);
	KUNIT_EXPECT_EQ(test, homi_quota_limit(ctrl, HOMI_QUOTA_QUEUES, true), 9ull);
	KUNIT_EXPECT_EQ(test, homi_quota_limit(ctrl, HOMI_QUOTA_PAGES, false),
			1048576ull / PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, homi_quota_limit(ctrl, HOMI_QUOTA_PAGES, true),
			2097152ull / PAGE_SIZE);
	/* More than 32 bits of bytes, and than that of pages */
	homi_limit_set(ctrl, HOMI_LIMIT_PINNED, &own);
	KUNIT_EXPECT_EQ(test, homi_quota_limit(ctrl, HOMI_QUOTA_PAGES, false),
			(u64)UINT_MAX * (1048576 / PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, homi_quota_limit(ctrl, HOMI_QUOTA_EXTENTS, false), U64_MAX);
	homi_limit_set(ctrl, HOMI_LIMIT_EXTENTS, &five);
	KUNIT_EXPECT_EQ(test, homi_quota_limit(ctrl, HOMI_QUOTA_EXTENTS, false), 5ull);
	KUNIT_EXPECT_EQ(test, homi_quota_limit(ctrl, HOMI_QUOTA_EXTENTS, true), U64_MAX);
	/* None is a limit of its own, too. */
	homi_limit_set(ctrl, HOMI_LIMIT_QUEUES, &none);
	homi_defaults[HOMI_LIMIT_QUEUES] = 4;
	homi_limits_refresh(ctrl);
	KUNIT_EXPECT_EQ(test, homi_quota_limit(ctrl, HOMI_QUOTA_QUEUES, false), U64_MAX);
	homi_limit_set(ctrl, HOMI_LIMIT_QUEUES, NULL);
	KUNIT_EXPECT_EQ(test, homi_quota_limit(ctrl, HOMI_QUOTA_QUEUES, false), 4ull);
	memcpy(homi_defaults, before, sizeof(before));
}

/* One account for all files of a user, until the last one is gone */
static void homi_test_users(struct kunit *test)
{
	struct homi_ctrl *ctrl = homi_test_users_of(test);
	struct homi_user *a = homi_user_get(ctrl, KUIDT_INIT(1000));
	struct homi_user *b = homi_user_get(ctrl, KUIDT_INIT(1001));

	KUNIT_ASSERT_NOT_NULL(test, a);
	KUNIT_ASSERT_NOT_NULL(test, b);
	KUNIT_EXPECT_PTR_NE(test, a, b);
	KUNIT_EXPECT_PTR_EQ(test, homi_user_get(ctrl, KUIDT_INIT(1000)), a);
	KUNIT_EXPECT_EQ(test, a->files, 2u);
	homi_user_put(ctrl, a);
	KUNIT_EXPECT_FALSE(test, list_empty(&ctrl->users));
	homi_user_put(ctrl, b);
	homi_user_put(ctrl, a);
	KUNIT_EXPECT_TRUE(test, list_empty(&ctrl->users));
}

static bool homi_test_take(struct homi_ctx *ctx, enum homi_quota kind, u64 n,
			   u64 limit)
{
	return homi_quota_take(ctx, kind, n, limit, U64_MAX);
}

/* What one file takes another one of the same user lacks, and gets back. */
static void homi_test_shared(struct kunit *test)
{
	struct homi_ctrl *ctrl = homi_test_users_of(test);
	struct homi_user *user = homi_user_get(ctrl, KUIDT_INIT(1000));
	struct homi_ctx one = { .ctrl = ctrl, .user = user };
	struct homi_ctx two = { .ctrl = ctrl, .user = user };

	KUNIT_ASSERT_NOT_NULL(test, user);
	KUNIT_EXPECT_TRUE(test, homi_test_take(&one, HOMI_QUOTA_PAGES, 6, 10));
	KUNIT_EXPECT_FALSE(test, homi_test_take(&two, HOMI_QUOTA_PAGES, 5, 10));
	KUNIT_EXPECT_EQ(test, user->used[HOMI_QUOTA_PAGES], 6ull);
	KUNIT_EXPECT_TRUE(test, homi_test_take(&two, HOMI_QUOTA_PAGES, 4, 10));
	/* The other kind has its own. */
	KUNIT_EXPECT_TRUE(test, homi_test_take(&two, HOMI_QUOTA_QUEUES, 1, 1));
	KUNIT_EXPECT_FALSE(test, homi_test_take(&one, HOMI_QUOTA_QUEUES, 1, 1));
	homi_quota_uncharge(&one, HOMI_QUOTA_PAGES, 6);
	KUNIT_EXPECT_TRUE(test, homi_test_take(&two, HOMI_QUOTA_PAGES, 6, 10));
	homi_quota_uncharge(&two, HOMI_QUOTA_PAGES, 10);
	homi_quota_uncharge(&two, HOMI_QUOTA_QUEUES, 1);
	KUNIT_EXPECT_EQ(test, user->used[HOMI_QUOTA_PAGES], 0ull);
	KUNIT_EXPECT_EQ(test, user->used[HOMI_QUOTA_QUEUES], 0ull);
	homi_user_put(ctrl, user);
}

/* And what one user takes all lack, if there is a limit for all */
static void homi_test_total(struct kunit *test)
{
	struct homi_ctrl *ctrl = homi_test_users_of(test);
	struct homi_ctx one = { .ctrl = ctrl }, two = one;

	one.user = homi_user_get(ctrl, KUIDT_INIT(1000));
	two.user = homi_user_get(ctrl, KUIDT_INIT(1001));
	KUNIT_ASSERT_NOT_NULL(test, one.user);
	KUNIT_ASSERT_NOT_NULL(test, two.user);
	KUNIT_EXPECT_TRUE(test, homi_quota_take(&one, HOMI_QUOTA_PAGES, 6, 8, 10));
	KUNIT_EXPECT_FALSE(test, homi_quota_take(&two, HOMI_QUOTA_PAGES, 5, 8, 10));
	KUNIT_EXPECT_EQ(test, two.user->used[HOMI_QUOTA_PAGES], 0ull);
	KUNIT_EXPECT_TRUE(test, homi_quota_take(&two, HOMI_QUOTA_PAGES, 4, 8, 10));
	KUNIT_EXPECT_FALSE(test, homi_quota_take(&one, HOMI_QUOTA_PAGES, 1, 8, 10));
	/* Over it with privilege, which the others feel. */
	KUNIT_EXPECT_TRUE(test, homi_quota_take(&one, HOMI_QUOTA_PAGES, 1, U64_MAX,
						U64_MAX));
	homi_quota_uncharge(&two, HOMI_QUOTA_PAGES, 4);
	KUNIT_EXPECT_FALSE(test, homi_quota_take(&two, HOMI_QUOTA_PAGES, 4, 8, 10));
	KUNIT_EXPECT_TRUE(test, homi_quota_take(&two, HOMI_QUOTA_PAGES, 3, 8, 10));
	homi_quota_uncharge(&one, HOMI_QUOTA_PAGES, 7);
	homi_quota_uncharge(&two, HOMI_QUOTA_PAGES, 3);
	KUNIT_EXPECT_EQ(test, ctrl->used[HOMI_QUOTA_PAGES], 0ull);
	homi_user_put(ctrl, one.user);
	homi_user_put(ctrl, two.user);
}

static struct kunit_case homi_quota_cases[] = {
	KUNIT_CASE(homi_test_fits),
	KUNIT_CASE(homi_test_limits),
	KUNIT_CASE(homi_test_users),
	KUNIT_CASE(homi_test_shared),
	KUNIT_CASE(homi_test_total),
	{}
};

static struct kunit_suite homi_quota_suite = {
	.name = "homi_quota",
	.test_cases = homi_quota_cases,
};

kunit_test_suite(homi_quota_suite);
