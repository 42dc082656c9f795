// SPDX-License-Identifier: GPL-2.0-only
/*
 * The fuzzer's door by io_uring: rings of all kinds, SQEs bent in all fields, commands cancelled
 * or left in flight.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "fuzz.h"
#include "witness.h"

#define SLOTS		32u
#define SLOT_BYTES	256u
#define ENTRIES		64u
#define CANCEL		(1ull << 62)
#define HANG_MS		60000u

/* A command on its way; what its structure is in stays until it is over, or longer. */
struct slot {
	bool used;
	bool silent;		/* says nothing if it succeeds */
	unsigned int number;	/* of its SQE */
	unsigned int dups;	/* by which descriptor */
	struct fuzz_call call;
};

struct fuzz_ring {
	struct io_uring ring;
	bool open, wide, polled;
	bool links;		/* or SQEs that say nothing, not both */
	unsigned int posted;
	char *memory;
	struct slot slots[SLOTS];
};

static uint32_t rnd(struct fuzz *f, uint32_t below)
{
	return seed_next(&f->seed, below);
}

/* --- rings --- */

static int ring_init(struct fuzz_ring *r, unsigned int kind)
{
	struct io_uring_params p = { .flags = IORING_SETUP_SQE128 };
	unsigned int entries = ENTRIES;

	switch (kind) {
	case 0:		/* more commands than completions have room */
		p.flags |= IORING_SETUP_CQSIZE;
		p.cq_entries = 4;
		entries = 4;
		break;
	case 1:
		p.flags |= IORING_SETUP_SQPOLL;
		p.sq_thread_idle = 1;
		break;
	case 2:
		p.flags = 0;
		break;
	case 3:
		p.flags |= IORING_SETUP_IOPOLL;
		break;
	case 4:
		p.flags |= IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
		break;
	}
	r->wide = p.flags & IORING_SETUP_SQE128;
	r->polled = p.flags & IORING_SETUP_IOPOLL;
	return io_uring_queue_init_params(entries, &r->ring, &p);
}

static void ring_open(struct fuzz *f)
{
	struct fuzz_ring *r = f->ring;
	unsigned int kind = rnd(f, 12);
	int err;

	if (!r) {
		r = calloc(1, sizeof(*r));
		ASSERT(r);
		f->ring = r;
	}
	r->wide = kind != 2;
	r->polled = kind == 3;
	/*
	 * Before 6.14 an SQE behind a link is read late: it has to stay until then. No
	 * IOSQE_IO_DRAIN: beside links and SQEs that fail 6.12 was seen to leave what waits
	 * behind it for ever, with nothing of homi's on its way.
	 */
	r->links = kind > 1 && rnd(f, 2) && !r->polled;
	r->open = true;
	if (f->dry)
		return;
	memset(r->slots, 0, sizeof(r->slots));
	err = ring_init(r, kind);
	if (err)
		err = ring_init(r, 11);
	/* Memory for rings is counted, and what is on its way down is still. */
	for (kind = 0; err == -ENOMEM && kind < 1000; kind++) {
		nap_ms(5);
		err = ring_init(r, 11);
	}
	ASSERT_EQ(0, err);
	r->memory = mmap(NULL, SLOTS * SLOT_BYTES, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT(r->memory != MAP_FAILED);
	atomic_fetch_add(&f->counts->rings, 1);
}

/* --- completions --- */

/* Errors by which io_uring refuses an SQE itself */
static bool is_uring_error(int err)
{
	static const int errors[] = {
		EINVAL, EBADF, EOPNOTSUPP, ECANCELED, EFAULT, ENXIO, EXDEV, ENOBUFS
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(errors); i++)
		if (errors[i] == err)
			return true;
	return false;
}

static void slot_over(struct fuzz *f, struct slot *s, int res)
{
	struct fuzz_call *c = &s->call;
	bool rw = c->nr == HOMI_READ || c->nr == HOMI_WRITE;
	int err = res < 0 ? -res : 0;

	s->used = false;
	/* The descriptor was closed before io_uring came to look at it, and may be another one. */
	if (s->dups != f->ctx[c->ctx].dups || c->life != f->ctx[c->ctx].life)
		c->sqe_bent = true;
	if (!c->place && !rw && !c->sqe_bent)
		memcpy(c->bytes, f->ring->memory + (s - f->ring->slots) * SLOT_BYTES, FUZZ_BYTES);
	/* What homi did not get, or not so */
	if (err == ECANCELED || c->sqe_bent) {
		if (err && !is_uring_error(err) && !fuzz_is_documented(c->row, err))
			FAIL("%s by a bent SQE: error %d", fuzz_rows[c->row].name, err);
		atomic_fetch_add(&f->counts->refused[err], 1);
	} else {
		if (!rw && res > 0)
			FAIL("%s: the completion says %d", fuzz_rows[c->row].name, res);
		fuzz_count(f, c, err, true);
	}
	fuzz_learn(f, c, err);
}

static void reap(struct fuzz *f)
{
	struct fuzz_ring *r = f->ring;
	struct io_uring_cqe *cqe;

	if (*r->ring.sq.kflags & IORING_SQ_CQ_OVERFLOW)
		atomic_fetch_add(&f->counts->overflows, 1);
	io_uring_get_events(&r->ring);
	while (!io_uring_peek_cqe(&r->ring, &cqe)) {
		uint64_t data = cqe->user_data;
		int res = cqe->res;

		io_uring_cqe_seen(&r->ring, cqe);
		if (data & CANCEL)
			continue;
		if (data >= SLOTS || !r->slots[data].used)
			FAIL("a completion of %#llx, which is not on its way",
			     (unsigned long long)data);
		slot_over(f, &r->slots[data], res);
	}
}

static unsigned int in_flight(const struct fuzz_ring *r, bool silent_too)
{
	unsigned int i, n = 0;

	for (i = 0; i < SLOTS; i++)
		n += r->slots[i].used && (silent_too || !r->slots[i].silent);
	return n;
}

static void wait_until(struct fuzz *f, unsigned int most)
{
	struct fuzz_ring *r = f->ring;
	uint64_t end = now_ms() + HANG_MS * patience();
	unsigned int i;

	for (;;) {
		io_uring_submit(&r->ring);
		reap(f);
		if (in_flight(r, false) <= most)
			return;
		if (now_ms() > end)
			break;
		nap_ms(1);
	}
	for (i = 0; i < SLOTS; i++)
		if (r->slots[i].used && !r->slots[i].silent)
			printf("# number %u of %u, %s, does not end\n", r->slots[i].number, r->posted,
			       fuzz_rows[r->slots[i].call.row].name);
	printf("# ring of kind %u, SQ %u, head %u, tail %u, CQ head %u, tail %u\n", r->ring.flags,
	       *r->ring.sq.kflags, *r->ring.sq.khead, *r->ring.sq.ktail, *r->ring.cq.khead,
	       *r->ring.cq.ktail);
	shell("sed 's/^/# /' /proc/%d/task/*/comm /proc/%d/task/*/stack", getpid(), getpid());
	FAIL("%u commands by io_uring do not end", in_flight(r, false));
}

void fuzz_ring_close(struct fuzz *f, bool wait)
{
	struct fuzz_ring *r = f->ring;
	unsigned int i;

	if (!r || !r->open)
		return;
	r->open = false;
	if (f->dry)
		return;
	if (wait)
		wait_until(f, 0);
	else
		atomic_fetch_add(&f->counts->left_in_flight, in_flight(r, false));
	for (i = 0; i < SLOTS; i++)
		if (r->slots[i].used && r->slots[i].call.owned >= 0)
			close(r->slots[i].call.owned);
	io_uring_queue_exit(&r->ring);
	/* Maybe from under one that is not over */
	fuzz_abandon(r->memory, SLOTS * SLOT_BYTES);
}

/* --- submissions --- */

static void bend_sqe(struct fuzz *f, struct io_uring_sqe *sqe)
{
	uint32_t value = rnd(f, ~0u);

	switch (rnd(f, 10)) {
	case 0:
		sqe->opcode = rnd(f, 2) ? IORING_OP_NOP : 0x80 + rnd(f, 128);
		break;
	case 1:
		/* What may have it read late is for others. */
		sqe->flags |= rnd(f, 2) ? IOSQE_FIXED_FILE : rnd(f, 2) ? IOSQE_BUFFER_SELECT : 0x80;
		break;
	case 2:
		sqe->ioprio = value;
		break;
	case 3:
		sqe->fd = rnd(f, 2) ? (int)value : f->fds[rnd(f, FUZZ_FDS)];
		break;
	case 4:
		sqe->__pad1 = value;
		break;
	case 5:
		sqe->len = value;
		break;
	case 6:
		sqe->uring_cmd_flags = rnd(f, 2) ? value : 1;
		break;
	case 7:
		sqe->buf_index = value;
		break;
	case 8:
		sqe->personality = value;
		break;
	default:
		sqe->splice_fd_in = value;
	}
}

static void put_payload(struct fuzz *f, struct fuzz_ring *r, struct io_uring_sqe *sqe,
			struct slot *s)
{
	struct fuzz_call *c = &s->call;
	struct homi_uring_call call = { 0 };
	unsigned int i = s - r->slots;

	if (r->wide)
		memset(sqe->cmd, 0, 80);
	if (c->nr == HOMI_READ || c->nr == HOMI_WRITE) {
		memcpy(sqe->cmd, c->bytes, r->wide ? sizeof(struct homi_uring_rw) : 16);
		return;
	}
	/* One place for several at a time would make others of them. */
	if (c->place == FUZZ_AT_READONLY)
		c->place = FUZZ_AT_GOOD;
	call.addr = (uintptr_t)fuzz_put(f, c, r->memory + i * SLOT_BYTES);
	memcpy(sqe->cmd, &call, sizeof(call));
}

static unsigned int sqe_flags(struct fuzz *f, const struct fuzz_ring *r)
{
	unsigned int flags = rnd(f, 4) ? 0 : IOSQE_ASYNC;

	if (!r->links)
		return flags | (rnd(f, 32) ? 0 : IOSQE_CQE_SKIP_SUCCESS);
	flags |= rnd(f, 6) ? 0 : IOSQE_IO_LINK;
	flags |= rnd(f, 12) ? 0 : IOSQE_IO_HARDLINK;
	return flags;
}

static struct slot *free_slot(struct fuzz_ring *r)
{
	unsigned int i;

	for (i = 0; i < SLOTS; i++)
		if (!r->slots[i].used)
			return &r->slots[i];
	return NULL;
}

/* Is one on its way whose SQE is about to be filled anew? */
static bool is_old(const struct fuzz_ring *r)
{
	unsigned int i;

	for (i = 0; i < SLOTS; i++)
		if (r->slots[i].used && r->posted - r->slots[i].number > ENTRIES - 8)
			return true;
	return false;
}

/* One more; false: there is no room just now. */
static bool submit_one(struct fuzz *f, struct fuzz_ring *r)
{
	struct io_uring_sqe dummy[2] = { 0 }, *sqe = dummy;
	struct slot *s = free_slot(r);
	unsigned int flags;

	if (!s)
		return false;
	if (!f->dry)
		sqe = io_uring_get_sqe(&r->ring);
	if (!sqe)
		return false;
	memset(s, 0, sizeof(*s));
	fuzz_make(f, &s->call, true);
	s->call.meddle = false;
	flags = sqe_flags(f, r);
	fuzz_hash(f, &flags, sizeof(flags));
	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, f->ctx[s->call.ctx].fd, NULL, 0, 0);
	s->dups = f->ctx[s->call.ctx].dups;
	sqe->off = s->call.nr;
	sqe->flags = flags;
	sqe->user_data = s - r->slots;
	s->call.sqe_bent = r->polled;
	if (!f->dry)
		put_payload(f, r, sqe, s);
	if (!rnd(f, 10)) {
		bend_sqe(f, sqe);
		s->call.sqe_bent = true;
		fuzz_hash(f, sqe, 48);
	}
	if (f->dry) {
		fuzz_do(f, &s->call);
		return true;
	}
	s->silent = sqe->flags & IOSQE_CQE_SKIP_SUCCESS;
	s->used = true;
	s->number = r->posted++;
	return true;
}

void fuzz_ring_step(struct fuzz *f, bool submit)
{
	struct fuzz_ring *r = f->ring;
	unsigned int n = submit ? 1 + rnd(f, 6) : 0;

	if (r && r->open && !rnd(f, 50))
		fuzz_ring_close(f, rnd(f, 2));
	if (!r || !r->open)
		ring_open(f);
	r = f->ring;
	if (!f->dry && r->links && is_old(r))
		wait_until(f, 0);
	while (n--)
		if (!submit_one(f, r))
			break;
	if (f->dry)
		return;
	io_uring_submit(&r->ring);
	/* A ring that is short of completions gets more than it has room for. */
	if (rnd(f, 3))
		reap(f);
	if (in_flight(r, true) < SLOTS - 6)
		return;
	wait_until(f, SLOTS / 4);
	if (in_flight(r, true) >= SLOTS - 6)
		fuzz_ring_close(f, true);
}

/* One, those of an open file, or any */
void fuzz_ring_cancel(struct fuzz *f)
{
	static const unsigned int flags[] = {
		0, IORING_ASYNC_CANCEL_ALL, IORING_ASYNC_CANCEL_ANY,
		IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL,
		IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_ALL
	};
	unsigned int how = flags[rnd(f, ARRAY_SIZE(flags))], whose = rnd(f, SLOTS);
	unsigned int ctx = rnd(f, FUZZ_CTXS);
	struct fuzz_ring *r = f->ring;
	struct io_uring_sqe *sqe;

	fuzz_hash(f, &how, sizeof(how));
	if (f->dry || !r || !r->open)
		return;
	sqe = io_uring_get_sqe(&r->ring);
	if (!sqe)
		return;
	io_uring_prep_rw(IORING_OP_ASYNC_CANCEL, sqe, -1, NULL, 0, 0);
	sqe->cancel_flags = how;
	if (how & IORING_ASYNC_CANCEL_FD)
		sqe->fd = f->ctx[ctx].fd;
	else if (!(how & IORING_ASYNC_CANCEL_ANY))
		sqe->addr = whose;
	sqe->user_data = CANCEL;
	atomic_fetch_add(&f->counts->cancels, 1);
	io_uring_submit(&r->ring);
}
