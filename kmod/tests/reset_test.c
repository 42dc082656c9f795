// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the news of stock's steps make of a controller's state: included by
 * reset.c.
 */
#include "mock.h"

const struct homi_nvme_events *const homi_mock_events = &homi_reset_events;

struct homi_test_numbers {
	u32 state;
	u64 generation;
	u64 enabled;
	u64 hook;
};

static void homi_test_numbers_are(struct kunit *test, const char *when,
				  struct homi_test_numbers want)
{
	struct homi_mock *mock = test->priv;

	flush_delayed_work(&mock->ctrl.live_work);
	KUNIT_EXPECT_EQ_MSG(test, mock->ctrl.state, want.state, "%s", when);
	KUNIT_EXPECT_EQ_MSG(test, mock->ctrl.generation, want.generation, "%s",
			    when);
	KUNIT_EXPECT_EQ_MSG(test, mock->ctrl.enabled_generation, want.enabled,
			    "%s", when);
	KUNIT_EXPECT_EQ_MSG(test, mock->ctrl.hook_generation, want.hook, "%s",
			    when);
}

#define LIVE		HOMI_CTRL_LIVE
#define RESETTING	HOMI_CTRL_RESETTING
#define GONE		HOMI_CTRL_GONE
#define NUMBERS_ARE(when, ...) \
	homi_test_numbers_are(test, when, (struct homi_test_numbers){ __VA_ARGS__ })

static void homi_test_reset(struct kunit *test)
{
	struct homi_mock *mock = test->priv;

	NUMBERS_ARE("attached", LIVE, 1, 1, 1);
	homi_reset_quiesce(mock);
	NUMBERS_ARE("quiesced", RESETTING, 2, 1, 1);
	homi_reset_reenabled(mock);
	NUMBERS_ARE("enabled", RESETTING, 2, 2, 1);
	/* LIVE for stock, whose queues are not there yet */
	homi_reset_resumed(mock);
	NUMBERS_ARE("resumed", RESETTING, 2, 2, 1);
	homi_reset_live(mock);
	NUMBERS_ARE("live", LIVE, 2, 2, 2);
}

/* Quiesced and resumed, never disabled: as firmware is activated */
static void homi_test_pause(struct kunit *test)
{
	struct homi_mock *mock = test->priv;

	homi_reset_quiesce(mock);
	homi_reset_resumed(mock);
	NUMBERS_ARE("resumed", LIVE, 2, 2, 2);
	/* What was not paused is not resumed. */
	homi_reset_resumed(mock);
	NUMBERS_ARE("resumed again", LIVE, 2, 2, 2);
}

/* A second reset before the first was through: the first one's end is no end. */
static void homi_test_reset_again(struct kunit *test)
{
	struct homi_mock *mock = test->priv;

	homi_reset_quiesce(mock);
	homi_reset_reenabled(mock);
	homi_reset_quiesce(mock);
	homi_reset_live(mock);
	NUMBERS_ARE("live too late", RESETTING, 3, 2, 2);
	homi_reset_reenabled(mock);
	NUMBERS_ARE("enabled", RESETTING, 3, 3, 2);
	homi_reset_resumed(mock);
	homi_reset_live(mock);
	NUMBERS_ARE("live", LIVE, 3, 3, 3);
}

/* Without the hook that tells of it a reset's end is not believed. */
static void homi_test_missed(struct kunit *test)
{
	struct homi_mock *mock = test->priv;

	homi_reset_quiesce(mock);
	homi_reset_live(mock);
	NUMBERS_ARE("enabled unseen", RESETTING, 2, 1, 1);
}

static void homi_test_gave_up(struct kunit *test)
{
	struct homi_mock *mock = test->priv;

	homi_reset_quiesce(mock);
	homi_reset_dead(mock);
	NUMBERS_ARE("dead", GONE, 2, 1, 1);
	KUNIT_EXPECT_EQ(test, mock->ctrl.reason, HOMI_REASON_DEAD);
	homi_reset_quiesce(mock);
	homi_reset_dead(mock);
	homi_reset_resumed(mock);
	NUMBERS_ARE("dead again", GONE, 2, 1, 1);
}

/* Stock has controllers that homi does not know. */
static void homi_test_stranger(struct kunit *test)
{
	struct homi_mock *mock = test->priv;
	int stranger;

	homi_reset_quiesce(&stranger);
	homi_reset_reenabled(&stranger);
	homi_reset_resumed(&stranger);
	homi_reset_live(&stranger);
	homi_reset_dead(&stranger);
	KUNIT_EXPECT_PTR_EQ(test, homi_ctrl_find(&stranger), NULL);
	NUMBERS_ARE("others' news", LIVE, 1, 1, 1);
	KUNIT_EXPECT_PTR_EQ(test, homi_ctrl_find(mock), &mock->ctrl);
	homi_ctrl_put(&mock->ctrl);
}

#undef LIVE
#undef RESETTING
#undef GONE
#undef NUMBERS_ARE

static struct kunit_case homi_reset_cases[] = {
	KUNIT_CASE(homi_test_reset),
	KUNIT_CASE(homi_test_pause),
	KUNIT_CASE(homi_test_reset_again),
	KUNIT_CASE(homi_test_missed),
	KUNIT_CASE(homi_test_gave_up),
	KUNIT_CASE(homi_test_stranger),
	{}
};

static struct kunit_suite homi_reset_suite = {
	.name = "homi_reset",
	.init = homi_mock_init,
	.exit = homi_mock_exit,
	.test_cases = homi_reset_cases,
};

kunit_test_suite(homi_reset_suite);
