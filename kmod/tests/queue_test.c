// SPDX-License-Identifier: GPL-2.0-only
/*
 * Queues against a controller that answers as a test wants: included by queue.c.
 */
#include "mock.h"

#define HOMI_TEST_DEPTH	16
/* Enough that nobody waits long for what does not come */
#define HOMI_TEST_SHORT_MS	20

static unsigned int homi_test_old_delete_ms;

static int homi_test_queue_init(struct kunit *test)
{
	homi_test_old_delete_ms = homi_delete_ms;
	return homi_mock_init(test);
}

static void homi_test_queue_exit(struct kunit *test)
{
	homi_mock_exit(test);
	homi_delete_ms = homi_test_old_delete_ms;
}

static struct homi_ctx *homi_test_open(struct kunit *test)
{
	struct homi_mock *mock = test->priv;
	struct homi_ctx *ctx = homi_ctx_alloc(&mock->ctrl);

	KUNIT_ASSERT_FALSE(test, IS_ERR(ctx));
	return ctx;
}

static int homi_test_try_create(struct homi_ctx *ctx, struct homi_queue **q)
{
	struct homi_queue_create cmd = { .depth = HOMI_TEST_DEPTH };
	struct homi_call call = { .ctx = ctx, .cmd = &cmd };
	int ret = homi_cmd_queue_create(&call);

	if (ret)
		return ret;
	homi_object_publish(call.created);
	*q = to_queue(call.created);
	return 0;
}

static struct homi_queue *homi_test_create(struct kunit *test,
					   struct homi_ctx *ctx)
{
	struct homi_queue *q = NULL;

	KUNIT_ASSERT_EQ(test, homi_test_try_create(ctx, &q), 0);
	return q;
}

static int homi_test_recreate(struct homi_queue *q)
{
	struct homi_queue_recreate cmd = {
		.queue_id = q->obj.id,
		.depth = q->depth,
	};
	struct homi_call call = { .ctx = q->obj.ctx, .cmd = &cmd };

	return homi_cmd_queue_recreate(&call);
}

static int homi_test_destroy(struct homi_queue *q)
{
	return homi_object_destroy(q->obj.ctx, q->obj.id);
}

/* Nothing at the controller, nothing lent, nothing that waits for it */
static void homi_test_all_gone(struct kunit *test, struct homi_ctx *ctx,
			       const char *when)
{
	struct homi_mock *mock = test->priv;

	KUNIT_EXPECT_EQ_MSG(test, homi_mock_queues(mock), 0, "%s", when);
	KUNIT_EXPECT_EQ_MSG(test, atomic_read(&ctx->dma_users), 0, "%s", when);
	KUNIT_EXPECT_EQ_MSG(test, mock->ctrl.lent, 0, "%s", when);
	KUNIT_EXPECT_TRUE_MSG(test, list_empty(&mock->ctrl.queues), "%s", when);
}

/* @opcodes ends with 0, which is none of these. */
static void homi_test_sent(struct kunit *test, const u8 *opcodes,
			   const char *when)
{
	struct homi_mock *mock = test->priv;
	u32 nr = 0;

	while (opcodes[nr])
		nr++;
	/* Delete SQ is opcode 0: it stands as 0xff. */
	KUNIT_EXPECT_EQ_MSG(test, mock->commands, nr, "%s", when);
	for (nr = 0; opcodes[nr] && nr < mock->commands; nr++)
		KUNIT_EXPECT_EQ_MSG(test, mock->log[nr], opcodes[nr] == 0xff ?
				    nvme_admin_delete_sq : opcodes[nr],
				    "%s: command %u", when, nr);
}

#define MAKE_CQ	nvme_admin_create_cq
#define MAKE_SQ	nvme_admin_create_sq
#define DEL_CQ	nvme_admin_delete_cq
#define DEL_SQ	0xff
#define SENT(when, ...) \
	homi_test_sent(test, (const u8[]){ __VA_ARGS__, 0 }, when)

/* --- states --- */

static void homi_test_moves(struct kunit *test)
{
	/* From the row to the column */
	static const bool may[5][5] = {
		/*		       NEW LIVE LOST REVOKED GONE */
		[HOMI_QUEUE_NEW]     = { 0, 1, 1, 1, 1 },
		[HOMI_QUEUE_LIVE]    = { 0, 0, 1, 1, 1 },
		[HOMI_QUEUE_LOST]    = { 1, 0, 0, 0, 1 },
		[HOMI_QUEUE_REVOKED] = { 1, 0, 0, 0, 1 },
		[HOMI_QUEUE_GONE]    = { 0, 0, 0, 0, 0 },
	};
	struct homi_ctrl *ctrl = &((struct homi_mock *)test->priv)->ctrl;
	struct homi_queue *q = kunit_kzalloc(test, 2 * sizeof(*q), GFP_KERNEL);
	struct homi_ctx *ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);
	struct homi_queue *before = q + 1;
	u32 from, to;
	bool moved;

	KUNIT_ASSERT_NOT_NULL(test, q);
	KUNIT_ASSERT_NOT_NULL(test, ctx);
	KUNIT_ASSERT_EQ(test, ARRAY_SIZE(homi_queue_moves), ARRAY_SIZE(may));
	ctx->ctrl = ctrl;
	q->obj.ctx = ctx;
	q->hw = HOMI_HW_CREATED;
	q->qid = 7;
	q->generation = 11;
	homi_wait_init(&q->wait, ctx, &q->state, 16, false);
	/* What lockdep notes of a lock that is taken for the first time */
	homi_queue_set_state(q, HOMI_QUEUE_LIVE);
	for (from = 0; from < ARRAY_SIZE(may); from++) {
		for (to = 0; to < ARRAY_SIZE(may); to++) {
			q->state = from;
			*before = *q;
			moved = homi_queue_set_state(q, to);
			KUNIT_EXPECT_EQ_MSG(test, moved, may[from][to],
					    "from %u to %u", from, to);
			if (moved)
				before->state = to;
			KUNIT_EXPECT_MEMEQ_MSG(test, q, before, sizeof(*q),
					       "from %u to %u", from, to);
			KUNIT_EXPECT_EQ(test, homi_queue_is_live(q),
					q->state == HOMI_QUEUE_LIVE);
			KUNIT_EXPECT_EQ(test, homi_queue_has_news(&q->obj),
					q->state != HOMI_QUEUE_NEW &&
					q->state != HOMI_QUEUE_LIVE);
		}
	}
}

/* --- creation and deletion --- */

static void homi_test_made(struct kunit *test)
{
	struct homi_ctx *ctx = homi_test_open(test);
	struct homi_mock *mock = test->priv;
	struct homi_queue *q = homi_test_create(test, ctx);

	KUNIT_EXPECT_EQ(test, q->qid, 3);
	SENT("made", MAKE_CQ, MAKE_SQ);
	KUNIT_EXPECT_EQ(test, mock->cq_depth[3], HOMI_TEST_DEPTH);
	KUNIT_EXPECT_EQ(test, mock->sq_depth[3], HOMI_TEST_DEPTH);
	KUNIT_EXPECT_EQ(test, mock->sq_cq[3], 3);
	KUNIT_EXPECT_EQ(test, mock->sq_prp[3], q->sq.dma);
	KUNIT_EXPECT_EQ(test, q->state, HOMI_QUEUE_LIVE);
	KUNIT_EXPECT_EQ(test, q->hw, HOMI_HW_CREATED);
	KUNIT_EXPECT_FALSE(test, q->creating);
	KUNIT_EXPECT_EQ(test, q->generation, 1);
	KUNIT_EXPECT_EQ(test, atomic_read(&ctx->dma_users), 1);
	/* One reference each of the table and of the controller */
	KUNIT_EXPECT_EQ(test, kref_read(&q->obj.ref), 2);
	homi_mock_forget_log(mock);
	KUNIT_EXPECT_EQ(test, homi_test_destroy(q), 0);
	SENT("destroyed", DEL_SQ, DEL_CQ);
	homi_test_all_gone(test, ctx, "destroyed");
	KUNIT_EXPECT_EQ(test, mock->resets, 0);
	homi_ctx_close(ctx);
}

static void homi_test_arguments(struct kunit *test)
{
	static const struct {
		u32 flags;
		u32 depth;
		u32 reserved;
		int ret;
	} cases[] = {
		{ 0, 0, 0, -EINVAL }, { 0, 1, 0, -EINVAL }, { 0, 2, 0, 0 },
		{ 0, 1024, 0, 0 }, { 0, 1025, 0, -EINVAL },
		{ 0, U32_MAX, 0, -EINVAL }, { 2, 16, 0, -EINVAL },
		{ HOMI_QUEUE_INTERRUPT, 16, 0, -EOPNOTSUPP },
		{ 0x80000000, 16, 0, -EINVAL }, { 0, 16, 1, -EINVAL },
	};
	struct homi_ctx *ctx = homi_test_open(test);
	struct homi_mock *mock = test->priv;
	struct homi_queue_create cmd;
	struct homi_call call = { .ctx = ctx, .cmd = &cmd };
	int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		memset(&cmd, 0, sizeof(cmd));
		cmd.flags = cases[i].flags;
		cmd.depth = cases[i].depth;
		cmd.__reserved = cases[i].reserved;
		call.created = NULL;
		homi_mock_forget_log(mock);
		KUNIT_EXPECT_EQ_MSG(test, homi_cmd_queue_create(&call),
				    cases[i].ret, "row %d", i);
		if (call.created) {
			KUNIT_EXPECT_EQ(test, mock->sq_depth[3], cmd.depth);
			KUNIT_EXPECT_EQ(test, cmd.out_sq_mmap_length,
					PAGE_ALIGN(64ULL * cmd.depth));
			KUNIT_EXPECT_EQ(test, cmd.out_cq_mmap_length,
					PAGE_ALIGN(16ULL * cmd.depth));
			homi_object_abort(call.created);
		} else {
			KUNIT_EXPECT_EQ(test, mock->commands, 0);
		}
	}
	homi_test_all_gone(test, ctx, "at the end");
	homi_ctx_close(ctx);
}

static void homi_test_no_shadow(struct kunit *test,
				const struct homi_queue_create *cmd,
				const char *when)
{
	KUNIT_EXPECT_EQ_MSG(test, cmd->out_shadow_mmap_offset, 0, "%s", when);
	KUNIT_EXPECT_EQ_MSG(test, cmd->out_event_mmap_offset, 0, "%s", when);
	KUNIT_EXPECT_EQ_MSG(test, cmd->out_sq_shadow_offset, 0, "%s", when);
	KUNIT_EXPECT_EQ_MSG(test, cmd->out_cq_shadow_offset, 0, "%s", when);
}

/* Whatever the caller had in the fields that are written */
static void homi_test_answers(struct kunit *test)
{
	struct homi_ctx *ctx = homi_test_open(test);
	struct homi_mock *mock = test->priv;
	struct homi_queue_create cmd = {};
	struct homi_call call = { .ctx = ctx, .cmd = &cmd };
	struct homi_queue_recreate again;
	u32 *shadows = kunit_kzalloc(test, 2 * PAGE_SIZE, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, shadows);
	memset(&cmd.out_queue_id, 0xff, offsetof(typeof(cmd), sq_mem_id) -
	       offsetof(typeof(cmd), out_queue_id));
	cmd.depth = HOMI_TEST_DEPTH;
	KUNIT_ASSERT_EQ(test, homi_cmd_queue_create(&call), 0);
	homi_object_publish(call.created);
	KUNIT_EXPECT_EQ(test, cmd.out_qid, 3);
	KUNIT_EXPECT_EQ(test, cmd.out_generation, 1);
	homi_test_no_shadow(test, &cmd, "without shadow doorbells");
	/* With them, and without them again */
	mock->dbs = shadows;
	mock->eis = (void *)shadows + PAGE_SIZE;
	mock->shadow_len = PAGE_SIZE;
	homi_mock_reset(mock);
	KUNIT_ASSERT_EQ(test, homi_test_recreate(to_queue(call.created)), 0);
	KUNIT_EXPECT_EQ(test, to_queue(call.created)->db.sq_shadow_offset,
			2 * 3 * mock->ctrl.stride);
	mock->dbs = NULL;
	mock->eis = NULL;
	homi_mock_reset(mock);
	memset(&again, 0xff, sizeof(again));
	again.flags = 0;
	again.queue_id = cmd.out_queue_id;
	again.depth = HOMI_TEST_DEPTH;
	call.cmd = &again;
	KUNIT_ASSERT_EQ(test, homi_cmd_queue_recreate(&call), 0);
	KUNIT_EXPECT_EQ(test, again.out_generation, 3);
	cmd.out_shadow_mmap_offset = again.out_shadow_mmap_offset;
	cmd.out_event_mmap_offset = again.out_event_mmap_offset;
	cmd.out_sq_shadow_offset = again.out_sq_shadow_offset;
	cmd.out_cq_shadow_offset = again.out_cq_shadow_offset;
	homi_test_no_shadow(test, &cmd, "made anew");
	homi_ctx_close(ctx);
}

/* All there are, and a close that deletes them */
static void homi_test_exhausted(struct kunit *test)
{
	struct homi_ctx *ctx = homi_test_open(test), *other = homi_test_open(test);
	struct homi_mock *mock = test->priv;
	struct homi_queue *q;
	unsigned int qid;

	for (qid = 3; qid <= 8; qid++) {
		q = homi_test_create(test, qid < 8 ? ctx : other);
		KUNIT_EXPECT_EQ(test, q->qid, qid);
	}
	KUNIT_EXPECT_EQ(test, homi_test_try_create(ctx, &q), -ENOSPC);
	KUNIT_EXPECT_EQ(test, homi_mock_queues(mock), 12);
	homi_ctx_close(ctx);
	KUNIT_EXPECT_EQ(test, homi_mock_queues(mock), 2);
	KUNIT_EXPECT_EQ(test, mock->ctrl.lent, 1);
	KUNIT_EXPECT_EQ(test, mock->sq_depth[8], HOMI_TEST_DEPTH);
	q = homi_test_create(test, other);
	KUNIT_EXPECT_EQ(test, q->qid, 3);
	homi_ctx_close(other);
	KUNIT_EXPECT_EQ(test, homi_mock_queues(mock), 0);
	KUNIT_EXPECT_EQ(test, mock->ctrl.lent, 0);
}

/*
 * One command goes wrong. @parked: the queue holds on to all that it has until
 * the controller was reset.
 */
struct homi_fault_case {
	const char *name;
	struct homi_mock_fault fault;
	int ret;
	bool parked;
	u32 resets;
	u8 sent[6];
};

static const struct homi_fault_case homi_create_cases[] = {
	{ "CQ refused", { MAKE_CQ, 1, false, NULL, NVME_SC_QID_INVALID },
	  -EIO, false, 0, { MAKE_CQ } },
	{ "CQ not sent", { MAKE_CQ, 1, false, NULL, -EBUSY },
	  -EAGAIN, false, 0, { MAKE_CQ, DEL_SQ, DEL_CQ } },
	{ "CQ while resetting", { MAKE_CQ, 1, false, NULL, -EAGAIN },
	  -EAGAIN, false, 0, { MAKE_CQ, DEL_SQ, DEL_CQ } },
	{ "CQ in vain and yet made", { MAKE_CQ, 1, true, NULL, -EAGAIN },
	  -EAGAIN, false, 0, { MAKE_CQ, DEL_SQ, DEL_CQ } },
	{ "CQ not answered", { MAKE_CQ, 1, false, NULL, -ETIMEDOUT },
	  -EIO, true, 1, { MAKE_CQ } },
	{ "CQ made and not answered", { MAKE_CQ, 1, true, NULL, -ETIMEDOUT },
	  -EIO, true, 1, { MAKE_CQ } },
	{ "SQ refused", { MAKE_SQ, 1, false, NULL, NVME_SC_QUEUE_SIZE },
	  -EIO, false, 0, { MAKE_CQ, MAKE_SQ, DEL_SQ, DEL_CQ } },
	{ "SQ not sent", { MAKE_SQ, 1, false, NULL, -EBUSY },
	  -EAGAIN, false, 0, { MAKE_CQ, MAKE_SQ, DEL_SQ, DEL_CQ } },
	{ "SQ while resetting", { MAKE_SQ, 1, false, NULL, -EAGAIN },
	  -EAGAIN, false, 0, { MAKE_CQ, MAKE_SQ, DEL_SQ, DEL_CQ } },
	{ "SQ not answered", { MAKE_SQ, 1, false, NULL, -ETIMEDOUT },
	  -EIO, true, 1, { MAKE_CQ, MAKE_SQ } },
	{ "SQ made and not answered", { MAKE_SQ, 1, true, NULL, -ETIMEDOUT },
	  -EIO, true, 1, { MAKE_CQ, MAKE_SQ } },
};

/* Parked: its id and its memory are, and the controller's end frees them. */
static void homi_test_parked(struct kunit *test, struct homi_ctx *ctx,
			     const struct homi_fault_case *c)
{
	struct homi_mock *mock = test->priv;
	struct homi_ctrl *ctrl = &mock->ctrl;
	struct homi_queue *q;
	u64 generation;

	if (c->parked) {
		KUNIT_EXPECT_EQ_MSG(test, atomic_read(&ctx->dma_users), 1, "%s",
				    c->name);
		KUNIT_EXPECT_EQ_MSG(test, ctrl->lent, 1, "%s", c->name);
		q = list_first_entry_or_null(&ctrl->queues, struct homi_queue,
					     entry);
		KUNIT_ASSERT_NOT_NULL(test, q);
		KUNIT_EXPECT_NOT_NULL_MSG(test, q->sq.cpu, "%s", c->name);
		KUNIT_EXPECT_NOT_NULL_MSG(test, q->cq.cpu, "%s", c->name);
		if (homi_ctrl_is_live(ctrl)) {
			KUNIT_EXPECT_EQ_MSG(test,
					    homi_ctrl_lend_qid(ctrl, &generation),
					    q->qid + 1, "%s", c->name);
			homi_ctrl_return_qid(ctrl, q->qid + 1);
		}
		homi_mock_reset(mock);
	}
	homi_test_all_gone(test, ctx, c->name);
	KUNIT_EXPECT_EQ_MSG(test, mock->resets, c->resets, "%s", c->name);
	mock->resets = 0;
	homi_mock_forget_log(mock);
}

static void homi_test_create_fails(struct kunit *test)
{
	const struct homi_fault_case *c = homi_create_cases;
	struct homi_ctx *ctx = homi_test_open(test);
	struct homi_mock *mock = test->priv;
	struct homi_queue *q;

	homi_delete_ms = HOMI_TEST_SHORT_MS;
	for (; c < homi_create_cases + ARRAY_SIZE(homi_create_cases); c++) {
		mock->fault = c->fault;
		KUNIT_EXPECT_EQ_MSG(test, homi_test_try_create(ctx, &q), c->ret,
				    "%s", c->name);
		homi_test_sent(test, c->sent, c->name);
		homi_test_parked(test, ctx, c);
	}
	/* None of it has left anything that is in the way. */
	KUNIT_EXPECT_EQ(test, homi_test_create(test, ctx)->qid, 3);
	homi_ctx_close(ctx);
}

/* Stock's shadow pages can't be told of: nothing is made. */
static void homi_test_no_doorbell(struct kunit *test)
{
	struct homi_ctx *ctx = homi_test_open(test);
	struct homi_mock *mock = test->priv;
	struct homi_queue *q;

	mock->shadow_ret = -EOPNOTSUPP;
	KUNIT_EXPECT_EQ(test, homi_test_try_create(ctx, &q), -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, mock->commands, 0u);
	homi_test_all_gone(test, ctx, "without shadow pages");
	homi_ctx_close(ctx);
}

static const struct homi_fault_case homi_delete_cases[] = {
	{ "SQ is not there", { nvme_admin_delete_sq, 1, true, NULL,
			       NVME_SC_QID_INVALID },
	  0, false, 0, { DEL_SQ, DEL_CQ } },
	{ "CQ is not there", { DEL_CQ, 1, true, NULL, NVME_SC_QID_INVALID },
	  0, false, 0, { DEL_SQ, DEL_CQ } },
	{ "SQ refused", { nvme_admin_delete_sq, 1, false, NULL,
			  NVME_SC_INTERNAL },
	  0, true, 1, { DEL_SQ } },
	{ "SQ not answered", { nvme_admin_delete_sq, 1, false, NULL,
			       -ETIMEDOUT },
	  0, true, 1, { DEL_SQ } },
	{ "SQ deleted and not answered", { nvme_admin_delete_sq, 1, true, NULL,
					   -ETIMEDOUT },
	  0, true, 1, { DEL_SQ } },
	{ "SQ not sent", { nvme_admin_delete_sq, 1, false, NULL, -EBUSY },
	  0, true, 1, { DEL_SQ } },
	{ "CQ refused", { DEL_CQ, 1, false, NULL, NVME_SC_INVALID_QUEUE },
	  0, true, 1, { DEL_SQ, DEL_CQ } },
	{ "CQ not answered", { DEL_CQ, 1, false, NULL, -ETIMEDOUT },
	  0, true, 1, { DEL_SQ, DEL_CQ } },
	/* Stock is at it already: a reset is not asked for. */
	{ "SQ while resetting", { nvme_admin_delete_sq, 1, false, NULL,
				  -EAGAIN },
	  0, true, 0, { DEL_SQ } },
	{ "SQ while being removed", { nvme_admin_delete_sq, 1, false, NULL,
				      -ENODEV },
	  0, true, 0, { DEL_SQ } },
	{ "CQ while resetting", { DEL_CQ, 1, false, NULL, -EAGAIN },
	  0, true, 0, { DEL_SQ, DEL_CQ } },
};

static void homi_test_delete_fails(struct kunit *test)
{
	const struct homi_fault_case *c = homi_delete_cases;
	struct homi_ctx *ctx = homi_test_open(test);
	struct homi_mock *mock = test->priv;
	struct homi_queue *q;

	homi_delete_ms = HOMI_TEST_SHORT_MS;
	for (; c < homi_delete_cases + ARRAY_SIZE(homi_delete_cases); c++) {
		q = homi_test_create(test, ctx);
		homi_mock_forget_log(mock);
		mock->fault = c->fault;
		/* The id is gone, whatever the controller does. */
		KUNIT_EXPECT_EQ_MSG(test, homi_test_destroy(q), c->ret, "%s",
				    c->name);
		homi_test_sent(test, c->sent, c->name);
		homi_test_parked(test, ctx, c);
	}
	homi_ctx_close(ctx);
}

/* A destruction waits for the reset that it asked for. */
static void homi_test_own_reset(struct kunit *test)
{
	struct homi_ctx *ctx = homi_test_open(test);
	struct homi_mock *mock = test->priv;
	struct homi_queue *q = homi_test_create(test, ctx);

	homi_delete_ms = 60000;
	mock->resets_itself = true;
	mock->fault = (struct homi_mock_fault){
		.opcode = nvme_admin_delete_sq,
		.count = 1,
		.ret = NVME_SC_INTERNAL,
	};
	KUNIT_EXPECT_EQ(test, homi_test_destroy(q), 0);
	KUNIT_EXPECT_EQ(test, mock->ctrl.generation, 2);
	flush_work(&mock->reset_work);
	KUNIT_EXPECT_EQ(test, mock->resets, 1);
	homi_test_all_gone(test, ctx, "after the reset");
	homi_ctx_close(ctx);
}

/* What debugfs can ask for: so many commands of one kind, and no others */
static void homi_test_faults(struct kunit *test)
{
	static const struct {
		enum homi_fault mode;
		u32 arrive;
		bool parked;
	} cases[] = {
		{ HOMI_FAULT_FAIL, 0, false },
		{ HOMI_FAULT_HANG, 0, true },
		{ HOMI_FAULT_LOSE, 1, true },
	};
	struct homi_ctx *ctx = homi_test_open(test);
	struct homi_mock *mock = test->priv;
	struct homi_ctrl *ctrl = &mock->ctrl;
	struct homi_queue *q;
	int i;

	homi_delete_ms = HOMI_TEST_SHORT_MS;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		homi_mock_forget_log(mock);
		ctrl->fault.opcode = MAKE_CQ;
		ctrl->fault.mode = cases[i].mode;
		ctrl->fault.count = 1;
		KUNIT_EXPECT_EQ_MSG(test, homi_test_try_create(ctx, &q), -EIO,
				    "row %d", i);
		KUNIT_EXPECT_EQ_MSG(test, mock->commands, cases[i].arrive,
				    "row %d", i);
		KUNIT_EXPECT_EQ_MSG(test, atomic_read(&ctx->dma_users),
				    cases[i].parked, "row %d", i);
		KUNIT_EXPECT_EQ_MSG(test, ctrl->fault.count, 0, "row %d", i);
		homi_mock_reset(mock);
		homi_test_all_gone(test, ctx, "after a fault");
	}
	ctrl->fault.opcode = DEL_CQ;
	ctrl->fault.count = 1;
	q = homi_test_create(test, ctx);
	KUNIT_EXPECT_EQ(test, ctrl->fault.count, 1);
	ctrl->fault.count = 0;
	KUNIT_EXPECT_EQ(test, homi_test_destroy(q), 0);
	homi_test_all_gone(test, ctx, "without a fault");
	homi_ctx_close(ctx);
}

static struct kunit_case homi_queue_cases[] = {
	KUNIT_CASE(homi_test_moves),
	KUNIT_CASE(homi_test_made),
	KUNIT_CASE(homi_test_arguments),
	KUNIT_CASE(homi_test_answers),
	KUNIT_CASE(homi_test_exhausted),
	KUNIT_CASE(homi_test_create_fails),
	KUNIT_CASE(homi_test_no_doorbell),
	KUNIT_CASE(homi_test_delete_fails),
	KUNIT_CASE(homi_test_own_reset),
	KUNIT_CASE(homi_test_faults),
	{}
};

static struct kunit_suite homi_queue_suite = {
	.name = "homi_queue",
	.init = homi_test_queue_init,
	.exit = homi_test_queue_exit,
	.test_cases = homi_queue_cases,
};

kunit_test_suite(homi_queue_suite);
