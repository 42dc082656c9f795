// SPDX-License-Identifier: GPL-2.0-only
/*
 * Queues that something comes in between: included by queue.c, behind
 * queue_test.c and with what is there.
 */
#include <linux/poll.h>

/* --- resets in the middle --- */

/* @event of the fault comes in the middle of the command. */
static const struct homi_fault_case homi_middle_cases[] = {
	{ "reset before CQ", { MAKE_CQ, 1, false, homi_mock_reset, -EAGAIN },
	  -EAGAIN, false, 0, { MAKE_CQ } },
	{ "reset behind CQ", { MAKE_CQ, 1, true, homi_mock_reset, 0 },
	  -EAGAIN, false, 0, { MAKE_CQ, MAKE_SQ, DEL_SQ, DEL_CQ } },
	{ "reset before SQ", { MAKE_SQ, 1, false, homi_mock_reset, -EAGAIN },
	  -EAGAIN, false, 0, { MAKE_CQ, MAKE_SQ, DEL_SQ, DEL_CQ } },
	{ "reset behind SQ", { MAKE_SQ, 1, true, homi_mock_reset, 0 },
	  -EAGAIN, false, 0, { MAKE_CQ, MAKE_SQ, DEL_SQ, DEL_CQ } },
	{ "reset begins before CQ", { MAKE_CQ, 1, false, homi_mock_quiesce,
				      -EAGAIN },
	  -EAGAIN, true, 0, { MAKE_CQ } },
	{ "reset begins behind CQ", { MAKE_CQ, 1, true, homi_mock_quiesce, 0 },
	  -EAGAIN, true, 0, { MAKE_CQ } },
	{ "reset begins before SQ", { MAKE_SQ, 1, false, homi_mock_quiesce,
				      -EAGAIN },
	  -EAGAIN, true, 0, { MAKE_CQ, MAKE_SQ } },
	{ "reset begins behind SQ", { MAKE_SQ, 1, true, homi_mock_quiesce, 0 },
	  -EAGAIN, true, 0, { MAKE_CQ, MAKE_SQ } },
	{ "reset begins, CQ not answered", { MAKE_CQ, 1, true,
					     homi_mock_quiesce, -ETIMEDOUT },
	  -EIO, true, 1, { MAKE_CQ } },
};

static void homi_test_reset_in_create(struct kunit *test)
{
	const struct homi_fault_case *c = homi_middle_cases;
	struct homi_ctx *ctx = homi_test_open(test);
	struct homi_mock *mock = test->priv;
	u64 generation = mock->ctrl.generation;
	struct homi_queue *q;

	homi_delete_ms = HOMI_TEST_SHORT_MS;
	for (; c < homi_middle_cases + ARRAY_SIZE(homi_middle_cases); c++) {
		mock->fault = c->fault;
		KUNIT_EXPECT_EQ_MSG(test, homi_test_try_create(ctx, &q), c->ret,
				    "%s", c->name);
		homi_test_sent(test, c->sent, c->name);
		KUNIT_EXPECT_EQ_MSG(test, mock->ctrl.generation, generation + 1,
				    "%s", c->name);
		homi_test_parked(test, ctx, c);
		/* Those that began only were ended by another one. */
		generation = mock->ctrl.generation;
	}
	homi_ctx_close(ctx);
}

/* The controller goes away while a queue is made: no command after that. */
static void homi_test_removal_in_create(struct kunit *test)
{
	struct homi_ctx *ctx = homi_test_open(test);
	struct homi_mock *mock = test->priv;
	struct homi_queue *q;

	mock->fault = (struct homi_mock_fault){
		.opcode = MAKE_CQ,
		.count = 1,
		.executed = true,
		.event = homi_mock_die,
	};
	KUNIT_EXPECT_LT(test, homi_test_try_create(ctx, &q), 0);
	SENT("removed", MAKE_CQ);
	KUNIT_EXPECT_EQ(test, atomic_read(&ctx->dma_users), 0);
	KUNIT_EXPECT_EQ(test, mock->ctrl.lent, 0);
	KUNIT_EXPECT_TRUE(test, list_empty(&mock->ctrl.queues));
	KUNIT_EXPECT_EQ(test, mock->resets, 0);
	KUNIT_EXPECT_EQ(test, homi_test_try_create(ctx, &q), -ENODEV);
	homi_ctx_close(ctx);
}

/* Lost by a reset, with nothing at the controller any more, and made anew */
static void homi_test_recreated(struct kunit *test)
{
	struct homi_ctx *ctx = homi_test_open(test);
	struct homi_mock *mock = test->priv;
	struct homi_queue *q = homi_test_create(test, ctx);
	dma_addr_t dma = q->sq.dma;

	KUNIT_EXPECT_EQ(test, homi_test_recreate(q), -EBUSY);
	memset(q->sq.cpu, 0xa5, q->sq.len);
	memset(q->cq.cpu, 0xa5, q->cq.len);
	homi_mock_quiesce(mock);
	KUNIT_EXPECT_EQ(test, q->state, HOMI_QUEUE_LOST);
	KUNIT_EXPECT_EQ(test, q->hw, HOMI_HW_CREATED);
	KUNIT_EXPECT_EQ(test, atomic_read(&ctx->dma_users), 1);
	KUNIT_EXPECT_EQ(test, homi_test_recreate(q), -EAGAIN);
	homi_mock_reenable(mock);
	KUNIT_EXPECT_EQ(test, q->hw, HOMI_HW_NONE);
	KUNIT_EXPECT_EQ(test, atomic_read(&ctx->dma_users), 0);
	KUNIT_EXPECT_EQ(test, homi_test_recreate(q), -EAGAIN);
	homi_mock_live(mock);
	KUNIT_EXPECT_EQ(test, q->state, HOMI_QUEUE_LOST);
	KUNIT_EXPECT_EQ(test, homi_test_recreate(q), 0);
	KUNIT_EXPECT_EQ(test, q->state, HOMI_QUEUE_LIVE);
	KUNIT_EXPECT_EQ(test, q->generation, 2);
	KUNIT_EXPECT_EQ(test, q->qid, 3);
	KUNIT_EXPECT_EQ(test, q->sq.dma, dma);
	KUNIT_EXPECT_EQ(test, mock->sq_depth[3], HOMI_TEST_DEPTH);
	KUNIT_EXPECT_PTR_EQ(test, memchr_inv(q->sq.cpu, 0, q->sq.len), NULL);
	KUNIT_EXPECT_PTR_EQ(test, memchr_inv(q->cq.cpu, 0, q->cq.len), NULL);
	KUNIT_EXPECT_EQ(test, atomic_read(&ctx->dma_users), 1);
	KUNIT_EXPECT_EQ(test, homi_test_recreate(q), -EBUSY);
	KUNIT_EXPECT_EQ(test, homi_test_destroy(q), 0);
	homi_test_all_gone(test, ctx, "destroyed");
	homi_ctx_close(ctx);
}

static void homi_test_recreate_refused(struct kunit *test)
{
	struct homi_ctx *ctx = homi_test_open(test);
	struct homi_mock *mock = test->priv;
	struct homi_queue *q = homi_test_create(test, ctx);
	struct homi_queue_recreate cmd = { .queue_id = q->obj.id };
	struct homi_call call = { .ctx = ctx, .cmd = &cmd };

	mock->granted = 2;
	homi_mock_reset(mock);
	KUNIT_EXPECT_EQ(test, homi_test_recreate(q), -ENOSPC);
	mock->granted = 8;
	homi_mock_reset(mock);
	cmd.depth = q->depth * 2;
	KUNIT_EXPECT_EQ(test, homi_cmd_queue_recreate(&call), -EINVAL);
	cmd.depth = q->depth;
	cmd.flags = 1;
	KUNIT_EXPECT_EQ(test, homi_cmd_queue_recreate(&call), -EINVAL);
	cmd.flags = 0;
	cmd.queue_id++;
	KUNIT_EXPECT_EQ(test, homi_cmd_queue_recreate(&call), -ENOENT);
	KUNIT_EXPECT_EQ(test, q->state, HOMI_QUEUE_LOST);
	KUNIT_EXPECT_EQ(test, homi_mock_queues(mock), 0);
	KUNIT_EXPECT_EQ(test, homi_test_recreate(q), 0);
	homi_ctx_close(ctx);
}

/* Whatever goes wrong in it leaves the queue lost, and to be made later. */
static void homi_test_recreate_fails(struct kunit *test)
{
	const struct homi_fault_case *c = homi_create_cases;
	struct homi_ctx *ctx = homi_test_open(test);
	struct homi_mock *mock = test->priv;
	struct homi_queue *q = homi_test_create(test, ctx);

	homi_delete_ms = HOMI_TEST_SHORT_MS;
	for (; c < homi_create_cases + ARRAY_SIZE(homi_create_cases); c++) {
		homi_mock_reset(mock);
		homi_mock_forget_log(mock);
		mock->resets = 0;
		mock->fault = c->fault;
		KUNIT_EXPECT_EQ_MSG(test, homi_test_recreate(q), c->ret, "%s",
				    c->name);
		homi_test_sent(test, c->sent, c->name);
		KUNIT_EXPECT_EQ_MSG(test, q->state, HOMI_QUEUE_LOST, "%s",
				    c->name);
		KUNIT_EXPECT_EQ_MSG(test, mock->resets, c->resets, "%s",
				    c->name);
		KUNIT_EXPECT_EQ_MSG(test, atomic_read(&ctx->dma_users),
				    c->parked, "%s", c->name);
		if (c->parked)
			KUNIT_EXPECT_EQ_MSG(test, homi_test_recreate(q),
					    -EAGAIN, "%s", c->name);
	}
	homi_mock_reset(mock);
	KUNIT_EXPECT_EQ(test, homi_test_recreate(q), 0);
	KUNIT_EXPECT_EQ(test, kref_read(&q->obj.ref), 2);
	homi_ctx_close(ctx);
}

/* What happens while a command of one who has come too late is out */
static struct {
	struct homi_queue *q;
	u8 opcode;
	int ret;
} homi_late;

/*
 * By somebody else, as it is in truth: who has a queue's delete_lock does not wait for
 * the work that brings a controller back, which may take it.
 */
static struct {
	struct work_struct work;
	struct completion done;
	struct homi_mock *mock;
} homi_aside;

static void homi_test_aside_work(struct work_struct *work)
{
	homi_mock_reset(homi_aside.mock);
	complete(&homi_aside.done);
}

static void homi_test_reset_aside(struct homi_mock *mock)
{
	homi_aside.mock = mock;
	init_completion(&homi_aside.done);
	INIT_WORK(&homi_aside.work, homi_test_aside_work);
	schedule_work(&homi_aside.work);
	wait_for_completion(&homi_aside.done);
}

static void homi_test_made_meanwhile(struct homi_mock *mock)
{
	homi_test_reset_aside(mock);
	homi_late.ret = homi_test_recreate(homi_late.q);
}

/* The queue is made in vain. Who made it deletes it, and that takes its time. */
static void homi_test_made_in_vain(struct homi_mock *mock)
{
	homi_test_reset_aside(mock);
	mock->fault = (struct homi_mock_fault){
		.opcode = homi_late.opcode,
		.count = 1,
		.executed = true,
		.event = homi_test_made_meanwhile,
	};
}

/*
 * A deletion that was decided on before a reset must not act on what is made after
 * it: neither on the queue at the controller, nor on what that holds here.
 */
static void homi_test_late_deletion(struct kunit *test)
{
	static const u8 opcodes[] = { nvme_admin_delete_sq, DEL_CQ };
	struct homi_ctx *ctx = homi_test_open(test);
	struct homi_mock *mock = test->priv;
	struct homi_queue *q = homi_test_create(test, ctx);
	int i;

	for (i = 0; i < ARRAY_SIZE(opcodes); i++) {
		homi_late.q = q;
		homi_late.opcode = opcodes[i];
		homi_late.ret = 1;
		homi_mock_reset(mock);
		mock->fault = (struct homi_mock_fault){
			.opcode = MAKE_SQ,
			.count = 1,
			.event = homi_test_made_in_vain,
			.ret = -EAGAIN,
		};
		KUNIT_EXPECT_EQ_MSG(test, homi_test_recreate(q), -EAGAIN,
				    "row %d", i);
		KUNIT_EXPECT_EQ_MSG(test, homi_late.ret, -EAGAIN, "row %d", i);
		KUNIT_EXPECT_EQ_MSG(test, q->state, HOMI_QUEUE_LOST, "row %d", i);
		KUNIT_EXPECT_EQ_MSG(test, homi_mock_queues(mock), 0, "row %d", i);
		KUNIT_EXPECT_EQ_MSG(test, atomic_read(&ctx->dma_users), 0,
				    "row %d", i);
		KUNIT_EXPECT_EQ_MSG(test, homi_test_recreate(q), 0, "row %d", i);
		KUNIT_EXPECT_EQ_MSG(test, q->state, HOMI_QUEUE_LIVE, "row %d", i);
		KUNIT_EXPECT_EQ_MSG(test, q->hw, HOMI_HW_CREATED, "row %d", i);
		KUNIT_EXPECT_EQ_MSG(test, homi_mock_queues(mock), 2, "row %d", i);
		KUNIT_EXPECT_EQ_MSG(test, atomic_read(&ctx->dma_users), 1,
				    "row %d", i);
		KUNIT_EXPECT_EQ_MSG(test, kref_read(&q->obj.ref), 2, "row %d", i);
	}
	KUNIT_EXPECT_EQ(test, mock->resets, 0);
	homi_ctx_close(ctx);
	KUNIT_EXPECT_EQ(test, homi_mock_queues(mock), 0);
}

/*
 * Paused and resumed: all queues are lost and yet there. They are deleted then,
 * whether they were destroyed meanwhile or are to be made anew.
 */
static void homi_test_paused(struct kunit *test)
{
	struct homi_ctx *ctx = homi_test_open(test);
	struct homi_mock *mock = test->priv;
	struct homi_queue *kept = homi_test_create(test, ctx);
	struct homi_queue *q = homi_test_create(test, ctx);

	homi_delete_ms = HOMI_TEST_SHORT_MS;
	homi_mock_forget_log(mock);
	homi_mock_quiesce(mock);
	KUNIT_EXPECT_EQ(test, homi_test_destroy(q), 0);
	KUNIT_EXPECT_EQ(test, homi_test_recreate(kept), -EAGAIN);
	KUNIT_EXPECT_EQ(test, mock->commands, 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&ctx->dma_users), 2);
	homi_mock_live(mock);
	SENT("resumed", DEL_SQ, DEL_CQ, DEL_SQ, DEL_CQ);
	KUNIT_EXPECT_EQ(test, atomic_read(&ctx->dma_users), 0);
	KUNIT_EXPECT_EQ(test, homi_mock_queues(mock), 0);
	KUNIT_EXPECT_EQ(test, mock->ctrl.lent, 1);
	KUNIT_EXPECT_EQ(test, kept->state, HOMI_QUEUE_LOST);
	KUNIT_EXPECT_EQ(test, mock->resets, 0);
	KUNIT_EXPECT_EQ(test, homi_test_recreate(kept), 0);
	KUNIT_EXPECT_EQ(test, kept->state, HOMI_QUEUE_LIVE);
	KUNIT_EXPECT_EQ(test, mock->sq_depth[3], HOMI_TEST_DEPTH);
	homi_ctx_close(ctx);
	KUNIT_EXPECT_EQ(test, homi_mock_queues(mock), 0);
	KUNIT_EXPECT_EQ(test, mock->ctrl.lent, 0);
}

/* What could not be deleted after all is ended by a reset. */
static void homi_test_paused_stuck(struct kunit *test)
{
	struct homi_ctx *ctx = homi_test_open(test);
	struct homi_mock *mock = test->priv;
	struct homi_queue *q = homi_test_create(test, ctx);

	homi_mock_quiesce(mock);
	mock->fault = (struct homi_mock_fault){
		.opcode = nvme_admin_delete_sq,
		.count = 1,
		.ret = -ETIMEDOUT,
	};
	homi_mock_live(mock);
	KUNIT_EXPECT_EQ(test, mock->resets, 1);
	KUNIT_EXPECT_EQ(test, atomic_read(&ctx->dma_users), 1);
	KUNIT_EXPECT_EQ(test, homi_test_recreate(q), -EAGAIN);
	homi_mock_reset(mock);
	KUNIT_EXPECT_EQ(test, atomic_read(&ctx->dma_users), 0);
	KUNIT_EXPECT_EQ(test, homi_test_recreate(q), 0);
	homi_ctx_close(ctx);
}

static void homi_test_removed(struct kunit *test)
{
	struct homi_ctx *ctx = homi_test_open(test);
	struct homi_mock *mock = test->priv;
	struct homi_queue *q = homi_test_create(test, ctx);
	struct homi_queue_info info = { .queue_id = q->obj.id };
	struct homi_call call = { .ctx = ctx, .cmd = &info };

	homi_mock_forget_log(mock);
	homi_mock_die(mock);
	KUNIT_EXPECT_EQ(test, homi_cmd_queue_info(&call), 0);
	KUNIT_EXPECT_EQ(test, info.out_state, HOMI_QUEUE_GONE);
	KUNIT_EXPECT_EQ(test, info.out_qid, 3);
	KUNIT_EXPECT_EQ(test, atomic_read(&ctx->dma_users), 0);
	KUNIT_EXPECT_PTR_EQ(test, q->sq.cpu, NULL);
	KUNIT_EXPECT_PTR_EQ(test, q->cq.cpu, NULL);
	KUNIT_EXPECT_EQ(test, homi_test_recreate(q), -ENODEV);
	KUNIT_EXPECT_EQ(test, homi_test_destroy(q), 0);
	KUNIT_EXPECT_EQ(test, mock->commands, 0);
	KUNIT_EXPECT_EQ(test, mock->resets, 0);
	KUNIT_EXPECT_EQ(test, mock->ctrl.lent, 0);
	homi_ctx_close(ctx);
}

/* --- recall, close, news --- */

static void homi_test_recalled(struct kunit *test)
{
	struct homi_ctx *ctx = homi_test_open(test), *other = homi_test_open(test);
	struct homi_mock *mock = test->priv;
	struct homi_queue *one = homi_test_create(test, ctx);
	struct homi_queue *two = homi_test_create(test, ctx);
	struct homi_queue *theirs = homi_test_create(test, other), *q;

	homi_ctx_revoke_queues(ctx);
	KUNIT_EXPECT_EQ(test, one->state, HOMI_QUEUE_REVOKED);
	KUNIT_EXPECT_EQ(test, two->state, HOMI_QUEUE_REVOKED);
	KUNIT_EXPECT_EQ(test, atomic_read(&ctx->dma_users), 0);
	KUNIT_EXPECT_EQ(test, homi_mock_queues(mock), 2);
	/* No new one on this file, while others go on */
	KUNIT_EXPECT_EQ(test, homi_test_try_create(ctx, &q), -EAGAIN);
	KUNIT_EXPECT_EQ(test, homi_test_recreate(one), -EAGAIN);
	KUNIT_EXPECT_EQ(test, theirs->state, HOMI_QUEUE_LIVE);
	homi_test_create(test, other);
	/* Two recalls at a time: both have to end. */
	homi_ctx_revoke_queues(ctx);
	homi_ctx_revoke_end(ctx);
	KUNIT_EXPECT_EQ(test, homi_test_recreate(one), -EAGAIN);
	homi_ctx_revoke_end(ctx);
	KUNIT_EXPECT_EQ(test, homi_test_recreate(one), 0);
	KUNIT_EXPECT_EQ(test, one->state, HOMI_QUEUE_LIVE);
	KUNIT_EXPECT_EQ(test, two->state, HOMI_QUEUE_REVOKED);
	homi_ctx_close(ctx);
	homi_ctx_close(other);
	KUNIT_EXPECT_EQ(test, homi_mock_queues(mock), 0);
}

/* Memory that a queue may act on */
struct homi_test_mem {
	struct homi_object obj;
	struct completion freed;
	u32 released;
};

static struct homi_test_mem *to_test_mem(struct homi_object *obj)
{
	return container_of(obj, struct homi_test_mem, obj);
}

static bool homi_test_mem_is_busy(struct homi_object *obj)
{
	return atomic_read(&obj->ctx->dma_users);
}

static void homi_test_mem_release(struct homi_object *obj)
{
	to_test_mem(obj)->released++;
}

static void homi_test_mem_free(struct homi_object *obj)
{
	complete(&to_test_mem(obj)->freed);
}

static const struct homi_object_ops homi_test_mem_ops = {
	.is_busy = homi_test_mem_is_busy,
	.release_dma = homi_test_mem_release,
	.free = homi_test_mem_free,
};

/* A close that the controller holds up: memory stays until it is disabled. */
static void homi_test_close_parks(struct kunit *test)
{
	struct homi_ctx *ctx = homi_test_open(test);
	struct homi_mock *mock = test->priv;
	struct homi_test_mem *mem = kunit_kzalloc(test, sizeof(*mem),
						  GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, mem);
	init_completion(&mem->freed);
	KUNIT_ASSERT_EQ(test, homi_object_reserve(ctx, &mem->obj, HOMI_OBJ_MEM,
						  &homi_test_mem_ops), 0);
	homi_object_publish(&mem->obj);
	homi_test_create(test, ctx);
	KUNIT_EXPECT_EQ(test, homi_object_destroy(ctx, mem->obj.id), -EBUSY);
	homi_delete_ms = HOMI_TEST_SHORT_MS;
	mock->fault = (struct homi_mock_fault){
		.opcode = nvme_admin_delete_sq,
		.count = 1,
		.ret = -ETIMEDOUT,
	};
	homi_ctx_close(ctx);
	KUNIT_EXPECT_EQ(test, mock->resets, 1);
	/* Long enough for a worker that does not wait */
	msleep(200);
	KUNIT_EXPECT_EQ(test, mem->released, 0);
	KUNIT_EXPECT_FALSE(test, completion_done(&mem->freed));
	homi_mock_quiesce(mock);
	KUNIT_EXPECT_EQ(test, mem->released, 0);
	homi_mock_reenable(mock);
	KUNIT_EXPECT_GT(test, wait_for_completion_timeout(&mem->freed, 20 * HZ),
			0);
	KUNIT_EXPECT_EQ(test, mem->released, 1);
	homi_mock_live(mock);
	KUNIT_EXPECT_EQ(test, mock->ctrl.lent, 0);
}

static void homi_test_poll_is(struct kunit *test, struct homi_ctx *ctx,
			      __poll_t want, const char *when)
{
	KUNIT_EXPECT_EQ_MSG(test, (__force u32)homi_ctx_poll(ctx, NULL, NULL),
			    (__force u32)want, "%s", when);
}

static void homi_test_polled(struct kunit *test)
{
	const __poll_t out = EPOLLOUT | EPOLLWRNORM, end = EPOLLERR | EPOLLHUP;
	struct homi_ctx *ctx = homi_test_open(test), *other = homi_test_open(test);
	struct homi_mock *mock = test->priv;
	struct homi_queue *q = homi_test_create(test, ctx);

	homi_test_poll_is(test, ctx, out, "live");
	homi_mock_quiesce(mock);
	homi_test_poll_is(test, ctx, EPOLLPRI, "resetting, a queue is lost");
	homi_test_poll_is(test, other, 0, "resetting");
	homi_mock_reenable(mock);
	homi_mock_live(mock);
	homi_test_poll_is(test, ctx, out | EPOLLPRI, "live, a queue is lost");
	homi_test_poll_is(test, other, out, "live again");
	KUNIT_EXPECT_EQ(test, homi_test_recreate(q), 0);
	homi_test_poll_is(test, ctx, out, "recreated");
	homi_mock_die(mock);
	homi_test_poll_is(test, ctx, end | EPOLLPRI, "gone, and a queue");
	homi_test_poll_is(test, other, end, "gone");
	homi_ctx_close(ctx);
	homi_ctx_close(other);
}

#undef MAKE_CQ
#undef MAKE_SQ
#undef DEL_CQ
#undef DEL_SQ
#undef SENT

static struct kunit_case homi_queue_reset_cases[] = {
	KUNIT_CASE(homi_test_reset_in_create),
	KUNIT_CASE(homi_test_removal_in_create),
	KUNIT_CASE(homi_test_recreated),
	KUNIT_CASE(homi_test_recreate_refused),
	KUNIT_CASE(homi_test_recreate_fails),
	KUNIT_CASE(homi_test_late_deletion),
	KUNIT_CASE(homi_test_paused),
	KUNIT_CASE(homi_test_paused_stuck),
	KUNIT_CASE(homi_test_removed),
	KUNIT_CASE(homi_test_recalled),
	KUNIT_CASE(homi_test_close_parks),
	KUNIT_CASE(homi_test_polled),
	{}
};

static struct kunit_suite homi_queue_reset_suite = {
	.name = "homi_queue_reset",
	.init = homi_test_queue_init,
	.exit = homi_test_queue_exit,
	.test_cases = homi_queue_reset_cases,
};

kunit_test_suite(homi_queue_reset_suite);
