// SPDX-License-Identifier: MIT
/*
 * The model in a thread of its own. A doorbell that is lost makes it sleep for
 * ever, and then the deadline passes.
 */
#include <sched.h>
#include <time.h>

#include "rig.h"
#include "tap.h"

#define OPERATIONS	20000u
#define DEADLINE_S	20	/* for each completion: the machine may be busy with other things */

static int expired(void *arg)
{
	struct timespec now;

	sched_yield();
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec > *(time_t *)arg;
}

static const char *take_one(struct rig *rig, uint8_t *busy)
{
	struct homi_completion done;
	struct timespec now;
	time_t deadline;
	int ret;

	clock_gettime(CLOCK_MONOTONIC, &now);
	deadline = now.tv_sec + DEADLINE_S;
	ret = homi_ring_wait_until(&rig->ring, &done, expired, &deadline);
	TAP_MUST(ret != HOMI_RING_TIMEOUT);
	TAP_MUST(ret == HOMI_RING_OK);
	TAP_MUST(done.user < RIG_BUFFERS && busy[done.user]);
	TAP_MUST(!memcmp(rig_cpu(rig, done.user), rig->model.data + done.user % RIG_BLOCKS * 512,
			 512));
	memset(rig_cpu(rig, done.user), 0, 512);
	busy[done.user] = 0;
	return NULL;
}

static const char *stress(struct rig *rig, uint64_t seed)
{
	static uint8_t busy[RIG_BUFFERS];
	uint32_t posted = 0, done = 0, slot = 0;
	const char *wrong = NULL;
	struct homi_rw rw;

	memset(busy, 0, sizeof(busy));
	homi_rw_init(&rw, HOMI_OP_READ, MODEL_NSID, 1, 0);
	while (done < OPERATIONS && !wrong) {
		uint32_t batch = 1 + (uint32_t)(model_random(&seed) % 16);
		uint32_t take;

		while (batch-- && posted < OPERATIONS && homi_ring_room(&rig->ring)) {
			while (busy[slot])
				slot = (slot + 1) % RIG_BUFFERS;
			busy[slot] = 1;
			homi_ring_post_rw(&rig->ring, &rw, slot % RIG_BLOCKS, rig_dma(slot), 0,
					  slot);
			posted++;
		}
		homi_ring_ring(&rig->ring);
		/* Sometimes all, so that the controller goes to sleep; else a few. */
		take = homi_ring_outstanding(&rig->ring);
		if (model_random(&seed) % 4 && take > 1)
			take = 1 + (uint32_t)(model_random(&seed) % take);
		for (; take && !wrong; take--) {
			wrong = take_one(rig, busy);
			done++;
			if (model_random(&seed) % 2)
				homi_ring_release(&rig->ring);
		}
		homi_ring_release(&rig->ring);
	}
	return wrong;
}

int main(void)
{
	static const struct { uint32_t depth; bool shadow; unsigned int linger; uint64_t reorder; } c[] = {
		{ 2, false, 0, 0 }, { 3, false, 0, 1 }, { 17, false, 0, 2 }, { 256, false, 0, 3 },
		{ 2, true, 0, 0 }, { 3, true, 0, 4 }, { 17, true, 0, 5 }, { 256, true, 0, 6 },
		{ 2, true, 3, 0 }, { 3, true, 1, 7 }, { 17, true, 5, 8 }, { 256, true, 20, 9 },
	};
	unsigned int i;

	for (i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		const char *wrong = "rig";
		struct rig rig;
		uint64_t j;

		if (!rig_init(&rig, c[i].depth, c[i].shadow, c[i].reorder, c[i].linger, 512)) {
			for (j = 0; j < RIG_BLOCKS; j++)
				memset(rig.model.data + j * 512, (int)(j % 255 + 1), 512);
			wrong = model_start(&rig.model) ? "thread" : NULL;
		}
		if (!wrong) {
			wrong = stress(&rig, i + 100);
			model_stop(&rig.model);
		}
		if (!wrong)
			wrong = rig.model.violation;
		if (!tap_ok(!wrong, "stress, depth %u, %s, linger %u, %s order", c[i].depth,
			    c[i].shadow ? "shadow" : "registers", c[i].linger,
			    c[i].reorder ? "any" : "same"))
			printf("# %s\n", wrong);
		printf("# %llu + %llu register writes for %u reads\n",
		       (unsigned long long)rig.model.sq_writes,
		       (unsigned long long)rig.model.cq_writes, OPERATIONS);
		rig_destroy(&rig);
	}
	return tap_end();
}
