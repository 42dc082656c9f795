/* SPDX-License-Identifier: MIT */
#ifndef HOMI_RING_H
#define HOMI_RING_H

/*
 * One NVMe queue pair, driven by one thread (or one device thread):
 *
 *	homi_ring_post_rw(), homi_ring_post()	write commands, tell nobody
 *	homi_ring_ring()			tell the controller of all of them
 *	homi_ring_poll()			take one completion, if there is one
 *	homi_ring_release()			give all taken entries back
 *
 * Nothing here allocates, waits without a bound, or rings a doorbell unasked. A
 * ring has no lock. It may be moved or copied (one copy being used); as a local
 * variable whose address goes to these functions only, it lives in registers.
 */

#include "wire.h"

/* What the functions below return besides 0. */
enum homi_ring_result {
	HOMI_RING_OK = 0,
	HOMI_RING_STATUS = 1,		/* a completion, with an error status */
	HOMI_RING_EMPTY = -1,		/* no completion yet */
	HOMI_RING_FULL = -2,		/* all cids are outstanding */
	HOMI_RING_TIMEOUT = -3,		/* the bound was reached */
	HOMI_RING_PROTOCOL = -4,	/* a completion of no outstanding command */
	HOMI_RING_INVALID = -5,		/* a bad argument */
	HOMI_RING_BROKEN = -6,		/* given up before; see shared.h */
};

#define HOMI_RING_MIN_DEPTH	2u
#define HOMI_RING_MAX_DEPTH	0x10000u

/* The one value that cannot be tracked for a command. */
#define HOMI_RING_NO_USER	UINT64_MAX

/* Phase tag, as it lies in the CQE's last dword above the cid. */
#define HOMI_RING_PHASE		0x10000u

/**
 * struct homi_ring_config - what a ring is made of; all memory is the caller's
 * @sq: submission entries, @depth times 64 bytes, 64-byte aligned
 * @cq: completion entries, @depth times 16 bytes, 16-byte aligned, zeroed before
 *	the queue was created
 * @users: @depth - 1 words, for this file's use
 * @free_cids: @depth - 1 half words, for this file's use
 * @sq_doorbell: the submission queue's tail doorbell
 * @cq_doorbell: the completion queue's head doorbell
 * @sq_shadow: shadow doorbell entry of the SQ, or NULL without shadow doorbells;
 *	was zero when the queue was created
 * @sq_event: event index entry of the SQ, or NULL likewise
 * @cq_shadow: likewise of the CQ
 * @cq_event: likewise of the CQ
 * @depth: entries of each of both queues, HOMI_RING_MIN_DEPTH to
 *	HOMI_RING_MAX_DEPTH; any number, and one entry stays empty
 *
 * The doorbell stride is folded into the pointers.
 */
struct homi_ring_config {
	void *sq;
	void *cq;
	uint64_t *users;
	uint16_t *free_cids;
	volatile uint32_t *sq_doorbell;
	volatile uint32_t *cq_doorbell;
	volatile uint32_t *sq_shadow;
	volatile uint32_t *sq_event;
	volatile uint32_t *cq_shadow;
	volatile uint32_t *cq_event;
	uint32_t depth;
};

/**
 * struct homi_ring - one queue pair; the fields are private to this file
 *
 * Tail, head and the top of the stack of free cids are pointers, not indices:
 * that saves the address arithmetic for each command. homi_ring_sq_tail() and
 * homi_ring_cq_head() give indices.
 *
 * There are depth - 1 cids. As an entry of either queue is in use only while
 * its command's cid is, neither queue can be overrun, and the SQ head that the
 * controller reports need not be tracked.
 */
struct homi_ring {
	uint64_t *sq_tail;		/* where the next command goes */
	uint64_t *sq;
	uint64_t *sq_end;
	const volatile uint32_t *cq_head;	/* where the next completion comes */
	const volatile uint32_t *cq;
	const volatile uint32_t *cq_end;
	uint64_t *users;		/* by cid; HOMI_RING_NO_USER: not outstanding */
	uint16_t *free_top;		/* above the top of the stack of free cids */
	uint16_t *free_cids;
	uint64_t *sq_rung;		/* tail and head last told to the controller */
	const volatile uint32_t *cq_rung;
	uint64_t cids;			/* 64 bits wide: saves conversions */
	uint64_t cq_phase;		/* HOMI_RING_PHASE or 0: of new entries */
	volatile uint32_t *sq_doorbell;
	volatile uint32_t *cq_doorbell;
	volatile uint32_t *sq_shadow;
	volatile uint32_t *sq_event;
	volatile uint32_t *cq_shadow;
	volatile uint32_t *cq_event;
};

/**
 * struct homi_completion - what homi_ring_poll() tells
 * @user: the value that was posted with the command
 * @result: dword 0 of the CQE
 * @cid: of the completed command; free again
 * @status: without phase tag, 0 is success; see HOMI_STATUS_*
 * @sq_head: as the controller reported it
 */
struct homi_completion {
	uint64_t user;
	uint32_t result;
	uint16_t cid;
	uint16_t status;
	uint16_t sq_head;
};

/* What is asked of a queue pair, whoever drives it. */
HOMI_FN int homi_ring_config_ok(const struct homi_ring_config *config)
{
	int shadows = !!config->sq_shadow + !!config->sq_event +
		      !!config->cq_shadow + !!config->cq_event;

	if (config->depth < HOMI_RING_MIN_DEPTH || config->depth > HOMI_RING_MAX_DEPTH)
		return 0;
	if (!config->sq || !config->cq || !config->sq_doorbell || !config->cq_doorbell)
		return 0;
	return (shadows == 0 || shadows == 4) && !((uintptr_t)config->sq & 63) &&
	       !((uintptr_t)config->cq & 15);
}

/**
 * homi_ring_init - sets a ring up for a queue pair on which nothing was done yet
 *
 * Return: 0 or HOMI_RING_INVALID
 */
HOMI_FN int homi_ring_init(struct homi_ring *ring, const struct homi_ring_config *config)
{
	uint32_t cids = config->depth - 1;
	uint32_t i;

	if (!homi_ring_config_ok(config) || !config->users || !config->free_cids)
		return HOMI_RING_INVALID;

	ring->sq = (uint64_t *)config->sq;
	ring->sq_tail = ring->sq;
	ring->sq_end = ring->sq + (uint64_t)config->depth * 8;
	ring->cq = (const volatile uint32_t *)config->cq;
	ring->cq_head = ring->cq;
	ring->cq_end = ring->cq + (uint64_t)config->depth * 4;
	ring->users = config->users;
	ring->free_cids = config->free_cids;
	ring->free_top = config->free_cids + cids;
	ring->cids = cids;
	ring->cq_phase = HOMI_RING_PHASE;
	ring->sq_rung = ring->sq;
	ring->cq_rung = ring->cq;
	ring->sq_doorbell = config->sq_doorbell;
	ring->cq_doorbell = config->cq_doorbell;
	ring->sq_shadow = config->sq_shadow;
	ring->sq_event = config->sq_event;
	ring->cq_shadow = config->cq_shadow;
	ring->cq_event = config->cq_event;
	for (i = 0; i < cids; i++) {
		ring->users[i] = HOMI_RING_NO_USER;
		ring->free_cids[i] = (uint16_t)(cids - 1 - i);
	}
	return HOMI_RING_OK;
}

/* Unsigned, so that the division is one shift. */
HOMI_FN uint32_t homi_ring_index(uintptr_t entry, uintptr_t start, uint32_t size)
{
	return (uint32_t)((entry - start) / size);
}

HOMI_FN uint32_t homi_ring_sq_tail(const struct homi_ring *ring)
{
	return homi_ring_index((uintptr_t)ring->sq_tail, (uintptr_t)ring->sq,
			       sizeof(struct homi_sqe));
}

HOMI_FN uint32_t homi_ring_cq_head(const struct homi_ring *ring)
{
	return homi_ring_index((uintptr_t)ring->cq_head, (uintptr_t)ring->cq,
			       sizeof(struct homi_cqe));
}

/** homi_ring_room - how many commands can be posted now */
HOMI_FN uint32_t homi_ring_room(const struct homi_ring *ring)
{
	return (uint32_t)(ring->free_top - ring->free_cids);
}

/** homi_ring_outstanding - commands that were posted and not yet polled */
HOMI_FN uint32_t homi_ring_outstanding(const struct homi_ring *ring)
{
	return (uint32_t)ring->cids - homi_ring_room(ring);
}

/* Takes a cid and remembers the caller's value for it. */
HOMI_FN int homi_ring_take_cid(struct homi_ring *ring, uint64_t user)
{
	uint32_t cid;

	if (homi_unlikely(ring->free_top == ring->free_cids))
		return HOMI_RING_FULL;
	cid = *--ring->free_top;
	ring->users[cid] = user;
	return (int)cid;
}

HOMI_FN void homi_ring_advance_tail(struct homi_ring *ring)
{
	uint64_t *next = ring->sq_tail + 8;

	if (homi_unlikely(next == ring->sq_end))
		next = ring->sq;
	ring->sq_tail = next;
}

/* The command at its place in the queue. */
HOMI_FN void homi_ring_write(uint64_t *entry, const struct homi_sqe *sqe, uint32_t cid)
{
	entry[0] = homi_cpu_to_le64((uint64_t)sqe->opcode | (uint64_t)sqe->flags << 8 |
				    (uint64_t)cid << 16 |
				    (uint64_t)homi_le32_to_cpu(sqe->nsid) << 32);
	entry[1] = homi_cpu_to_le64((uint64_t)homi_le32_to_cpu(sqe->cdw2) |
				    (uint64_t)homi_le32_to_cpu(sqe->cdw3) << 32);
	entry[2] = sqe->mptr;
	entry[3] = sqe->prp1;
	entry[4] = sqe->prp2;
	entry[5] = homi_cpu_to_le64((uint64_t)homi_le32_to_cpu(sqe->cdw10) |
				    (uint64_t)homi_le32_to_cpu(sqe->cdw11) << 32);
	entry[6] = homi_cpu_to_le64((uint64_t)homi_le32_to_cpu(sqe->cdw12) |
				    (uint64_t)homi_le32_to_cpu(sqe->cdw13) << 32);
	entry[7] = homi_cpu_to_le64((uint64_t)homi_le32_to_cpu(sqe->cdw14) |
				    (uint64_t)homi_le32_to_cpu(sqe->cdw15) << 32);
}

/**
 * homi_ring_post - posts any command
 * @ring: the ring
 * @sqe: the command; its cid is ignored
 * @user: comes back with the completion; not HOMI_RING_NO_USER
 *
 * Return: the cid, or HOMI_RING_FULL
 */
HOMI_FN int homi_ring_post(struct homi_ring *ring, const struct homi_sqe *sqe, uint64_t user)
{
	int cid = homi_ring_take_cid(ring, user);

	if (homi_unlikely(cid < 0))
		return cid;
	homi_ring_write(ring->sq_tail, sqe, (uint32_t)cid);
	homi_ring_advance_tail(ring);
	return cid;
}

/**
 * struct homi_rw - what the commands of a stream of reads or writes have in common
 *
 * Set by homi_rw_init(); the fields are private.
 */
struct homi_rw {
	uint64_t head;		/* first two dwords, less the cid */
	uint64_t control;	/* dwords 12 and 13 */
};

/**
 * homi_rw_init - @opcode, @nsid, @blocks and @control as in homi_sqe_rw()
 */
HOMI_FN void homi_rw_init(struct homi_rw *rw, uint8_t opcode, uint32_t nsid, uint32_t blocks,
			  uint32_t control)
{
	rw->head = (uint64_t)opcode | (uint64_t)nsid << 32;
	rw->control = homi_cpu_to_le64(((blocks - 1) & 0xffff) | control);
}

/**
 * homi_ring_post_rw - builds a Read or Write in place and posts it
 * @ring: the ring
 * @rw: what it has in common with others
 * @slba: first logical block
 * @prp1: see prp.h
 * @prp2: see prp.h
 * @user: comes back with the completion; not HOMI_RING_NO_USER
 *
 * The same as homi_sqe_rw() and homi_ring_post(), without the copy.
 *
 * Return: the cid, or HOMI_RING_FULL
 */
HOMI_FN int homi_ring_post_rw(struct homi_ring *ring, const struct homi_rw *rw, uint64_t slba,
			      uint64_t prp1, uint64_t prp2, uint64_t user)
{
	int cid = homi_ring_take_cid(ring, user);
	uint64_t *entry = ring->sq_tail;

	if (homi_unlikely(cid < 0))
		return cid;
	entry[0] = homi_cpu_to_le64((uint64_t)(uint32_t)cid << 16 | rw->head);
	homi_zero_quad64(entry + 1);
	entry[3] = homi_cpu_to_le64(prp1);
	if (!homi_known_zero(prp2))	/* else it is there already */
		entry[4] = homi_cpu_to_le64(prp2);
	entry[5] = homi_cpu_to_le64(slba);
	homi_store_pair64(entry + 6, rw->control, 0);
	homi_ring_advance_tail(ring);
	return cid;
}

/**
 * homi_ring_need_event - whether the register must be written
 * @event: the event index, read after the shadow entry was written
 * @new_index: what was written
 * @old_index: what had been written before
 *
 * True if the step from @old_index to @new_index passes @event, that is if
 * @event is one of old, old + 1, ... new - 1. Holds for indices modulo any
 * depth up to 65536 as long as @event is an index of the queue too.
 */
HOMI_FN int homi_ring_need_event(uint32_t event, uint32_t new_index, uint32_t old_index)
{
	return (uint16_t)(new_index - event - 1) < (uint16_t)(new_index - old_index);
}

/* Earlier stores (queue entries) and loads are seen before the doorbell is. */
HOMI_FN void homi_ring_doorbell(volatile uint32_t *doorbell, volatile uint32_t *shadow,
				const volatile uint32_t *event, uint32_t new_index,
				uint32_t old_index)
{
	homi_fence_release_system();
	if (homi_unlikely(shadow != (volatile uint32_t *)0)) {
		/*
		 * The shadow entry before the event index: the controller writes
		 * the event index, then reads the shadow entry again before it
		 * sleeps. So one of both sides sees the other's store.
		 */
		homi_store_full_system32(shadow, homi_cpu_to_le32(new_index));
		if (!homi_ring_need_event(homi_le32_to_cpu(homi_load32(event)), new_index,
					  old_index))
			return;
	}
	homi_mmio_write32(doorbell, new_index);
}

/** homi_ring_ring - tells the controller of all posted commands; one doorbell */
HOMI_FN void homi_ring_ring(struct homi_ring *ring)
{
	uint64_t *old = ring->sq_rung;

	/* The specification forbids to write the value that is there. */
	if (homi_unlikely(ring->sq_tail == old))
		return;
	ring->sq_rung = ring->sq_tail;
	homi_ring_doorbell(ring->sq_doorbell, ring->sq_shadow, ring->sq_event,
			   homi_ring_sq_tail(ring),
			   homi_ring_index((uintptr_t)old, (uintptr_t)ring->sq,
					   sizeof(struct homi_sqe)));
}

/**
 * homi_ring_release - gives the entries of all polled completions back; one doorbell
 *
 * Without it the controller stops at the latest when the queue is full.
 */
HOMI_FN void homi_ring_release(struct homi_ring *ring)
{
	const volatile uint32_t *old = ring->cq_rung;

	if (homi_unlikely(ring->cq_head == old))
		return;
	ring->cq_rung = ring->cq_head;
	homi_ring_doorbell(ring->cq_doorbell, ring->cq_shadow, ring->cq_event,
			   homi_ring_cq_head(ring),
			   homi_ring_index((uintptr_t)old, (uintptr_t)ring->cq,
					   sizeof(struct homi_cqe)));
}

HOMI_FN void homi_ring_advance_head(struct homi_ring *ring)
{
	const volatile uint32_t *next = ring->cq_head + 4;

	if (homi_unlikely(next == ring->cq_end)) {
		next = ring->cq;
		ring->cq_phase ^= HOMI_RING_PHASE;
	}
	ring->cq_head = next;
}

/* Takes the entry at the head, whose cid and status are known; tells whose it is. */
HOMI_FN int homi_ring_take(struct homi_ring *ring, struct homi_completion *done, uint64_t cid,
			   uint64_t status)
{
	const uint32_t *entry = (const uint32_t *)ring->cq_head;
	uint64_t user;

	done->result = homi_le32_to_cpu(entry[0]);
	done->sq_head = (uint16_t)homi_le32_to_cpu(entry[2]);
	done->cid = (uint16_t)cid;
	done->status = (uint16_t)status;
	done->user = HOMI_RING_NO_USER;
	homi_ring_advance_head(ring);
	if (homi_unlikely(cid >= ring->cids))
		return HOMI_RING_PROTOCOL;
	user = ring->users[cid];
	if (homi_unlikely(user == HOMI_RING_NO_USER))
		return HOMI_RING_PROTOCOL;
	ring->users[cid] = HOMI_RING_NO_USER;
	*ring->free_top++ = (uint16_t)cid;
	done->user = user;
	return status ? HOMI_RING_STATUS : HOMI_RING_OK;
}

/**
 * homi_ring_poll - takes one completion, if there is one
 * @ring: the ring
 * @done: written unless HOMI_RING_EMPTY is returned
 *
 * The data of a command that completed can be read when this returns. The cid
 * is free again; the queue's entry only after homi_ring_release().
 *
 * Return: HOMI_RING_OK: success; HOMI_RING_STATUS: @done->status says why it
 * failed; HOMI_RING_EMPTY; HOMI_RING_PROTOCOL: the completion names a cid that
 * is not outstanding (@done->cid; no user), and the queue should be given up.
 */
HOMI_FN int homi_ring_poll(struct homi_ring *ring, struct homi_completion *done)
{
	uint64_t word;

	/* The last dword, with the phase tag, before all else, the data included. */
	word = homi_le32_to_cpu(homi_load_acquire_system32(ring->cq_head + 3));
	/*
	 * With the phase taken out, a new entry with status 0 is its cid and no
	 * other bit: one comparison for phase, status and the cid's range.
	 */
	word ^= ring->cq_phase;
	if (homi_likely(word < ring->cids))
		return homi_ring_take(ring, done, word, 0);
	if (word & HOMI_RING_PHASE)
		return HOMI_RING_EMPTY;
	return homi_ring_take(ring, done, word & 0xffff, word >> 17);
}

/**
 * homi_ring_wait - homi_ring_poll(), at most @polls times
 *
 * Return: as homi_ring_poll(), but HOMI_RING_TIMEOUT instead of HOMI_RING_EMPTY
 */
HOMI_FN int homi_ring_wait(struct homi_ring *ring, struct homi_completion *done, uint64_t polls)
{
	int ret;

	while (polls-- > 0) {
		ret = homi_ring_poll(ring, done);
		if (homi_likely(ret != HOMI_RING_EMPTY))
			return ret;
		homi_relax();
	}
	return HOMI_RING_TIMEOUT;
}

/**
 * homi_ring_wait_until - homi_ring_poll() until @expired says otherwise
 * @ring: the ring
 * @done: as for homi_ring_poll()
 * @expired: asked between polls; not 0 ends the wait. It can read a clock, and
 *	whether the queue was lost.
 * @arg: handed to @expired
 *
 * Return: as homi_ring_wait(). There is a poll after @expired said so, so that a
 * caller that was not scheduled for long does not miss what came.
 */
HOMI_FN int homi_ring_wait_until(struct homi_ring *ring, struct homi_completion *done,
				 int (*expired)(void *arg), void *arg)
{
	int last = 0;
	int ret;

	for (;;) {
		ret = homi_ring_poll(ring, done);
		if (homi_likely(ret != HOMI_RING_EMPTY))
			return ret;
		if (last)
			return HOMI_RING_TIMEOUT;
		last = expired(arg);
		homi_relax();
	}
}

#endif /* HOMI_RING_H */
