// SPDX-License-Identifier: GPL-2.0-only
/*
 * dma-bufs that their exporter takes back, whatever their holder does meanwhile: no
 * queue is left that could reach them when the exporter goes on.
 */
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "harness.h"
#include "imported.h"
#include "witness.h"

#define DELETE_MS	300

static void check_taken(uint32_t id)
{
	struct homi_segment seg;
	uint32_t count = 1;

	ASSERT_EQ(HOMI_MEM_REVOKED, mem_info(im.fd, id).out_state);
	ASSERT_EQ(-ESTALE, mem_segments(im.fd, id, &seg, &count));
}

static bool queues_are_lent(void)
{
	int fd = homi_open();
	bool lent = ctrl_info(fd).out_queues_lent;

	close(fd);
	return lent;
}

/* Counts the witness's first look. */
static int looked;

/* Its exporter waits for it, and it is not unmapped yet. */
static void see_it_wait(void)
{
	uint64_t end = now_ms() + 20000 * patience(), one = 1;

	while (!debugfs_shows("dmabufs", "import file=", " revoked\n")) {
		ASSERT(now_ms() < end);
		ASSERT_EQ((ssize_t)sizeof(one), write(looked, &one, sizeof(one)));
	}
}

static pid_t start_witness(void)
{
	pid_t witness;

	ASSERT(debugfs_shows("dmabufs", "import file=", " mapped\n"));
	looked = eventfd(0, EFD_CLOEXEC);
	ASSERT(looked >= 0);
	witness = child_start(see_it_wait);
	ASSERT_EQ(POLLIN, poll_fd(looked, POLLIN, 20000 * patience()));
	return witness;
}

static void check_take(uint32_t flags, uint32_t take, const char *fault)
{
	bool hangs = fault && strstr(fault, "hang");
	struct exporter_take answer;
	pid_t witness = -1;
	pthread_t thread;
	char path[128];
	int event;

	im_begin_with(flags);
	area_fill(&im.area, 5, im.copy);
	event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	{
		struct homi_event_bind bind = {
			.size = sizeof(bind), .id = im.dma.id, .eventfd = event,
		};

		ASSERT_EQ(0, homi_call(im.fd, HOMI_EVENT_BIND, &bind));
	}
	ASSERT(!pthread_create(&thread, NULL, im_reader, NULL));
	while (atomic_load(&im.completed) < 200)
		nap_ms(1);
	ASSERT_EQ(0, event_wait(event, 0));
	if (fault) {
		/* Time to look */
		set_delete_ms(hangs ? 4 * DELETE_MS : DELETE_MS);
		snprintf(path, sizeof(path), FAULT, ctrl_name());
		ASSERT(sysfs_write(path, fault));
	}
	if (hangs)
		witness = start_witness();
	answer = exporter_take(im.dmabuf, take, 30000);
	ASSERT(answer.out_waited_ms != UINT32_MAX);
	ASSERT_EQ(0, answer.out_left);
	ASSERT_EQ(1, event_wait(event, 1000));
	if (witness > 0)
		ASSERT_EQ(0, child_status(witness));
	if (hangs) {
		/* The fence is there, and not signalled as long as a queue may be. */
		ASSERT_EQ(1, answer.out_pending);
		ASSERT(answer.out_waited_ms >= DELETE_MS);
	}
	check_taken(im.dma.id);
	if (!fault)
		ASSERT_EQ(HOMI_QUEUE_REVOKED,
			  queue_info(im.fd, im.ring.q.out_queue_id).out_state);
	printf("# %lu reads, taken back in %u ms\n", atomic_load(&im.completed),
	       answer.out_waited_ms);
	atomic_store(&im.stop, true);
	pthread_join(thread, NULL);
	/* It is a descriptor like any other again. */
	if (fault)
		ASSERT(wait_live(ctrl_name(), 30000));
	im_end();
	im.dmabuf = exporter_export(flags, 16 * LENGTH, LENGTH);
	dma_import(&im.dma, im.fd, im.dmabuf, LENGTH);
	while (ring_create(&im.ring, im.fd, DEPTH) == -EAGAIN)
		nap_ms(10);
	ring_map(&im.ring);
	im_check_data(im.dma.va, &im.list);
	im_end();
}

TEST(taken_back)
{
	check_take(EXPORTER_BAR, 0, NULL);
}

/* As TTM moves its buffers */
TEST(taken_back_under_its_lock)
{
	check_take(EXPORTER_BAR, EXPORTER_HOLD, NULL);
}

TEST(taken_back_without_a_pin)
{
	check_take(EXPORTER_BAR | EXPORTER_NO_PIN, EXPORTER_HOLD, NULL);
}

TEST(taken_back_in_the_system)
{
	check_take(0, EXPORTER_HOLD, NULL);
}

/* Drivers whose jobs wait for all fences of a buffer find none of ours. */
TEST(waited_for_without_a_notice)
{
	struct exporter_take answer;

	im_begin_with(EXPORTER_BAR);
	answer = exporter_take(im.dmabuf, EXPORTER_SILENT | EXPORTER_HOLD, 200);
	ASSERT(answer.out_waited_ms < 200);
	ASSERT(answer.out_left > 0);
	ASSERT_EQ(HOMI_MEM_MAPPED, mem_info(im.fd, im.dma.id).out_state);
	im_check_data(im.dma.va, &im.list);
	im_end();
}

/* A queue that can't be deleted is ended by a reset. */
TEST(taken_back_when_delete_fails)
{
	check_take(EXPORTER_BAR, EXPORTER_HOLD, "0 fail 1");
}

TEST(taken_back_when_delete_hangs)
{
	check_take(EXPORTER_BAR, EXPORTER_HOLD, "0 hang 1");
}

/* Many queues, and a second buffer that stays as it is */
TEST(taken_back_from_many)
{
	struct ring more[3];
	struct dma other;
	unsigned int i, n;
	int dmabuf;

	im_begin_with(EXPORTER_BAR);
	dmabuf = exporter_export(EXPORTER_BAR, 0, LENGTH);
	dma_import(&other, im.fd, dmabuf, LENGTH);
	for (n = 0; n < 3 && !ring_create(&more[n], im.fd, DEPTH); n++)
		ring_map(&more[n]);
	ASSERT_EQ(0, exporter_take(im.dmabuf, 0, 30000).out_left);
	check_taken(im.dma.id);
	ASSERT_EQ(HOMI_QUEUE_REVOKED, queue_info(im.fd, im.ring.q.out_queue_id).out_state);
	for (i = 0; i < n; i++)
		ASSERT_EQ(HOMI_QUEUE_REVOKED,
			  queue_info(im.fd, more[i].q.out_queue_id).out_state);
	ASSERT_EQ(HOMI_MEM_MAPPED, mem_info(im.fd, other.id).out_state);
	ASSERT_EQ(1, exporter_info(dmabuf).out_mapped > 0);
	/* They come back, and the other one can be used. */
	while (ring_recreate(&im.ring) == -EAGAIN)
		nap_ms(5);
	im.dma = other;
	im_check_data(other.va, &im.list);
}

/* One buffer, two MEMs: the exporter waits under the lock that both need. */
TEST(taken_back_that_is_there_twice)
{
	unsigned int rounds = times(100, 20), i;
	struct homi_mem_register r[2];
	struct exporter_take answer;
	unsigned int k;
	int err;

	im_begin();
	for (i = 0; i < rounds; i++) {
		im.dmabuf = exporter_export(i % 2 ? EXPORTER_BAR : EXPORTER_NO_PIN, 0, LENGTH);
		for (k = 0; k < 2; k++)
			ASSERT_EQ(0, mem_import(im.fd, im.dmabuf, k * PAGE, PAGE, HOMI_MEM_WRITE,
						&r[k]));
		while ((err = ring_create(&im.ring, im.fd, DEPTH)) == -EAGAIN)
			nap_ms(1);
		ASSERT_EQ(0, err);
		answer = exporter_take(im.dmabuf, EXPORTER_HOLD, 30000);
		ASSERT(answer.out_waited_ms != UINT32_MAX);
		ASSERT_EQ(0, answer.out_left);
		for (k = 0; k < 2; k++) {
			check_taken(r[k].out_mem_id);
			ASSERT_EQ(0, destroy(im.fd, r[k].out_mem_id));
		}
		ASSERT_EQ(0, ring_destroy(&im.ring));
		exporter_wait_free(im.dmabuf);
		close(im.dmabuf);
	}
}

/* @leave: it may be before there is anything to take, and there may be something after that. */
static pid_t take_in_a_child(unsigned int i, unsigned int spread_us, bool leave)
{
	struct exporter_take answer;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	ASSERT(pid >= 0);
	if (pid)
		return pid;
	/* Its parent closes what it has. */
	close(im.fd);
	usleep(i * 37 % spread_us);
	answer = exporter_take(im.dmabuf, (i % 2 ? EXPORTER_HOLD : 0) |
					  (leave ? EXPORTER_LEAVE : 0), 30000);
	_exit((answer.out_left && !leave) || answer.out_waited_ms == UINT32_MAX);
}

TEST(taken_back_while_the_file_is_closed)
{
	unsigned int rounds = times(200, 40), i;
	pid_t pid;

	need_exporter();
	for (i = 0; i < rounds; i++) {
		im.fd = homi_open();
		need_queues(im.fd, 1);
		im.dmabuf = exporter_export(EXPORTER_BAR, 0, LENGTH);
		ASSERT_EQ(0, mem_import(im.fd, im.dmabuf, 0, LENGTH, HOMI_MEM_WRITE, NULL));
		ASSERT_EQ(0, mem_import(im.fd, im.dmabuf, 0, PAGE, 0, NULL));
		ASSERT_EQ(0, ring_create(&im.ring, im.fd, DEPTH));
		pid = take_in_a_child(i, 500, false);
		usleep(i * 71 % 500);
		ASSERT(!close(im.fd));
		ASSERT_EQ(0, child_status(pid));
		exporter_wait_free(im.dmabuf);
		close(im.dmabuf);
		while (queues_are_lent())
			nap_ms(1);
	}
}

TEST(taken_back_while_it_is_registered)
{
	unsigned int rounds = times(200, 40), i, stale = 0;
	struct homi_mem_register r;
	pid_t pid;
	int err;

	im_begin();
	ring_open(&im.ring, im.fd, DEPTH);
	for (i = 0; i < rounds; i++) {
		im.dmabuf = exporter_export(i % 3 ? EXPORTER_BAR : EXPORTER_BAR | EXPORTER_NO_PIN, 0,
					    LENGTH);
		pid = take_in_a_child(i, 700, true);
		usleep(i * 71 % 500);
		err = mem_import(im.fd, im.dmabuf, 0, LENGTH, HOMI_MEM_WRITE, &r);
		if (err != -ESTALE)
			ASSERT_EQ(0, err);
		ASSERT_EQ(0, child_status(pid));
		stale += err == -ESTALE;
		if (err == 0) {
			/* It came before, or took the queue too, or comes after. */
			ring_destroy(&im.ring);
			while ((err = destroy(im.fd, r.out_mem_id)) == -EBUSY)
				nap_ms(1);
			ASSERT_EQ(0, err);
			ring_unmap(&im.ring);
			while ((err = ring_create(&im.ring, im.fd, DEPTH)) == -EAGAIN)
				nap_ms(1);
			ASSERT_EQ(0, err);
			ring_map(&im.ring);
		} else {
			/* Nobody had the addresses, so no queue is deleted. */
			ASSERT_EQ(HOMI_QUEUE_LIVE,
				  queue_info(im.fd, im.ring.q.out_queue_id).out_state);
		}
		exporter_wait_free(im.dmabuf);
		close(im.dmabuf);
	}
	printf("# %u of %u taken back while they were registered\n", stale, rounds);
}

/* The exporter and its holder at the same time, in any order */
TEST(taken_back_while_it_is_destroyed)
{
	unsigned int rounds = times(200, 40), i, taken = 0;

	im_begin();
	for (i = 0; i < rounds; i++) {
		struct homi_mem_register r;
		pid_t pid;
		int err;

		im.dmabuf = exporter_export(EXPORTER_BAR, 0, LENGTH);
		ASSERT_EQ(0, mem_import(im.fd, im.dmabuf, 0, LENGTH, HOMI_MEM_WRITE, &r));
		/* The last one may not be through with it. */
		while ((err = ring_create(&im.ring, im.fd, DEPTH)) == -EAGAIN)
			nap_ms(1);
		ASSERT_EQ(0, err);
		pid = take_in_a_child(i, 500, false);
		usleep(i * 71 % 500);
		ASSERT_EQ(0, ring_destroy(&im.ring));
		while ((err = destroy(im.fd, r.out_mem_id)) == -EBUSY)
			taken++;
		ASSERT_EQ(0, err);
		/* What was made after that could not reach it, and stays. */
		while ((err = ring_create(&im.ring, im.fd, DEPTH)) == -EAGAIN)
			nap_ms(1);
		ASSERT_EQ(0, err);
		ASSERT_EQ(0, child_status(pid));
		nap_ms(2);
		ASSERT_EQ(HOMI_QUEUE_LIVE, queue_info(im.fd, im.ring.q.out_queue_id).out_state);
		ASSERT_EQ(0, ring_destroy(&im.ring));
		exporter_wait_free(im.dmabuf);
		close(im.dmabuf);
	}
	printf("# %u times busy with being taken back when it was to be destroyed\n", taken);
}
