// SPDX-License-Identifier: GPL-2.0-only
/*
 * What stock is left at its resets: included by reserve.c.
 */
#include "mock.h"

/* Before and after one setting up of stock's queues; 0 for @lent: none is */
struct homi_share_case {
	const char *name;
	u32 reserved;
	u32 wanted;
	u32 lent;
	u32 asked;
	u32 got;
	u32 share;
	u32 kernel;
	u32 in_force;
};

#define HOMI_TEST_STOCK_MAX	8

static const struct homi_share_case homi_share_cases[] = {
	{ "nothing reserved", 0, 0, 0, 8, 8, 8, 8, 0 },
	{ "nothing reserved, stock wants little", 0, 0, 0, 3, 3, 3, 8, 0 },
	{ "nothing reserved, fewer granted", 0, 0, 0, 8, 5, 5, 8, 0 },
	{ "granted as asked", 0, 2, 0, 8, 10, 8, 8, 2 },
	{ "no more than stock wants", 0, 2, 0, 8, 8, 6, 6, 2 },
	{ "one more", 0, 2, 0, 8, 9, 7, 7, 2 },
	{ "one is left", 0, 7, 0, 8, 8, 1, 1, 7 },
	{ "none would be left", 0, 8, 0, 8, 8, 8, 8, 0 },
	{ "far too many", 0, 60000, 0, 8, 8, 8, 8, 0 },
	{ "as before", 2, 2, 9, 8, 10, 8, 8, 2 },
	{ "more, in vain", 2, 9, 7, 8, 8, 6, 6, 2 },
	{ "more", 2, 3, 7, 8, 8, 5, 5, 3 },
	{ "given back", 0, 0, 0, 8, 8, 8, 8, 0 },
	{ "the controller grants no more than is reserved", 4, 4, 7, 8, 3, 3, 3, 4 },
	{ "an id below is lent", 2, 2, 5, 8, 10, 4, 4, 2 },
	{ "the lowest there can be", 2, 2, 2, 8, 10, 1, 1, 2 },
	{ "stock wants less than before", 2, 2, 7, 3, 5, 3, 3, 2 },
	{ "one queue in all", 0, 1, 0, 1, 1, 1, 8, 0 },
};

static void homi_test_share(struct kunit *test)
{
	struct homi_ctrl *ctrl = &((struct homi_mock *)test->priv)->ctrl;
	const struct homi_share_case *c = homi_share_cases;
	u32 share;

	ctrl->stock_max = HOMI_TEST_STOCK_MAX;
	for (; c < homi_share_cases + ARRAY_SIZE(homi_share_cases); c++) {
		ctrl->reserved = c->reserved;
		ctrl->reserve_wanted = c->wanted;
		if (c->lent)
			__set_bit(c->lent, ctrl->qids);
		KUNIT_EXPECT_EQ_MSG(test, homi_reserve_ask(ctrl, c->asked),
				    c->asked + max(c->reserved, c->wanted),
				    "%s", c->name);
		share = homi_reserve_share(ctrl, c->asked, c->got);
		KUNIT_EXPECT_EQ_MSG(test, share, c->share, "%s", c->name);
		KUNIT_EXPECT_EQ_MSG(test, ctrl->kernel_queues, c->kernel, "%s",
				    c->name);
		KUNIT_EXPECT_EQ_MSG(test, ctrl->reserved, c->in_force, "%s",
				    c->name);
		KUNIT_EXPECT_EQ_MSG(test, ctrl->reserve_wanted, c->in_force,
				    "%s", c->name);
		KUNIT_EXPECT_EQ_MSG(test, ctrl->stock_short, share < c->asked,
				    "%s", c->name);
		if (c->lent)
			__clear_bit(c->lent, ctrl->qids);
	}
}

/* Is stock left one queue, and none that is lent? */
static bool homi_test_share_holds(struct homi_ctrl *ctrl, u32 asked, u32 got,
				  u32 lent)
{
	u32 share;

	__set_bit(lent, ctrl->qids);
	share = homi_reserve_share(ctrl, asked, got);
	__clear_bit(lent, ctrl->qids);
	return share && share <= asked && share <= got && share < lent &&
	       ctrl->kernel_queues >= share && ctrl->kernel_queues < lent;
}

/* Whatever the numbers are */
static void homi_test_share_sweep(struct kunit *test)
{
	enum { RESERVED = 6, WANTED = 12, LENT = 10, ASKED = 8, GOT = 20 };
	struct homi_ctrl *ctrl = &((struct homi_mock *)test->priv)->ctrl;
	u32 n, reserved, wanted, lent, asked, got;
	unsigned int bad = 0;

	ctrl->stock_max = HOMI_TEST_STOCK_MAX;
	for (n = 0; n < RESERVED * WANTED * LENT * ASKED * GOT; n++) {
		reserved = n % RESERVED;
		wanted = n / RESERVED % WANTED;
		lent = 2 + n / (RESERVED * WANTED) % LENT;
		asked = 1 + n / (RESERVED * WANTED * LENT) % ASKED;
		got = 1 + n / (RESERVED * WANTED * LENT * ASKED);
		/* RESERVE 0 is refused over a lent id. */
		if (got > asked + max(reserved, wanted) ||
		    (!min(reserved, wanted) && lent <= HOMI_TEST_STOCK_MAX))
			continue;
		ctrl->reserved = reserved;
		ctrl->reserve_wanted = wanted;
		bad += !homi_test_share_holds(ctrl, asked, got, lent);
	}
	KUNIT_EXPECT_EQ(test, bad, 0);
}

static void homi_test_ask_max(struct kunit *test)
{
	struct homi_ctrl *ctrl = &((struct homi_mock *)test->priv)->ctrl;

	ctrl->reserve_wanted = 65534;
	KUNIT_EXPECT_EQ(test, homi_reserve_ask(ctrl, 1), 65535);
	KUNIT_EXPECT_EQ(test, homi_reserve_ask(ctrl, 8), 65535);
	ctrl->reserve_wanted = U32_MAX;
	KUNIT_EXPECT_EQ(test, homi_reserve_ask(ctrl, 8), 65535);
	ctrl->reserve_wanted = 0;
	KUNIT_EXPECT_EQ(test, homi_reserve_ask(ctrl, 8), 8);
}

/* What RESERVE does at once, 1 standing for "by a reset" */
struct homi_begin_case {
	const char *name;
	u32 granted;
	u32 kernel;
	u32 reserved;
	bool stock_short;
	u32 lent;
	u32 count;
	int ret;
	u32 kernel_then;
	u32 reserved_then;
};

static const struct homi_begin_case homi_begin_cases[] = {
	{ "enough to spare", 64, 8, 0, false, 0, 4, 0, 8, 4 },
	{ "all that are to spare", 64, 8, 0, false, 9, 56, 0, 8, 56 },
	{ "one more", 64, 8, 0, false, 0, 57, 1, 8, 0 },
	{ "none to spare", 8, 8, 0, false, 0, 1, 1, 8, 0 },
	{ "stock could take more than is granted", 4, 8, 0, false, 0, 1, 1, 8, 0 },
	{ "the same", 8, 6, 2, true, 7, 2, 0, 6, 2 },
	{ "the same, stock wants little", 8, 4, 2, false, 5, 2, 0, 4, 2 },
	{ "more, there are enough", 8, 4, 2, false, 5, 3, 0, 4, 3 },
	{ "back", 8, 6, 2, true, 0, 0, 1, 8, 0 },
	{ "back, stock lacks none", 10, 8, 2, false, 9, 0, 0, 8, 0 },
	{ "back, one is lent", 8, 6, 2, true, 7, 0, -EBUSY, 6, 2 },
	{ "back in part", 8, 6, 2, true, 8, 1, 1, 7, 1 },
	{ "back in part, that one is lent", 8, 6, 2, true, 7, 1, -EBUSY, 6, 2 },
};

static void homi_test_begin(struct kunit *test)
{
	struct homi_ctrl *ctrl = &((struct homi_mock *)test->priv)->ctrl;
	const struct homi_begin_case *c = homi_begin_cases;
	int ret;

	ctrl->stock_max = HOMI_TEST_STOCK_MAX;
	for (; c < homi_begin_cases + ARRAY_SIZE(homi_begin_cases); c++) {
		ctrl->granted = c->granted;
		ctrl->reach = c->granted;
		ctrl->kernel_queues = c->kernel;
		ctrl->reserved = c->reserved;
		ctrl->reserve_wanted = c->reserved;
		ctrl->stock_short = c->stock_short;
		if (c->lent)
			__set_bit(c->lent, ctrl->qids);
		spin_lock(&ctrl->lock);
		ret = homi_reserve_begin(ctrl, c->count);
		spin_unlock(&ctrl->lock);
		KUNIT_EXPECT_EQ_MSG(test, ret, c->ret, "%s", c->name);
		KUNIT_EXPECT_EQ_MSG(test, ctrl->kernel_queues, c->kernel_then,
				    "%s", c->name);
		KUNIT_EXPECT_EQ_MSG(test, ctrl->reserved, c->reserved_then,
				    "%s", c->name);
		if (c->lent)
			__clear_bit(c->lent, ctrl->qids);
	}
}

static struct kunit_case homi_reserve_cases[] = {
	KUNIT_CASE(homi_test_share),
	KUNIT_CASE(homi_test_share_sweep),
	KUNIT_CASE(homi_test_ask_max),
	KUNIT_CASE(homi_test_begin),
	{}
};

static struct kunit_suite homi_reserve_suite = {
	.name = "homi_reserve",
	.init = homi_mock_init,
	.exit = homi_mock_exit,
	.test_cases = homi_reserve_cases,
};

kunit_test_suite(homi_reserve_suite);
