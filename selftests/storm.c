// SPDX-License-Identifier: GPL-2.0-only
#include <linux/aio_abi.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include "storm.h"

#define STOCK_OFFSET	(1u << 20)
#define AREA		(2u << 20)
#define MAGIC		0x686f6d6973746f72ull

void block_stamp(char *buf, uint64_t id, uint64_t seq)
{
	uint64_t *word = (uint64_t *)buf, x = (id << 40) + seq + 1;
	unsigned int i;

	word[0] = MAGIC;
	word[1] = id;
	word[2] = seq;
	for (i = 3; i < PAGE / 8; i++)
		word[i] = x = x * 6364136223846793005ull + 1442695040888963407ull;
}

uint64_t block_version(const char *buf, uint64_t id)
{
	const uint64_t *word = (const uint64_t *)buf;
	uint64_t x;
	unsigned int i;

	if (word[0] != MAGIC || word[1] != id)
		FAIL("block %llu holds %#llx of %llu", (unsigned long long)id,
		     (unsigned long long)word[0], (unsigned long long)word[1]);
	x = (id << 40) + word[2] + 1;
	for (i = 3; i < PAGE / 8; i++) {
		x = x * 6364136223846793005ull + 1442695040888963407ull;
		if (word[i] != x)
			FAIL("block %llu, version %llu: torn at byte %u", (unsigned long long)id,
			     (unsigned long long)word[2], i * 8);
	}
	return word[2];
}

static void slot_check(struct storm *storm, struct slot *slot)
{
	uint64_t seq = block_version(slot->buf, slot->id);

	if (slot->unknown && seq == slot->next)
		slot->seq = slot->next;
	if (slot->unknown)
		atomic_fetch_add(&storm->undecided, 1);
	slot->unknown = false;
	slot->next = slot->seq;
	if (seq != slot->seq)
		FAIL("block %llu holds version %llu, not %llu", (unsigned long long)slot->id,
		     (unsigned long long)seq, (unsigned long long)slot->seq);
}

/* What to do next with a block: true for a write. */
static bool slot_begin(struct slot *slot)
{
	slot->busy = true;
	slot->turn = !slot->turn;
	if (slot->unknown || slot->turn) {
		memset(slot->buf, 0, 64);
		return false;
	}
	slot->next = slot->seq + 1;
	block_stamp(slot->buf, slot->id, slot->next);
	return true;
}

static void slot_end(struct storm *storm, struct slot *slot)
{
	slot->busy = false;
	if (slot->next != slot->seq && !slot->unknown)
		slot->seq = slot->next;
	else
		slot_check(storm, slot);
}

/* --- homi's side --- */

static void homi_post(struct storm *storm, unsigned int cid)
{
	struct slot *slot = &storm->homi[cid];
	bool write = slot_begin(slot);
	struct sqe sqe = sqe_rw(write ? NVME_WRITE : NVME_READ, &storm->area, slot->id * PAGE, PAGE,
				&storm->dma, cid * PAGE, NULL);

	sqe.cid = cid;
	atomic_fetch_add(&storm->homi_in_flight, 1);
	ring_post(&storm->ring, &sqe);
}

static void homi_complete(struct storm *storm, const struct cqe *cqe)
{
	ASSERT(cqe->cid < STORM_SLOTS && storm->homi[cqe->cid].busy);
	ASSERT_EQ(0, cqe->status >> 1);
	slot_end(storm, &storm->homi[cqe->cid]);
	atomic_fetch_sub(&storm->homi_in_flight, 1);
	atomic_fetch_add(&storm->homi_done, 1);
}

/* What was in flight may have been done, or not; after this nothing is. */
static void homi_lost(struct storm *storm)
{
	struct cqe cqe;
	unsigned int i;
	int err;

	while (!ring_poll(&storm->ring, &cqe, 0))
		homi_complete(storm, &cqe);
	for (i = 0; i < STORM_SLOTS; i++) {
		struct slot *slot = &storm->homi[i];

		if (!slot->busy)
			continue;
		slot->busy = false;
		slot->unknown |= slot->next != slot->seq;
		atomic_fetch_add(&storm->lost, 1);
	}
	atomic_store(&storm->homi_in_flight, 0);
	while ((err = ring_recreate(&storm->ring)) == -EAGAIN)
		poll_fd(storm->fd, POLLOUT, 20);
	ASSERT_EQ(0, err);
	atomic_fetch_add(&storm->recreated, 1);
}

static void *homi_side(void *arg)
{
	struct storm *storm = arg;
	uint64_t quiet = now_ms();

	for (;;) {
		bool stop = atomic_load(&storm->stop), posted = false;
		struct cqe cqe;
		unsigned int i;

		for (i = 0; !stop && i < STORM_SLOTS; i++)
			if (!storm->homi[i].busy) {
				homi_post(storm, i);
				posted = true;
			}
		if (posted)
			ring_doorbell(&storm->ring);
		if (!ring_poll(&storm->ring, &cqe, 2)) {
			do {
				homi_complete(storm, &cqe);
			} while (!ring_poll(&storm->ring, &cqe, 0));
			quiet = now_ms();
		} else if (queue_info(storm->fd, storm->ring.q.out_queue_id).out_state !=
			   HOMI_QUEUE_LIVE) {
			homi_lost(storm);
			quiet = now_ms();
		} else if (now_ms() - quiet > 20000) {
			FAIL("%u commands are not completed", storm->homi_in_flight);
		}
		if (stop && !atomic_load(&storm->homi_in_flight))
			return NULL;
	}
}

/* --- stock's side --- */

static void stock_post(struct storm *storm, aio_context_t aio, unsigned int i)
{
	struct slot *slot = &storm->stock[i];
	bool write = slot_begin(slot);
	struct iocb cb = {
		.aio_data = i,
		.aio_lio_opcode = write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
		.aio_fildes = storm->area.fd,
		.aio_buf = (uintptr_t)slot->buf,
		.aio_nbytes = PAGE,
		.aio_offset = storm->area.offset + slot->id * PAGE,
	}, *cbs = &cb;

	atomic_fetch_add(&storm->stock_in_flight, 1);
	ASSERT_EQ(1, syscall(SYS_io_submit, aio, 1, &cbs));
}

static void *stock_side(void *arg)
{
	struct timespec limit = { .tv_sec = 60 };
	struct storm *storm = arg;
	struct io_event events[STORM_SLOTS];
	aio_context_t aio = 0;
	unsigned int i;
	long n;

	ASSERT_EQ(0, syscall(SYS_io_setup, STORM_SLOTS, &aio));
	for (;;) {
		bool stop = atomic_load(&storm->stop);

		for (i = 0; !stop && i < STORM_SLOTS; i++)
			if (!storm->stock[i].busy)
				stock_post(storm, aio, i);
		if (!atomic_load(&storm->stock_in_flight))
			break;
		do {	/* which a suspend interrupts */
			n = syscall(SYS_io_getevents, aio, 1, STORM_SLOTS, events, &limit);
		} while (n < 0 && errno == EINTR);
		if (n <= 0)
			FAIL("stock: no completion (%ld)", n);
		for (i = 0; i < n; i++) {
			if (events[i].res != PAGE)
				FAIL("stock: I/O error %lld", (long long)events[i].res);
			slot_end(storm, &storm->stock[events[i].data]);
			atomic_fetch_sub(&storm->stock_in_flight, 1);
			atomic_fetch_add(&storm->stock_done, 1);
		}
	}
	syscall(SYS_io_destroy, aio);
	return NULL;
}

/* --- both --- */

void storm_begin(struct storm *storm)
{
	unsigned int i;
	char *bufs;

	memset(storm, 0, sizeof(*storm));
	storm->least_homi = storm->least_stock = ~0u;
	storm->fd = homi_open();
	need_queues(storm->fd, 1);
	area_open(&storm->area, AREA);
	area_need_write(&storm->area);
	dma_new(&storm->dma, storm->fd, STORM_SLOTS * PAGE);
	ASSERT(!posix_memalign((void **)&bufs, PAGE, STORM_SLOTS * PAGE));
	for (i = 0; i < STORM_SLOTS; i++) {
		storm->homi[i].id = i;
		storm->homi[i].buf = storm->dma.va + i * PAGE;
	}
	for (i = 0; i < STORM_SLOTS; i++) {
		storm->stock[i].id = STOCK_OFFSET / PAGE + i;
		storm->stock[i].buf = bufs + i * PAGE;
	}
	for (i = 0; i < STORM_SLOTS + STORM_SLOTS; i++) {
		struct slot *slot = i < STORM_SLOTS ? &storm->homi[i] :
						     &storm->stock[i - STORM_SLOTS];

		block_stamp(slot->buf, slot->id, 0);
		ASSERT_EQ(PAGE, pwrite(storm->area.fd, slot->buf, PAGE,
				       storm->area.offset + slot->id * PAGE));
	}
	/* Completions of as many commands as there are slots always fit. */
	ring_open(&storm->ring, storm->fd, STORM_SLOTS + 1);
	ASSERT(!pthread_create(&storm->threads[0], NULL, homi_side, storm));
	ASSERT(!pthread_create(&storm->threads[1], NULL, stock_side, storm));
}

/* All blocks once more, through the other side. */
static void storm_check(struct storm *storm)
{
	unsigned int i;
	char *buf;

	ASSERT(!posix_memalign((void **)&buf, PAGE, PAGE));
	for (i = 0; i < STORM_SLOTS + STORM_SLOTS; i++) {
		struct slot *slot = i < STORM_SLOTS ? &storm->homi[i] :
						     &storm->stock[i - STORM_SLOTS];

		area_pread(&storm->area, slot->id * PAGE, buf, PAGE);
		slot->buf = buf;
		slot_check(storm, slot);
	}
}

void storm_wait_in_flight(struct storm *storm)
{
	uint64_t end = now_ms() + 20000;
	unsigned int homi, stock;

	do {
		homi = atomic_load(&storm->homi_in_flight);
		stock = atomic_load(&storm->stock_in_flight);
		if (homi >= STORM_IN_FLIGHT && stock >= STORM_IN_FLIGHT) {
			storm->least_homi = homi < storm->least_homi ? homi : storm->least_homi;
			storm->least_stock = stock < storm->least_stock ? stock :
									  storm->least_stock;
			return;
		}
		usleep(200);
	} while (now_ms() < end);
	FAIL("only %u commands and %u requests in flight", homi, stock);
}

void storm_reset(struct storm *storm, void (*reset)(struct storm *storm))
{
	unsigned long recreated = atomic_load(&storm->recreated), homi, stock;
	uint64_t end;

	storm_wait_in_flight(storm);
	reset(storm);
	storm->resets++;
	ASSERT(wait_live(ctrl_name(), 20000));
	/* Both sides go on before the next one. */
	end = now_ms() + 20000;
	homi = atomic_load(&storm->homi_done);
	stock = atomic_load(&storm->stock_done);
	while (atomic_load(&storm->recreated) == recreated ||
	       atomic_load(&storm->homi_done) < homi + 10 ||
	       atomic_load(&storm->stock_done) < stock + 10) {
		if (now_ms() > end)
			FAIL("reset %u: after it %lu queues made anew, %lu commands, %lu requests",
			     storm->resets, atomic_load(&storm->recreated) - recreated,
			     atomic_load(&storm->homi_done) - homi,
			     atomic_load(&storm->stock_done) - stock);
		usleep(500);
	}
}

void storm_end(struct storm *storm)
{
	unsigned int i;

	atomic_store(&storm->stop, true);
	for (i = 0; i < 2; i++)
		ASSERT(!pthread_join(storm->threads[i], NULL));
	printf("# %u resets, in flight at each at least %u commands of homi and %u requests of stock\n",
	       storm->resets, storm->least_homi, storm->least_stock);
	printf("# homi: %lu commands, %lu lost with their queue, %lu lost writes settled; stock: %lu requests\n",
	       storm->homi_done, storm->lost, storm->undecided, storm->stock_done);
	ASSERT(storm->lost > 0);
	ASSERT_EQ(0, ring_destroy(&storm->ring));
	ring_unmap(&storm->ring);
	storm_check(storm);
}
