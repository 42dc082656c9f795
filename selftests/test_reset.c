// SPDX-License-Identifier: GPL-2.0-only
/* Controller resets under lent queues. Stock must not notice homi, nor lose anything. */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "files.h"
#include "harness.h"
#include "ring.h"

#define AREA	(256 * 1024u)

static char *page_buffer(size_t size)
{
	void *buf = NULL;

	ASSERT(!posix_memalign(&buf, PAGE, size));
	return buf;
}

/* What must be the same after as before */
struct stock {
	long long queue_count;
	uint64_t size;
	struct area area;
	char *copy, *again;
};

static void stock_open(struct stock *stock)
{
	stock->queue_count = sysfs_number("/sys/class/nvme/%s/queue_count", ctrl_name());
	stock->size = sysfs_number("/sys/class/block/%s/size", base_name(bdev_path()));
	ASSERT(stock->queue_count >= 2 && stock->size > 0);
	stock->copy = page_buffer(AREA);
	stock->again = page_buffer(AREA);
	area_open(&stock->area, AREA);
	area_fill(&stock->area, 21, stock->copy);
}

static void stock_check(struct stock *stock)
{
	ASSERT(wait_live(ctrl_name(), 30000));
	ASSERT_EQ(stock->queue_count, sysfs_number("/sys/class/nvme/%s/queue_count", ctrl_name()));
	ASSERT_EQ(stock->size, sysfs_number("/sys/class/block/%s/size", base_name(bdev_path())));
	memset(stock->again, 0, AREA);
	area_pread(&stock->area, 0, stock->again, AREA);
	ASSERT_SAME(stock->copy, stock->again, AREA);
}

static void reset(void)
{
	ASSERT_EQ(0, reset_controller(ctrl_name()));
	ASSERT(wait_live(ctrl_name(), 30000));
}

/* After LIVE homi has still to ask what is granted: EAGAIN until then. */
static void create_again(struct ring *ring, int fd, uint32_t depth)
{
	uint64_t end = now_ms() + 30000;
	int err;

	while ((err = ring_create(ring, fd, depth)) == -EAGAIN && now_ms() < end)
		nap_ms(2);
	ASSERT_EQ(0, err);
	ring_map(ring);
}

static void wait_homi_live(int fd)
{
	uint64_t end = now_ms() + 30000;
	uint32_t state;

	while ((state = ctrl_info(fd).out_state) != HOMI_CTRL_LIVE) {
		ASSERT_EQ(HOMI_CTRL_RESETTING, state);
		ASSERT(now_ms() < end);
		nap_ms(2);
	}
}

static void check_queue(int fd, struct stock *stock)
{
	struct ring ring;
	struct dma dma, list;

	create_again(&ring, fd, 16);
	dma_new(&dma, fd, AREA);
	dma_new(&list, fd, PAGE);
	ASSERT_EQ(0, ring_copy(&ring, NVME_READ, &stock->area, 0, AREA, &dma, &list,
			       max_step(fd)));
	ASSERT_SAME(dma.va, stock->copy, AREA);
	ASSERT_EQ(0, ring_destroy(&ring));
	ring_unmap(&ring);
	ASSERT_EQ(0, dma_destroy(&dma));
	ASSERT_EQ(0, dma_destroy(&list));
}

TEST(without_queues)
{
	int fd = homi_open();
	uint64_t before = ctrl_info(fd).out_generation;
	struct homi_ctrl_info info;
	struct stock stock;

	stock_open(&stock);
	reset();
	wait_homi_live(fd);
	info = ctrl_info(fd);
	ASSERT(info.out_generation > before);
	stock_check(&stock);
}

TEST(same_budget_afterwards)
{
	int fd = homi_open();
	struct homi_ctrl_info before = ctrl_info(fd), after;

	reset();
	wait_homi_live(fd);
	after = ctrl_info(fd);
	ASSERT_EQ(before.out_queues_granted, after.out_queues_granted);
	ASSERT_EQ(before.out_queues_kernel, after.out_queues_kernel);
	ASSERT_EQ(before.out_queues_spare, after.out_queues_spare);
	ASSERT_EQ(before.out_reason, after.out_reason);
	ASSERT_EQ(before.out_features, after.out_features);
}

/*
 * The pages of a lost queue are not the ones that they were: the doorbell page has the doorbells
 * of the live queues too, and through it nobody may ring one of them.
 */
TEST(lost_pages_lead_nowhere)
{
	const uint32_t mark = 0x600dcafe, at = PAGE / 4 - 1;
	int fd = homi_open();
	struct ring lost_ring, ring;
	struct dma dma;
	struct stock stock;
	struct sqe sqe;
	struct cqe cqe;

	need_queues(fd, 2);
	stock_open(&stock);
	ring_open(&lost_ring, fd, 8);
	/* with pages that are mapped in, and that only a zap takes away */
	ASSERT_EQ(0, fault_of(lost_ring.db, false));
	if (lost_ring.shadow)
		ASSERT_EQ(0, fault_of(lost_ring.shadow, false) + fault_of(lost_ring.event, false));
	reset();
	create_again(&ring, fd, 8);
	dma_new(&dma, fd, PAGE);
	sqe = sqe_rw(NVME_READ, &stock.area, 0, PAGE, &dma, 0, NULL);
	ring_post(&ring, &sqe);
	if (ring.shadow) {
		((volatile uint32_t *)lost_ring.shadow)[at] = mark;
		((volatile uint32_t *)lost_ring.event)[at] = mark;
		ASSERT(((volatile uint32_t *)ring.shadow)[at] != mark);
		ASSERT(((volatile uint32_t *)ring.event)[at] != mark);
		*(volatile uint32_t *)((char *)ring.shadow + ring.q.out_sq_shadow_offset) =
			ring.sq_tail;
	}
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	*(volatile uint32_t *)((char *)lost_ring.db + ring.q.out_sq_db_offset) = ring.sq_tail;
	ASSERT_EQ(RING_TIMEOUT, ring_poll(&ring, &cqe, 300));
	/* The same by the live queue's own page works. */
	ring_doorbell(&ring);
	ASSERT_EQ(0, ring_poll(&ring, &cqe, 30000));
	ASSERT_EQ(0, cqe.status >> 1);
	ASSERT_SAME(stock.copy, dma.va, PAGE);
}

static void post_many(struct ring *ring, struct stock *stock, struct dma *dma, struct dma *list)
{
	struct sqe sqe = sqe_rw(NVME_READ, &stock->area, 0, max_step(ring->fd), dma, 0, list);

	while (!ring_full(ring))
		ring_post(ring, &sqe);
	ring_doorbell(ring);
}

/* Stores to doorbells and shadow entries of a lost queue go nowhere, whatever their value. */
static void ring_lost_doorbells(struct ring *ring)
{
	unsigned int i;

	for (i = 0; i < PAGE / 4; i++)
		((volatile uint32_t *)ring->db)[i] = 0xffffffff;
	for (i = 0; ring->shadow && i < PAGE / 4; i++)
		((volatile uint32_t *)ring->shadow)[i] = 0xffffffff;
	for (i = 0; ring->shadow && i < PAGE / 4; i++)
		((volatile uint32_t *)ring->event)[i] = 0xffffffff;
}

TEST(lent_queues_are_lost)
{
	int fd = homi_open();
	uint64_t generation = ctrl_info(fd).out_generation;
	struct ring ring, idle;
	struct dma dma, list;
	struct stock stock;

	need_queues(fd, 2);
	stock_open(&stock);
	ring_open(&ring, fd, 64);
	ring_open(&idle, fd, 4);
	dma_new(&dma, fd, AREA);
	dma_new(&list, fd, PAGE);
	post_many(&ring, &stock, &dma, &list);
	reset();
	ASSERT_EQ(HOMI_QUEUE_LOST, queue_info(fd, ring.q.out_queue_id).out_state);
	ASSERT_EQ(HOMI_QUEUE_LOST, queue_info(fd, idle.q.out_queue_id).out_state);
	ASSERT_EQ(generation, queue_info(fd, ring.q.out_queue_id).out_generation);
	ASSERT(ctrl_info(fd).out_generation > generation);
	/* The rings stay as they were, for reading. */
	ASSERT_EQ(0, fault_of(ring.sq, false));
	ASSERT_EQ(NVME_READ, ring.sq[0].opcode);
	ring_lost_doorbells(&ring);
	ring_lost_doorbells(&idle);
	/* Nothing goes on behind our back. */
	memset(dma.va, 0x66, AREA);
	nap_ms(50);
	ASSERT(is_filled(dma.va, 0x66, AREA));
	stock_check(&stock);
	/* A MEM lives on and serves the next queue. */
	check_queue(fd, &stock);
	ASSERT_EQ(0, ring_destroy(&ring));
	ASSERT_EQ(SIGBUS, fault_of(ring.db, true));
	ASSERT_EQ(0, ring_destroy(&idle));
	ASSERT_EQ(-ENOENT, ring_destroy(&idle));
	create_again(&ring, fd, 16);
	ASSERT_EQ(0, ring_copy(&ring, NVME_READ, &stock.area, 0, AREA, &dma, &list, max_step(fd)));
	ASSERT_SAME(dma.va, stock.copy, AREA);
	ASSERT(ring.q.out_generation > generation);
}

/* Closed and unmapped without a DESTROY, in the middle of it all */
TEST(close_lost_queue)
{
	int fd = homi_open(), i;
	struct stock stock;
	struct ring ring;

	need_queues(fd, 1);
	stock_open(&stock);
	for (i = 0; i < 3; i++) {
		create_again(&ring, fd, 32);
		reset();
		if (i == 1)
			ring_unmap(&ring);
		close(fd);
		if (i != 1)
			ring_unmap(&ring);
		fd = homi_open();
	}
	stock_check(&stock);
	check_queue(fd, &stock);
}

/* A busy child and stock's readers while the controller is reset again and again */
static atomic_bool stop;
static atomic_uint lost, rounds_done;

static void *drive(void *arg)
{
	struct stock *stock = arg;
	int fd = homi_open();
	struct dma dma, list;
	struct ring ring;

	dma_new(&dma, fd, AREA);
	dma_new(&list, fd, PAGE);
	while (!atomic_load(&stop)) {
		struct cqe cqe;
		int err = ring_create(&ring, fd, 32);

		if (err) {
			if (err != -EAGAIN && err != -ENOSPC)
				FAIL("QUEUE_CREATE: %d", err);
			nap_ms(1);
			continue;
		}
		ring_map(&ring);
		post_many(&ring, stock, &dma, &list);
		while (!atomic_load(&stop) && !ring_poll(&ring, &cqe, 100)) {
			struct sqe sqe = sqe_rw(NVME_READ, &stock->area, 0, max_step(fd), &dma, 0,
						&list);

			ASSERT_EQ(0, cqe.status >> 1);
			ring_post(&ring, &sqe);
			ring_doorbell(&ring);
			atomic_fetch_add(&rounds_done, 1);
		}
		if (queue_info(fd, ring.q.out_queue_id).out_state == HOMI_QUEUE_LOST)
			atomic_fetch_add(&lost, 1);
		ASSERT_EQ(0, ring_destroy(&ring));
		ring_unmap(&ring);
	}
	return NULL;
}

static void *stock_reads(void *arg)
{
	struct stock *stock = arg;
	char *buf = page_buffer(AREA);

	while (!atomic_load(&stop)) {
		area_pread(&stock->area, 0, buf, AREA);
		ASSERT_SAME(stock->copy, buf, AREA);
	}
	return NULL;
}

TEST_TIMEOUT(io_under_resets, 120)
{
	unsigned int resets = times(24, 4), i;
	int fd = homi_open();
	pthread_t threads[3];
	struct stock stock;

	need_queues(fd, 2);
	stock_open(&stock);
	ASSERT(!pthread_create(&threads[0], NULL, drive, &stock));
	ASSERT(!pthread_create(&threads[1], NULL, drive, &stock));
	ASSERT(!pthread_create(&threads[2], NULL, stock_reads, &stock));
	for (i = 0; i < resets; i++) {
		unsigned int before = atomic_load(&rounds_done);

		/* Each one meets a queue that works. */
		while (atomic_load(&rounds_done) == before)
			nap_ms(5);
		nap_ms(i * 37 % 80);
		reset();
	}
	atomic_store(&stop, true);
	for (i = 0; i < 3; i++)
		ASSERT(!pthread_join(threads[i], NULL));
	printf("# %u resets, %u queues lost, %u commands\n", resets, lost, rounds_done);
	ASSERT(atomic_load(&lost) > 0 && atomic_load(&rounds_done) > 0);
	stock_check(&stock);
	check_queue(fd, &stock);
}

/*
 * Creation raced against resets: a Create CQ between a reset and stock's Set Features would
 * cost stock all its queues and the namespace.
 */
static void *create_loop(void *arg)
{
	int fd = homi_open();
	struct ring ring;

	(void)arg;
	while (!atomic_load(&stop)) {
		int err = ring_create(&ring, fd, 4);

		if (err == -EAGAIN || err == -ENOSPC)
			continue;
		ASSERT_EQ(0, err);
		atomic_fetch_add(&rounds_done, 1);
		ASSERT_EQ(0, ring_destroy(&ring));
	}
	return NULL;
}

TEST_TIMEOUT(create_raced_against_resets, 120)
{
	unsigned int resets = times(30, 4), i;
	int fd = homi_open();
	pthread_t threads[3];
	struct stock stock;

	need_queues(fd, 1);
	stock_open(&stock);
	for (i = 0; i < 3; i++)
		ASSERT(!pthread_create(&threads[i], NULL, create_loop, NULL));
	for (i = 0; i < resets; i++) {
		unsigned int before = atomic_load(&rounds_done);
		uint64_t end = now_ms() + 30000;

		reset();
		ASSERT_EQ(stock.queue_count,
			  sysfs_number("/sys/class/nvme/%s/queue_count", ctrl_name()));
		/* Creation works again after each. */
		while (atomic_load(&rounds_done) < before + 3) {
			ASSERT(now_ms() < end);
			nap_ms(1);
		}
	}
	atomic_store(&stop, true);
	for (i = 0; i < 3; i++)
		ASSERT(!pthread_join(threads[i], NULL));
	printf("# %u resets, %u queues made\n", resets, rounds_done);
	stock_check(&stock);
	check_queue(fd, &stock);
}

/* Registration and resolving go on during resets: they ask the controller for nothing. */
static void *register_loop(void *arg)
{
	int fd = homi_open();
	char *va = page_buffer(AREA);

	(void)arg;
	while (!atomic_load(&stop)) {
		uint32_t id;
		int err = mem_register(fd, va, AREA, HOMI_MEM_WRITE, &id, NULL);

		if (err == -EAGAIN)
			continue;
		ASSERT_EQ(0, err);
		ASSERT_EQ(0, destroy(fd, id));
		atomic_fetch_add(&rounds_done, 1);
	}
	return NULL;
}

static void loop_during_resets(void *(*loop)(void *arg), void *arg)
{
	unsigned int i;
	pthread_t thread;
	struct stock stock;

	stock_open(&stock);
	ASSERT(!pthread_create(&thread, NULL, loop, arg));
	for (i = 0; i < 4; i++)
		reset();
	atomic_store(&stop, true);
	ASSERT(!pthread_join(thread, NULL));
	ASSERT(atomic_load(&rounds_done) > 0);
	stock_check(&stock);
}

TEST(register_during_resets)
{
	loop_during_resets(register_loop, NULL);
}

/* Also where the only path to a namespace is the one that is reset. */
static void *files_loop(void *arg)
{
	const struct file *file = arg;
	int fd = homi_open();

	while (!atomic_load(&stop)) {
		struct homi_file_register reg = { .size = sizeof(reg), .fd = file->fd };
		struct homi_extent_resolve res;
		int err;

		ASSERT_EQ(0, homi_call(fd, HOMI_FILE_REGISTER, &reg));
		ASSERT_EQ(0, destroy(fd, reg.out_file_id));
		err = extent_resolve(fd, file->fd, 0, 0, &res);
		if (err == -EAGAIN)
			continue;
		ASSERT_EQ(0, err);
		ASSERT_EQ(0, destroy(fd, res.out_extent_id));
		atomic_fetch_add(&rounds_done, 1);
	}
	return NULL;
}

FS_TEST(files_during_resets)
{
	struct file file;

	file_create(&file, dir, "resets", 4 * PAGE, 5);
	loop_during_resets(files_loop, &file);
	file_remove(&file);
}

/* A holder killed in the middle of a reset */
TEST_TIMEOUT(kill_during_reset, 120)
{
	unsigned int rounds = times(14, 3), i;
	int fd = homi_open(), status;
	struct stock stock;

	need_queues(fd, 1);
	stock_open(&stock);
	for (i = 0; i < rounds; i++) {
		pid_t holder, resetter;

		fflush(NULL);
		holder = fork();
		if (!holder) {
			drive(&stock);
			_exit(0);
		}
		nap_ms(100);
		resetter = fork();
		if (!resetter)
			_exit(reset_controller(ctrl_name()) ? 1 : 0);
		usleep(i * 7001 % 60000);
		kill(holder, SIGKILL);
		ASSERT_EQ(128 + SIGKILL, child_status(holder));
		status = child_status(resetter);
		ASSERT_EQ(0, status);
		stock_check(&stock);
	}
	check_queue(fd, &stock);
}

/* An EXTENT does not depend on the controller's state. */
FS_TEST(extent_survives)
{
	int fd = homi_open();
	struct table table;
	struct file file;
	uint64_t first;

	file_create(&file, dir, "reset", 16 * PAGE, 5);
	table_open(&table, fd, file.fd, 0, 0);
	first = table_lookup(&table, 0);
	reset();
	table_check(&table, 0, 16 * PAGE);
	ASSERT_EQ(first, table_lookup(&table, 0));
	ASSERT_EQ(0, table_close(&table));
	file_remove(&file);
}
