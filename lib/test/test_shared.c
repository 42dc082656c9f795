// SPDX-License-Identifier: MIT
/* One queue pair and several threads, each with several commands in flight. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <homi/shared.h>

#include "model_ring.h"
#include "tap.h"

#define DMA		0x7f0000000000ull
#define BLOCK		512u
#define BLOCKS		4096u
#define MAX_THREADS	4u
#define MAX_FLIGHT	16u
#define DEADLINE_S	60

struct rig {
	struct model model;
	struct homi_shared shared;
	struct homi_shared_trouble trouble;
	void *memory;
	uint8_t *buffer;	/* a block for each command that may be in flight */
};

static void rig_destroy(struct rig *rig)
{
	model_destroy(&rig->model);
	free(rig->memory);
	free(rig->buffer);
}

static struct homi_shared_config rig_config(struct rig *rig)
{
	return (struct homi_shared_config){
		.ring = model_ring_config(&rig->model, NULL, NULL),
		.memory = rig->memory, .trouble = &rig->trouble,
	};
}

static const char *rig_init(struct rig *rig, const struct model_config *mc, uint32_t results)
{
	uint64_t size = homi_shared_size(mc->depth);
	struct homi_shared_config config;
	uint64_t i;

	memset(rig, 0, sizeof(*rig));
	TAP_MUST(!model_init(&rig->model, mc));
	for (i = 0; i < BLOCKS; i++)
		memset(rig->model.data + i * BLOCK, (int)(i % 251 + 1), BLOCK);
	/* Exactly as long as promised, for who looks for steps beyond. */
	if (posix_memalign(&rig->memory, HOMI_SHARED_LINE, size))
		rig->memory = NULL;
	rig->buffer = calloc((size_t)MAX_THREADS * MAX_FLIGHT, BLOCK);
	TAP_MUST(rig->memory && rig->buffer);
	memset(rig->memory, 0, size);
	model_map(&rig->model, DMA, rig->buffer, (uint64_t)MAX_THREADS * MAX_FLIGHT * BLOCK);
	config = rig_config(rig);
	config.results = results;
	TAP_MUST(!homi_shared_init(&rig->shared, &config));
	return NULL;
}

static const struct model_config *config_of(uint32_t depth, int shadow, unsigned int linger,
					    uint64_t reorder)
{
	static struct model_config config;

	config = (struct model_config){
		.depth = depth, .page_size = 4096, .block_size = BLOCK, .blocks = BLOCKS,
		.shadow = shadow, .linger = linger, .reorder = reorder,
	};
	return &config;
}

/* --- threads --- */

struct worker {
	struct rig *rig;
	uint32_t which, flight, commands;
	const char *wrong;
	pthread_t thread;
};

/* Refused by the model's hook, with a status that says which. */
static int is_refused(uint64_t slba)
{
	return slba % 61 == 7;
}

static uint16_t refuse_some(void *arg, const struct homi_sqe *sqe)
{
	(void)arg;
	return is_refused(sqe->cdw10) ? HOMI_SC_UNRECOVERED_READ : MODEL_EXECUTE;
}

static const char *take(struct worker *w, uint32_t slot, uint64_t slba, int ret,
			const struct homi_completion *done)
{
	uint8_t *data = w->rig->buffer + (w->which * MAX_FLIGHT + slot) * BLOCK;
	uint32_t i;

	if (w->rig->model.hook && is_refused(slba)) {
		TAP_MUST(ret == HOMI_RING_STATUS);
		TAP_MUST(HOMI_STATUS_CODE(done->status) == HOMI_SC_UNRECOVERED_READ);
		return NULL;
	}
	TAP_MUST(ret == HOMI_RING_OK);
	for (i = 0; i < BLOCK; i++)
		TAP_MUST(data[i] == slba % 251 + 1);
	memset(data, 0, BLOCK);
	return NULL;
}

static const char *work(struct worker *w)
{
	uint64_t seed = w->which + 1, slba[MAX_FLIGHT];
	struct homi_team team = homi_team_here(&w->rig->shared);
	uint32_t posted = 0, done = 0, slot;
	struct timespec begin, now;
	const char *wrong = NULL;
	int cid[MAX_FLIGHT];
	struct homi_rw rw;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	homi_rw_init(&rw, HOMI_OP_READ, MODEL_NSID, 1, 0);
	for (slot = 0; slot < MAX_FLIGHT; slot++)
		cid[slot] = -1;
	for (slot = 0; done < w->commands && !wrong; slot = (slot + 1) % w->flight) {
		struct homi_completion c;
		int ret;

		if (cid[slot] < 0 && posted < w->commands) {
			uint64_t at = (w->which * MAX_FLIGHT + slot) * BLOCK;

			slba[slot] = model_random(&seed) % BLOCKS;
			cid[slot] = homi_shared_post_rw(&w->rig->shared, &team, 1, &rw, slba[slot],
							DMA + at, 0);
			TAP_MUST(cid[slot] >= 0 || cid[slot] == HOMI_RING_FULL);
			posted += cid[slot] >= 0;
		}
		ret = homi_shared_poll(&w->rig->shared, &team, cid[slot], &c);
		if (ret == HOMI_RING_EMPTY) {
			clock_gettime(CLOCK_MONOTONIC, &now);
			TAP_MUST(now.tv_sec - begin.tv_sec < DEADLINE_S);
			sched_yield();
			continue;
		}
		TAP_MUST(ret == HOMI_RING_OK || ret == HOMI_RING_STATUS);
		TAP_MUST(c.cid == cid[slot]);
		wrong = take(w, slot, slba[slot], ret, &c);
		cid[slot] = -1;
		done++;
	}
	return wrong;
}

static void *worker_run(void *arg)
{
	struct worker *w = arg;

	w->wrong = work(w);
	return NULL;
}

static const char *stress(struct rig *rig, uint32_t threads, uint32_t flight, uint32_t commands)
{
	struct worker w[MAX_THREADS];
	const char *wrong = NULL;
	uint32_t i;

	TAP_MUST(!model_start(&rig->model));
	for (i = 0; i < threads; i++) {
		w[i] = (struct worker){ .rig = rig, .which = i, .flight = flight,
					.commands = commands };
		TAP_MUST(!pthread_create(&w[i].thread, NULL, worker_run, &w[i]));
	}
	for (i = 0; i < threads; i++) {
		pthread_join(w[i].thread, NULL);
		wrong = wrong ? wrong : w[i].wrong;
	}
	model_stop(&rig->model);
	if (wrong)
		return wrong;
	TAP_MUST(!rig->trouble.what && !homi_shared_broken(&rig->shared));
	TAP_MUST(rig->model.executed == (uint64_t)threads * commands);
	return rig->model.violation;
}

static void many_threads(void)
{
	static const struct {
		uint32_t depth, threads, flight;
		int shadow;
		unsigned int linger;
		uint64_t reorder;
		int refuse;
		unsigned int stall;
	} c[] = {
		{ 2, 3, 2, 0, 0, 0, 0, 0 },	{ 4, 4, 2, 0, 0, 1, 0, 0 },
		{ 32, 4, 16, 0, 0, 2, 0, 0 },	{ 64, 4, 16, 0, 0, 3, 1, 0 },
		{ 1024, 4, 16, 0, 0, 4, 0, 300 }, { 2, 2, 1, 1, 0, 0, 0, 0 },
		{ 4, 3, 3, 1, 2, 5, 1, 0 },	{ 32, 4, 16, 1, 0, 6, 0, 100 },
		{ 64, 4, 16, 1, 20, 7, 0, 0 },	{ 256, 1, 16, 0, 0, 8, 1, 0 },
	};
	unsigned int i;

	for (i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		struct rig rig;
		const char *wrong = rig_init(&rig, config_of(c[i].depth, c[i].shadow, c[i].linger,
							     c[i].reorder), 0);

		if (!wrong) {
			rig.model.hook = c[i].refuse ? refuse_some : NULL;
			rig.model.stall = c[i].stall;
			wrong = stress(&rig, c[i].threads, c[i].flight, 5000);
		}
		if (!tap_ok(!wrong, "shared: depth %u, %u threads with %u each, %s, linger %u, %s order%s%s",
			    c[i].depth, c[i].threads, c[i].flight,
			    c[i].shadow ? "shadow" : "registers", c[i].linger,
			    c[i].reorder ? "any" : "same", c[i].refuse ? ", errors" : "",
			    c[i].stall ? ", a stall" : ""))
			printf("# %s\n", wrong);
		printf("# %llu + %llu register writes for %llu commands\n",
		       (unsigned long long)rig.model.sq_writes,
		       (unsigned long long)rig.model.cq_writes,
		       (unsigned long long)rig.model.executed);
		rig_destroy(&rig);
	}
}

/* --- one thread, and the model one step at a time --- */

static const char *any_command(struct rig *rig)
{
	struct homi_team team = homi_team_here(&rig->shared);
	struct homi_completion done;
	struct homi_sqe sqe;
	int round;

	for (round = 0; round < 40; round++) {
		int first, second;

		homi_sqe_write_zeroes(&sqe, MODEL_NSID, (uint64_t)round * 3, 2, 0);
		first = homi_shared_post(&rig->shared, &team, 1, &sqe);
		homi_sqe_flush(&sqe, MODEL_NSID);
		second = homi_shared_post(&rig->shared, &team, 1, &sqe);
		TAP_MUST(first >= 0 && second >= 0 && first != second);
		TAP_MUST(homi_shared_poll(&rig->shared, &team, first, &done) == HOMI_RING_EMPTY);
		TAP_MUST(homi_shared_poll(&rig->shared, &team, -1, &done) == HOMI_RING_EMPTY);
		model_step(&rig->model);
		TAP_MUST(homi_shared_poll(&rig->shared, &team, second, &done) == HOMI_RING_OK);
		TAP_MUST(done.result == (uint32_t)second * 3 + 1);
		TAP_MUST(homi_shared_poll(&rig->shared, &team, first, &done) == HOMI_RING_OK);
		TAP_MUST(done.result == (uint32_t)first * 3 + 1);
		TAP_MUST(!rig->model.data[round * 3 * BLOCK]);
		TAP_MUST(!rig->model.data[(round * 3 + 1) * BLOCK]);
	}
	return rig->model.violation;
}

/* As many as there are cids and not one more; then as many again. */
static const char *full(struct rig *rig)
{
	struct homi_team team = homi_team_here(&rig->shared);
	uint32_t depth = rig->model.config.depth, i, round;
	struct homi_completion done;
	struct homi_rw rw;
	int cid[64];

	homi_rw_init(&rw, HOMI_OP_READ, MODEL_NSID, 1, 0);
	for (round = 0; round < 5; round++) {
		uint64_t seen = 0;

		for (i = 0; i < depth - 1; i++) {
			cid[i] = homi_shared_post_rw(&rig->shared, &team, 1, &rw, i, DMA, 0);
			TAP_MUST(cid[i] >= 0 && !(seen >> cid[i] & 1));
			seen |= 1ull << cid[i];
		}
		TAP_MUST(homi_shared_post_rw(&rig->shared, &team, 1, &rw, 0, DMA, 0) ==
			 HOMI_RING_FULL);
		TAP_MUST(homi_shared_post_rw(&rig->shared, &team, 0, &rw, 0, DMA, 0) ==
			 HOMI_RING_FULL);
		for (i = 0; i < depth - 1; i++) {
			while (homi_shared_poll(&rig->shared, &team, cid[i], &done) ==
			       HOMI_RING_EMPTY)
				model_step(&rig->model);
			TAP_MUST(!done.status);
		}
	}
	return rig->model.violation;
}

static uint16_t drop(void *arg, const struct homi_sqe *sqe)
{
	(void)arg;
	(void)sqe;
	return MODEL_DROP;
}

static const char *times_out(struct rig *rig)
{
	struct homi_team team = homi_team_here(&rig->shared);
	struct homi_completion done;
	struct homi_rw rw;
	int other;

	homi_rw_init(&rw, HOMI_OP_READ, MODEL_NSID, 1, 0);
	rig->model.hook = drop;
	other = homi_shared_post_rw(&rig->shared, &team, 1, &rw, 0, DMA, 0);
	TAP_MUST(other >= 0);
	TAP_MUST(homi_shared_rw(&rig->shared, &rw, 1, DMA, 0, 100, &done) == HOMI_RING_TIMEOUT);
	TAP_MUST(homi_shared_broken(&rig->shared) == HOMI_SHARED_TIMEOUT);
	TAP_MUST(rig->trouble.what == HOMI_SHARED_TIMEOUT && rig->trouble.cid != (uint32_t)other);
	TAP_MUST(homi_shared_poll(&rig->shared, &team, other, &done) == HOMI_RING_BROKEN);
	TAP_MUST(homi_shared_rw(&rig->shared, &rw, 1, DMA, 0, 100, &done) == HOMI_RING_BROKEN);
	TAP_MUST(homi_shared_post_rw(&rig->shared, &team, 1, &rw, 0, DMA, 0) == HOMI_RING_BROKEN);
	return NULL;
}

/* Somebody else has all cids: nothing was posted, nothing is broken. */
static const char *no_cid(struct rig *rig)
{
	struct homi_team team = homi_team_here(&rig->shared);
	struct homi_completion done;
	struct homi_rw rw;

	homi_rw_init(&rw, HOMI_OP_READ, MODEL_NSID, 1, 0);
	TAP_MUST(homi_shared_post_rw(&rig->shared, &team, 1, &rw, 0, DMA, 0) == 0);
	TAP_MUST(homi_shared_rw(&rig->shared, &rw, 1, DMA, 0, 100, &done) == HOMI_RING_FULL);
	TAP_MUST(!homi_shared_broken(&rig->shared));
	model_step(&rig->model);
	TAP_MUST(homi_shared_poll(&rig->shared, &team, 0, &done) == HOMI_RING_OK);
	TAP_MUST(rig->model.executed == 1);
	return NULL;
}

/* A completion with this cid, of which there is no command */
static const char *forged(struct rig *rig, uint16_t cid)
{
	struct homi_team team = homi_team_here(&rig->shared);
	struct homi_completion done;
	struct homi_rw rw;
	int mine;

	homi_rw_init(&rw, HOMI_OP_READ, MODEL_NSID, 1, 0);
	mine = homi_shared_post_rw(&rig->shared, &team, 1, &rw, 0, DMA, 0);
	TAP_MUST(mine >= 0 && mine != cid);
	rig->model.cq[0].cid = cid;
	rig->model.cq[0].status = 1;
	TAP_MUST(homi_shared_poll(&rig->shared, &team, mine, &done) == HOMI_RING_BROKEN);
	TAP_MUST(rig->trouble.what == HOMI_SHARED_PROTOCOL && rig->trouble.cid == cid);
	return NULL;
}

static const char *forged_free(struct rig *rig) { return forged(rig, 3); }
static const char *forged_range(struct rig *rig) { return forged(rig, 15); }
static const char *forged_far(struct rig *rig) { return forged(rig, 0xffff); }

/*
 * Tickets come again after 2^31 commands. What was announced that long ago must not be taken for
 * what is there now, and all counts have to go on over it.
 */
static const char *again(struct rig *rig, uint32_t end)
{
	struct homi_shared_state *state = rig->shared.state;
	struct homi_team team = homi_team_here(&rig->shared);
	uint32_t depth = rig->model.config.depth, i, n;
	struct homi_completion done;
	struct homi_rw rw;
	int cid;

	homi_rw_init(&rw, HOMI_OP_READ, MODEL_NSID, 1, 0);
	for (n = 0; n < 6 * depth; n++) {
		/* In the first round all are announced, since somebody has the lock. */
		if (n < depth)
			state->sq_rung |= HOMI_SHARED_LOCK;
		cid = homi_shared_post_rw(&rig->shared, &team, 1, &rw, n, DMA, 0);
		TAP_MUST(cid >= 0);
		if (n < depth) {
			state->sq_rung &= ~HOMI_SHARED_LOCK;
			homi_shared_ring(&rig->shared, &team);
		}
		for (i = 0; homi_shared_poll(&rig->shared, &team, cid, &done) == HOMI_RING_EMPTY; i++) {
			TAP_MUST(i < 3);
			model_step(&rig->model);
		}
		TAP_MUST(!done.status && rig->buffer[0] == n % 251 + 1);
		TAP_MUST(rig->model.executed == n + 1);
		TAP_MUST(state->sq_rung == HOMI_SHARED_TICKET(state->sq_ticket));
		/* Two rounds before those of the first one come again; two, because of the phase tag */
		if (n == 2 * depth - 1) {
			uint32_t kept = state->cq_head - state->cq_rung;

			state->sq_ticket = end - 2 * depth;
			state->sq_rung = HOMI_SHARED_TICKET(state->sq_ticket);
			state->cq_head = state->sq_rung;
			state->cq_rung = state->cq_head - kept;
		}
	}
	return rig->model.violation;
}

static const char *wraps_31(struct rig *rig) { return again(rig, HOMI_SHARED_LOCK); }
static const char *wraps_32(struct rig *rig) { return again(rig, 0); }

static const char *bad_config(struct rig *rig)
{
	struct homi_shared_config good = rig_config(rig), bad;
	struct homi_shared s;

#define REFUSED(change) do { bad = good; change; TAP_MUST(homi_shared_init(&s, &bad) == HOMI_RING_INVALID); } while (0)
	REFUSED(bad.ring.depth = 0);
	REFUSED(bad.ring.depth = 1);
	REFUSED(bad.ring.depth = 3);
	REFUSED(bad.ring.depth = 48);
	REFUSED(bad.ring.depth = HOMI_RING_MAX_DEPTH * 2);
	REFUSED(bad.ring.sq = NULL);
	REFUSED(bad.ring.cq = NULL);
	REFUSED(bad.memory = NULL);
	REFUSED(bad.ring.sq_doorbell = NULL);
	REFUSED(bad.ring.cq_doorbell = NULL);
	REFUSED(bad.ring.sq_shadow = bad.ring.sq_doorbell);
	REFUSED(bad.ring.sq = (char *)bad.ring.sq + 16);
	REFUSED(bad.ring.cq = (char *)bad.ring.cq + 8);
	REFUSED(bad.memory = (char *)bad.memory + 64);
#undef REFUSED
	return NULL;
}

static void alone(const char *name, uint32_t depth, const char *(*test)(struct rig *rig))
{
	struct rig rig;
	const char *wrong = rig_init(&rig, config_of(depth, 0, 0, 0), 1);

	tap_try(wrong ? wrong : test(&rig), name);
	rig_destroy(&rig);
}

int main(void)
{
	many_threads();
	alone("shared: any command, with results", 16, any_command);
	alone("shared: no more commands than cids, depth 2", 2, full);
	alone("shared: no more commands than cids, depth 32", 32, full);
	alone("shared: no more commands than cids, depth 64", 64, full);
	alone("shared: a command that times out breaks it, and the host is told", 16, times_out);
	alone("shared: no cid in time breaks nothing", 2, no_cid);
	alone("shared: a completion of a free cid", 16, forged_free);
	alone("shared: a completion of no cid", 16, forged_range);
	alone("shared: a completion far beyond", 16, forged_far);
	alone("shared: tickets of 31 bits come again", 16, wraps_31);
	alone("shared: tickets of 32 bits come again", 16, wraps_32);
	alone("shared: what it is not made of", 16, bad_config);
	return tap_end();
}
