/* SPDX-License-Identifier: MIT */
#ifndef HOMI_SHARED_H
#define HOMI_SHARED_H

/*
 * One NVMe queue pair, driven by many threads at a time: all threads of a device,
 * or several of a host. See ring.h for one that is one thread's.
 *
 *	homi_shared_rw()	one command of each thread, and its completion
 *
 * or, so that a thread has several commands in flight,
 *
 *	homi_shared_post_rw(), homi_shared_post()	write and announce commands
 *	homi_shared_poll()				is mine complete?
 *
 * Threads of a warp that call the same function together work together: they
 * take their cids and their places in the submission queue with one atomic
 * operation each, ring one doorbell for all of their commands, and look at as many
 * completions at a time as they are. What is announced while somebody else rings
 * is rung by him. So doorbells get fewer as there is more to do.
 *
 * Nothing here allocates, and locks are only tried. But who has one has to get on:
 * until then others' commands are not rung, or completions not delivered. On a host
 * he may not be running for a while; a bound on polls has to outlast that.
 *
 * When a queue pair is given up (HOMI_RING_BROKEN), any command that is outstanding
 * may still be executed, and its memory read or written, as long as the queue is
 * there: the memory is to be kept until the queue has been deleted. After that, and
 * when no thread is in these functions any more, all may be made anew.
 *
 * Long because each of its fences is there for an access in another function.
 */

#include "ring.h"

/**
 * enum homi_shared_trouble_what - why a queue pair was given up
 * @HOMI_SHARED_TIMEOUT: a command was not complete after as many polls as its
 *	thread had; it may still be written to its memory
 * @HOMI_SHARED_PROTOCOL: a completion of no outstanding command
 */
enum homi_shared_trouble_what {
	HOMI_SHARED_TIMEOUT = 1,
	HOMI_SHARED_PROTOCOL = 2,
};

/**
 * struct homi_shared_trouble - tells the host
 * @what: enum homi_shared_trouble_what, 0: none; written last
 * @cid: of the command
 *
 * Zeroed by the caller, in memory that the host can read.
 */
struct homi_shared_trouble {
	uint32_t what;
	uint32_t cid;
};

/**
 * struct homi_shared_config - what it is made of; all memory is the caller's
 * @ring: the queue pair, as for one thread, but that the depth is a power of two, and
 *	users and free_cids are not used
 * @memory: homi_shared_size() bytes, 128-byte aligned, zeroed; memory of the one
 *	device, or the host, whose threads use it
 * @trouble: may be NULL
 * @results: not 0: dword 0 of completions is wanted; costs another read of each
 *
 * Depth - 1 commands may be outstanding.
 */
struct homi_shared_config {
	struct homi_ring_config ring;
	void *memory;
	struct homi_shared_trouble *trouble;
	uint32_t results;
};

/* What many threads write to has a cache line of its own. */
#define HOMI_SHARED_LINE	128
#define HOMI_SHARED_ALIGNED	__attribute__((aligned(HOMI_SHARED_LINE)))

/**
 * struct homi_shared_state - what changes; zero in the beginning
 *
 * Tickets are places in the queues, counted on without end: the entry is the
 * ticket modulo the depth. No more commands are outstanding than there are cids,
 * depth - 1, so an entry is free when its ticket is taken.
 */
struct homi_shared_state {
	uint32_t broken;	/* enum homi_shared_trouble_what */
	HOMI_SHARED_ALIGNED uint32_t sq_ticket;	/* the next one */
	/* Ticket up to which the controller knows, and HOMI_SHARED_LOCK */
	HOMI_SHARED_ALIGNED uint32_t sq_rung;
	/* Ticket of the next completion, and HOMI_SHARED_LOCK */
	HOMI_SHARED_ALIGNED uint32_t cq_head;
	uint32_t cq_rung;	/* up to which entries were given back; by the lock's holder */
};

/* Tickets count modulo this; the bit itself is a lock in the same word. */
#define HOMI_SHARED_LOCK	(1u << 31)
#define HOMI_SHARED_TICKET(n)	((n) & (HOMI_SHARED_LOCK - 1))

/* Looks for completions in one go, of each member, when there seem to be many */
#define HOMI_SHARED_WIDE	8u

/* In @done: there is a completion. Below it the status, and the result. */
#define HOMI_SHARED_DONE	(1ull << 63)

/**
 * struct homi_shared - a queue pair; the fields are private to this file
 *
 * It never changes, and any number of copies may be used. Each thread should have
 * one, as a local variable whose address goes to these functions only (it lives in
 * registers then), or as a kernel's parameter: on a device a fence forgets what was
 * cached of other memory.
 */
struct homi_shared {
	uint64_t *sq;
	const volatile uint32_t *cq;
	volatile uint32_t *sq_doorbell;
	volatile uint32_t *cq_doorbell;
	volatile uint32_t *shadows[4];	/* of the SQ: shadow, event; of the CQ */
	struct homi_shared_state *state;
	uint64_t *done;		/* by cid: not 0 once complete */
	uint32_t *ready;	/* by SQ entry: ticket of the command that lies there, and the lock's bit */
	uint32_t *busy;		/* a bit for each cid that is taken */
	struct homi_shared_trouble *trouble;
	uint32_t mask;		/* depth - 1: the number of cids too */
	uint32_t lazy;		/* completions that are given back at a time */
	uint32_t results;
};

HOMI_FN uint32_t homi_shared_words(uint32_t depth)
{
	return (depth + 31) / 32;
}

/** homi_shared_size - bytes of memory for a queue pair of this depth */
HOMI_FN uint64_t homi_shared_size(uint32_t depth)
{
	return sizeof(struct homi_shared_state) + (uint64_t)depth * 12 +
	       homi_shared_words(depth) * 4;
}

/**
 * homi_shared_init - describes a queue pair on which nothing was done yet
 * @s: written
 * @config: what of
 *
 * The memory is not accessed: a host can do it for a device.
 *
 * Return: 0 or HOMI_RING_INVALID
 */
HOMI_FN int homi_shared_init(struct homi_shared *s, const struct homi_shared_config *config)
{
	struct homi_shared_state *state = (struct homi_shared_state *)config->memory;
	const struct homi_ring_config *ring = &config->ring;
	uint32_t depth = ring->depth;

	if (!homi_ring_config_ok(ring) || (depth & (depth - 1)) || !state ||
	    ((uintptr_t)state & (HOMI_SHARED_LINE - 1)))
		return HOMI_RING_INVALID;
	s->sq = (uint64_t *)ring->sq;
	s->cq = (const volatile uint32_t *)ring->cq;
	s->sq_doorbell = ring->sq_doorbell;
	s->cq_doorbell = ring->cq_doorbell;
	s->shadows[0] = ring->sq_shadow;
	s->shadows[1] = ring->sq_event;
	s->shadows[2] = ring->cq_shadow;
	s->shadows[3] = ring->cq_event;
	s->state = state;
	s->done = (uint64_t *)(state + 1);
	s->ready = (uint32_t *)(s->done + depth);
	s->busy = s->ready + depth;
	s->trouble = config->trouble;
	s->mask = depth - 1;
	/*
	 * The controller has a place for a completion as long as fewer than
	 * depth - 1 wait to be given back; so these are, sooner or later.
	 */
	s->lazy = depth < 4 ? 1 : depth / 4;
	s->results = config->results;
	return HOMI_RING_OK;
}

/**
 * struct homi_team - threads of a warp that do one thing together
 * @lanes: all of them
 * @lane: this one
 * @leader: the first one
 * @rank: of this one among them
 * @size: how many they are
 */
struct homi_team {
	homi_lanes lanes;
	uint32_t lane;
	uint32_t leader;
	uint32_t rank;
	uint32_t size;
};

HOMI_FN homi_lanes homi_lanes_below(uint32_t lane)
{
	return ((homi_lanes)1 << lane) - 1;
}

/** homi_team_of - a team of @lanes, which all call this */
HOMI_FN struct homi_team homi_team_of(homi_lanes lanes)
{
	struct homi_team team;

	team.lanes = lanes;
	team.lane = homi_lane();
	team.leader = homi_lanes_first(lanes);
	team.rank = homi_lanes_count(lanes & homi_lanes_below(team.lane));
	team.size = homi_lanes_count(lanes);
	return team;
}

/** homi_team_here - those who happen to be here together with the same queue pair */
HOMI_FN struct homi_team homi_team_here(const struct homi_shared *s)
{
	return homi_team_of(homi_lanes_alike(s->state));
}

HOMI_FN int homi_team_leads(const struct homi_team *team)
{
	return team->lane == team->leader;
}

/* How many members, from the first on, say yes; the team in the order of its ranks. */
HOMI_FN uint32_t homi_team_run(const struct homi_team *team, int yes)
{
	homi_lanes no = team->lanes & ~homi_lanes_ballot(team->lanes, yes);

	if (!no)
		return team->size;
	return homi_lanes_count(team->lanes & homi_lanes_below(homi_lanes_first(no)));
}

/** homi_shared_broken - enum homi_shared_trouble_what if it was given up, else 0 */
HOMI_FN uint32_t homi_shared_broken(const struct homi_shared *s)
{
	return homi_atomic_load32(&s->state->broken);
}

/**
 * homi_shared_give_up - nobody is to use this queue pair any more
 * @s: the queue pair
 * @what: why: HOMI_SHARED_TIMEOUT for who has polled for long enough
 * @cid: of the command
 *
 * The first one who says so tells the host. Any thread by itself may call it.
 */
HOMI_FN void homi_shared_give_up(const struct homi_shared *s, enum homi_shared_trouble_what what,
				 uint32_t cid)
{
	if (homi_atomic_first32(&s->state->broken, (uint32_t)what) || !s->trouble)
		return;
	homi_atomic_store32(&s->trouble->cid, cid);
	homi_fence_release_system();
	homi_atomic_store32(&s->trouble->what, (uint32_t)what);
}

/* The @n-th bit that is set, from 0 on. */
HOMI_FN uint32_t homi_shared_pick(uint32_t bits, uint32_t n)
{
	if (bits == ~0u)
		return n;
	while (n--)
		bits &= bits - 1;
	return homi_lanes_first(bits);
}

/* The cids of a word that can be taken: there are one fewer than entries. */
HOMI_FN uint32_t homi_shared_free(const struct homi_shared *s, uint32_t word, uint32_t busy)
{
	uint32_t cids = s->mask - word * 32;

	return cids >= 32 ? ~busy : ~busy & ((1u << cids) - 1);
}

/* Takes up to @want of them, as bits. */
HOMI_FN uint32_t homi_shared_take(const struct homi_shared *s, uint32_t word, uint32_t want)
{
	uint32_t was = homi_atomic_swap32(&s->busy[word], ~0u);
	uint32_t bits = homi_shared_free(s, word, was);
	uint32_t rest = 0, n = homi_lanes_count(bits);

	if (n > want) {
		rest = bits;
		if (bits == ~0u) {
			rest <<= want;
		} else {
			for (n = want; n; n--)
				rest &= rest - 1;
		}
	}
	rest |= ~(was | bits);	/* those that there are not stay as they were */
	if (rest)
		homi_atomic_and32(&s->busy[word], ~rest);
	return bits & ~rest;
}

/*
 * A cid for each member that wants one, the lower ranks first; -1 for who gets
 * none. Each member looks at a word, so that a full queue is seen at one glance.
 */
HOMI_FN int homi_shared_claim(const struct homi_shared *s, const struct homi_team *team, int want)
{
	uint32_t words = homi_shared_words(s->mask + 1);
	uint32_t first = homi_lanes_share(team->lanes, homi_noise(), team->leader);
	homi_lanes wanting = homi_lanes_ballot(team->lanes, want);
	uint32_t mine = homi_lanes_count(wanting & homi_lanes_below(team->lane));
	uint32_t total = homi_lanes_count(wanting), got = 0, base;
	int cid = -1;

	for (base = 0; base < words && got < total; base += team->size) {
		uint32_t word = (first + base + team->rank) & (words - 1);
		homi_lanes there = homi_lanes_ballot(team->lanes,
						     base + team->rank < words &&
						     homi_shared_free(s, word,
								      homi_atomic_load32(&s->busy[word])));

		while (there && got < total) {
			uint32_t who = homi_lanes_first(there), bits = 0, at;

			there &= there - 1;
			if (team->lane == who)
				bits = homi_shared_take(s, word, total - got);
			bits = homi_lanes_share(team->lanes, bits, who);
			at = homi_lanes_share(team->lanes, word, who);
			if (want && mine >= got && mine - got < homi_lanes_count(bits))
				cid = (int)(at * 32 + homi_shared_pick(bits, mine - got));
			got += homi_lanes_count(bits);
		}
	}
	return cid;
}

/* For the leader: the word's ticket if its lock was free, and is ours now. */
HOMI_FN int homi_shared_try(uint32_t *word, uint32_t *ticket)
{
	uint32_t was = homi_atomic_or32(word, HOMI_SHARED_LOCK);

	*ticket = HOMI_SHARED_TICKET(was);
	return !(was & HOMI_SHARED_LOCK);
}

HOMI_FN int homi_shared_is_ready(const struct homi_shared *s, uint32_t ticket)
{
	return homi_atomic_load32(&s->ready[ticket & s->mask]) ==
	       (HOMI_SHARED_TICKET(ticket) | HOMI_SHARED_LOCK);
}

/*
 * By the holder of sq_rung's lock: tells the controller of all commands that lie in
 * the queue without a gap, and lets go. The leader's commands up to @next are
 * known to. Returns whether there was more by then.
 */
HOMI_FN int homi_shared_ring_held(const struct homi_shared *s, const struct homi_team *team,
				  uint32_t rung, uint32_t next)
{
	uint32_t run, own = next;
	int more = 0;

	do {
		run = homi_team_run(team, homi_shared_is_ready(s, next + team->rank));
		next += run;
	} while (run == team->size);
	/* Each saw some of the commands; the leader's doorbell comes after all. */
	if (next != own)
		homi_fence_device();
	homi_lanes_sync(team->lanes);
	if (homi_team_leads(team)) {
		if (next != rung)
			homi_ring_doorbell(s->sq_doorbell, s->shadows[0], s->shadows[1],
					   next & s->mask, rung & s->mask);
		/* One doorbell before the next one, which may be somebody else's. */
		homi_fence_device();
		homi_atomic_store32(&s->state->sq_rung, HOMI_SHARED_TICKET(next));
		/* The lock's end before the look; others announce before they try it. */
		homi_fence_full_device();
		more = homi_shared_is_ready(s, next);
	}
	return (int)homi_lanes_share(team->lanes, (uint32_t)more, team->leader);
}

/* Who finds the lock taken may leave: its holder looks again when he has let go. */
HOMI_FN void homi_shared_ring(const struct homi_shared *s, const struct homi_team *team)
{
	uint32_t rung, got;

	do {
		rung = 0;
		got = 0;
		if (homi_team_leads(team))
			got = (uint32_t)homi_shared_try(&s->state->sq_rung, &rung);
		if (!homi_lanes_share(team->lanes, got, team->leader))
			return;
		rung = homi_lanes_share(team->lanes, rung, team->leader);
	} while (homi_shared_ring_held(s, team, rung, rung));
}

/**
 * struct homi_shared_place - where the commands of a team go; private
 * @first: ticket of the first one
 * @ticket: of this member's
 * @count: how many
 * @rung: what sq_rung was
 * @held: we have its lock
 */
struct homi_shared_place {
	uint32_t first;
	uint32_t ticket;
	uint32_t count;
	uint32_t rung;
	uint32_t held;
};

/*
 * A cid, or why there is none, and a place in the queue for each member that wants
 * one; announced when they are written. @at->count is 0 if nobody has got any. The
 * lock is tried now, so that one fence will do for what we write if we have it.
 */
HOMI_FN int homi_shared_reserve(const struct homi_shared *s, const struct homi_team *team,
				int want, struct homi_shared_place *at)
{
	int broken = (int)homi_shared_broken(s);
	int cid = homi_shared_claim(s, team, want && !broken);
	homi_lanes having = homi_lanes_ballot(team->lanes, cid >= 0);

	at->first = 0;
	at->rung = 0;
	at->held = 0;
	at->count = homi_lanes_count(having);
	if (at->count) {
		if (homi_team_leads(team)) {
			at->first = homi_atomic_add32(&s->state->sq_ticket, at->count);
			at->held = (uint32_t)homi_shared_try(&s->state->sq_rung, &at->rung);
		}
		at->first = homi_lanes_share(team->lanes, at->first, team->leader);
		at->rung = homi_lanes_share(team->lanes, at->rung, team->leader);
		at->held = homi_lanes_share(team->lanes, at->held, team->leader);
	}
	at->ticket = at->first + homi_lanes_count(having & homi_lanes_below(team->lane));
	return cid >= 0 ? cid : broken ? HOMI_RING_BROKEN : HOMI_RING_FULL;
}

/* What was reserved and is written now. */
HOMI_FN void homi_shared_announce(const struct homi_shared *s, const struct homi_team *team, int cid,
				  const struct homi_shared_place *at)
{
	int first = at->held && at->rung == HOMI_SHARED_TICKET(at->first);
	uint32_t next = at->rung;

	if (!at->count)
		return;
	/* The command before its announcement, that before the look at the lock. */
	if (!first)
		homi_fence_device();
	if (cid >= 0)
		homi_atomic_store32(&s->ready[at->ticket & s->mask],
				    HOMI_SHARED_TICKET(at->ticket) | HOMI_SHARED_LOCK);
	if (first) {
		/*
		 * They are the next ones, and we ring: nobody else has to know. What was
		 * announced in this entry goes all the same; tickets come again.
		 */
		next += at->count;
	} else {
		homi_fence_full_device();
		homi_lanes_sync(team->lanes);
	}
	if (!at->held || homi_shared_ring_held(s, team, at->rung, next))
		homi_shared_ring(s, team);
}

/**
 * homi_shared_post_rw - posts a Read or Write of each member
 * @s: the queue pair; the same for the whole team
 * @team: all members call this together
 * @want: 0: this member has none
 * @rw: what it has in common with others; see ring.h
 * @slba: first logical block
 * @prp1: see prp.h
 * @prp2: see prp.h
 *
 * The controller is told before this returns, or by who is just telling it.
 *
 * Return: the cid, which has to be polled until it is complete, and not after that;
 * HOMI_RING_FULL: none was found (or wanted), and who has commands in flight polls
 * these first; HOMI_RING_BROKEN: nothing was posted
 */
HOMI_FN int homi_shared_post_rw(const struct homi_shared *s, const struct homi_team *team, int want,
				const struct homi_rw *rw, uint64_t slba, uint64_t prp1,
				uint64_t prp2)
{
	struct homi_shared_place at;
	int cid = homi_shared_reserve(s, team, want, &at);

	if (cid >= 0) {
		uint64_t *entry = s->sq + (uint64_t)(at.ticket & s->mask) * 8;

		homi_store_line64(entry, homi_cpu_to_le64((uint64_t)(uint32_t)cid << 16 | rw->head),
				  0);
		homi_store_line64(entry + 2, 0, homi_cpu_to_le64(prp1));
		homi_store_line64(entry + 4, homi_cpu_to_le64(prp2), homi_cpu_to_le64(slba));
		homi_store_line64(entry + 6, rw->control, 0);
	}
	homi_shared_announce(s, team, cid, &at);
	return cid;
}

/** homi_shared_post - posts any command of each member; its cid is ignored; see above */
HOMI_FN int homi_shared_post(const struct homi_shared *s, const struct homi_team *team, int want,
			     const struct homi_sqe *sqe)
{
	struct homi_shared_place at;
	int cid = homi_shared_reserve(s, team, want, &at);

	if (cid >= 0)
		homi_ring_write(s->sq + (uint64_t)(at.ticket & s->mask) * 8, sqe, (uint32_t)cid);
	homi_shared_announce(s, team, cid, &at);
	return cid;
}

/* Whether a completion with this ticket is there, going by its last dword */
HOMI_FN int homi_shared_is_new(const struct homi_shared *s, uint32_t ticket, uint32_t word)
{
	/* In every other round through the queue the phase tag is set. */
	return (word & HOMI_RING_PHASE) == (ticket & (s->mask + 1) ? 0 : HOMI_RING_PHASE);
}

HOMI_FN uint32_t homi_shared_look(const struct homi_shared *s, uint32_t ticket)
{
	HOMI_PORT_COUNT_LOOK();
	return homi_le32_to_cpu(homi_load32(s->cq + (uint64_t)(ticket & s->mask) * 4 + 3));
}

HOMI_FN int homi_shared_is_awaited(const struct homi_shared *s, uint32_t cid)
{
	/* Both are on their way before either is looked at. */
	uint32_t busy = homi_atomic_load32(&s->busy[cid / 32]);
	uint64_t done = homi_atomic_load64(&s->done[cid]);

	return (busy >> cid % 32 & 1) && !done;
}

/*
 * One completion to who waits for it. What is refused here is a controller's error;
 * not all of them are seen.
 */
HOMI_FN void homi_shared_deliver(const struct homi_shared *s, uint32_t ticket, uint32_t word)
{
	uint32_t cid = word & 0xffff;
	uint64_t done = HOMI_SHARED_DONE | (uint64_t)(word >> 17) << 32;

	if (homi_unlikely(cid >= s->mask)) {
		homi_shared_give_up(s, HOMI_SHARED_PROTOCOL, cid);
		return;
	}
	if (homi_unlikely(!homi_shared_is_awaited(s, cid))) {
		/* Surely after the completion was seen? */
		homi_fence_acquire_system();
		if (!homi_shared_is_awaited(s, cid)) {
			homi_shared_give_up(s, HOMI_SHARED_PROTOCOL, cid);
			return;
		}
	}
	/* The phase tag before the rest, and before who sees this sees the data. */
	homi_fence_acquire_system();
	if (s->results)
		done |= homi_le32_to_cpu(s->cq[(uint64_t)(ticket & s->mask) * 4]);
	homi_atomic_store64(&s->done[cid], done);
}

/* By the holder of cq_head's lock: takes all that is there from @head on. */
HOMI_FN uint32_t homi_shared_take_all(const struct homi_shared *s, const struct homi_team *team,
				      uint32_t head)
{
	uint32_t word[HOMI_SHARED_WIDE], ticket, run, i;

	ticket = head + team->rank;
	word[0] = homi_shared_look(s, ticket);
	/* A team may be larger than the queue. */
	run = homi_team_run(team, team->rank <= s->mask && homi_shared_is_new(s, ticket, word[0]));
	if (team->rank < run)
		homi_shared_deliver(s, ticket, word[0]);
	head += run;
	while (run == team->size && team->size * HOMI_SHARED_WIDE <= s->mask) {
		for (i = 0; i < HOMI_SHARED_WIDE; i++)
			word[i] = homi_shared_look(s, head + i * team->size + team->rank);
		for (i = 0; i < HOMI_SHARED_WIDE && run == team->size; i++) {
			ticket = head + team->rank;
			run = homi_team_run(team, homi_shared_is_new(s, ticket, word[i]));
			if (team->rank < run)
				homi_shared_deliver(s, ticket, word[i]);
			head += run;
		}
	}
	return head;
}

/**
 * homi_shared_drain - takes all completions that are there, whosever they are
 * @s: the queue pair
 * @team: all members call this together
 *
 * homi_shared_poll() does so by itself.
 */
HOMI_FN void homi_shared_drain(const struct homi_shared *s, const struct homi_team *team)
{
	uint32_t was = 0, head, got = 0;

	if (homi_team_leads(team))
		got = (uint32_t)homi_shared_try(&s->state->cq_head, &was);
	if (!homi_lanes_share(team->lanes, got, team->leader))
		return;
	was = homi_lanes_share(team->lanes, was, team->leader);
	head = homi_shared_take_all(s, team, was);
	homi_lanes_sync(team->lanes);
	if (!homi_team_leads(team))
		return;
	if (head != was) {
		/* After the fence with which this one, the first, delivered. */
		uint32_t rung = homi_atomic_load32(&s->state->cq_rung);

		if (HOMI_SHARED_TICKET(head - rung) >= s->lazy) {
			homi_ring_doorbell(s->cq_doorbell, s->shadows[2], s->shadows[3],
					   head & s->mask, rung & s->mask);
			homi_atomic_store32(&s->state->cq_rung, head);
		}
		/* All this, and the doorbell, before the next holder's. */
		homi_fence_device();
	}
	homi_atomic_store32(&s->state->cq_head, HOMI_SHARED_TICKET(head));
}

/**
 * homi_shared_poll - is the command complete?
 * @s: the queue pair; the same for the whole team
 * @team: all members call this together
 * @cid: what homi_shared_post_rw() returned; negative: this member has none
 * @done: written if the command is complete; its user and sq_head mean nothing, and
 *	its result only if the queue pair was made to have it
 *
 * The data of a command that is complete can be read when this returns, and its
 * cid is free again. (Where queue and data lie behind different links, as host and
 * device memory do, the platform has to keep the order of the controller's writes.)
 *
 * Return: HOMI_RING_OK; HOMI_RING_STATUS; HOMI_RING_EMPTY: not yet, or no @cid;
 * HOMI_RING_BROKEN: not complete, and the queue pair was given up: the command may
 * still be executed
 */
HOMI_FN int homi_shared_poll(const struct homi_shared *s, const struct homi_team *team, int cid,
			     struct homi_completion *done)
{
	uint64_t word = 0;

	if (cid >= 0)
		word = homi_atomic_load64(&s->done[cid]);
	if (homi_lanes_ballot(team->lanes, cid >= 0 && !word)) {
		homi_shared_drain(s, team);
		if (cid >= 0 && !word)
			word = homi_atomic_load64(&s->done[cid]);
	}
	if (cid < 0)
		return HOMI_RING_EMPTY;
	if (!word)
		return homi_shared_broken(s) ? HOMI_RING_BROKEN : HOMI_RING_EMPTY;
	/* The completion before all that comes, its data included. */
	homi_fence_device();
	done->user = 0;
	done->result = (uint32_t)word;
	done->cid = (uint16_t)cid;
	done->status = (uint16_t)(word >> 32 & 0x7fff);
	done->sq_head = 0;
	homi_atomic_store64(&s->done[cid], 0);
	homi_fence_device();
	homi_atomic_and32(&s->busy[cid / 32], ~(1u << cid % 32));
	return done->status ? HOMI_RING_STATUS : HOMI_RING_OK;
}

/**
 * homi_shared_rw - a Read or Write of this thread, and its completion
 * @s: the queue pair; threads of a warp may use different ones
 * @rw: what the command has in common with others; see ring.h
 * @slba: first logical block
 * @prp1: see prp.h
 * @prp2: see prp.h
 * @polls: how often to look again, until there is a cid and then until the command
 *	is complete. A look takes a GPU about a microsecond, and a host's thread
 *	far less if somebody else has the lock: there it has to be long enough for
 *	that thread to be scheduled again.
 * @done: written if it is complete
 *
 * Return: HOMI_RING_OK; HOMI_RING_STATUS; HOMI_RING_FULL: no cid became free in
 * time, nothing was posted; HOMI_RING_TIMEOUT: the command was not complete in time,
 * and the queue pair is given up; HOMI_RING_BROKEN: it was given up by somebody else.
 * After both, the command may still be executed.
 */
HOMI_FN int homi_shared_rw(const struct homi_shared *s, const struct homi_rw *rw, uint64_t slba,
			   uint64_t prp1, uint64_t prp2, uint64_t polls,
			   struct homi_completion *done)
{
	uint64_t left = polls;
	int cid = HOMI_RING_FULL;
	int ret = HOMI_RING_EMPTY;

	/*
	 * One loop for who waits for a cid and for who waits for a completion: where
	 * a wave runs in step, one must not wait for the other in a loop of its own.
	 */
	while (ret == HOMI_RING_EMPTY) {
		struct homi_team team = homi_team_here(s);
		int before = cid;

		if (homi_lanes_ballot(team.lanes, cid < 0)) {
			int one = homi_shared_post_rw(s, &team, cid < 0, rw, slba, prp1, prp2);

			if (cid < 0)
				cid = one;
		}
		if (before < 0 && cid >= 0)
			left = polls;
		ret = homi_shared_poll(s, &team, cid, done);
		if (cid == HOMI_RING_BROKEN)
			ret = HOMI_RING_BROKEN;
		if (ret == HOMI_RING_EMPTY && !left--) {
			ret = cid < 0 ? HOMI_RING_FULL : HOMI_RING_TIMEOUT;
			if (cid >= 0)
				homi_shared_give_up(s, HOMI_SHARED_TIMEOUT, (uint32_t)cid);
		}
		if (ret == HOMI_RING_EMPTY)
			homi_relax();
	}
	return ret;
}

#endif /* HOMI_SHARED_H */
