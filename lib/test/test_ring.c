// SPDX-License-Identifier: MIT
/* The ring's arithmetic, one step at a time, with the model in the same thread. */
#include "rig.h"
#include "tap.h"

/* Polls until nothing comes; each user value in [0, limit) at most once. */
static const char *drain(struct rig *rig, uint8_t *seen, uint64_t limit, uint64_t *done_count)
{
	struct homi_completion done;
	int ret;

	while ((ret = homi_ring_poll(&rig->ring, &done)) != HOMI_RING_EMPTY) {
		TAP_MUST(ret == HOMI_RING_OK);
		TAP_MUST(done.user < limit && !seen[done.user]);
		TAP_MUST(done.status == 0);
		TAP_MUST(done.result == done.cid * 3u + 1);
		TAP_MUST(done.sq_head < rig->model.config.depth);
		TAP_MUST(!memcmp(rig_cpu(rig, done.user), &done.user, sizeof(done.user)));
		seen[done.user] = 1;
		++*done_count;
	}
	return NULL;
}

/*
 * Reads in batches of random size until every entry was used several times. Each
 * has a buffer of its own (RIG_BUFFERS), since a completion may be held back long.
 */
static const char *laps(struct rig *rig, uint32_t depth, uint64_t total, uint64_t seed)
{
	uint64_t posted = 0, done = 0, idle = 0;
	uint8_t *seen = calloc(total, 1);
	const char *wrong = NULL;
	struct homi_rw rw;
	uint64_t i;

	homi_rw_init(&rw, HOMI_OP_READ, MODEL_NSID, 1, 0);
	for (i = 0; i < RIG_BLOCKS; i++)
		memset(rig->model.data + i * rig->block_size, 0, rig->block_size);
	while (done < total && !wrong && idle < 1000) {
		uint64_t batch = model_random(&seed) % depth;
		uint64_t before = done;

		while (batch-- && posted < total && homi_ring_room(&rig->ring)) {
			uint64_t slba = posted % RIG_BLOCKS;

			memcpy(rig->model.data + slba * rig->block_size, &posted, sizeof(posted));
			if (homi_ring_post_rw(&rig->ring, &rw, slba, rig_dma(posted), 0,
					      posted) < 0)
				wrong = "no room where there was some";
			posted++;
		}
		homi_ring_ring(&rig->ring);
		rig->model.max_post = (uint32_t)(model_random(&seed) % depth);
		model_step(&rig->model);
		if (!wrong)
			wrong = drain(rig, seen, posted, &done);
		if (model_random(&seed) % 3)
			homi_ring_release(&rig->ring);
		idle = done == before ? idle + 1 : 0;
	}
	free(seen);
	if (!wrong && done != total)
		wrong = "completions are missing";
	if (!wrong && homi_ring_outstanding(&rig->ring))
		wrong = "cids are missing";
	return wrong ? wrong : rig->model.violation;
}

static void test_wrap(void)
{
	static const struct { bool shadow; uint64_t reorder; const char *name; } modes[] = {
		{ false, 0, "registers, in order" }, { false, 77, "registers, out of order" },
		{ true, 0, "shadow, in order" }, { true, 78, "shadow, out of order" },
	};
	unsigned int mode;
	uint32_t depth;

	for (mode = 0; mode < sizeof(modes) / sizeof(modes[0]); mode++)
		for (depth = 2; depth <= 18; depth++) {
			uint32_t d = depth == 18 ? 1024 : depth;
			struct rig rig;
			const char *wrong = "rig";

			if (!rig_init(&rig, d, modes[mode].shadow, modes[mode].reorder, 0, 512))
				wrong = laps(&rig, d, d * 5ull + 50, d * 31 + mode);
			if (!tap_ok(!wrong, "wrap and phase, depth %u, %s", d, modes[mode].name))
				printf("# %s\n", wrong);
			rig_destroy(&rig);
		}
}

/* Indices of 16 bits, all of which are used: the tail goes from 65535 to 0. */
static const char *deepest(bool shadow)
{
	const char *wrong = "rig";
	struct rig rig;

	if (!rig_init(&rig, HOMI_RING_MAX_DEPTH, shadow, 0, 0, 512)) {
		struct homi_completion done;
		uint64_t total = 0;
		struct homi_sqe sqe;
		uint32_t i;

		wrong = NULL;
		homi_sqe_flush(&sqe, MODEL_NSID);
		while (total < 3 * 65536 && !wrong) {
			for (i = 0; i < 1021; i++)
				homi_ring_post(&rig.ring, &sqe, total + i);
			homi_ring_ring(&rig.ring);
			if (model_step(&rig.model) != 1021)
				wrong = "a doorbell was lost";
			for (i = 0; i < 1021 && !wrong; i++)
				if (homi_ring_poll(&rig.ring, &done) ||
				    done.user != total + i)
					wrong = "wrong completion";
			homi_ring_release(&rig.ring);
			total += 1021;
		}
		if (!wrong)
			wrong = rig.model.violation;
	}
	rig_destroy(&rig);
	return wrong;
}

static const char *exhaustion(void)
{
	uint8_t used[40];
	struct homi_completion done;
	struct homi_sqe sqe;
	struct rig rig;
	uint32_t depth, i;

	homi_sqe_flush(&sqe, MODEL_NSID);
	for (depth = 2; depth <= 33; depth++) {
		memset(used, 0, sizeof(used));
		TAP_MUST(!rig_init(&rig, depth, false, 5, 0, 512));
		for (i = 0; i < depth - 1; i++) {
			int cid = homi_ring_post(&rig.ring, &sqe, i);

			TAP_MUST(cid >= 0 && cid < (int)depth - 1 && !used[cid]);
			used[cid] = 1;
		}
		TAP_MUST(homi_ring_room(&rig.ring) == 0);
		TAP_MUST(homi_ring_outstanding(&rig.ring) == depth - 1);
		TAP_MUST(homi_ring_post(&rig.ring, &sqe, 99) == HOMI_RING_FULL);
		TAP_MUST(homi_ring_sq_tail(&rig.ring) == depth - 1);
		homi_ring_ring(&rig.ring);
		model_step(&rig.model);
		TAP_MUST(homi_ring_poll(&rig.ring, &done) == HOMI_RING_OK);
		TAP_MUST(homi_ring_room(&rig.ring) == 1);
		TAP_MUST(homi_ring_post(&rig.ring, &sqe, 100) == done.cid);
		TAP_MUST(homi_ring_post(&rig.ring, &sqe, 101) == HOMI_RING_FULL);
		TAP_MUST(!rig.model.violations);
		rig_destroy(&rig);
	}
	return NULL;
}

struct status_case {
	const char *name;
	uint8_t opcode, flags;
	uint32_t nsid, blocks;
	uint64_t slba, prp1, prp2;
	uint16_t injected;
	uint32_t code;
};

static uint16_t inject(void *arg, const struct homi_sqe *sqe)
{
	(void)sqe;
	return *(uint16_t *)arg;
}

static const char *one_status(const struct status_case *c)
{
	uint16_t injected = c->injected;
	struct homi_completion done;
	struct homi_sqe sqe;
	struct rig rig;
	int cid;

	TAP_MUST(!rig_init(&rig, 4, false, 0, 0, 4096));
	rig.model.config.max_transfer = 16 * 4096;
	rig.model.hook = inject;
	rig.model.hook_arg = &injected;
	homi_sqe_rw(&sqe, c->opcode, c->nsid, c->slba, c->blocks, 0, c->prp1, c->prp2);
	sqe.flags = c->flags;
	cid = homi_ring_post(&rig.ring, &sqe, 4711);
	homi_ring_ring(&rig.ring);
	TAP_MUST(model_step(&rig.model) == 1);
	TAP_MUST(homi_ring_poll(&rig.ring, &done) == (c->code ? HOMI_RING_STATUS : HOMI_RING_OK));
	TAP_MUST(done.user == 4711 && done.cid == cid);
	TAP_MUST(HOMI_STATUS_CODE(done.status) == c->code);
	TAP_MUST(HOMI_STATUS_SC(done.status) == (c->code & 0xff));
	TAP_MUST(HOMI_STATUS_SCT(done.status) == c->code >> 8);
	TAP_MUST(HOMI_STATUS_DNR(done.status) == (c->code != 0));
	TAP_MUST(HOMI_STATUS_MORE(done.status) == (c->injected >> 13 & 1));
	TAP_MUST(HOMI_STATUS_CRD(done.status) == (c->injected >> 11 & 3));
	/* An error frees the cid as success does. */
	TAP_MUST(homi_ring_room(&rig.ring) == 3);
	TAP_MUST(homi_ring_poll(&rig.ring, &done) == HOMI_RING_EMPTY);
	TAP_MUST(!rig.model.violations);
	rig_destroy(&rig);
	return NULL;
}

static void test_status(void)
{
	static const struct status_case cases[] = {
		{ "success", HOMI_OP_READ, 0, 1, 1, 0, RIG_DMA, 0, 0, 0 },
		{ "last block", HOMI_OP_READ, 0, 1, 1, RIG_BLOCKS - 1, RIG_DMA, 0, 0, 0 },
		{ "invalid opcode", 0x7f, 0, 1, 1, 0, RIG_DMA, 0, 0, HOMI_SC_INVALID_OPCODE },
		{ "invalid nsid", HOMI_OP_READ, 0, 2, 1, 0, RIG_DMA, 0, 0, HOMI_SC_INVALID_NS },
		{ "SGL asked for", HOMI_OP_READ, 0x40, 1, 1, 0, RIG_DMA, 0, 0, HOMI_SC_INVALID_FIELD },
		{ "too long", HOMI_OP_READ, 0, 1, 17, 0, RIG_DMA, RIG_DMA + 4096, 0,
		  HOMI_SC_INVALID_FIELD },
		{ "one block beyond", HOMI_OP_READ, 0, 1, 1, RIG_BLOCKS, RIG_DMA, 0, 0,
		  HOMI_SC_LBA_RANGE },
		{ "across the end", HOMI_OP_WRITE, 0, 1, 2, RIG_BLOCKS - 1, RIG_DMA, RIG_DMA + 4096,
		  0, HOMI_SC_LBA_RANGE },
		{ "slba of 64 bits", HOMI_OP_READ, 0, 1, 1, UINT64_MAX, RIG_DMA, 0, 0,
		  HOMI_SC_LBA_RANGE },
		{ "slba above 32 bits", HOMI_OP_READ, 0, 1, 1, 1ull << 32, RIG_DMA, 0, 0,
		  HOMI_SC_LBA_RANGE },
		{ "PRP1 offset", HOMI_OP_READ, 0, 1, 1, 0, RIG_DMA + 2, 0, 0, HOMI_SC_PRP_OFFSET },
		{ "PRP2 offset", HOMI_OP_READ, 0, 1, 2, 0, RIG_DMA, RIG_DMA + 4100, 0,
		  HOMI_SC_PRP_OFFSET },
		{ "list offset", HOMI_OP_READ, 0, 1, 3, 0, RIG_DMA, RIG_DMA + 4100, 0,
		  HOMI_SC_PRP_OFFSET },
		{ "DMA out of range", HOMI_OP_READ, 0, 1, 1, 0, 0x1000, 0, 0,
		  HOMI_SC_DATA_TRANSFER },
		{ "injected, more", HOMI_OP_READ, 0, 1, 1, 0, RIG_DMA, 0,
		  MODEL_DNR | 0x2000 | HOMI_SC_UNRECOVERED_READ, HOMI_SC_UNRECOVERED_READ },
		{ "injected, delay", HOMI_OP_READ, 0, 1, 1, 0, RIG_DMA, 0,
		  MODEL_DNR | 0x1800 | HOMI_SC_NS_NOT_READY, HOMI_SC_NS_NOT_READY },
		{ "all bits", HOMI_OP_READ, 0, 1, 1, 0, RIG_DMA, 0, 0x7fff, 0x7ff },
	};
	unsigned int i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *wrong = one_status(&cases[i]);

		if (!tap_ok(!wrong, "status: %s", cases[i].name))
			printf("# %s\n", wrong);
	}
}

/* A completion queue written by hand, by a controller that errs. */
static const char *protocol(void)
{
	static const struct { uint16_t cid, status; int ret; } bad[] = {
		{ 7, 0, HOMI_RING_PROTOCOL },		/* == cids */
		{ 8, 0, HOMI_RING_PROTOCOL },		/* == depth */
		{ 0xffff, 0, HOMI_RING_PROTOCOL },
		{ 0xffff, 0x7fff, HOMI_RING_PROTOCOL },
		{ 5, 0, HOMI_RING_PROTOCOL },		/* never posted */
		{ 5, 0x281, HOMI_RING_PROTOCOL },
		{ 0, 0, HOMI_RING_OK },
		{ 0, 0, HOMI_RING_PROTOCOL },		/* twice */
		{ 1, 0x281, HOMI_RING_STATUS },
		{ 1, 0, HOMI_RING_PROTOCOL },
		{ 2, 0, HOMI_RING_OK },
	};
	struct homi_completion done = { 0 };
	struct homi_sqe sqe;
	uint16_t phase = 1;
	struct rig rig;
	unsigned int i;

	homi_sqe_flush(&sqe, 1);
	TAP_MUST(!rig_init(&rig, 8, false, 0, 0, 512));
	for (i = 0; i < 3; i++)
		TAP_MUST(homi_ring_post(&rig.ring, &sqe, 100 + i) == (int)i);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct homi_cqe *cqe = &rig.model.cq[i % 8];

		TAP_MUST(homi_ring_poll(&rig.ring, &done) == HOMI_RING_EMPTY);
		cqe->cid = bad[i].cid;
		cqe->status = (uint16_t)(bad[i].status << 1 | phase);
		TAP_MUST(homi_ring_poll(&rig.ring, &done) == bad[i].ret);
		TAP_MUST(done.cid == bad[i].cid && done.status == bad[i].status);
		if (bad[i].ret == HOMI_RING_PROTOCOL)
			TAP_MUST(done.user == HOMI_RING_NO_USER);
		else
			TAP_MUST(done.user == 100u + bad[i].cid);
		if (i % 8 == 7)
			phase ^= 1;
	}
	TAP_MUST(homi_ring_outstanding(&rig.ring) == 0);
	TAP_MUST(homi_ring_room(&rig.ring) == 7);
	rig_destroy(&rig);
	return NULL;
}

static int countdown(void *arg)
{
	return --*(int *)arg <= 0;
}

static const char *timeouts(void)
{
	uint16_t drop = MODEL_DROP;
	struct homi_completion done;
	struct homi_sqe sqe;
	struct rig rig;
	int left = 5;

	homi_sqe_flush(&sqe, 1);
	TAP_MUST(!rig_init(&rig, 8, true, 0, 0, 512));
	rig.model.hook = inject;
	rig.model.hook_arg = &drop;
	homi_ring_post(&rig.ring, &sqe, 1);
	homi_ring_ring(&rig.ring);
	model_step(&rig.model);
	TAP_MUST(homi_ring_wait(&rig.ring, &done, 1000) == HOMI_RING_TIMEOUT);
	TAP_MUST(homi_ring_wait(&rig.ring, &done, 0) == HOMI_RING_TIMEOUT);
	TAP_MUST(homi_ring_wait_until(&rig.ring, &done, countdown, &left) == HOMI_RING_TIMEOUT);
	TAP_MUST(left == 0);
	TAP_MUST(homi_ring_outstanding(&rig.ring) == 1);
	drop = MODEL_EXECUTE;
	rig.model.stall = 2;
	homi_ring_post(&rig.ring, &sqe, 2);
	homi_ring_ring(&rig.ring);
	TAP_MUST(model_step(&rig.model) == 0 && model_step(&rig.model) == 0);
	TAP_MUST(homi_ring_wait(&rig.ring, &done, 3) == HOMI_RING_TIMEOUT);
	TAP_MUST(model_step(&rig.model) == 1);
	TAP_MUST(homi_ring_wait(&rig.ring, &done, 1) == HOMI_RING_OK && done.user == 2);
	TAP_MUST(!rig.model.violations);
	rig_destroy(&rig);
	return NULL;
}

/* Whoever does not release must see the controller wait, and go on afterwards. */
static const char *back_pressure(bool shadow)
{
	struct homi_completion done;
	struct homi_sqe sqe;
	struct rig rig;
	uint32_t depth, i;

	homi_sqe_flush(&sqe, 1);
	for (depth = 2; depth < 20; depth++) {
		TAP_MUST(!rig_init(&rig, depth, shadow, 0, 0, 512));
		for (i = 0; i < depth - 1; i++)
			homi_ring_post(&rig.ring, &sqe, i);
		homi_ring_ring(&rig.ring);
		TAP_MUST(model_step(&rig.model) == depth - 1);
		for (i = 0; i < depth - 1; i++)
			TAP_MUST(homi_ring_poll(&rig.ring, &done) == HOMI_RING_OK);
		homi_ring_post(&rig.ring, &sqe, 500);
		homi_ring_ring(&rig.ring);
		TAP_MUST(model_step(&rig.model) == 0 && rig.model.cq_full);
		TAP_MUST(homi_ring_poll(&rig.ring, &done) == HOMI_RING_EMPTY);
		homi_ring_release(&rig.ring);
		TAP_MUST(model_step(&rig.model) == 1);
		TAP_MUST(homi_ring_poll(&rig.ring, &done) == HOMI_RING_OK && done.user == 500);
		TAP_MUST(!rig.model.violations && rig.model.cq_writes == 1);
		rig_destroy(&rig);
	}
	return NULL;
}

/* One doorbell for a batch, none for nothing, and none before it is asked for. */
static const char *doorbells(void)
{
	struct homi_completion done;
	struct homi_sqe sqe;
	struct rig rig;
	uint32_t i;

	homi_sqe_flush(&sqe, 1);
	TAP_MUST(!rig_init(&rig, 16, false, 0, 0, 512));
	for (i = 0; i < 10; i++)
		homi_ring_post(&rig.ring, &sqe, i);
	TAP_MUST(rig.model.sq_doorbell == MODEL_DOORBELL_IDLE && model_step(&rig.model) == 0);
	homi_ring_ring(&rig.ring);
	TAP_MUST(rig.model.sq_doorbell == 10 && model_step(&rig.model) == 10);
	homi_ring_ring(&rig.ring);
	TAP_MUST(rig.model.sq_doorbell == MODEL_DOORBELL_IDLE);
	for (i = 0; i < 10; i++)
		TAP_MUST(homi_ring_poll(&rig.ring, &done) == HOMI_RING_OK);
	TAP_MUST(rig.model.cq_doorbell == MODEL_DOORBELL_IDLE);
	homi_ring_release(&rig.ring);
	TAP_MUST(rig.model.cq_doorbell == 10 && homi_ring_cq_head(&rig.ring) == 10);
	model_step(&rig.model);
	homi_ring_release(&rig.ring);
	TAP_MUST(rig.model.cq_doorbell == MODEL_DOORBELL_IDLE);
	rig_destroy(&rig);
	return NULL;
}

/* Every queue of up to 24 entries, every step, every event index. */
static const char *events_small(void)
{
	uint32_t depth, old, new_index, event, at;

	for (depth = 2; depth <= 24; depth++)
		for (old = 0; old < depth; old++)
			for (new_index = 0; new_index < depth; new_index++)
				for (event = 0; event < depth; event++) {
					int passed = 0;

					for (at = old; at != new_index; at = (at + 1) % depth)
						passed |= at == event;
					TAP_MUST(homi_ring_need_event(event, new_index, old) ==
						 passed);
				}
	return NULL;
}

/* Steps around 0 and 65536 in the deepest queue. */
static const char *events_wide(void)
{
	int old, step, event;

	for (old = -40; old <= 40; old++)
		for (step = 0; step <= 40; step++)
			for (event = -90; event <= 90; event++)
				TAP_MUST(homi_ring_need_event((uint16_t)event,
							      (uint16_t)(old + step),
							      (uint16_t)old) ==
					 (event >= old && event < old + step));
	return NULL;
}

static const char *bad_setups(void)
{
	static uint64_t memory[64] __attribute__((aligned(64)));
	static uint16_t cids[8];
	static volatile uint32_t word[6];
	struct homi_ring_config good = {
		.sq = memory, .cq = memory, .users = memory, .free_cids = cids,
		.sq_doorbell = &word[0], .cq_doorbell = &word[1], .depth = 4,
	};
	struct homi_ring_config c;
	struct homi_ring ring;

#define REFUSED(change) do { \
	c = good; \
	c.change; \
	TAP_MUST(homi_ring_init(&ring, &c) == HOMI_RING_INVALID); \
} while (0)
	TAP_MUST(!homi_ring_init(&ring, &good));
	REFUSED(depth = 0);
	REFUSED(depth = 1);
	REFUSED(depth = 65537);
	REFUSED(depth = UINT32_MAX);
	REFUSED(sq = NULL);
	REFUSED(cq = NULL);
	REFUSED(users = NULL);
	REFUSED(free_cids = NULL);
	REFUSED(sq_doorbell = NULL);
	REFUSED(cq_doorbell = NULL);
	REFUSED(sq = (char *)memory + 32);
	REFUSED(cq = (char *)memory + 8);
	REFUSED(sq_shadow = &word[2]);
	REFUSED(cq_event = &word[2]);
#undef REFUSED
	return NULL;
}

/* Both ways to post a read write the same 64 bytes, whatever lay there before. */
static const char *same_entry(void)
{
	struct homi_sqe want, *got;
	uint64_t seed = 3;
	struct homi_rw rw;
	struct rig rig;
	int i;

	for (i = 0; i < 2000; i++) {
		uint64_t slba = model_random(&seed), prp1 = model_random(&seed);
		uint64_t prp2 = i % 3 ? model_random(&seed) : 0;
		uint32_t nsid = (uint32_t)model_random(&seed);
		uint32_t blocks = 1 + (uint32_t)(model_random(&seed) % HOMI_RW_MAX_BLOCKS);
		uint32_t control = i & 1 ? HOMI_RW_FUA | HOMI_RW_LR : 0;
		uint8_t opcode = i & 2 ? HOMI_OP_READ : HOMI_OP_WRITE;

		if (i % 100 == 0)
			TAP_MUST(!rig_init(&rig, 128, false, 0, 0, 512));
		homi_sqe_rw(&want, opcode, nsid, slba, blocks, control, prp1, prp2);
		homi_rw_init(&rw, opcode, nsid, blocks, control);
		got = &rig.model.sq[homi_ring_sq_tail(&rig.ring)];
		if (prp2)
			want.cid = (uint16_t)homi_ring_post_rw(&rig.ring, &rw, slba, prp1, prp2, 0);
		else
			want.cid = (uint16_t)homi_ring_post_rw(&rig.ring, &rw, slba, prp1, 0, 0);
		TAP_MUST(!memcmp(got, &want, sizeof(want)));
		if (i % 100 == 99)
			rig_destroy(&rig);
	}
	TAP_MUST(!rig_init(&rig, 4, false, 0, 0, 512));
	memset(&want, 0x5c, sizeof(want));
	want.cid = (uint16_t)homi_ring_post(&rig.ring, &want, 0);
	TAP_MUST(!memcmp(rig.model.sq, &want, sizeof(want)));
	rig_destroy(&rig);
	return NULL;
}

static int run_one(struct rig *rig, const struct homi_sqe *sqe)
{
	struct homi_completion done;
	int ret;

	homi_ring_post(&rig->ring, sqe, 0);
	homi_ring_ring(&rig->ring);
	model_step(&rig->model);
	ret = homi_ring_wait(&rig->ring, &done, 1);
	homi_ring_release(&rig->ring);
	return ret;
}

/* Data really moves, and blocks beside stay as they are. */
static const char *commands(uint32_t block_size)
{
	struct homi_dsm_range ranges[2] = { { 0, 2, 20 }, { 0, 1, 30 } };
	uint8_t *data, zero[4096] = { 0 };
	struct homi_sqe sqe;
	struct rig rig;
	uint32_t i;

	TAP_MUST(!rig_init(&rig, 8, true, 0, 0, block_size));
	data = rig.model.data;
	memset(data, 0xee, 64 * block_size);
	memset(rig.buffer, 0x11, 4096);
	homi_sqe_rw(&sqe, HOMI_OP_WRITE, MODEL_NSID, 10, 1, HOMI_RW_FUA, RIG_DMA, 0);
	TAP_MUST(!run_one(&rig, &sqe));
	TAP_MUST(data[10 * block_size - 1] == 0xee && data[11 * block_size] == 0xee);
	TAP_MUST(!memcmp(data + 10 * block_size, rig.buffer, block_size));
	homi_sqe_rw(&sqe, HOMI_OP_READ, MODEL_NSID, 10, 1, 0, RIG_DMA + 4096, 0);
	TAP_MUST(!run_one(&rig, &sqe));
	TAP_MUST(!memcmp(rig.buffer + 4096, rig.buffer, block_size));
	homi_sqe_write_zeroes(&sqe, MODEL_NSID, 10, 3, HOMI_RW_DEAC);
	TAP_MUST(!run_one(&rig, &sqe));
	for (i = 10; i < 13; i++)
		TAP_MUST(!memcmp(data + i * block_size, zero, block_size));
	TAP_MUST(data[13 * block_size] == 0xee);
	memcpy(rig.buffer, ranges, sizeof(ranges));
	homi_sqe_dsm(&sqe, MODEL_NSID, 2, HOMI_DSM_AD, RIG_DMA, 0);
	TAP_MUST(!run_one(&rig, &sqe));
	TAP_MUST(!data[20 * block_size] && !data[22 * block_size - 1] && !data[30 * block_size]);
	TAP_MUST(data[22 * block_size] == 0xee && data[31 * block_size] == 0xee);
	homi_sqe_flush(&sqe, 0xffffffff);
	TAP_MUST(!run_one(&rig, &sqe));
	homi_sqe_flush(&sqe, 5);
	TAP_MUST(run_one(&rig, &sqe) == HOMI_RING_STATUS);
	TAP_MUST(!rig.model.violations);
	rig_destroy(&rig);
	return NULL;
}

int main(void)
{
	test_wrap();
	tap_try(deepest(false), "depth 65536, registers");
	tap_try(deepest(true), "depth 65536, shadow");
	tap_try(exhaustion(), "cids run out at depth - 1, unique, and come back");
	test_status();
	tap_try(protocol(), "completions of no outstanding command");
	tap_try(timeouts(), "waiting is bounded");
	tap_try(back_pressure(false), "full completion queue, registers");
	tap_try(back_pressure(true), "full completion queue, shadow");
	tap_try(doorbells(), "one doorbell per batch, none unasked");
	tap_try(events_small(), "event index rule, depths 2 to 24, against counting");
	tap_try(events_wide(), "event index rule, at the wrap of 16 bits");
	tap_try(bad_setups(), "bad arguments of homi_ring_init()");
	tap_try(same_entry(), "post_rw writes what sqe_rw and post write");
	tap_try(commands(512), "commands, 512-byte blocks");
	tap_try(commands(4096), "commands, 4096-byte blocks");
	return tap_end();
}
