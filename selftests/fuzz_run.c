// SPDX-License-Identifier: GPL-2.0-only
/*
 * One process of the fuzzer: what it has open, calls by ioctl(), and what it does besides, with
 * mappings, descriptors, children, and files that somebody else wants.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "fuzz.h"
#include "witness.h"

static uint32_t rnd(struct fuzz *f, uint32_t below)
{
	return seed_next(&f->seed, below);
}

/* --- somebody who writes to the structure while the kernel is at it --- */

static struct {
	sem_t go;
	uint32_t *_Atomic word;
	unsigned int words;
	uint64_t seed;
} meddler;

static void *meddle(void *counts)
{
	for (;;) {
		unsigned int i;

		if (sem_wait(&meddler.go))
			continue;
		for (i = 0; i < 64; i++) {
			uint32_t *word = atomic_load(&meddler.word);
			uint32_t at = seed_next(&meddler.seed, meddler.words);

			if (!word)
				break;
			__atomic_fetch_xor(word + at, 1u << seed_next(&meddler.seed, 32),
					   __ATOMIC_RELAXED);
			atomic_fetch_add(&((struct fuzz_counts *)counts)->meddled, 1);
		}
	}
	return NULL;
}

static void meddler_start(struct fuzz *f)
{
	pthread_t thread;
	sigset_t all, old;

	meddler.seed = f->seed;
	ASSERT(!sem_init(&meddler.go, 0, 0));
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	ASSERT(!pthread_create(&thread, NULL, meddle, f->counts));
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/* --- calls --- */

void *fuzz_put(struct fuzz *f, const struct fuzz_call *c, char *good)
{
	uint32_t size = fuzz_rows[c->row].size;
	char *at;

	switch (c->place) {
	case FUZZ_AT_NULL:
		return NULL;
	case FUZZ_AT_UNMAPPED:
		return f->edge + PAGE;
	case FUZZ_AT_READONLY:
		memcpy(f->readonly_rw, c->bytes, FUZZ_BYTES);
		return f->readonly;
	case FUZZ_AT_EDGE:
		at = f->edge + PAGE - (size - 8);
		memcpy(at, c->bytes, size - 8);
		return at;
	case FUZZ_AT_KERNEL:
		return (void *)0xffff888000001000;
	default:
		memcpy(good, c->bytes, FUZZ_BYTES);
		return good;
	}
}

/* In a dry run: what might come, for the model to go on */
static int pretend(struct fuzz *f, struct fuzz_call *c)
{
	uint32_t *word = (uint32_t *)c->bytes;
	unsigned int i;

	fuzz_hash(f, &c->nr, sizeof(c->nr));
	fuzz_hash(f, &c->ctx, sizeof(c->ctx));
	fuzz_hash(f, &c->place, sizeof(c->place));
	fuzz_hash(f, c->bytes, sizeof(c->bytes));
	if (!seed_next(&f->answers, 4))
		return seed_next(&f->answers, 2) ? ENOENT : EINVAL;
	for (i = 3; c->row != FUZZ_ROW(HOMI_CMD_DESTROY) && i < FUZZ_BYTES / 4; i++)
		if (!word[i])
			word[i] = 1 + seed_next(&f->answers, 40);
	return 0;
}

int fuzz_do(struct fuzz *f, struct fuzz_call *c)
{
	int err;
	void *arg;

	if (f->dry) {
		err = pretend(f, c);
		fuzz_count(f, c, err, false);
		fuzz_learn(f, c, err);
		return err;
	}
	c->meddle &= !f->child;
	arg = fuzz_put(f, c, f->good);
	if (c->meddle && arg == f->good) {
		meddler.words = fuzz_rows[c->row].size / 4;
		atomic_store(&meddler.word, arg);
		sem_post(&meddler.go);
	}
	err = -homi_call(f->ctx[c->ctx].fd, c->nr, arg);
	atomic_store(&meddler.word, NULL);
	if (arg == f->good)
		memcpy(c->bytes, f->good, FUZZ_BYTES);
	fuzz_count(f, c, err, false);
	fuzz_learn(f, c, err);
	return err;
}

/* --- what there is --- */

static int open_node(struct fuzz *f)
{
	uint64_t end = now_ms() + 60000;
	char node[64];
	int fd = -1;

	/* Who may use it need not be who may open it. */
	if (f->nobody)
		ASSERT(!seteuid(0));
	while (fd < 0 && now_ms() < end && !atomic_load(&f->counts->stop)) {
		if (node_of(f->pci, node, sizeof(node)))
			fd = open(node, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			nap_ms(2);
	}
	if (f->nobody)
		ASSERT(!seteuid(NOBODY));
	if (fd < 0 && !atomic_load(&f->counts->stop))
		FAIL("%s cannot be opened: %s", f->pci, strerror(errno));
	return fd;
}

/*
 * A command that is not over and comes to it late finds no memory there; nor what was mapped
 * later, a ring or another arena, which it would write to.
 */
void fuzz_abandon(char *va, size_t length)
{
	ASSERT(mmap(va, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
		    -1, 0) == va);
}

static void ctx_open(struct fuzz *f, unsigned int i)
{
	static char arena[FUZZ_CTXS][FUZZ_ARENA];
	struct fuzz_ctx *ctx = &f->ctx[i];
	unsigned int life = ctx->life + 1;

	if (!f->dry && life > 1) {
		close(ctx->fd);
		fuzz_abandon(ctx->arena, FUZZ_ARENA + PAGE);
	}
	*ctx = (struct fuzz_ctx){
		.mapped = i != 1,
		.life = life,
		.depth = 2 + rnd(f, 63),
		.arena = arena[i],
		.fd = 100 + i,
	};
	if (f->dry)
		return;
	ctx->fd = open_node(f);
	ctx->arena = mmap(NULL, FUZZ_ARENA + PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT(ctx->arena != MAP_FAILED);
	ASSERT(!mprotect(ctx->arena + FUZZ_ARENA, PAGE, PROT_NONE));
}

static void open_files(struct fuzz *f)
{
	const struct fuzz_paths *p = f->paths;

	f->fds[FUZZ_FD_DATA] = open(p->data, O_RDWR | O_CLOEXEC);
	f->fds[FUZZ_FD_STILL] = open(p->still, O_RDONLY | O_CLOEXEC);
	f->fds[FUZZ_FD_INPLACE] = open(p->inplace, O_PATH | O_CLOEXEC);
	f->fds[FUZZ_FD_DIR] = open(p->dir, O_PATH | O_CLOEXEC);
	f->fds[FUZZ_FD_MEMFD] = memfd_create("fuzz", MFD_CLOEXEC);
	f->fds[FUZZ_FD_NULL] = open("/dev/null", O_RDWR | O_CLOEXEC);
	f->fds[FUZZ_FD_EVENT] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	f->fds[FUZZ_FD_CLOSED] = 999;
	ASSERT(!ftruncate(f->fds[FUZZ_FD_MEMFD], PAGE));
}

static char *new_pages(unsigned int count)
{
	char *va = mmap(NULL, count * PAGE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	ASSERT(va != MAP_FAILED);
	return va;
}

static void places(struct fuzz *f)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	ASSERT(!ftruncate(fd, PAGE));
	f->scratch = new_pages(4);
	f->names = new_pages(1);
	f->good = new_pages(1);
	f->edge = new_pages(2);
	ASSERT(!mprotect(f->edge + PAGE, PAGE, PROT_NONE));
	f->readonly_rw = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	f->readonly = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	ASSERT(f->readonly_rw != MAP_FAILED && f->readonly != MAP_FAILED);
	close(fd);
}

static void no_op(int sig)
{
	(void)sig;
}

static void start_signals(void)
{
	struct itimerval often = { .it_interval.tv_usec = 9000, .it_value.tv_usec = 9000 };
	struct sigaction act = { .sa_handler = no_op };

	ASSERT(!sigaction(SIGALRM, &act, NULL));
	ASSERT(!setitimer(ITIMER_REAL, &often, NULL));
}

void fuzz_begin(struct fuzz *f)
{
	unsigned int i;

	for (i = 0; i < FUZZ_EXPORTS; i++)
		f->exports[i] = -1;
	if (f->dry)
		for (i = 0; i < FUZZ_FDS; i++)
			f->fds[i] = 50 + i;
	else
		open_files(f);
	if (!f->scratch)
		places(f);
	for (i = 0; i < FUZZ_CTXS; i++)
		ctx_open(f, i);
	if (f->dry)
		return;
	meddler_start(f);
	if (rnd(f, 2))
		start_signals();
}

/* --- mappings --- */

static void unmap(struct fuzz *f, unsigned int i)
{
	if (f->maps[i].va)
		munmap(f->maps[i].va, f->maps[i].length);
	f->maps[i].va = NULL;
}

/* A region of an object that was there, and maybe is */
static uint64_t any_region(struct fuzz *f, const struct fuzz_ctx *ctx, size_t *length, bool *ring)
{
	*length = PAGE;
	*ring = false;
	switch (rnd(f, 7)) {
	case 0:
		*length = ctx->queue.out_sq_mmap_length;
		*ring = true;
		return ctx->queue.out_sq_mmap_offset;
	case 1:
		*length = ctx->queue.out_cq_mmap_length;
		*ring = true;
		return ctx->queue.out_cq_mmap_offset;
	case 2:
		return ctx->queue.out_db_mmap_offset;
	case 3:
		return ctx->queue.out_shadow_mmap_offset;
	case 4:
		return (uint64_t)rnd(f, 16) << 56 | (uint64_t)rnd(f, 8) << 32;
	default:
		*length = ctx->extent.out_mmap_length;
		return ctx->extent.out_mmap_offset;
	}
}

/* Rings are written to and doorbells never: nothing is told to the controller. */
static void touch_map(struct fuzz *f, void *va, bool write)
{
	(void)fault_of(va, write);
	if (rnd(f, 4))
		return;
	ASSERT(mprotect(va, PAGE, PROT_READ | PROT_EXEC));
	ASSERT(mremap(va, PAGE, 2 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED);
}

static void map_step(struct fuzz *f)
{
	unsigned int i = rnd(f, FUZZ_MAPS), c = rnd(f, 2) ? 0 : rnd(f, FUZZ_CTXS);
	int prot = rnd(f, 3) ? PROT_READ : PROT_READ | PROT_WRITE;
	int flags = rnd(f, 8) ? MAP_SHARED : MAP_PRIVATE;
	size_t length;
	uint64_t at;
	bool ring;

	at = any_region(f, &f->ctx[c], &length, &ring);
	if (!rnd(f, 6))
		length += PAGE;
	if (!rnd(f, 10))
		prot |= PROT_EXEC;
	fuzz_hash(f, &at, sizeof(at));
	if (f->dry)
		return;
	unmap(f, i);
	if (f->maps[i].va || !length)
		return;
	f->maps[i].va = mmap(NULL, length, prot, flags, f->ctx[c].fd, at & ~(PAGE - 1ull));
	f->maps[i].length = length;
	if (f->maps[i].va == MAP_FAILED) {
		f->maps[i].va = NULL;
		ASSERT(errno == EINVAL || errno == ENOENT || errno == EOVERFLOW);
		return;
	}
	ASSERT(flags == MAP_SHARED && !(prot & PROT_EXEC));
	atomic_fetch_add(&f->counts->maps, 1);
	touch_map(f, f->maps[i].va, ring && prot & PROT_WRITE);
}

/* --- somebody who wants a file --- */

static void destroy_extents(struct fuzz *f)
{
	struct fuzz_call c;
	unsigned int i;

	for (i = 0; i < FUZZ_CTXS; i++)
		while (f->ctx[i].count[FUZZ_EXTENT]) {
			uint32_t id = f->ctx[i].ids[FUZZ_EXTENT][0];

			fuzz_good(f, &c, FUZZ_ROW(HOMI_CMD_DESTROY), i);
			((struct homi_destroy *)c.bytes)->id = id;
			if (fuzz_do(f, &c))
				return;
		}
}

/* Its queues are deleted, as of a holder to write; then they are made anew. */
static void recreate(struct fuzz *f)
{
	struct fuzz_call c;
	unsigned int tries, i;

	for (i = 0; i < f->ctx[0].count[FUZZ_QUEUE]; i++)
		for (tries = 0; tries < (f->dry ? 1 : 10); tries++) {
			fuzz_good(f, &c, FUZZ_ROW(HOMI_CMD_QUEUE_RECREATE), 0);
			((struct homi_queue_recreate *)c.bytes)->queue_id =
				f->ctx[0].ids[FUZZ_QUEUE][i];
			if (fuzz_do(f, &c) != EAGAIN)
				break;
			if (!f->dry)
				nap_ms(2);
		}
}

/* Generation of the table of the EXTENT made last; 0: it can't be looked at. */
static uint64_t generation_of(struct fuzz *f, const struct fuzz_ctx *ctx)
{
	const struct homi_extent_table *table;
	uint64_t generation;

	if (f->dry)
		return 1;
	table = mmap(NULL, ctx->extent.out_mmap_length, PROT_READ, MAP_SHARED, ctx->fd,
		     ctx->extent.out_mmap_offset);
	if (table == MAP_FAILED)
		return 0;
	/* By a call, since a child, or a command on its way, may destroy it: that is SIGBUS. */
	if (pwrite(f->fds[FUZZ_FD_MEMFD], &table->generation, sizeof(generation), 0) !=
	    sizeof(generation) ||
	    pread(f->fds[FUZZ_FD_MEMFD], &generation, sizeof(generation), 0) != sizeof(generation))
		generation = 0;
	munmap((void *)table, ctx->extent.out_mmap_length);
	return generation;
}

static void recall_step(struct fuzz *f)
{
	bool write = rnd(f, 2);
	unsigned int i = write ? 0 : rnd(f, FUZZ_CTXS), acks = rnd(f, 5);
	struct homi_extent_resolve *r;
	struct fuzz_call c;
	uint32_t id;
	int fd;

	destroy_extents(f);
	fuzz_good(f, &c, FUZZ_ROW(HOMI_CMD_EXTENT_RESOLVE), i);
	r = (void *)c.bytes;
	*r = (struct homi_extent_resolve){
		.size = sizeof(*r),
		.flags = write ? HOMI_RESOLVE_WRITE : 0,
		.fd = f->fds[write ? FUZZ_FD_INPLACE : FUZZ_FD_STILL],
	};
	if (fuzz_do(f, &c))
		return;
	id = r->out_extent_id;
	if (!f->dry) {
		fd = open(write ? f->paths->inplace : f->paths->still,
			  O_WRONLY | O_NONBLOCK | O_CLOEXEC);
		if (fd >= 0)
			close(fd);
		atomic_fetch_add(&f->counts->recalls, 1);
	}
	while (acks--) {
		fuzz_good(f, &c, FUZZ_ROW(HOMI_CMD_EXTENT_ACK), i);
		((struct homi_extent_ack *)c.bytes)->extent_id = id;
		((struct homi_extent_ack *)c.bytes)->generation =
			generation_of(f, &f->ctx[i]);
		fuzz_do(f, &c);
	}
	if (write)
		recreate(f);
}

/* --- descriptors and children --- */

static void dup_step(struct fuzz *f)
{
	struct fuzz_ctx *ctx = &f->ctx[rnd(f, FUZZ_CTXS)];
	int fd;

	if (f->dry)
		return;
	fd = dup(ctx->fd);
	ASSERT(fd >= 0);
	close(ctx->fd);
	ctx->fd = fd;
	ctx->dups++;
}

static void wait_forked(struct fuzz *f)
{
	int status;

	if (f->forked <= 0)
		return;
	while (waitpid(f->forked, &status, 0) < 0)
		ASSERT_EQ(EINTR, errno);
	f->forked = 0;
	if (status && !(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL))
		FAIL("a child ended with status %#x", status);
}

/* A child that uses what it inherits, beside its parent, and ends anyhow. */
static void fork_step(struct fuzz *f)
{
	unsigned int steps = rnd(f, 12);
	uint64_t seed = f->seed ^ rnd(f, ~0u);
	bool kills = rnd(f, 3) == 0;
	struct fuzz_call c;

	if (f->dry)
		return;
	wait_forked(f);
	fflush(NULL);
	f->forked = fork();
	ASSERT(f->forked >= 0);
	if (f->forked) {
		atomic_fetch_add(&f->counts->forks, 1);
		return;
	}
	f->seed = seed;
	f->child = true;
	while (steps--) {
		fuzz_make(f, &c, false);
		fuzz_do(f, &c);
	}
	if (kills)
		raise(SIGKILL);
	_exit(0);
}

static void reopen_worn(struct fuzz *f)
{
	unsigned int i;

	for (i = 0; i < FUZZ_CTXS; i++)
		if (f->ctx[i].worn)
			ctx_open(f, i);
}

static void poll_step(struct fuzz *f)
{
	struct pollfd p = { .fd = f->ctx[0].fd, .events = POLLIN | POLLPRI | POLLOUT };

	if (poll(&p, 1, 0) < 0)
		ASSERT_EQ(EINTR, errno);
	else
		ASSERT(!(p.revents & POLLNVAL));
}

void fuzz_step(struct fuzz *f)
{
	unsigned int pick = rnd(f, 128);
	struct fuzz_call c;

	atomic_fetch_add(&f->counts->steps, 1);
	reopen_worn(f);
	if (pick < 62) {
		fuzz_make(f, &c, false);
		fuzz_do(f, &c);
	} else if (pick < 104) {
		fuzz_ring_step(f, true);
	} else if (pick < 109) {
		fuzz_ring_step(f, false);
	} else if (pick < 113) {
		fuzz_ring_cancel(f);
	} else if (pick < 119) {
		map_step(f);
	} else if (pick < 123) {
		if (!f->foreign)
			recall_step(f);
	} else if (pick < 124) {
		fork_step(f);
	} else if (pick < 125) {
		dup_step(f);
	} else if (pick < 126) {
		ctx_open(f, rnd(f, FUZZ_CTXS));
	} else if (!f->dry) {
		poll_step(f);
		/* What WRITEs put behind the end; a signal may come first. */
		if (!f->foreign)
			ASSERT(!ftruncate(f->fds[FUZZ_FD_DATA], 1 << 20) || errno == EINTR);
	}
}

void fuzz_end(struct fuzz *f, bool wait)
{
	wait_forked(f);
	if (wait)
		fuzz_ring_close(f, true);
}
