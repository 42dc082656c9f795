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

static void homi_test_limits(struct kunit *test)
{
	unsigned int queues = queues_per_user, mib = pinned_mib_per_user;
	unsigned int extents = extents_per_user;

	queues_per_user = 0;
	pinned_mib_per_user = 0;
	KUNIT_EXPECT_EQ(test, homi_quota_limit(HOMI_QUOTA_QUEUES), U64_MAX);
	KUNIT_EXPECT_EQ(test, homi_quota_limit(HOMI_QUOTA_PAGES), U64_MAX);
	queues_per_user = 3;
	pinned_mib_per_user = 1;
	KUNIT_EXPECT_EQ(test, homi_quota_limit(HOMI_QUOTA_QUEUES), 3ull);
	KUNIT_EXPECT_EQ(test, homi_quota_limit(HOMI_QUOTA_PAGES),
			1048576ull / PAGE_SIZE);
	/* More than 32 bits of bytes, and than that of pages */
	pinned_mib_per_user = UINT_MAX;
	KUNIT_EXPECT_EQ(test, homi_quota_limit(HOMI_QUOTA_PAGES),
			(u64)UINT_MAX * (1048576 / PAGE_SIZE));
	extents_per_user = 0;
	KUNIT_EXPECT_EQ(test, homi_quota_limit(HOMI_QUOTA_EXTENTS), U64_MAX);
	extents_per_user = 5;
	KUNIT_EXPECT_EQ(test, homi_quota_limit(HOMI_QUOTA_EXTENTS), 5ull);
	queues_per_user = queues;
	pinned_mib_per_user = mib;
	extents_per_user = extents;
}

static struct homi_ctrl *homi_test_users_of(struct kunit *test)
{
	struct homi_ctrl *ctrl = kunit_kzalloc(test, sizeof(*ctrl), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, ctrl);
	spin_lock_init(&ctrl->lock);
	INIT_LIST_HEAD(&ctrl->users);
	return ctrl;
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

/* What one file takes another one of the same user lacks, and gets back. */
static void homi_test_shared(struct kunit *test)
{
	struct homi_ctrl *ctrl = homi_test_users_of(test);
	struct homi_user *user = homi_user_get(ctrl, KUIDT_INIT(1000));
	struct homi_ctx one = { .ctrl = ctrl, .user = user };
	struct homi_ctx two = { .ctrl = ctrl, .user = user };

	KUNIT_ASSERT_NOT_NULL(test, user);
	KUNIT_EXPECT_TRUE(test, homi_quota_take(&one, HOMI_QUOTA_PAGES, 6, 10));
	KUNIT_EXPECT_FALSE(test, homi_quota_take(&two, HOMI_QUOTA_PAGES, 5, 10));
	KUNIT_EXPECT_EQ(test, user->used[HOMI_QUOTA_PAGES], 6ull);
	KUNIT_EXPECT_TRUE(test, homi_quota_take(&two, HOMI_QUOTA_PAGES, 4, 10));
	/* The other kind has its own. */
	KUNIT_EXPECT_TRUE(test, homi_quota_take(&two, HOMI_QUOTA_QUEUES, 1, 1));
	KUNIT_EXPECT_FALSE(test, homi_quota_take(&one, HOMI_QUOTA_QUEUES, 1, 1));
	homi_quota_uncharge(&one, HOMI_QUOTA_PAGES, 6);
	KUNIT_EXPECT_TRUE(test, homi_quota_take(&two, HOMI_QUOTA_PAGES, 6, 10));
	homi_quota_uncharge(&two, HOMI_QUOTA_PAGES, 10);
	homi_quota_uncharge(&two, HOMI_QUOTA_QUEUES, 1);
	KUNIT_EXPECT_EQ(test, user->used[HOMI_QUOTA_PAGES], 0ull);
	KUNIT_EXPECT_EQ(test, user->used[HOMI_QUOTA_QUEUES], 0ull);
	homi_user_put(ctrl, user);
}

static struct kunit_case homi_quota_cases[] = {
	KUNIT_CASE(homi_test_fits),
	KUNIT_CASE(homi_test_limits),
	KUNIT_CASE(homi_test_users),
	KUNIT_CASE(homi_test_shared),
	{}
};

static struct kunit_suite homi_quota_suite = {
	.name = "homi_quota",
	.test_cases = homi_quota_cases,
};

kunit_test_suite(homi_quota_suite);
