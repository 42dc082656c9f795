// SPDX-License-Identifier: GPL-2.0-only
/* HOLDERS: who has queues, and their end. */
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>

#include "harness.h"
#include "ring.h"

static int fd;

static void wait_homi_live(void)
{
	ASSERT(wait_live(ctrl_name(), 30000));
	ASSERT(poll_fd(fd, POLLOUT, 30000) & POLLOUT);
}

static int holders(uint32_t flags, struct homi_holder *list, uint32_t room,
		   struct homi_holders *answer)
{
	memset(list, 0, room * sizeof(*list));
	*answer = (struct homi_holders){
		.size = sizeof(*answer), .flags = flags, .count = room,
		.holders = (uintptr_t)list,
	};
	return homi_call(fd, HOMI_HOLDERS, answer);
}

static void must_read(int from, void *buf, size_t size)
{
	ASSERT_EQ(size, read(from, buf, size));
}

/* A process with @queues queues, which it watches; says how it found them in the end. */
static pid_t holder(unsigned int queues, int *ready, int *go)
{
	int up[2], down[2];
	pid_t pid;

	ASSERT(!pipe2(up, O_CLOEXEC) && !pipe2(down, O_CLOEXEC));
	pid = fork();
	if (!pid) {
		struct ring rings[4];
		int mine = homi_open(), event = eventfd(0, EFD_CLOEXEC);
		unsigned int i;
		char byte;

		close(down[1]);
		for (i = 0; i < queues; i++) {
			ring_open(&rings[i], mine, 16);
			ASSERT_EQ(0, event_bind(mine, rings[i].q.out_queue_id, event));
		}
		ASSERT_EQ(1, write(up[1], "r", 1));
		must_read(down[0], &byte, 1);
		ASSERT_EQ(queues, event_wait(event, 30000));
		ASSERT(poll_fd(mine, POLLPRI, 1000) & POLLPRI);
		for (i = 0; i < queues; i++) {
			ASSERT_EQ(HOMI_QUEUE_REVOKED,
				  queue_info(mine, rings[i].q.out_queue_id).out_state);
			ASSERT_EQ(-ESTALE, ring_recreate(&rings[i]));
			/* The doorbell leads nowhere now. */
			((volatile uint32_t *)rings[i].db)[0] = 3;
		}
		/* EBUSY: the other one is doing that. */
		i = -reset_controller(ctrl_name());
		ASSERT(!i || i == EBUSY);
		ASSERT(wait_live(ctrl_name(), 20000));
		ASSERT(poll_fd(mine, POLLOUT, 20000) & POLLOUT);
		for (i = 0; i < queues; i++) {
			ASSERT_EQ(-ESTALE, ring_recreate(&rings[i]));
			ASSERT_EQ(0, ring_destroy(&rings[i]));
			ring_unmap(&rings[i]);
		}
		/* Others it may have. */
		ring_open(&rings[0], mine, 16);
		_exit(0);
	}
	close(up[1]);
	close(down[0]);
	*ready = up[0];
	*go = down[1];
	return pid;
}

TEST_TIMEOUT(holders, 120)
{
	struct homi_holders answer;
	struct homi_holder list[4];
	int ready[2], go[2], i;
	struct ring mine;
	uint32_t lent;
	pid_t pids[2];
	char byte;

	fd = homi_open();
	need_queues(fd, 5);
	ASSERT_EQ(0, holders(0, list, 4, &answer));
	ASSERT_EQ(0, answer.count);
	ring_open(&mine, fd, 16);
	for (i = 0; i < 2; i++) {
		pids[i] = holder(1 + i, &ready[i], &go[i]);
		must_read(ready[i], &byte, 1);
	}
	/* One's own are not told of. */
	ASSERT_EQ(0, holders(0, list, 4, &answer));
	ASSERT_EQ(2, answer.count);
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(pids[i], list[i].pid);
		ASSERT_EQ(1 + i, list[i].queues);
		ASSERT_EQ(1 + i, list[i].at_controller);
		ASSERT_EQ(1 + i, list[i].qids);
	}
	ASSERT_EQ(0, answer.out_revoked);
	ASSERT_EQ(0, answer.out_busy);
	/* Too little room: told how much it takes, and nothing is revoked. */
	ASSERT_EQ(-EMSGSIZE, holders(HOMI_HOLDERS_REVOKE, list, 1, &answer));
	ASSERT_EQ(2, answer.count);
	ASSERT_EQ(-EFAULT, homi_call(fd, HOMI_HOLDERS, &(struct homi_holders){
			.size = sizeof(answer), .flags = HOMI_HOLDERS_REVOKE, .count = 8 }));
	ASSERT_EQ(0, holders(0, list, 4, &answer));
	ASSERT_EQ(1, list[0].at_controller);
	lent = ctrl_info(fd).out_queues_lent;
	ASSERT_EQ(0, holders(HOMI_HOLDERS_REVOKE, list, 4, &answer));
	ASSERT_EQ(2, answer.count);
	ASSERT_EQ(3, answer.out_revoked);
	ASSERT_EQ(0, answer.out_busy);
	/* Doorbells may have been handed on: the ids stay theirs. */
	ASSERT_EQ(lent, ctrl_info(fd).out_queues_lent);
	ASSERT_EQ(HOMI_QUEUE_LIVE, queue_info(fd, mine.q.out_queue_id).out_state);
	for (i = 0; i < 2; i++)
		ASSERT_EQ(1, write(go[i], "g", 1));
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, child_status(pids[i]));
	ASSERT_EQ(0, holders(0, list, 4, &answer));
	ASSERT_EQ(0, answer.count);
	ASSERT_EQ(0, ring_destroy(&mine));
	ring_unmap(&mine);
}

/* A deletion that fails makes homi reset the controller; who asks is told that it is not over. */
TEST_TIMEOUT(revoke_that_fails, 120)
{
	struct homi_holders answer;
	struct homi_holder list[4];
	uint64_t generation;
	char path[128];
	int ready, go;
	char byte;
	pid_t pid;

	fd = homi_open();
	need_queues(fd, 2);
	snprintf(path, sizeof(path), FAULT, ctrl_name());
	if (access(path, W_OK))
		SKIP("no %s", path);
	pid = holder(1, &ready, &go);
	must_read(ready, &byte, 1);
	generation = ctrl_info(fd).out_generation;
	ASSERT(sysfs_write(path, "0x00 fail 1"));
	ASSERT_EQ(0, holders(HOMI_HOLDERS_REVOKE, list, 4, &answer));
	ASSERT_EQ(1, answer.out_revoked);
	ASSERT(answer.out_busy <= 1);
	while (ctrl_info(fd).out_generation == generation)
		nap_ms(10);
	wait_homi_live();
	ASSERT_EQ(0, holders(0, list, 4, &answer));
	ASSERT_EQ(0, answer.out_busy);
	ASSERT_EQ(1, write(go, "g", 1));
	ASSERT_EQ(0, child_status(pid));
}
