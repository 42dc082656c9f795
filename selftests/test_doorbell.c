// SPDX-License-Identifier: GPL-2.0-only
/*
 * Doorbells as dma-bufs: a device that imports them rings its queue, and after that
 * queue nobody else's.
 */
#include <linux/capability.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "harness.h"
#include "importer.h"

#define LENGTH	(16 * PAGE)
#define DEPTH	8u

static struct ring ring;
static struct dma buf, list;
static struct area area;
static char *copy;

static void begin(int fd)
{
	close(importer_open());
	need_queues(fd, 1);
	ASSERT(!posix_memalign((void **)&copy, PAGE, LENGTH));
	area_open(&area, LENGTH);
	dma_new(&buf, fd, LENGTH);
	dma_new(&list, fd, PAGE);
	ring_open(&ring, fd, DEPTH);
}

/* All of the area, a page at a time, so that the ring wraps */
static void check_rung(const struct ringer *ringer)
{
	static uint64_t seed;
	size_t at;

	area_need_write(&area);
	area_fill(&area, ++seed, copy);
	memset(buf.va, 0, LENGTH);
	for (at = 0; at < LENGTH; at += PAGE) {
		struct sqe sqe = sqe_rw(NVME_READ, &area, at, PAGE, &buf, at, &list);

		ASSERT_EQ(0, ringer_do(ringer, &sqe));
	}
	ASSERT_SAME(copy, buf.va, LENGTH);
}

TEST(rung_by_a_device)
{
	int fd = homi_open();
	struct importer_info info;
	struct ringer ringer;
	uint32_t event;

	begin(fd);
	ringer_open(&ringer, &ring, 0);
	info = importer_info(ringer.registers);
	ASSERT_EQ(1, info.out_mapped);
	ASSERT_EQ(0, info.out_ram);
	check_rung(&ringer);
	/* The CPU goes on where the device has left off, and the other way round. */
	{
		struct sqe sqe = sqe_rw(NVME_READ, &area, 0, PAGE, &buf, 0, &list);

		ASSERT_EQ(0, ring_do(&ring, &sqe));
		ASSERT_EQ(0, ringer_do(&ringer, &sqe));
	}
	if (ringer.shadow >= 0) {
		int importer = importer_open(), dmabuf;

		ASSERT_EQ(1, importer_info(ringer.shadow).out_ram);
		ASSERT_EQ(0, importer_read(ringer.shadow, ring.q.out_sq_shadow_offset, &event));
		ASSERT_EQ(ring.sq_tail, event);
		/* What the controller tells, as the CPU sees it */
		ASSERT_EQ(0, doorbell_export(fd, ring.q.out_queue_id, HOMI_DOORBELL_EVENT,
					     &dmabuf));
		ASSERT_EQ(0, importer_attach(importer, dmabuf, 0));
		ASSERT_EQ(0, importer_read(importer, ring.q.out_sq_shadow_offset, &event));
		ASSERT_EQ(*(volatile uint32_t *)((char *)ring.event + ring.q.out_sq_shadow_offset),
			  event);
		close(importer);
		close(dmabuf);
	}
	ringer_close(&ringer);
	ASSERT_EQ(0, ring_destroy(&ring));
}

TEST(bad_arguments)
{
	struct homi_doorbell_export cmd = { .size = sizeof(cmd) };
	struct rlimit none = { .rlim_cur = 0 }, before;
	int fd = homi_open(), dmabuf, other;
	uint32_t id;

	begin(fd);
	id = ring.q.out_queue_id;
	ASSERT_EQ(-EINVAL, doorbell_export(fd, id, 0, &dmabuf));
	ASSERT_EQ(-EINVAL, doorbell_export(fd, id, HOMI_DOORBELL_EVENT + 1, &dmabuf));
	ASSERT_EQ(-EINVAL, doorbell_export(fd, id, UINT32_MAX, &dmabuf));
	ASSERT_EQ(-ENOENT, doorbell_export(fd, id + 1000, HOMI_DOORBELL_REGISTERS, &dmabuf));
	ASSERT_EQ(-ENOENT, doorbell_export(fd, buf.id, HOMI_DOORBELL_REGISTERS, &dmabuf));
	ASSERT_EQ(-ENOENT, doorbell_export(homi_open(), id, HOMI_DOORBELL_REGISTERS, &dmabuf));
	cmd.queue_id = id;
	cmd.part = HOMI_DOORBELL_REGISTERS;
	cmd.flags = 1;
	ASSERT_EQ(-EINVAL, homi_call(fd, HOMI_DOORBELL_EXPORT, &cmd));
	cmd.flags = 0;
	cmd.__reserved = 1;
	ASSERT_EQ(-EINVAL, homi_call(fd, HOMI_DOORBELL_EXPORT, &cmd));
	if (!ring.shadow) {
		ASSERT_EQ(-EOPNOTSUPP, doorbell_export(fd, id, HOMI_DOORBELL_SHADOW, &dmabuf));
		ASSERT_EQ(-EOPNOTSUPP, doorbell_export(fd, id, HOMI_DOORBELL_EVENT, &dmabuf));
	}
	set_cap(CAP_SYS_RAWIO, false);
	ASSERT_EQ(-EPERM, doorbell_export(fd, id, HOMI_DOORBELL_REGISTERS, &dmabuf));
	set_cap(CAP_SYS_RAWIO, true);
	/* No descriptor is left: nothing of it is either. */
	ASSERT(!getrlimit(RLIMIT_NOFILE, &before));
	none.rlim_max = before.rlim_max;
	ASSERT(!setrlimit(RLIMIT_NOFILE, &none));
	ASSERT_EQ(-EMFILE, doorbell_export(fd, id, HOMI_DOORBELL_REGISTERS, &dmabuf));
	ASSERT(!setrlimit(RLIMIT_NOFILE, &before));
	/* Nobody could be told: the answer can't be written, and no descriptor is there. */
	ASSERT((other = dup(fd)) >= 0);
	close(other);
	ASSERT(!mprotect(copy, PAGE, PROT_READ | PROT_WRITE));
	memcpy(copy, &(struct homi_doorbell_export){
		.size = sizeof(cmd), .queue_id = id, .part = HOMI_DOORBELL_REGISTERS },
	       sizeof(cmd));
	ASSERT(!mprotect(copy, PAGE, PROT_READ));
	ASSERT_EQ(-EFAULT, homi_call(fd, HOMI_DOORBELL_EXPORT, copy));
	ASSERT(!mprotect(copy, PAGE, PROT_READ | PROT_WRITE));
	dmabuf = dup(fd);
	ASSERT_EQ(other, dmabuf);
	ring_unmap(&ring);
	ASSERT_EQ(0, ring_destroy(&ring));
	ASSERT_EQ(0, ctrl_info(fd).out_queues_lent);
	ASSERT_EQ(-ENOENT, doorbell_export(fd, id, HOMI_DOORBELL_REGISTERS, &dmabuf));
}

TEST(importers_that_are_refused)
{
	int fd = homi_open(), importer = importer_open(), dmabuf;
	struct homi_mem_register r = { .size = sizeof(r), .type = HOMI_MEM_DMABUF };

	begin(fd);
	ASSERT_EQ(0, doorbell_export(fd, ring.q.out_queue_id, HOMI_DOORBELL_REGISTERS, &dmabuf));
	ASSERT_EQ(-EOPNOTSUPP, importer_attach(importer, dmabuf, IMPORTER_STATIC));
	ASSERT_EQ(-EOPNOTSUPP, importer_attach(importer, dmabuf, IMPORTER_PAGES));
	ASSERT_EQ(-EOPNOTSUPP, importer_attach(importer, dmabuf, IMPORTER_PINS));
	/* homi itself, which pins: no command shall write to doorbells. */
	r.fd = dmabuf;
	r.length = PAGE;
	r.flags = HOMI_MEM_WRITE;
	ASSERT_EQ(-EOPNOTSUPP, homi_call(fd, HOMI_MEM_REGISTER, &r));
	/* Where the core pins by itself it is found out later. */
	ASSERT(r.out_reason == HOMI_REASON_PIN || r.out_reason == HOMI_REASON_MAP);
	ASSERT(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, 0) == MAP_FAILED);
	/* One that is as it should be, and twice */
	ASSERT_EQ(0, importer_attach(importer, dmabuf, 0));
	ASSERT_EQ(0, importer_attach(importer_open(), dmabuf, 0));
	close(dmabuf);
	ASSERT_EQ(0, importer_write(importer, ring.q.out_cq_db_offset, 0));
}

static bool lends(int fd, uint32_t qid)
{
	struct ring other;
	uint32_t spare = ctrl_info(fd).out_queues_spare, i;
	bool found = false;

	/* All that there are, so that it would be among them */
	for (i = 0; i < spare; i++) {
		ASSERT_EQ(0, ring_create(&other, fd, 2));
		found |= other.q.out_qid == qid;
	}
	ASSERT_EQ(-ENOSPC, ring_create(&other, fd, 2));
	return found;
}

static bool is_lent_soon(uint32_t qid)
{
	uint64_t end = now_ms() + 10000;
	bool lent;

	do {
		int fd = homi_open();

		lent = lends(fd, qid);
		close(fd);
	} while (!lent && now_ms() < end);
	return lent;
}

/* What a former holder's device rings reaches nobody's queue. */
static void check_stale(const struct ringer *ringer, uint32_t qid)
{
	int fd = homi_open(), i;
	struct ring other;

	ASSERT(!lends(fd, qid));
	close(fd);
	fd = homi_open();
	dma_new(&buf, fd, LENGTH);
	dma_new(&list, fd, PAGE);
	ring_open(&other, fd, DEPTH);
	area_fill(&area, 77, copy);
	for (i = 0; i < 64; i++) {
		struct sqe sqe = sqe_rw(NVME_READ, &area, i * PAGE % LENGTH, PAGE, &buf,
					i * PAGE % LENGTH, &list);

		ringer->ring->sq_tail = i % DEPTH;
		ringer->ring->cq_head = i % DEPTH;
		ASSERT_EQ(0, ringer_sq(ringer));
		ASSERT_EQ(0, ringer_cq(ringer));
		ASSERT_EQ(0, ring_do(&other, &sqe));
	}
	ASSERT_SAME(copy, buf.va, LENGTH);
	ring_unmap(&other);
	close(fd);
}

TEST(stale_rings_reach_nobody)
{
	int fd = homi_open();
	struct ringer ringer;
	uint32_t qid;

	begin(fd);
	area_need_write(&area);
	qid = ring.q.out_qid;
	ringer_open(&ringer, &ring, 0);
	check_rung(&ringer);
	ring_unmap(&ring);
	ASSERT_EQ(0, ring_destroy(&ring));
	ASSERT_EQ(1, ctrl_info(fd).out_queues_lent);
	check_stale(&ringer, qid);
	/* Nobody gets at it anew either. */
	ASSERT_EQ(0, importer_info(ringer.registers).out_notices);
	importer_detach(ringer.registers);
	ASSERT_EQ(-ENODEV, importer_attach(ringer.registers, ringer.registers_dmabuf, 0));
	/* The last descriptor of any part */
	close(ringer.registers);
	close(ringer.registers_dmabuf);
	if (ringer.shadow >= 0) {
		ASSERT_EQ(1, ctrl_info(fd).out_queues_lent);
		close(ringer.shadow_dmabuf);
		ASSERT_EQ(1, ctrl_info(fd).out_queues_lent);
		close(ringer.shadow);
	}
	ASSERT_EQ(0, ctrl_info(fd).out_queues_lent);
	ASSERT(lends(fd, qid));
}

/* Who made it is killed with I/O in flight; whom it was handed to has the doorbells still. */
TEST(quarantined_after_a_kill)
{
	struct { uint32_t qid; struct ring ring; } made;
	struct ringer ringer = { .shadow = -1, .shadow_dmabuf = -1 };
	int pair[2], status;
	pid_t pid;

	close(importer_open());
	ASSERT(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	area_open(&area, LENGTH);
	area_need_write(&area);
	ASSERT(!posix_memalign((void **)&copy, PAGE, LENGTH));
	pid = fork();
	if (!pid) {
		int fd = homi_open(), dmabuf, i;

		begin(fd);
		made.qid = ring.q.out_qid;
		made.ring = ring;
		ASSERT_EQ(0, doorbell_export(fd, ring.q.out_queue_id, HOMI_DOORBELL_REGISTERS,
					     &dmabuf));
		send_fd(pair[1], dmabuf, &made, sizeof(made));
		dmabuf = -1;
		if (ring.shadow)
			ASSERT_EQ(0, doorbell_export(fd, ring.q.out_queue_id,
						     HOMI_DOORBELL_SHADOW, &dmabuf));
		send_fd(pair[1], dmabuf >= 0 ? dmabuf : fd, &i, sizeof(i));
		for (;;) {
			struct sqe sqe = sqe_rw(NVME_READ, &area, 0, PAGE, &buf, 0, &list);

			ring_do(&ring, &sqe);
		}
	}
	ringer.registers_dmabuf = receive_fd(pair[0], &made, sizeof(made));
	ringer.shadow_dmabuf = receive_fd(pair[0], &status, sizeof(status));
	ringer.ring = &made.ring;
	ringer.registers = importer_open();
	ASSERT_EQ(0, importer_attach(ringer.registers, ringer.registers_dmabuf, 0));
	if (made.ring.shadow) {
		ringer.shadow = importer_open();
		ASSERT_EQ(0, importer_attach(ringer.shadow, ringer.shadow_dmabuf, 0));
	} else {
		close(ringer.shadow_dmabuf);
	}
	nap_ms(20);
	kill(pid, SIGKILL);
	ASSERT(waitpid(pid, &status, 0) == pid);
	/* The module is in use as long as there is one. */
	ASSERT(shell("rmmod homi 2>/dev/null"));
	check_stale(&ringer, made.qid);
	ringer_close(&ringer);
	ASSERT(is_lent_soon(made.qid));
}

/* The address stays, is dead while the queue is lost, and leads to it again. */
TEST(kept_over_a_reset)
{
	struct importer_info before, after;
	struct ringer ringer;
	int fd = homi_open(), importer = importer_open(), i;

	begin(fd);
	ringer_open(&ringer, &ring, 0);
	for (i = 0; i < 3; i++) {
		before = importer_info(ringer.registers);
		check_rung(&ringer);
		ASSERT_EQ(0, reset_controller(ctrl_name()));
		ASSERT_EQ(HOMI_QUEUE_LOST, queue_info(fd, ring.q.out_queue_id).out_state);
		ring.sq_tail = 1;
		ASSERT_EQ(0, ringer_sq(&ringer));
		if (ringer.shadow >= 0)
			ASSERT_EQ(-EAGAIN, importer_attach(importer, ringer.shadow_dmabuf, 0));
		while (ring_recreate(&ring) == -EAGAIN)
			nap_ms(5);
		after = importer_info(ringer.registers);
		ASSERT_EQ(before.out_dma_addr, after.out_dma_addr);
		ASSERT_EQ(1, after.out_mapped);
		/* Where stock has its shadow doorbells elsewhere now, it was told. */
		if (ringer.shadow >= 0 && !importer_info(ringer.shadow).out_mapped) {
			printf("# the shadow doorbells are elsewhere\n");
			ASSERT_EQ(0, importer_map(ringer.shadow));
		}
		check_rung(&ringer);
	}
	ringer_close(&ringer);
	ASSERT_EQ(0, ring_destroy(&ring));
}
