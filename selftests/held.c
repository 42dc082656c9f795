// SPDX-License-Identifier: GPL-2.0-only
/* See held.h. */
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>

#include "held.h"

int extent_ack(const struct table *table, uint64_t generation)
{
	struct homi_extent_ack cmd = {
		.size = sizeof(cmd),
		.extent_id = table->r.out_extent_id,
		.generation = generation,
	};

	return homi_call(table->fd, HOMI_EXTENT_ACK, &cmd);
}

void wait_recalled(const struct table *table)
{
	volatile const uint32_t *now = &table->t->state;
	uint64_t end = now_ms() + 20000;
	uint32_t state;

	while ((state = *now) != HOMI_EXTENT_RECALLED) {
		ASSERT_EQ(HOMI_EXTENT_VALID, state);
		ASSERT(now_ms() < end);
		nap_ms(2);
	}
}

void hold(struct held *h, const char *dir, const char *name)
{
	h->fd = homi_open();
	h->queue = ctrl_info(h->fd).out_queues_spare > 0;
	h->event = eventfd(0, EFD_CLOEXEC);
	set_recall_ms(MINUTE_MS);
	file_create(&h->file, dir, name, PAGES * PAGE, 61);
	if (h->queue)
		ring_open(&h->ring, h->fd, 4);
	table_open(&h->table, h->fd, h->file.fd, 0, 0);
	ASSERT_EQ(0, event_bind(h->fd, h->table.r.out_extent_id, h->event));
	h->generation = h->table.t->generation;
}

void answer(struct held *h, const struct waiter *waiter)
{
	uint64_t generation;

	ASSERT_EQ(1, event_wait(h->event, 20000));
	wait_recalled(&h->table);
	generation = h->table.t->generation;
	ASSERT_EQ(h->generation + 1, generation);
	ASSERT_EQ(POLLPRI, poll_fd(h->fd, POLLPRI, 0));
	ASSERT(waiter_waits(waiter, 100));
	ASSERT_EQ(-EINVAL, extent_ack(&h->table, generation - 1));
	ASSERT_EQ(-EINVAL, extent_ack(&h->table, generation + 1));
	ASSERT_EQ(HOMI_EXTENT_RECALLED, h->table.t->state);
	ASSERT_EQ(0, extent_ack(&h->table, generation));
	ASSERT_EQ(HOMI_EXTENT_ACKED, h->table.t->state);
	ASSERT_EQ(generation + 1, h->table.t->generation);
	ASSERT_EQ(0, waiter_end(waiter, MINUTE_MS / 2, NULL));
	/* Once more changes nothing; nobody is told of one's own answer. */
	ASSERT_EQ(0, extent_ack(&h->table, generation));
	ASSERT_EQ(generation + 1, h->table.t->generation);
	ASSERT_EQ(0, event_wait(h->event, 50));
	ASSERT_EQ(0, poll_fd(h->fd, POLLPRI, 0));
	if (h->queue)
		ASSERT_EQ(HOMI_QUEUE_LIVE, queue_info(h->fd, h->ring.q.out_queue_id).out_state);
}

void let_go(struct held *h)
{
	ASSERT_EQ(0, table_close(&h->table));
	if (h->queue) {
		ASSERT_EQ(0, ring_destroy(&h->ring));
		ring_unmap(&h->ring);
	}
	ASSERT_EQ(0, poll_fd(h->fd, POLLPRI, 0));
	close(h->file.fd);
	if (unlink(h->file.path))
		ASSERT_EQ(ENOENT, errno);
	close(h->event);
	close(h->fd);
}
