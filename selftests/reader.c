// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "reader.h"

#define LIST	(READER_IN_FLIGHT * PAGE)	/* in the MEM, behind the buffers */
#define SINK	(LIST + PAGE)

/*
 * When blocks get larger under a command it transfers more than its buffer holds. What is too
 * much goes to a page that nobody looks at; as long as the size is right PRP2 means nothing.
 */
static void reader_sink(struct reader *r)
{
	uint64_t *list = (uint64_t *)(r->dma.va + LIST);
	unsigned int i;

	for (i = 0; i < PAGE / sizeof(*list); i++)
		list[i] = dma_addr(&r->dma, SINK);
}

void reader_post(struct reader *r, unsigned int i)
{
	uint64_t at = table_lookup(&r->table, i % READER_PAGES * PAGE);
	struct sqe sqe = { .opcode = NVME_READ, .nsid = r->table.r.out_nsid, .cid = i,
			   .prp1 = dma_addr(&r->dma, i % READER_IN_FLIGHT * PAGE),
			   .prp2 = dma_addr(&r->dma, LIST),
			   .slba = at / r->table.r.out_block_size,
			   .nlb = PAGE / r->table.r.out_block_size - 1 };

	ring_post(&r->ring, &sqe);
	ring_doorbell(&r->ring);
}

static void read_done(struct reader *r, const struct cqe *cqe)
{
	const char *got = r->dma.va + cqe->cid % READER_IN_FLIGHT * PAGE;

	if (cqe->status >> 1) {
		if (!atomic_load(&r->any))
			FAIL("a read failed with status %#x", cqe->status >> 1);
		atomic_fetch_add(&r->errors, 1);
	} else if (!atomic_load(&r->any)) {
		ASSERT_SAME(r->want + cqe->cid % READER_PAGES * PAGE, got, PAGE);
	}
	atomic_fetch_add(&r->done, 1);
}

static void *read_on(void *arg)
{
	struct reader *r = arg;
	unsigned int next, flight = READER_IN_FLIGHT;
	uint64_t quiet = now_ms();
	struct cqe cqe;

	for (next = 0; next < READER_IN_FLIGHT; next++)
		reader_post(r, next);
	while (flight) {
		if (!ring_poll(&r->ring, &cqe, 20)) {
			quiet = now_ms();
			read_done(r, &cqe);
			flight--;
			/* The buffer of the command that is done is the next one's. */
			if (atomic_load(&r->stop))
				continue;
			next = cqe.cid + READER_IN_FLIGHT;
			reader_post(r, next % (READER_IN_FLIGHT * READER_PAGES));
			flight++;
		} else if (queue_info(r->fd, r->ring.q.out_queue_id).out_state !=
			   HOMI_QUEUE_LIVE) {
			atomic_store(&r->lost, true);
			return NULL;
		}
		ASSERT(now_ms() < quiet + 30000);
	}
	return NULL;
}

/* @path holds what file_create() makes of @seed. The file itself is not kept open. */
void reader_start(struct reader *r, const char *path, const char *want)
{
	int file = open(path, O_RDONLY | O_CLOEXEC);

	ASSERT(file >= 0);
	memset(r, 0, sizeof(*r));
	r->want = (char *)want;
	r->fd = homi_open();
	need_queues(r->fd, 2);
	dma_new(&r->dma, r->fd, SINK + PAGE);
	reader_sink(r);
	table_open(&r->table, r->fd, file, 0, 0);
	close(file);
	r->event = eventfd(0, EFD_NONBLOCK);
	ASSERT_EQ(0, event_bind(r->fd, r->table.r.out_extent_id, r->event));
	ring_open(&r->ring, r->fd, 2 * READER_IN_FLIGHT);
	ASSERT(!pthread_create(&r->thread, NULL, read_on, r));
}

void reader_goes_on(struct reader *r)
{
	unsigned long from = atomic_load(&r->done);
	uint64_t end = now_ms() + 20000;

	while (atomic_load(&r->done) < from + 3 * READER_IN_FLIGHT) {
		ASSERT(!atomic_load(&r->lost));
		ASSERT(now_ms() < end);
		usleep(500);
	}
}

void reader_join(struct reader *r)
{
	if (atomic_exchange(&r->stop, true))
		return;
	ASSERT(!pthread_join(r->thread, NULL));
}

void reader_end(struct reader *r)
{
	reader_join(r);
	ASSERT_EQ(0, ring_destroy(&r->ring));
	ring_unmap(&r->ring);
	if (r->table.t)
		ASSERT_EQ(0, table_close(&r->table));
	ASSERT_EQ(0, dma_destroy(&r->dma));
	close(r->fd);
}

void reader_expect_true(struct reader *r)
{
	nap_ms(READER_WATCHED_MS);
	ASSERT_EQ(HOMI_EXTENT_VALID, r->table.t->state);
	ASSERT_EQ(1, r->table.t->generation);
	ASSERT_EQ(0, event_wait(r->event, 0));
	ASSERT_EQ(HOMI_QUEUE_LIVE, queue_info(r->fd, r->ring.q.out_queue_id).out_state);
	reader_goes_on(r);
}

void reader_expect_revoked(struct reader *r)
{
	uint64_t begin = now_ms(), end = begin + 20000;

	while (r->table.t->state != HOMI_EXTENT_REVOKED) {
		ASSERT(now_ms() < end);
		usleep(1000);
	}
	printf("# revoked after %llu ms\n", (unsigned long long)(now_ms() - begin));
	ASSERT(event_wait(r->event, 10000) > 0);
	while (queue_info(r->fd, r->ring.q.out_queue_id).out_state != HOMI_QUEUE_REVOKED) {
		ASSERT(now_ms() < end);
		usleep(1000);
	}
	ASSERT(poll_fd(r->fd, POLLPRI, 0) & POLLPRI);
	reader_join(r);
}

void reader_recreate(struct reader *r)
{
	uint64_t end = now_ms() + 20000;
	int err;

	while ((err = ring_recreate(&r->ring)) == -EAGAIN && now_ms() < end)
		nap_ms(5);
	ASSERT_EQ(0, err);
}

char *reader_file(const char *dir, const char *name, struct file *file)
{
	char *want = malloc(READER_PAGES * PAGE);

	ASSERT(want);
	file_create(file, dir, name, READER_PAGES * PAGE, 21);
	ASSERT_EQ(READER_PAGES * PAGE, pread(file->fd, want, READER_PAGES * PAGE, 0));
	close(file->fd);
	file->fd = -1;
	return want;
}
