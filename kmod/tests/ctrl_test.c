// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which queue ids are lent, and when: included by ctrl.c.
 */
#include "mock.h"

void homi_mock_setup_ctrl(struct homi_ctrl *ctrl)
{
	homi_ctrl_setup(ctrl);
}

void homi_mock_list_ctrl(struct homi_ctrl *ctrl)
{
	homi_ctrl_list(ctrl);
}

void homi_mock_unlist_ctrl(struct homi_ctrl *ctrl)
{
	homi_ctrl_unlist(ctrl);
}

void homi_mock_release_dma(struct homi_ctrl *ctrl)
{
	homi_ctrl_release_dma(ctrl);
}

void homi_mock_drop_stock(struct homi_ctrl *ctrl)
{
	homi_ctrl_drop_stock(ctrl);
}

static int homi_test_lend(struct homi_ctrl *ctrl)
{
	u64 generation = 0;
	int ret = homi_ctrl_lend_qid(ctrl, &generation);

	return ret > 0 && generation != ctrl->generation ? -EINVAL : ret;
}

static int homi_test_renew(struct homi_ctrl *ctrl, unsigned int qid)
{
	int ret;

	spin_lock(&ctrl->lock);
	ret = homi_ctrl_renew_qid(ctrl, qid);
	spin_unlock(&ctrl->lock);
	return ret;
}

/* Numbers of one controller, and which ids are to be had: none if @last is 0 */
struct homi_budget_case {
	const char *name;
	u32 granted;
	u32 kernel;
	u32 reach;
	u32 reason;
	u32 first;
	u32 last;
	int error;
};

static const struct homi_budget_case homi_budget_cases[] = {
	{ "plenty", 8, 2, 8, 0, 3, 8, -ENOSPC },
	{ "one to spare", 3, 2, 3, 0, 3, 3, -ENOSPC },
	{ "nothing for stock", 2, 0, 2, 0, 1, 2, -ENOSPC },
	{ "none to spare", 2, 2, 2, 0, 0, 0, -ENOSPC },
	{ "stock could take more than is granted", 2, 64, 64, 0, 0, 0, -ENOSPC },
	{ "doorbells end before the grant", 64, 4, 9, 0, 5, 9, -ENOSPC },
	{ "doorbells reach beyond the grant", 8, 4, 64, 0, 5, 8, -ENOSPC },
	{ "no doorbell can be reached", 64, 4, 4, 0, 0, 0, -ENOSPC },
	{ "the highest id there is", HOMI_MAX_QID, HOMI_MAX_QID - 1,
	  HOMI_MAX_QID, 0, HOMI_MAX_QID, HOMI_MAX_QID, -ENOSPC },
	{ "a reason not to lend", 8, 2, 8, HOMI_REASON_NO_BTF, 0, 0, -EOPNOTSUPP },
};

static void homi_test_set_budget(struct homi_ctrl *ctrl,
				 const struct homi_budget_case *c)
{
	ctrl->granted = c->granted;
	ctrl->kernel_queues = c->kernel;
	ctrl->reach = c->reach;
	ctrl->reason = c->reason;
}

static void homi_test_budget(struct kunit *test)
{
	struct homi_ctrl *ctrl = &((struct homi_mock *)test->priv)->ctrl;
	const struct homi_budget_case *c = homi_budget_cases;
	u32 qid, lent;

	for (; c < homi_budget_cases + ARRAY_SIZE(homi_budget_cases); c++) {
		homi_test_set_budget(ctrl, c);
		for (lent = 0; lent < 64; lent++) {
			qid = c->first + lent;
			if (!c->last || qid > c->last)
				break;
			KUNIT_EXPECT_EQ_MSG(test, homi_test_lend(ctrl), qid,
					    "%s", c->name);
		}
		KUNIT_EXPECT_EQ_MSG(test, homi_test_lend(ctrl), c->error, "%s",
				    c->name);
		KUNIT_EXPECT_EQ_MSG(test, ctrl->lent, lent, "%s", c->name);
		while (lent--)
			homi_ctrl_return_qid(ctrl, c->first + lent);
		KUNIT_EXPECT_EQ_MSG(test, ctrl->lent, 0, "%s", c->name);
		KUNIT_EXPECT_EQ_MSG(test, bitmap_weight(ctrl->qids,
							HOMI_MAX_QID + 1), 0,
				    "%s", c->name);
	}
}

static void homi_test_lowest(struct kunit *test)
{
	struct homi_ctrl *ctrl = &((struct homi_mock *)test->priv)->ctrl;
	int qid;

	for (qid = 3; qid <= 8; qid++)
		KUNIT_ASSERT_EQ(test, homi_test_lend(ctrl), qid);
	homi_ctrl_return_qid(ctrl, 7);
	homi_ctrl_return_qid(ctrl, 4);
	KUNIT_EXPECT_EQ(test, homi_test_lend(ctrl), 4);
	KUNIT_EXPECT_EQ(test, homi_test_lend(ctrl), 7);
	KUNIT_EXPECT_EQ(test, homi_test_lend(ctrl), -ENOSPC);
}

/* What may be lent, and renewed, in which state of the controller */
static void homi_test_states(struct kunit *test)
{
	static const struct {
		u32 state;
		u64 generation;
		u64 hook_generation;
		int ret;
	} cases[] = {
		{ HOMI_CTRL_LIVE, 5, 5, 0 },
		{ HOMI_CTRL_LIVE, 5, 4, -EAGAIN },
		{ HOMI_CTRL_LIVE, 5, 6, -EAGAIN },
		{ HOMI_CTRL_LIVE, 1, 0, -EAGAIN },
		{ HOMI_CTRL_RESETTING, 5, 5, -EAGAIN },
		{ HOMI_CTRL_RESETTING, 5, 4, -EAGAIN },
		{ HOMI_CTRL_GONE, 5, 5, -ENODEV },
		{ HOMI_CTRL_GONE, 5, 4, -ENODEV },
	};
	struct homi_ctrl *ctrl = &((struct homi_mock *)test->priv)->ctrl;
	int i, ret;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		ctrl->state = cases[i].state;
		ctrl->generation = cases[i].generation;
		ctrl->hook_generation = cases[i].hook_generation;
		ret = homi_test_lend(ctrl);
		KUNIT_EXPECT_EQ_MSG(test, ret, cases[i].ret ?: 3, "row %d", i);
		KUNIT_EXPECT_EQ_MSG(test, ctrl->lent, ret > 0, "row %d", i);
		if (ret > 0)
			homi_ctrl_return_qid(ctrl, ret);
		KUNIT_EXPECT_EQ_MSG(test, homi_test_renew(ctrl, 3),
				    cases[i].ret, "row %d", i);
	}
}

static void homi_test_renewed(struct kunit *test)
{
	struct homi_ctrl *ctrl = &((struct homi_mock *)test->priv)->ctrl;
	const struct homi_budget_case *c = homi_budget_cases;
	static const u32 delta[] = { 0, 1, 2 };
	u32 qid;
	int i;

	for (; c < homi_budget_cases + ARRAY_SIZE(homi_budget_cases); c++) {
		homi_test_set_budget(ctrl, c);
		/* Around the first and the last that may be used */
		for (i = 0; i < ARRAY_SIZE(delta); i++) {
			qid = (c->last ? c->first : c->kernel) - 1 + delta[i];
			KUNIT_EXPECT_EQ_MSG(test, homi_test_renew(ctrl, qid),
					    c->last && qid >= c->first &&
					    qid <= c->last ? 0 : c->error,
					    "%s: %u", c->name, qid);
			qid = (c->last ? c->last : c->granted) - 1 + delta[i];
			KUNIT_EXPECT_EQ_MSG(test, homi_test_renew(ctrl, qid),
					    c->last && qid >= c->first &&
					    qid <= c->last ? 0 : c->error,
					    "%s: %u", c->name, qid);
		}
	}
}

static void homi_test_info(struct kunit *test)
{
	struct homi_ctrl *ctrl = &((struct homi_mock *)test->priv)->ctrl;
	const struct homi_budget_case *c = homi_budget_cases;
	struct homi_ctx *ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);
	struct homi_ctrl_info cmd = {};
	struct homi_call call = { .ctx = ctx, .cmd = &cmd };
	int qid;

	KUNIT_ASSERT_NOT_NULL(test, ctx);
	ctx->ctrl = ctrl;
	for (; c < homi_budget_cases + ARRAY_SIZE(homi_budget_cases); c++) {
		homi_test_set_budget(ctrl, c);
		KUNIT_ASSERT_EQ(test, homi_cmd_ctrl_info(&call), 0);
		KUNIT_EXPECT_EQ_MSG(test, cmd.out_queues_spare,
				    c->last ? c->last - c->first + 1 : 0,
				    "%s", c->name);
		KUNIT_EXPECT_EQ_MSG(test, cmd.out_reason, c->last ? 0 :
				    c->reason ?: HOMI_REASON_NO_SPARE,
				    "%s", c->name);
		KUNIT_EXPECT_EQ_MSG(test, cmd.out_queues_kernel,
				    min(c->kernel, c->granted), "%s", c->name);
		if (!c->last)
			continue;
		/* One lent, one less to spare. */
		qid = homi_test_lend(ctrl);
		KUNIT_ASSERT_EQ(test, qid, c->first);
		KUNIT_ASSERT_EQ(test, homi_cmd_ctrl_info(&call), 0);
		KUNIT_EXPECT_EQ_MSG(test, cmd.out_queues_spare,
				    c->last - c->first, "%s", c->name);
		KUNIT_EXPECT_EQ_MSG(test, cmd.out_reason, c->last > c->first ?
				    0 : HOMI_REASON_NO_SPARE, "%s", c->name);
		KUNIT_EXPECT_EQ(test, cmd.out_queues_lent, 1);
		homi_ctrl_return_qid(ctrl, qid);
	}
}

/* A reset may change the grant; only then, and when it is known, is lent. */
static void homi_test_refreshed(struct kunit *test)
{
	struct homi_mock *mock = test->priv;
	struct homi_ctrl *ctrl = &mock->ctrl;

	KUNIT_EXPECT_EQ(test, ctrl->state, HOMI_CTRL_LIVE);
	KUNIT_EXPECT_EQ(test, ctrl->granted, 8);
	mock->granted = 4;
	homi_mock_quiesce(mock);
	KUNIT_EXPECT_EQ(test, ctrl->generation, 2);
	KUNIT_EXPECT_EQ(test, homi_test_lend(ctrl), -EAGAIN);
	homi_mock_reenable(mock);
	KUNIT_EXPECT_EQ(test, homi_test_lend(ctrl), -EAGAIN);
	homi_mock_live(mock);
	KUNIT_EXPECT_EQ(test, ctrl->granted, 4);
	KUNIT_EXPECT_EQ(test, homi_test_lend(ctrl), 3);
	KUNIT_EXPECT_EQ(test, homi_test_lend(ctrl), 4);
	KUNIT_EXPECT_EQ(test, homi_test_lend(ctrl), -ENOSPC);
}

/* Ids that were lent stay so in a controller that came back with fewer. */
static void homi_test_fewer(struct kunit *test)
{
	struct homi_mock *mock = test->priv;
	struct homi_ctrl *ctrl = &mock->ctrl;
	int qid;

	for (qid = 3; qid <= 6; qid++)
		KUNIT_ASSERT_EQ(test, homi_test_lend(ctrl), qid);
	mock->granted = 5;
	homi_mock_reset(mock);
	KUNIT_EXPECT_EQ(test, homi_test_renew(ctrl, 5), 0);
	KUNIT_EXPECT_EQ(test, homi_test_renew(ctrl, 6), -ENOSPC);
	KUNIT_EXPECT_EQ(test, homi_test_lend(ctrl), -ENOSPC);
	homi_ctrl_return_qid(ctrl, 6);
	KUNIT_EXPECT_EQ(test, homi_test_lend(ctrl), -ENOSPC);
	homi_ctrl_return_qid(ctrl, 5);
	KUNIT_EXPECT_EQ(test, homi_test_lend(ctrl), 5);
}

static void homi_test_grant_fails(struct kunit *test)
{
	struct homi_mock *mock = test->priv;
	struct homi_ctrl *ctrl = &mock->ctrl;
	unsigned long key = (unsigned long)&mock->pdev;

	KUNIT_EXPECT_NULL(test, xa_load(&homi_silent, key));
	mock->grant_ret = NVME_SC_INTERNAL;
	homi_mock_reset(mock);
	/* Said, and noted, so that it is not said again */
	KUNIT_EXPECT_NOT_NULL(test, xa_load(&homi_silent, key));
	KUNIT_EXPECT_EQ(test, ctrl->state, HOMI_CTRL_RESETTING);
	KUNIT_EXPECT_EQ(test, homi_test_lend(ctrl), -EAGAIN);
	/* One that is met like that is let be. */
	KUNIT_EXPECT_EQ(test, homi_ctrl_refresh(ctrl), NVME_SC_INTERNAL);
	/* The next one is the way out. */
	mock->grant_ret = 0;
	homi_mock_reset(mock);
	KUNIT_EXPECT_NULL(test, xa_load(&homi_silent, key));
	KUNIT_EXPECT_EQ(test, ctrl->state, HOMI_CTRL_LIVE);
	KUNIT_EXPECT_EQ(test, homi_test_lend(ctrl), 3);
}

/* Stock has no room for the question: it is asked again, and not for ever. */
static void homi_test_grant_later(struct kunit *test)
{
	static const int busy[] = { -EBUSY, -ENOMEM };
	struct homi_mock *mock = test->priv;
	struct homi_ctrl *ctrl = &mock->ctrl;
	int i;

	for (i = 0; i < ARRAY_SIZE(busy); i++) {
		mock->grant_ret = busy[i];
		homi_mock_reset(mock);
		KUNIT_EXPECT_EQ(test, ctrl->state, HOMI_CTRL_RESETTING);
		KUNIT_EXPECT_TRUE(test, delayed_work_pending(&ctrl->live_work));
		flush_delayed_work(&ctrl->live_work);
		KUNIT_EXPECT_EQ(test, ctrl->state, HOMI_CTRL_RESETTING);
		mock->grant_ret = 0;
		flush_delayed_work(&ctrl->live_work);
		KUNIT_EXPECT_EQ(test, ctrl->state, HOMI_CTRL_LIVE);
		KUNIT_EXPECT_FALSE(test, delayed_work_pending(&ctrl->live_work));
	}
	/* A reset asks at once, and then nothing is left to ask. */
	mock->grant_ret = -EBUSY;
	homi_mock_reset(mock);
	mock->grant_ret = 0;
	homi_mock_reset(mock);
	KUNIT_EXPECT_EQ(test, ctrl->state, HOMI_CTRL_LIVE);
	KUNIT_EXPECT_FALSE(test, delayed_work_pending(&ctrl->live_work));
	/* Removal does not wait for it; see homi_mock_exit() for its references. */
	mock->grant_ret = -EBUSY;
	homi_mock_reset(mock);
	KUNIT_EXPECT_TRUE(test, delayed_work_pending(&ctrl->live_work));
	homi_mock_die(mock);
	KUNIT_EXPECT_FALSE(test, delayed_work_pending(&ctrl->live_work));
	KUNIT_EXPECT_EQ(test, refcount_read(&ctrl->nvme.users), 1);
}

/* Another reset begins while the answer is on its way: it is out of date. */
static void homi_test_quiesced_again(struct homi_mock *mock)
{
	mock->grant_event = NULL;
	homi_mock_quiesce(mock);
}

static void homi_test_late_grant(struct kunit *test)
{
	struct homi_mock *mock = test->priv;
	struct homi_ctrl *ctrl = &mock->ctrl;

	mock->grant_event = homi_test_quiesced_again;
	homi_mock_reset(mock);
	KUNIT_EXPECT_EQ(test, ctrl->state, HOMI_CTRL_RESETTING);
	KUNIT_EXPECT_EQ(test, ctrl->generation, 3);
	homi_mock_reenable(mock);
	homi_mock_live(mock);
	KUNIT_EXPECT_EQ(test, ctrl->state, HOMI_CTRL_LIVE);
	KUNIT_EXPECT_EQ(test, homi_test_lend(ctrl), 3);
}

/* The reach of doorbells is found anew, since stock's pages may be. */
static void homi_test_reach(struct kunit *test)
{
	struct homi_mock *mock = test->priv;
	struct homi_ctrl *ctrl = &mock->ctrl;
	u32 page;

	KUNIT_EXPECT_EQ(test, ctrl->reach, 8);
	/* Up to the last doorbells below the end of the BAR */
	ctrl->bar_len = 0x1000 + 6 * 8;
	homi_mock_reset(mock);
	KUNIT_EXPECT_EQ(test, ctrl->reach, 5);
	ctrl->bar_len = 0x4000;
	/* Shadow entries of as many as stock could take; the page is not looked at */
	mock->dbs = &page;
	mock->shadow_len = 4 * 8;
	homi_mock_reset(mock);
	KUNIT_EXPECT_EQ(test, ctrl->reach, 3);
	mock->dbs = NULL;
	homi_mock_reset(mock);
	KUNIT_EXPECT_EQ(test, ctrl->reach, 8);
	mock->shadow_ret = -EOPNOTSUPP;
	homi_mock_reset(mock);
	KUNIT_EXPECT_EQ(test, ctrl->reach, 2);
	KUNIT_EXPECT_EQ(test, homi_test_lend(ctrl), -ENOSPC);
	/* Fewer granted than stock could take: reach is no reason to lend */
	mock->shadow_ret = 0;
	mock->granted = 1;
	homi_mock_reset(mock);
	KUNIT_EXPECT_EQ(test, homi_test_lend(ctrl), -ENOSPC);
}

static void homi_test_dead(struct kunit *test)
{
	struct homi_mock *mock = test->priv;
	struct homi_ctrl *ctrl = &mock->ctrl;

	homi_mock_die(mock);
	KUNIT_EXPECT_EQ(test, homi_test_lend(ctrl), -ENODEV);
	KUNIT_EXPECT_TRUE(test, homi_ctrl_is_gone(ctrl));
	KUNIT_EXPECT_FALSE(test, homi_ctrl_is_live(ctrl));
	KUNIT_EXPECT_EQ(test, ctrl->reason, HOMI_REASON_DEAD);
	/* There is no way back. */
	homi_mock_reset(mock);
	KUNIT_EXPECT_EQ(test, homi_test_lend(ctrl), -ENODEV);
	KUNIT_EXPECT_TRUE(test, IS_ERR(homi_ctx_alloc(ctrl)));
}

static struct kunit_case homi_ctrl_cases[] = {
	KUNIT_CASE(homi_test_budget),
	KUNIT_CASE(homi_test_lowest),
	KUNIT_CASE(homi_test_states),
	KUNIT_CASE(homi_test_renewed),
	KUNIT_CASE(homi_test_info),
	KUNIT_CASE(homi_test_refreshed),
	KUNIT_CASE(homi_test_fewer),
	KUNIT_CASE(homi_test_grant_fails),
	KUNIT_CASE(homi_test_grant_later),
	KUNIT_CASE(homi_test_late_grant),
	KUNIT_CASE(homi_test_reach),
	KUNIT_CASE(homi_test_dead),
	{}
};

static struct kunit_suite homi_ctrl_suite = {
	.name = "homi_ctrl",
	.init = homi_mock_init,
	.exit = homi_mock_exit,
	.test_cases = homi_ctrl_cases,
};

kunit_test_suite(homi_ctrl_suite);
