// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "files.h"
#include "storm.h"
#include "witness.h"
#include "worker.h"

#define RINGS		2
#define MEMORIES	3
#define MEMORY_PAGES	64
#define PATIENCE	60000	/* milliseconds, for what must come */

struct my_ring {
	struct ring ring;
	bool there;
	const void *target;	/* of commands that are in flight and that nobody waits for */
};

struct my_memory {
	struct dma dma;
	bool there, writable;
};

/* All that this process has; static, since a SIGBUS leaves any function. */
static struct {
	int fd, file;
	bool gone, refused;
	struct my_ring rings[RINGS];
	struct my_memory memories[MEMORIES];
	struct table table;
	bool has_table;
} me = { .fd = -1, .file = -1 };

static struct worker *w;
static sigjmp_buf gone_return;

#define COUNT(what)	atomic_fetch_add(&w->counts->what, 1)

static uint32_t any(uint32_t below)
{
	return seed_next(&w->seed, below);
}

/* An error that may come at any time: again later, or never again. */
static void refused(int err, const char *what)
{
	me.refused = true;
	if (err == -EAGAIN) {
		COUNT(again);
		poll_fd(me.fd, POLLOUT, 2);
		return;
	}
	if (err != -ENODEV || !w->site->may_go)
		FAIL("worker %u: %s: %s", w->index, what, strerror(-err));
	COUNT(gone);
	me.gone = true;
}

/* The controller is gone; when the memory is not mapped for it any more it writes nothing. */
static void wait_gone(void)
{
	uint64_t end = now_ms() + PATIENCE;
	uint32_t count;
	int i, err;

	me.gone = true;
	for (i = 0; i < MEMORIES; i++) {
		if (!me.memories[i].there)
			continue;
		do {
			count = 0;
			err = mem_segments(me.fd, me.memories[i].dma.id, NULL, &count);
			ASSERT(now_ms() < end);
			usleep(1000);
		} while (err == -EMSGSIZE);
		ASSERT_EQ(-ENODEV, err);
	}
}

static void on_sigbus(int sig)
{
	(void)sig;
	if (!w->site->may_go)
		FAIL("worker %u: SIGBUS", w->index);
	siglongjmp(gone_return, 1);
}

/* --- the open file --- */

static void step_open(void)
{
	char path[64];
	int fd = -1;

	if (node_of(w->site->pci, path, sizeof(path)))
		fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		if (!w->site->may_go)
			FAIL("worker %u: open: %s", w->index, strerror(errno));
		COUNT(absent);
		usleep(2000);
		return;
	}
	me.fd = fd;
	me.gone = false;
	COUNT(opens);
	COUNT(steps);
}

static void drop_file(void)
{
	bool first = any(2);
	int i;

	if (me.fd < 0)
		return;
	if (first)
		close(me.fd);
	for (i = 0; i < RINGS; i++)
		if (me.rings[i].there)
			ring_unmap(&me.rings[i].ring);
	for (i = 0; i < MEMORIES; i++)
		if (me.memories[i].there) {
			munmap(me.memories[i].dma.va, me.memories[i].dma.length);
			free(me.memories[i].dma.seg);
		}
	if (me.has_table)
		munmap((void *)me.table.t, me.table.r.out_mmap_length);
	if (!first)
		close(me.fd);
	memset(me.rings, 0, sizeof(me.rings));
	memset(me.memories, 0, sizeof(me.memories));
	me.has_table = false;
	me.fd = -1;
}

/* --- queues --- */

static void step_create(struct my_ring *r)
{
	static const uint32_t depths[] = { 2, 3, 16, 64, 64, 64, 0 };
	uint32_t depth = depths[any(ARRAY_SIZE(depths))];
	int err;

	err = ring_create(&r->ring, me.fd, depth ? depth : ctrl_info(me.fd).out_max_depth);
	if (err == -ENOSPC) {
		COUNT(no_queue);
		return;
	}
	if (err) {
		refused(err, "QUEUE_CREATE");
		return;
	}
	ring_map(&r->ring);
	r->there = true;
	r->target = NULL;
	COUNT(creates);
}

static void step_delete(struct my_ring *r)
{
	bool first = any(2);

	if (first)
		ring_unmap(&r->ring);
	r->there = false;
	r->target = NULL;
	ASSERT_EQ(0, ring_destroy(&r->ring));
	if (!first)
		ring_unmap(&r->ring);
	COUNT(deletes);
}

static uint32_t ring_state(const struct my_ring *r)
{
	return queue_info(me.fd, r->ring.q.out_queue_id).out_state;
}

/* Nothing that was given to a lost queue is executed when this returns. */
static void recreate(struct my_ring *r)
{
	uint64_t end = now_ms() + PATIENCE;
	int err;

	while ((err = ring_recreate(&r->ring)) == -EAGAIN) {
		COUNT(again);
		poll_fd(me.fd, POLLOUT, 5);
		ASSERT(now_ms() < end);
	}
	if (err == -ENODEV && w->site->may_go) {
		wait_gone();
		return;
	}
	ASSERT_EQ(0, err);
	r->target = NULL;
	COUNT(recreates);
}

static void step_remap(struct my_ring *r)
{
	ring_unmap(&r->ring);
	ring_map(&r->ring);
	if (any(2)) {
		(void)*(volatile uint8_t *)&r->ring.sq->opcode;
		(void)*(volatile uint16_t *)&r->ring.cq->status;
		(void)*(volatile uint32_t *)r->ring.db;
	}
	COUNT(maps);
}

/* --- memory --- */

static void step_register(struct my_memory *m)
{
	size_t length = (1 + any(MEMORY_PAGES)) * PAGE;
	int memfd = any(2) ? memfd_create("homi", MFD_CLOEXEC) : -1, err;
	uint32_t flags = any(8) ? HOMI_MEM_WRITE : 0, count;
	void *va;

	if (memfd >= 0)
		ASSERT(!ftruncate(memfd, length));
	va = mmap(NULL, length, PROT_READ | PROT_WRITE,
		  memfd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, memfd, 0);
	ASSERT(va != MAP_FAILED);
	if (memfd >= 0)
		close(memfd);
	m->dma = (struct dma){ .fd = me.fd, .va = va, .length = length };
	err = mem_register(me.fd, va, length, flags, &m->dma.id, &m->dma.segments);
	if (err) {
		munmap(va, length);
		refused(err, "MEM_REGISTER");
		return;
	}
	m->dma.seg = calloc(m->dma.segments, sizeof(*m->dma.seg));
	m->writable = flags;
	m->there = true;
	count = m->dma.segments;
	err = mem_segments(me.fd, m->dma.id, m->dma.seg, &count);
	if (err)
		refused(err, "MEM_SEGMENTS");
	COUNT(registers);
}

static void step_unregister(struct my_memory *m)
{
	uint64_t end = now_ms() + PATIENCE;
	int err = destroy(me.fd, m->dma.id), i;
	bool queues = false;

	for (i = 0; i < RINGS; i++)
		queues |= me.rings[i].there;
	if (err == -EBUSY && queues) {
		COUNT(busy);
		return;
	}
	/* A queue that was destroyed in a reset lets go when that is over. */
	while (err == -EBUSY) {
		ASSERT(now_ms() < end);
		usleep(1000);
		err = destroy(me.fd, m->dma.id);
	}
	ASSERT_EQ(0, err);
	m->there = false;
	free(m->dma.seg);
	munmap(m->dma.va, m->dma.length);
	COUNT(unregisters);
}

/* --- I/O --- */

uint64_t worker_block_id(const struct worker *worker, unsigned int block)
{
	return worker->index * WORKER_BLOCKS + block;
}

void worker_check_block(struct worker *worker, unsigned int block, const char *buf)
{
	struct block *b = &worker->blocks[block];
	uint64_t id = worker_block_id(worker, block), seq = block_version(buf, id);

	if (b->next != b->seq)
		atomic_fetch_add(&worker->counts->undecided, 1);
	if (seq != b->seq && seq != b->next)
		FAIL("worker %u, block %u holds version %llu, not %llu or %llu", worker->index, block,
		     (unsigned long long)seq, (unsigned long long)b->seq,
		     (unsigned long long)b->next);
	b->seq = seq;
	__atomic_store_n(&b->next, seq, __ATOMIC_SEQ_CST);
	atomic_fetch_add(&worker->counts->verified, 1);
}

static void post_block(struct my_ring *r, struct my_memory *m, unsigned int block,
		       unsigned int page, bool write)
{
	struct block *b = &w->blocks[block];
	uint64_t id = worker_block_id(w, block);
	struct sqe sqe = sqe_rw(write ? NVME_WRITE : NVME_READ, &w->site->area, id * PAGE, PAGE,
				&m->dma, page * PAGE, NULL);

	if (write) {
		/* Known before it can happen. */
		__atomic_store_n(&b->next, b->seq + 1, __ATOMIC_SEQ_CST);
		block_stamp(m->dma.va + page * PAGE, id, b->next);
	} else {
		memset(m->dma.va + page * PAGE, 0, 64);
	}
	sqe.cid = page;
	ring_post(&r->ring, &sqe);
}

/* Waits for one command; false if the queue was lost instead, and is made anew now. */
static bool completed(struct my_ring *r, struct cqe *cqe)
{
	uint64_t end = now_ms() + PATIENCE;

	while (ring_poll(&r->ring, cqe, 4)) {
		if (ring_state(r) != HOMI_QUEUE_LIVE)
			goto lost;
		if (now_ms() > end)
			FAIL("worker %u: a command is not completed", w->index);
	}
	if (!(cqe->status >> 1))
		return true;
	/* Aborted? Then the queue is being deleted, by a recall. */
	usleep(20000);
	if (ring_state(r) == HOMI_QUEUE_LIVE)
		FAIL("worker %u: status %#x", w->index, cqe->status >> 1);
lost:
	COUNT(lost);
	recreate(r);
	return false;
}

/* Commands on neighbouring blocks, at most one on each, all waited for. */
static void step_io(struct my_ring *r, struct my_memory *m)
{
	unsigned int room = r->ring.q.depth - 1, pages = m->dma.length / PAGE, n, k;
	unsigned int first = any(WORKER_BLOCKS), block;
	struct cqe cqe;
	bool writes[16];

	room = room < pages ? room : pages;
	n = 1 + any(room < ARRAY_SIZE(writes) ? room : ARRAY_SIZE(writes));
	for (k = 0; k < n; k++) {
		block = (first + k) % WORKER_BLOCKS;
		writes[k] = w->blocks[block].next == w->blocks[block].seq && any(2);
		post_block(r, m, block, k, writes[k]);
	}
	ring_doorbell(&r->ring);
	for (k = 0; k < n; k++) {
		if (!completed(r, &cqe))
			return;
		ASSERT(cqe.cid < n);
		block = (first + cqe.cid) % WORKER_BLOCKS;
		if (writes[cqe.cid])
			__atomic_store_n(&w->blocks[block].seq, w->blocks[block].next,
					 __ATOMIC_SEQ_CST);
		else
			worker_check_block(w, block, m->dma.va + cqe.cid * PAGE);
		COUNT(commands);
	}
}

/* As many reads as fit, and nobody looks what becomes of them. */
static void step_abandon(struct my_ring *r, struct my_memory *m)
{
	unsigned int k;

	for (k = 0; !ring_full(&r->ring); k++) {
		struct sqe sqe = sqe_rw(NVME_READ, &w->site->area,
					worker_block_id(w, k % WORKER_BLOCKS) * PAGE, PAGE, &m->dma,
					k % (m->dma.length / PAGE) * PAGE, NULL);

		ring_post(&r->ring, &sqe);
	}
	ring_doorbell(&r->ring);
	r->target = m;
	COUNT(abandoned);
}

/* --- extents --- */

static void step_resolve(void)
{
	int err;

	if (me.file < 0)
		me.file = open(w->path, O_RDONLY | O_CLOEXEC);
	ASSERT(me.file >= 0);
	err = table_resolve(&me.table, me.fd, me.file, 0, 0);
	if (err) {
		refused(err, "EXTENT_RESOLVE");
		return;
	}
	me.table.t = mmap(NULL, me.table.r.out_mmap_length, PROT_READ, MAP_SHARED, me.fd,
			  me.table.r.out_mmap_offset);
	ASSERT(me.table.t != MAP_FAILED);
	me.has_table = true;
	COUNT(tables);
}

static void step_read_file(struct my_ring *r, struct my_memory *m)
{
	const struct homi_extent_table *t = me.table.t;
	uint64_t offset = any(WORKER_FILE / PAGE) * PAGE;
	struct sqe sqe = { .opcode = NVME_READ, .nsid = t->nsid };
	struct cqe cqe;

	if (t->state == HOMI_EXTENT_REVOKED)
		return;
	sqe.slba = table_lookup(&me.table, offset) / t->block_size;
	sqe.nlb = PAGE / t->block_size - 1;
	sqe.prp1 = dma_addr(&m->dma, 0);
	ring_post(&r->ring, &sqe);
	ring_doorbell(&r->ring);
	if (completed(r, &cqe))
		ASSERT_SAME(w->content + offset, m->dma.va, PAGE);
}

/* Somebody wants to write; a holder who does not give way loses its queues. */
static void step_recall(void)
{
	pid_t pid = fork();

	if (!pid) {
		open(w->path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
		_exit(0);
	}
	ASSERT_EQ(0, child_status(pid));
	if (me.table.t->state == HOMI_EXTENT_RECALLED)
		COUNT(recalls);
}

static void step_extent(struct my_ring *r, struct my_memory *m)
{
	if (!me.has_table) {
		step_resolve();
		return;
	}
	if (me.table.t->state != HOMI_EXTENT_VALID && any(8)) {
		ASSERT_EQ(0, table_close(&me.table));
		me.has_table = false;
	} else if (!any(4)) {
		step_recall();
	} else if (r && m) {
		step_read_file(r, m);
	}
}

/* --- all of it --- */

static void step_fork(struct my_ring *r, struct my_memory *m)
{
	unsigned int us = any(4000);
	pid_t pid = fork();

	if (!pid) {
		usleep(us);
		_exit(0);
	}
	if (r && m)
		step_io(r, m);
	ASSERT_EQ(0, child_status(pid));
	COUNT(forks);
}

static void step_nonsense(void)
{
	struct ring ring;

	ASSERT_EQ(-ENOENT, destroy(me.fd, 0xfffff0));
	ASSERT_EQ(-EINVAL, ring_create(&ring, me.fd, 1));
	ASSERT_EQ(-EINVAL, mem_register(me.fd, (void *)16, PAGE, 0, NULL, NULL));
}

static void step(void)
{
	struct my_ring *r = &me.rings[any(RINGS)];
	struct my_memory *m = &me.memories[any(MEMORIES)];
	bool io = m->there && m->writable;
	int i;

	if (r->there && ring_state(r) != HOMI_QUEUE_LIVE && any(4)) {
		recreate(r);
		return;
	}
	io &= r->there && !r->target && ring_state(r) == HOMI_QUEUE_LIVE;
	/* What another queue still writes to would be taken for wrong data. */
	for (i = 0; i < RINGS; i++)
		io &= me.rings[i].target != m;
	switch (any(20)) {
	case 0:
		drop_file();
		break;
	case 1: case 2: case 3:
		r->there ? step_delete(r) : step_create(r);
		break;
	case 4: case 5:
		m->there ? step_unregister(m) : step_register(m);
		break;
	case 6: case 7:
		if (r->there)
			step_remap(r);
		break;
	case 8:
		if (io)
			step_abandon(r, m);
		break;
	case 9:
		step_fork(io ? r : NULL, m);
		break;
	case 10: case 11: case 12:
		if (w->path[0])
			step_extent(io ? r : NULL, m);
		break;
	case 13:
		step_nonsense();
		break;
	default:
		if (io)
			step_io(r, m);
		else if (!r->there)
			step_create(r);
		else if (!m->there)
			step_register(m);
		else
			step_delete(r);
	}
}

void worker_run(struct worker *worker)
{
	struct sigaction act = { .sa_handler = on_sigbus, .sa_flags = SA_NODEFER };

	w = worker;
	ASSERT(!sigaction(SIGBUS, &act, NULL));
	while (!atomic_load(w->stop)) {
		if (sigsetjmp(gone_return, 1)) {
			COUNT(gone);
			wait_gone();
		}
		if (me.gone)
			drop_file();
		if (me.fd < 0) {
			step_open();
			continue;
		}
		me.refused = false;
		step();
		/* Else a reset would use up the steps. */
		if (!me.refused)
			COUNT(steps);
	}
	drop_file();
	_exit(0);
}
