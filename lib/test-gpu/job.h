/* SPDX-License-Identifier: MIT */
#ifndef HOMI_TEST_JOB_H
#define HOMI_TEST_JOB_H

/*
 * What one thread of the device does in a test: the same text for a CUDA kernel's
 * threads and for those of a host.
 */

#include <homi/prp.h>
#include <homi/shared.h>

#define JOB_FLIGHT	4u
#define JOB_BLOCK	512u
#define JOB_PAGE	4096u

/* What became of the commands */
struct job_tally {
	uint32_t good;
	uint32_t refused;	/* with the status that was to be expected */
	uint32_t wrong_data;
	uint32_t wrong_status;
	uint32_t timeouts;
	uint32_t broken;
	uint32_t full;
	uint32_t prp;
};

/**
 * struct job - the same for all threads
 * @queues: queue pairs
 * @queue_count: how many
 * @spread: so many threads after each other have the same queue pair
 * @buffers: JOB_FLIGHT times @bytes for each thread
 * @dma: of @buffers, for the controller
 * @bytes: of each command, a multiple of JOB_BLOCK; more than a page takes @lists
 * @segs: of @buffers
 * @seg_count: how many
 * @lists: a page for each buffer, in memory that the controller reads
 * @lists_dma: of it
 * @configs: what @queues were made of, for who makes a ring of his own
 * @units: of @bytes, in the namespace; if @write, each thread has its own share
 * @commands: of each thread
 * @flight: how many of them at a time, at most JOB_FLIGHT
 * @polls: how often a thread looks before it gives up
 * @write: writes instead of reads, of units of which no other thread writes
 * @refuse: the controller refuses what job_is_refused() says
 * @tally: of all threads together
 */
struct job {
	const struct homi_shared *queues;
	uint32_t queue_count;
	uint32_t spread;
	uint32_t *buffers;
	uint64_t dma;
	const struct homi_seg *segs;
	uint64_t *lists;
	uint64_t lists_dma;
	const struct homi_shared_config *configs;
	uint32_t seg_count;
	uint32_t bytes;
	uint32_t units;
	uint32_t commands;
	uint32_t flight;
	uint32_t nsid;
	uint32_t write;
	uint32_t refuse;
	uint64_t polls;
	uint64_t seed;
	struct job_tally *tally;
};

HOMI_FN uint32_t job_mix(uint64_t x)
{
	x = (x ^ (x >> 31)) * 0x9e3779b97f4a7c15ull;
	x = (x ^ (x >> 29)) * 0xbf58476d1ce4e5b9ull;
	return (uint32_t)(x >> 32);
}

/* Word @i of block @slba, as the namespace is made (@salt 0), and as it is written. */
HOMI_FN uint32_t job_word(uint64_t slba, uint32_t i, uint32_t salt)
{
	return job_mix(slba + 1 + ((uint64_t)salt << 40)) + i * 0x01000193u;
}

/* Whether the command that begins there is, with HOMI_SC_UNRECOVERED_READ */
HOMI_FN int job_is_refused(uint64_t slba)
{
	return job_mix(slba) % 61 == 7;
}

HOMI_FN void job_fill(uint32_t *data, uint32_t bytes, uint64_t slba, uint32_t salt)
{
	uint32_t i;

	for (i = 0; i < bytes / 4; i++)
		data[i] = job_word(slba + i / (JOB_BLOCK / 4), i % (JOB_BLOCK / 4), salt);
}

HOMI_FN int job_matches(const uint32_t *data, uint32_t bytes, uint64_t slba, uint32_t salt)
{
	uint32_t i, wrong = 0;

	for (i = 0; i < bytes / 4; i++)
		wrong |= data[i] ^
			 job_word(slba + i / (JOB_BLOCK / 4), i % (JOB_BLOCK / 4), salt);
	return !wrong;
}

HOMI_FN uint32_t *job_buffer(const struct job *job, uint32_t thread, uint32_t slot)
{
	return job->buffers + ((uint64_t)thread * JOB_FLIGHT + slot) * (job->bytes / 4);
}

/* Where a buffer is, for the controller; a buffer of one page needs no table. */
HOMI_FN int job_prp(const struct job *job, uint32_t thread, uint32_t slot, uint64_t *prp1,
		    uint64_t *prp2)
{
	uint64_t which = (uint64_t)thread * JOB_FLIGHT + slot;
	struct homi_prp_list list;

	*prp1 = job->dma + which * job->bytes;
	*prp2 = 0;
	if (job->bytes <= JOB_PAGE)
		return HOMI_PRP_OK;
	list.entries = job->lists + which * (JOB_PAGE / 8);
	list.dma_addr = job->lists_dma + which * JOB_PAGE;
	list.count = JOB_PAGE / 8;
	return homi_prp_build(job->segs, job->seg_count, which * job->bytes, job->bytes, JOB_PAGE,
			      &list, prp1, prp2);
}

HOMI_FN struct homi_shared job_queue(const struct job *job, uint32_t thread)
{
	return job->queues[thread / job->spread % job->queue_count];
}

/* Where the @n-th command of a thread goes */
HOMI_FN uint64_t job_slba(const struct job *job, uint32_t thread, uint32_t n, uint32_t threads)
{
	uint32_t per = job->bytes / JOB_BLOCK;
	uint32_t share = job->units / threads;

	if (job->write)
		return (uint64_t)(thread * share + n % share) * per;
	return (uint64_t)(job_mix(job->seed + ((uint64_t)thread << 32) + n) % job->units) * per;
}

HOMI_FN void job_begin(const struct job *job, uint32_t thread, uint32_t slot, uint64_t slba)
{
	uint32_t *data = job_buffer(job, thread, slot);
	uint32_t i;

	if (job->write) {
		job_fill(data, job->bytes, slba, 1);
		return;
	}
	/* Nothing of what was read before is taken for what is read now. */
	for (i = 0; i < job->bytes / 4; i += 16)
		data[i] = ~job_word(slba + i / (JOB_BLOCK / 4), i % (JOB_BLOCK / 4), 0);
}

/* Return: whether to go on */
HOMI_FN int job_end(const struct job *job, uint32_t thread, uint32_t slot, uint64_t slba, int ret,
		    const struct homi_completion *done)
{
	struct job_tally *t = job->tally;
	uint32_t *which = &t->good;

	if (ret == HOMI_RING_TIMEOUT)
		which = &t->timeouts;
	else if (ret == HOMI_RING_BROKEN)
		which = &t->broken;
	else if (ret == HOMI_RING_FULL)
		which = &t->full;
	else if (job->refuse && job_is_refused(slba))
		which = ret == HOMI_RING_STATUS && HOMI_STATUS_CODE(done->status) ==
				HOMI_SC_UNRECOVERED_READ ? &t->refused : &t->wrong_status;
	else if (ret != HOMI_RING_OK)
		which = &t->wrong_status;
	else if (!job->write && !job_matches(job_buffer(job, thread, slot), job->bytes, slba, 0))
		which = &t->wrong_data;
	homi_atomic_add32(which, 1);
	return ret == HOMI_RING_OK || ret == HOMI_RING_STATUS;
}

/* One command after the other, each thread by itself */
HOMI_FN void job_alone(const struct job *job, uint32_t thread, uint32_t threads)
{
	struct homi_shared s = job_queue(job, thread);
	struct homi_completion done;
	struct homi_rw rw;
	uint32_t n;
	int go = 1;

	homi_rw_init(&rw, job->write ? HOMI_OP_WRITE : HOMI_OP_READ, job->nsid,
		     job->bytes / JOB_BLOCK, 0);
	for (n = 0; n < job->commands && go; n++) {
		uint64_t slba = job_slba(job, thread, n, threads), prp1, prp2;
		int ret;

		job_begin(job, thread, 0, slba);
		if (job_prp(job, thread, 0, &prp1, &prp2))
			homi_atomic_add32(&job->tally->prp, 1);
		ret = homi_shared_rw(&s, &rw, slba, prp1, prp2, job->polls, &done);
		go = job_end(job, thread, 0, slba, ret, &done);
	}
}

/* As a whole warp, which has the same queue pair, several commands of each in flight */
HOMI_FN void job_together(const struct job *job, homi_lanes lanes, uint32_t thread,
			  uint32_t threads)
{
	struct homi_shared s = job_queue(job, thread);
	struct homi_team team = homi_team_of(lanes);
	uint32_t posted = 0, ended = 0, slot;
	uint64_t slba[JOB_FLIGHT], left[JOB_FLIGHT], prp1 = 0, prp2 = 0;
	struct homi_completion done;
	int cid[JOB_FLIGHT], go = 1;
	struct homi_rw rw;

	homi_rw_init(&rw, job->write ? HOMI_OP_WRITE : HOMI_OP_READ, job->nsid,
		     job->bytes / JOB_BLOCK, 0);
	for (slot = 0; slot < job->flight; slot++) {
		cid[slot] = HOMI_RING_FULL;
		slba[slot] = 0;
	}
	for (slot = 0; homi_lanes_ballot(lanes, go && ended < job->commands);
	     slot = (slot + 1) % job->flight) {
		int want = go && cid[slot] < 0 && posted < job->commands;
		int one, ret;

		if (want) {
			slba[slot] = job_slba(job, thread, posted, threads);
			job_begin(job, thread, slot, slba[slot]);
			if (job_prp(job, thread, slot, &prp1, &prp2))
				homi_atomic_add32(&job->tally->prp, 1);
		}
		homi_lanes_sync(lanes);
		one = homi_shared_post_rw(&s, &team, want, &rw, slba[slot], prp1, prp2);
		if (want) {
			cid[slot] = one;
			posted += one >= 0;
			left[slot] = job->polls;
		}
		ret = homi_shared_poll(&s, &team, cid[slot], &done);
		if (want && one == HOMI_RING_BROKEN)
			ret = HOMI_RING_BROKEN;
		if (go && cid[slot] >= 0 && ret == HOMI_RING_EMPTY && !left[slot]--) {
			ret = HOMI_RING_TIMEOUT;
			homi_shared_give_up(&s, HOMI_SHARED_TIMEOUT, (uint32_t)cid[slot]);
		}
		if (ret != HOMI_RING_EMPTY) {
			if (go)
				go = job_end(job, thread, slot, slba[slot], ret, &done);
			cid[slot] = HOMI_RING_FULL;
			ended++;
		}
		homi_lanes_sync(lanes);
	}
}

/* With a queue pair for this thread alone, by ring.h */
HOMI_FN void job_own(const struct job *job, uint32_t thread, uint32_t threads)
{
	uint32_t posted = 0, ended = 0, busy = 0, slot;
	uint64_t slba[JOB_FLIGHT], prp1, prp2;
	struct homi_completion done;
	struct homi_ring ring;
	struct homi_rw rw;
	int go = !homi_ring_init(&ring, &job->configs[thread].ring);

	homi_rw_init(&rw, job->write ? HOMI_OP_WRITE : HOMI_OP_READ, job->nsid,
		     job->bytes / JOB_BLOCK, 0);
	while (go && ended < job->commands) {
		int ret;

		for (slot = 0; slot < job->flight && posted < job->commands; slot++) {
			if (busy >> slot & 1 || !homi_ring_room(&ring))
				continue;
			slba[slot] = job_slba(job, thread, posted, threads);
			job_begin(job, thread, slot, slba[slot]);
			if (job_prp(job, thread, slot, &prp1, &prp2))
				homi_atomic_add32(&job->tally->prp, 1);
			homi_ring_post_rw(&ring, &rw, slba[slot], prp1, prp2, slot);
			busy |= 1u << slot;
			posted++;
		}
		homi_ring_ring(&ring);
		ret = homi_ring_wait(&ring, &done, job->polls);
		if (ret == HOMI_RING_OK || ret == HOMI_RING_STATUS) {
			slot = (uint32_t)done.user;
			busy &= ~(1u << slot);
		}
		go = job_end(job, thread, slot % JOB_FLIGHT, slba[slot % JOB_FLIGHT], ret, &done);
		homi_ring_release(&ring);
		ended++;
	}
}

#endif /* HOMI_TEST_JOB_H */
