// SPDX-License-Identifier: GPL-2.0-only
/* EXTENT_ACK: the answer to a recall, when it is none, and who else answers meanwhile. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>

#include "harness.h"
#include "held.h"

FS_TEST(not_recalled)
{
	struct held h;

	hold(&h, dir, "calm");
	ASSERT_EQ(-EINVAL, extent_ack(&h.table, 0));
	ASSERT_EQ(-EINVAL, extent_ack(&h.table, 1));
	ASSERT_EQ(HOMI_EXTENT_VALID, h.table.t->state);
	let_go(&h);
}

FS_TEST(too_late)
{
	struct waiter waiter;
	struct held h;

	hold(&h, dir, "late");
	set_recall_ms(100);
	waiter_start(&waiter, act_open_write, h.file.path);
	ASSERT_EQ(0, waiter_end(&waiter, 20000, NULL));
	ASSERT_EQ(HOMI_EXTENT_REVOKED, h.table.t->state);
	ASSERT_EQ(-ESTALE, extent_ack(&h.table, 2));
	ASSERT_EQ(-ESTALE, extent_ack(&h.table, h.table.t->generation));
	let_go(&h);
}

TEST(not_an_extent)
{
	struct homi_extent_ack cmd = { .size = sizeof(cmd) };
	int fd = homi_open();
	struct dma dma;

	dma_new(&dma, fd, PAGE);
	ASSERT_EQ(-ENOENT, homi_call(fd, HOMI_EXTENT_ACK, &cmd));
	cmd.extent_id = dma.id;
	ASSERT_EQ(-ENOENT, homi_call(fd, HOMI_EXTENT_ACK, &cmd));
	ASSERT_EQ(0, dma_destroy(&dma));
}

/* The blocks are the file's again for who resolves it anew, also without a name. */
FS_TEST(resolved_again)
{
	struct waiter waiter;
	struct table again;
	struct held h;

	hold(&h, dir, "again");
	waiter_start(&waiter, act_unlink, h.file.path);
	answer(&h, &waiter);
	table_open(&again, h.fd, h.file.fd, 0, 0);
	table_check(&again, 0, PAGES * PAGE);
	ASSERT_EQ(table_lookup(&h.table, 0), table_lookup(&again, 0));
	ASSERT_EQ(0, table_close(&again));
	let_go(&h);
}

/* Several EXTENTs of one file: it takes all their answers. */
FS_TEST(each_has_to)
{
	struct waiter waiter;
	struct held h;
	struct table other;

	hold(&h, dir, "each");
	table_open(&other, h.fd, h.file.fd, 0, PAGE);
	waiter_start(&waiter, act_open_write, h.file.path);
	wait_recalled(&other);
	wait_recalled(&h.table);
	ASSERT_EQ(0, extent_ack(&other, other.t->generation));
	ASSERT(waiter_waits(&waiter, 300));
	ASSERT_EQ(POLLPRI, poll_fd(h.fd, POLLPRI, 0));
	answer(&h, &waiter);
	ASSERT_EQ(0, table_close(&other));
	let_go(&h);
}

/* By many at once, and while others destroy it: one answer counts, nothing is left. */
static struct table *raced;
static uint64_t raced_generation;

static void *ack_loop(void *arg)
{
	int err;

	(void)arg;
	do {
		err = extent_ack(raced, raced_generation);
	} while (err == -EINVAL);
	ASSERT(err == 0 || err == -ENOENT || err == -ESTALE);
	return NULL;
}

static void wait_not_valid(const struct table *table)
{
	volatile const uint32_t *now = &table->t->state;

	while (*now == HOMI_EXTENT_VALID)
		nap_ms(1);
}

FS_TEST_TIMEOUT(raced_acks, 120)
{
	unsigned int rounds = times(100, 12), i, k;
	int fd = homi_open();
	struct file file;

	file_create(&file, dir, "raced", 4 * PAGE, 64);
	for (i = 0; i < rounds; i++) {
		pthread_t threads[3];
		struct waiter waiter;
		struct table table;

		/* Sometimes so soon that the fence is one of them */
		set_recall_ms(i % 3 ? MINUTE_MS : 10);
		table_open(&table, fd, file.fd, 0, 0);
		raced = &table;
		raced_generation = table.t->generation + 1;
		for (k = 0; k < ARRAY_SIZE(threads); k++)
			ASSERT(!pthread_create(&threads[k], NULL, ack_loop, NULL));
		waiter_start(&waiter, act_open_write, file.path);
		if (i % 2) {
			wait_not_valid(&table);
			ASSERT_EQ(0, destroy(fd, table.r.out_extent_id));
		}
		ASSERT_EQ(0, waiter_end(&waiter, 30000, NULL));
		for (k = 0; k < ARRAY_SIZE(threads); k++)
			pthread_join(threads[k], NULL);
		if (i % 2)
			munmap((void *)table.t, table.r.out_mmap_length);
		else
			ASSERT_EQ(0, table_close(&table));
		ASSERT_EQ(0, poll_fd(fd, POLLPRI, 0));
	}
	file_remove(&file);
}
