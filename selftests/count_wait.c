// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a read of 4 KiB by a queue of one's own takes, one in flight, by how its end is waited for:
 * for scripts/bench-wait, under which ticks are instructions. By spinning, by the kernel's poller,
 * by an interrupt; and pread() of the kernel's block device, which waits by an interrupt too.
 *
 * The drive is as slow as it is told to be, since QEMU's is done before anybody can wait.
 *
 * usage: count_wait READS PER_SECOND	(HOMI_DEV as for the tests)
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "count.h"
#include "ring.h"

#define AREA	(64 * PAGE)
#define DEPTH	8u
#define TIMES	5

enum way { SPIN, POLLER, INTERRUPT, PREAD, WAYS };

static const char *const names[] = { "spin", "poller", "interrupt", "pread" };

static struct area area;
static struct dma dma, list;
static struct ring rings[WAYS];
static int events[WAYS];

static void wait_asleep(enum way way)
{
	struct ring *ring = &rings[way];
	struct homi_queue_arm cmd = {
		.size = sizeof(cmd), .queue_id = ring->q.out_queue_id,
		.cq_head = ring->cq_head, .cq_phase = ring->cq_phase,
	};
	uint64_t n;

	ASSERT_EQ(0, homi_call(ring->fd, HOMI_QUEUE_ARM, &cmd));
	if (!cmd.out_ready)
		ASSERT_EQ(sizeof(n), read(events[way], &n, sizeof(n)));
}

static void read_one(enum way way, uint64_t at)
{
	struct ring *ring = &rings[way];
	struct cqe cqe;
	struct sqe sqe;

	if (way == PREAD) {
		area_pread(&area, at, dma.va, PAGE);
		return;
	}
	sqe = sqe_rw(NVME_READ, &area, at, PAGE, &dma, 0, &list);
	ring_post(ring, &sqe);
	ring_doorbell(ring);
	if (way != SPIN)
		wait_asleep(way);
	while (!ring_take(ring, &cqe))
		;
	ASSERT_EQ(NVME_SC_SUCCESS, cqe.status >> 1);
	ring_cq_doorbell(ring);
}

static long long run(enum way way, unsigned int reads)
{
	struct count c = { 0 };
	unsigned int i;

	/* A tenth before it is counted */
	for (i = 0; i < reads + reads / 10; i++) {
		if (i == reads / 10)
			c = count_begin();
		read_one(way, (uint64_t)i * 7 % (AREA / PAGE) * PAGE);
	}
	return count_end(&c) / (long long)reads;
}

static void prepare(int fd)
{
	enum way way;

	area_open(&area, AREA);
	dma_new(&dma, fd, AREA);
	dma_new(&list, fd, PAGE);
	for (way = SPIN; way <= INTERRUPT; way++) {
		struct homi_event_bind bind = {
			.size = sizeof(bind), .flags = HOMI_EVENT_COMPLETIONS,
			.eventfd = eventfd(0, EFD_CLOEXEC),
		};

		if (way == INTERRUPT && !(ctrl_info(fd).out_features & HOMI_CTRL_INTERRUPTS))
			continue;
		ASSERT_EQ(0, ring_create_with(&rings[way], fd, DEPTH,
					      way == INTERRUPT ? HOMI_QUEUE_INTERRUPT : 0));
		ring_map(&rings[way]);
		bind.id = rings[way].q.out_queue_id;
		events[way] = bind.eventfd;
		ASSERT_EQ(0, homi_call(fd, HOMI_EVENT_BIND, &bind));
	}
}

int main(int argc, char **argv)
{
	long long insn[WAYS][TIMES];
	unsigned int time, reads;
	int fd = homi_open();
	enum way way;

	if (argc != 3)
		return 2;
	reads = atoi(argv[1]);
	count_start();
	prepare(fd);
	ASSERT(drive_throttle(atoi(argv[2])));
	for (time = 0; time < TIMES; time++)
		for (way = 0; way < WAYS; way++)
			if (way == PREAD || rings[way].q.out_queue_id)
				insn[way][time] = run(way, reads);
	for (way = 0; way < WAYS; way++) {
		double n = (double)TIMES * (reads + reads / 10);
		struct homi_queue_info info = { 0 };

		if (way != PREAD && !rings[way].q.out_queue_id)
			continue;
		if (way != PREAD)
			info = queue_info(fd, rings[way].q.out_queue_id);
		printf("wait how=%s instructions=%lld wakeups=%.2f looks=%.2f interrupts=%.2f\n",
		       names[way], count_middle(insn[way], TIMES), info.out_wakeups / n,
		       info.out_looks / n, info.out_interrupts / n);
	}
	return 0;
}
