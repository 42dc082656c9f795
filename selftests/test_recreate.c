// SPDX-License-Identifier: GPL-2.0-only
/* A lost queue is made anew in place; and who waits is told of a loss, and of its end. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "files.h"
#include "harness.h"
#include "ring.h"

#define AREA	(256 * 1024u)

struct fixture {
	int fd;
	struct area area;
	struct dma dma, list;
	char *copy;
};

static void fixture_open(struct fixture *fx, unsigned int queues)
{
	fx->fd = homi_open();
	need_queues(fx->fd, queues);
	area_open(&fx->area, AREA);
	ASSERT(!posix_memalign((void **)&fx->copy, PAGE, AREA));
	area_fill(&fx->area, 77, fx->copy);
	dma_new(&fx->dma, fx->fd, AREA);
	dma_new(&fx->list, fx->fd, PAGE);
}

static void check_io(struct fixture *fx, struct ring *ring)
{
	memset(fx->dma.va, 0, AREA);
	ASSERT_EQ(0, ring_copy(ring, NVME_READ, &fx->area, 0, AREA, &fx->dma, &fx->list,
			       max_step(fx->fd)));
	ASSERT_SAME(fx->copy, fx->dma.va, AREA);
}

/* POLLOUT: homi lends again. */
static void wait_pollout(int fd)
{
	ASSERT(wait_live(ctrl_name(), 30000));
	ASSERT(poll_fd(fd, POLLOUT, 30000) & POLLOUT);
}

static void reset(int fd)
{
	ASSERT_EQ(0, reset_controller(ctrl_name()));
	wait_pollout(fd);
}

static uint32_t state_of(const struct ring *ring)
{
	return queue_info(ring->fd, ring->q.out_queue_id).out_state;
}

/* With the same mappings, qid and memory, once and again */
TEST(in_place)
{
	struct fixture fx;
	struct ring ring;
	uint64_t generation;
	unsigned int i, k;

	fixture_open(&fx, 1);
	ring_open(&ring, fx.fd, 16);
	for (i = 0; i < 4; i++) {
		check_io(&fx, &ring);
		/* Stop where indices and phase are not what they begin with. */
		for (k = 0; k < i; k++)
			check_io(&fx, &ring);
		generation = ring.q.out_generation;
		reset(fx.fd);
		ASSERT_EQ(HOMI_QUEUE_LOST, state_of(&ring));
		ASSERT_EQ(0, ring_recreate(&ring));
		ASSERT_EQ(HOMI_QUEUE_LIVE, state_of(&ring));
		ASSERT(ring.q.out_generation > generation);
		ASSERT_EQ(ring.q.out_generation,
			  queue_info(fx.fd, ring.q.out_queue_id).out_generation);
		ASSERT_EQ(ring.q.out_qid, queue_info(fx.fd, ring.q.out_queue_id).out_qid);
		ASSERT(is_filled((void *)ring.sq, 0, ring.q.out_sq_mmap_length));
		ASSERT(is_filled((void *)ring.cq, 0, ring.q.out_cq_mmap_length));
	}
	check_io(&fx, &ring);
	ASSERT_EQ(0, ring_destroy(&ring));
}

/* Doorbells that were touched while the queue was lost lead to the device again. */
TEST(parked_pages_come_back)
{
	struct fixture fx;
	struct ring ring;

	fixture_open(&fx, 1);
	ring_open(&ring, fx.fd, 8);
	reset(fx.fd);
	((volatile uint32_t *)ring.db)[0] = 5;
	if (ring.shadow) {
		((volatile uint32_t *)ring.shadow)[0] = 5;
		((volatile uint32_t *)ring.event)[0] = 5;
	}
	ASSERT_EQ(0, ring_recreate(&ring));
	check_io(&fx, &ring);
}

/* Not mapped before: the cookies of QUEUE_CREATE are good for the new queue. */
TEST(mapped_afterwards)
{
	struct fixture fx;
	struct ring ring;

	fixture_open(&fx, 1);
	ASSERT_EQ(0, ring_create(&ring, fx.fd, 8));
	reset(fx.fd);
	ASSERT_EQ(0, ring_recreate(&ring));
	ring_map(&ring);
	check_io(&fx, &ring);
}

TEST(refused)
{
	struct homi_queue_recreate cmd = { .size = sizeof(cmd) };
	struct fixture fx;
	struct ring ring;

	fixture_open(&fx, 1);
	ring_open(&ring, fx.fd, 8);
	ASSERT_EQ(-EBUSY, ring_recreate(&ring));
	check_io(&fx, &ring);
	reset(fx.fd);
	cmd.queue_id = ring.q.out_queue_id;
	for (cmd.depth = 0; cmd.depth < 20; cmd.depth++)
		if (cmd.depth != 8)
			ASSERT_EQ(-EINVAL, homi_call(fx.fd, HOMI_QUEUE_RECREATE, &cmd));
	cmd.depth = 8;
	cmd.queue_id = fx.dma.id;
	ASSERT_EQ(-ENOENT, homi_call(fx.fd, HOMI_QUEUE_RECREATE, &cmd));
	cmd.queue_id = 0;
	ASSERT_EQ(-ENOENT, homi_call(fx.fd, HOMI_QUEUE_RECREATE, &cmd));
	ASSERT_EQ(HOMI_QUEUE_LOST, state_of(&ring));
	ASSERT_EQ(0, ring_recreate(&ring));
	ASSERT_EQ(-EBUSY, ring_recreate(&ring));
	check_io(&fx, &ring);
	ASSERT_EQ(0, ring_destroy(&ring));
	ASSERT_EQ(-ENOENT, ring_recreate(&ring));
}

/* A MEM may go while its queues are lost, and not after one is back. */
TEST(memory_meanwhile)
{
	struct fixture fx;
	struct dma other;
	struct ring ring;

	fixture_open(&fx, 1);
	ring_open(&ring, fx.fd, 8);
	dma_new(&other, fx.fd, PAGE);
	reset(fx.fd);
	ASSERT_EQ(0, dma_destroy(&other));
	dma_new(&other, fx.fd, PAGE);
	ASSERT_EQ(0, ring_recreate(&ring));
	ASSERT_EQ(-EBUSY, destroy(fx.fd, other.id));
	check_io(&fx, &ring);
}

/* Nobody's privilege: who has the descriptor has the queue. */
TEST(by_nobody)
{
	struct fixture fx;
	struct ring ring;
	pid_t pid;

	fixture_open(&fx, 1);
	ring_open(&ring, fx.fd, 8);
	reset(fx.fd);
	fflush(NULL);
	pid = fork();
	if (!pid) {
		become_nobody();
		ASSERT_EQ(0, ring_recreate(&ring));
		_exit(0);
	}
	ASSERT_EQ(0, child_status(pid));
	ring.sq_tail = ring.sq_head = ring.cq_head = 0;
	ring.cq_phase = 1;
	check_io(&fx, &ring);
}

/* Re-created, destroyed and reset at the same time, by several threads */
static atomic_bool stop;
static atomic_uint made, destroyed;

static void *recreate_loop(void *arg)
{
	struct ring *ring = arg;

	while (!atomic_load(&stop)) {
		struct ring mine = *ring;
		int err = ring_recreate(&mine);

		if (!err)
			atomic_fetch_add(&made, 1);
		else if (err != -EAGAIN && err != -EBUSY && err != -ENOENT)
			FAIL("QUEUE_RECREATE: %d", err);
		usleep(500);
	}
	return NULL;
}

static void *churn_loop(void *arg)
{
	int fd = *(int *)arg;
	unsigned int i = 0;

	while (!atomic_load(&stop)) {
		pthread_t threads[2];
		struct ring ring;
		int err = ring_create(&ring, fd, 4);

		if (err == -EAGAIN || err == -ENOSPC) {
			usleep(500);
			continue;
		}
		ASSERT_EQ(0, err);
		ring_map(&ring);
		atomic_store(&stop, false);
		ASSERT(!pthread_create(&threads[0], NULL, recreate_loop, &ring));
		ASSERT(!pthread_create(&threads[1], NULL, recreate_loop, &ring));
		/* Where all is slow a reset takes two seconds, and it must be through. */
		nap_ms((20 + i++ * 37 % 160) * (getenv("HOMI_SLOW") ? 20 : 1));
		ASSERT_EQ(0, ring_destroy(&ring));
		atomic_fetch_add(&destroyed, 1);
		/* They get ENOENT until somebody stops them. */
		atomic_store(&stop, true);
		pthread_join(threads[0], NULL);
		pthread_join(threads[1], NULL);
		ring_unmap(&ring);
		if (i >= times(60, 10) && atomic_load(&made) > 2)
			break;
		atomic_store(&stop, false);
	}
	atomic_store(&stop, true);
	return NULL;
}

/* The next reset hits what the last one left; every third one waits until a queue came back. */
static void between_resets(unsigned int resets)
{
	unsigned int i, before = atomic_load(&made);

	if (resets % 3) {
		nap_ms(30);
		return;
	}
	for (i = 0; i < 100 && atomic_load(&made) == before; i++)
		nap_ms(10);
}

TEST_TIMEOUT(raced, 120)
{
	unsigned int resets = 0;
	struct fixture fx;
	pthread_t churn;
	struct ring ring;

	fixture_open(&fx, 2);
	ring_open(&ring, fx.fd, 16);
	ASSERT(!pthread_create(&churn, NULL, churn_loop, &fx.fd));
	while (pthread_tryjoin_np(churn, NULL)) {
		ASSERT_EQ(0, reset_controller(ctrl_name()));
		resets++;
		between_resets(resets);
	}
	printf("# %u resets, %u queues re-created, %u destroyed meanwhile\n", resets, made,
	       destroyed);
	ASSERT(resets > 2 && made > 2 && destroyed > 2);
	wait_pollout(fx.fd);
	ASSERT_EQ(0, ring_recreate(&ring));
	check_io(&fx, &ring);
}

TEST(queue_event)
{
	int event = eventfd(0, EFD_CLOEXEC), other = eventfd(0, EFD_CLOEXEC);
	struct fixture fx;
	struct ring ring;

	fixture_open(&fx, 1);
	ring_open(&ring, fx.fd, 8);
	ASSERT_EQ(0, event_bind(fx.fd, ring.q.out_queue_id, event));
	ASSERT_EQ(0, event_wait(event, 100));
	reset(fx.fd);
	ASSERT_EQ(1, event_wait(event, 30000));
	ASSERT_EQ(0, event_wait(event, 50));
	/* What has happened is told at once. */
	ASSERT_EQ(0, event_bind(fx.fd, ring.q.out_queue_id, other));
	ASSERT_EQ(1, event_wait(other, 30000));
	ASSERT_EQ(0, ring_recreate(&ring));
	ASSERT_EQ(0, event_wait(other, 50));
	ASSERT_EQ(0, event_bind(fx.fd, ring.q.out_queue_id, event));
	ASSERT_EQ(0, event_wait(event, 50));
	reset(fx.fd);
	ASSERT_EQ(1, event_wait(event, 30000));
	ASSERT_EQ(0, event_wait(other, 50));
	ASSERT_EQ(0, ring_recreate(&ring));
	/* Unbound; and no news of one's own DESTROY */
	ASSERT_EQ(0, event_bind(fx.fd, ring.q.out_queue_id, -1));
	reset(fx.fd);
	ASSERT_EQ(0, event_wait(event, 50));
	ASSERT_EQ(0, ring_recreate(&ring));
	ASSERT_EQ(0, event_bind(fx.fd, ring.q.out_queue_id, event));
	ASSERT_EQ(0, ring_destroy(&ring));
	ASSERT_EQ(0, event_wait(event, 50));
	reset(fx.fd);
	ASSERT_EQ(0, event_wait(event, 50));
}

/* Any open file, also one without queues, and where there are none to lend */
TEST(file_event)
{
	int fd = homi_open(), event = eventfd(0, EFD_CLOEXEC);

	ASSERT_EQ(POLLOUT, poll_fd(fd, POLLOUT | POLLPRI, 0));
	ASSERT_EQ(0, event_bind(fd, 0, event));
	ASSERT_EQ(0, event_wait(event, 100));
	reset(fd);
	/* It began, it ended. */
	ASSERT_EQ(2, event_wait(event, 30000));
	ASSERT_EQ(POLLOUT, poll_fd(fd, POLLOUT | POLLPRI, 0));
	ASSERT_EQ(0, event_bind(fd, 0, -1));
	reset(fd);
	ASSERT_EQ(0, event_wait(event, 50));
}

TEST(poll_tells)
{
	int other = homi_open();
	struct fixture fx;
	struct ring ring;

	fixture_open(&fx, 1);
	ring_open(&ring, fx.fd, 8);
	ASSERT_EQ(POLLOUT, poll_fd(fx.fd, POLLOUT | POLLPRI, 0));
	reset(fx.fd);
	ASSERT_EQ(POLLOUT | POLLPRI, poll_fd(fx.fd, POLLOUT | POLLPRI, 0));
	/* Others have lost nothing. */
	ASSERT_EQ(POLLOUT, poll_fd(other, POLLOUT | POLLPRI, 0));
	ASSERT_EQ(0, ring_recreate(&ring));
	ASSERT_EQ(POLLOUT, poll_fd(fx.fd, POLLOUT | POLLPRI, 0));
	reset(fx.fd);
	ASSERT_EQ(POLLPRI, poll_fd(fx.fd, POLLPRI, 0));
	ASSERT_EQ(0, ring_destroy(&ring));
	ASSERT_EQ(0, poll_fd(fx.fd, POLLPRI, 0));
}

/* One that sleeps in poll() is woken by the reset. */
TEST(poll_wakes)
{
	struct fixture fx;
	struct ring ring;
	uint64_t begin;
	pid_t pid;

	fixture_open(&fx, 1);
	ring_open(&ring, fx.fd, 8);
	fflush(NULL);
	pid = fork();
	if (!pid) {
		nap_ms(300);
		_exit(reset_controller(ctrl_name()) ? 1 : 0);
	}
	begin = now_ms();
	ASSERT_EQ(POLLPRI, poll_fd(fx.fd, POLLPRI, 20000));
	ASSERT(now_ms() - begin >= 200);
	ASSERT_EQ(HOMI_QUEUE_LOST, state_of(&ring));
	ASSERT_EQ(0, child_status(pid));
	wait_pollout(fx.fd);
}

FS_TEST(extent_event)
{
	int fd = homi_open(), event = eventfd(0, EFD_CLOEXEC);
	struct waiter writer;
	struct table table;
	struct file file;
	uint64_t took;

	set_recall_ms(60000);
	file_create(&file, dir, "event", 8 * PAGE, 3);
	table_open(&table, fd, file.fd, 0, 0);
	ASSERT_EQ(0, event_bind(fd, table.r.out_extent_id, event));
	ASSERT_EQ(0, event_wait(event, 50));
	ASSERT_EQ(0, poll_fd(fd, POLLPRI, 0));
	waiter_start(&writer, act_open_write, file.path);
	ASSERT_EQ(1, event_wait(event, 30000));
	ASSERT_EQ(HOMI_EXTENT_RECALLED, table.t->state);
	ASSERT_EQ(POLLPRI, poll_fd(fd, POLLPRI, 1000));
	/* told at once to who comes late */
	ASSERT_EQ(0, event_bind(fd, table.r.out_extent_id, event));
	ASSERT_EQ(1, event_wait(event, 30000));
	ASSERT_EQ(0, table_close(&table));
	ASSERT_EQ(0, waiter_end(&writer, 30000, &took));
	ASSERT_EQ(0, poll_fd(fd, POLLPRI, 0));
	file_remove(&file);
}

/* Not answered: recalled, then revoked, which is told too. */
FS_TEST(extent_revoked_event)
{
	int fd = homi_open(), event = eventfd(0, EFD_CLOEXEC);
	struct waiter writer;
	struct table table;
	struct file file;
	uint64_t took, count;

	set_recall_ms(300);
	file_create(&file, dir, "event", 8 * PAGE, 3);
	table_open(&table, fd, file.fd, 0, 0);
	ASSERT_EQ(0, event_bind(fd, table.r.out_extent_id, event));
	waiter_start(&writer, act_open_write, file.path);
	ASSERT_EQ(0, waiter_end(&writer, 30000, &took));
	ASSERT_EQ(HOMI_EXTENT_REVOKED, table.t->state);
	count = event_wait(event, 30000);
	ASSERT_EQ(2, count);
	ASSERT_EQ(POLLPRI, poll_fd(fd, POLLPRI, 0));
	ASSERT_EQ(0, table_close(&table));
	ASSERT_EQ(0, poll_fd(fd, POLLPRI, 0));
	file_remove(&file);
}

/* A queue that a recall has deleted is told so, and can be had back in place. */
FS_TEST(revoked_queue)
{
	int event = eventfd(0, EFD_CLOEXEC);
	struct waiter writer;
	struct fixture fx;
	struct table table;
	struct file file;
	struct ring ring;
	uint64_t took;

	fixture_open(&fx, 1);
	set_recall_ms(200);
	file_create(&file, dir, "revoked", 8 * PAGE, 3);
	table_open(&table, fx.fd, file.fd, 0, 0);
	ring_open(&ring, fx.fd, 8);
	ASSERT_EQ(0, event_bind(fx.fd, ring.q.out_queue_id, event));
	waiter_start(&writer, act_open_write, file.path);
	ASSERT_EQ(0, waiter_end(&writer, 30000, &took));
	ASSERT_EQ(1, event_wait(event, 30000));
	ASSERT_EQ(HOMI_QUEUE_REVOKED, state_of(&ring));
	ASSERT_EQ(0, ring_recreate(&ring));
	check_io(&fx, &ring);
	ASSERT_EQ(0, ring_destroy(&ring));
	ASSERT_EQ(0, table_close(&table));
	file_remove(&file);
}

TEST(bind_refused)
{
	int fd = homi_open(), event = eventfd(0, EFD_CLOEXEC), pipes[2];
	struct dma dma;

	dma_new(&dma, fd, PAGE);
	ASSERT(!pipe(pipes));
	ASSERT_EQ(-EINVAL, event_bind(fd, 0, pipes[0]));
	ASSERT_EQ(-EINVAL, event_bind(fd, 0, fd));
	ASSERT_EQ(-EBADF, event_bind(fd, 0, 4000));
	ASSERT_EQ(-EINVAL, event_bind(fd, 0, -2));
	ASSERT_EQ(-EINVAL, event_bind(fd, 0, -2147483647 - 1));
	ASSERT_EQ(-ENOENT, event_bind(fd, 4711, event));
	ASSERT_EQ(-ENOENT, event_bind(fd, 4711, -1));
	ASSERT_EQ(-EOPNOTSUPP, event_bind(fd, dma.id, event));
	ASSERT_EQ(-EOPNOTSUPP, event_bind(fd, dma.id, -1));
	ASSERT_EQ(0, dma_destroy(&dma));
}

/* Bound and bound again a thousand times, left bound at the end, and closed before */
TEST(bind_leaks_nothing)
{
	int fd = homi_open(), i, k;

	for (i = 0; i < 1000; i++) {
		int event = eventfd(0, EFD_CLOEXEC);

		ASSERT(event >= 0);
		ASSERT_EQ(0, event_bind(fd, 0, event));
		close(event);
		for (k = 0; k < 3; k++)
			if (i % 100 == k)
				reset_controller(ctrl_name());
	}
	wait_pollout(fd);
}
