// SPDX-License-Identifier: GPL-2.0-only
/*
 * RESERVE: stock leaves queues where it had taken all of them, through resets and whatever else
 * changes its wishes, and gets them back.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "harness.h"
#include "ring.h"

#define AREA	(64 * 1024u)

static int fd;

static int reserve(uint32_t count)
{
	struct homi_reserve cmd = { .size = sizeof(cmd), .count = count };
	struct homi_ctrl_info info;
	int err = homi_call(fd, HOMI_RESERVE, &cmd);

	if (err)
		return err;
	info = ctrl_info(fd);
	ASSERT_EQ(count, cmd.out_reserved);
	ASSERT_EQ(count, info.out_queues_reserved);
	ASSERT_EQ(info.out_queues_granted, cmd.out_queues_granted);
	ASSERT_EQ(info.out_queues_kernel, cmd.out_queues_kernel);
	ASSERT_EQ(info.out_queues_spare, cmd.out_queues_spare);
	ASSERT_EQ(info.out_generation, cmd.out_generation);
	ASSERT(info.out_queues_spare + info.out_queues_lent >= count);
	return 0;
}

/* I/O queues that stock has now: hardware contexts of its namespaces */
static unsigned int stock_queues(void)
{
	char path[512], name[300];
	struct dirent *entry;
	unsigned int n = 0;
	DIR *dir;

	/* With multipath the head has none, its path has. */
	snprintf(path, sizeof(path), "ls -d /sys/class/nvme/%s/nvme*/mq 2>/dev/null | head -n 1 >/tmp/homi-mq",
		 ctrl_name());
	ASSERT(!shell("%s", path));
	ASSERT(sysfs_read(name, sizeof(name), "/tmp/homi-mq"));
	name[strcspn(name, "\n")] = '\0';
	dir = opendir(name);
	ASSERT(dir);
	while ((entry = readdir(dir)))
		n += entry->d_name[0] != '.';
	closedir(dir);
	return n;
}

static void wait_homi_live(void)
{
	uint64_t end = now_ms() + 30000;

	ASSERT(wait_live(ctrl_name(), 30000));
	while (ctrl_info(fd).out_state != HOMI_CTRL_LIVE)
		ASSERT(now_ms() < end);
}

static void reset(void)
{
	ASSERT_EQ(0, reset_controller(ctrl_name()));
	wait_homi_live();
}

/* Stock's own I/O goes on, from each processor: each has its queue. */
static void check_stock(void)
{
	char *buf;
	int bdev;

	ASSERT(!posix_memalign((void **)&buf, PAGE, PAGE));
	bdev = open(bdev_path(), O_RDONLY | O_DIRECT | O_CLOEXEC);
	ASSERT(bdev >= 0);
	ASSERT_EQ(PAGE, pread(bdev, buf, PAGE, 0));
	ASSERT(!shell("for c in /sys/devices/system/cpu/cpu[0-9]*; do [ \"$(cat $c/online 2>/dev/null)\" = 0 ] || taskset -c ${c##*cpu} dd if=%s of=/dev/null bs=64k count=4 iflag=direct 2>/dev/null || exit 1; done",
		      bdev_path()));
	close(bdev);
	free(buf);
}

struct io {
	struct area area;
	struct dma dma, list;
	char *copy;
};

static void io_open(struct io *io)
{
	area_open(&io->area, AREA);
	ASSERT(!posix_memalign((void **)&io->copy, PAGE, AREA));
	area_fill(&io->area, 4711, io->copy);
	dma_new(&io->dma, fd, AREA);
	dma_new(&io->list, fd, PAGE);
}

static void io_check(struct io *io, struct ring *ring)
{
	memset(io->dma.va, 0, AREA);
	ASSERT_EQ(0, ring_copy(ring, NVME_READ, &io->area, 0, AREA, &io->dma, &io->list,
			       max_step(fd)));
	ASSERT_SAME(io->copy, io->dma.va, AREA);
}

static void recreate(struct ring *ring)
{
	uint64_t end = now_ms() + 20000;
	int err;

	while ((err = ring_recreate(ring)) == -EAGAIN)
		ASSERT(now_ms() < end);
	ASSERT_EQ(0, err);
}

static bool set_parameter(const char *name, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/module/nvme/parameters/%s", name);
	return sysfs_write(path, value);
}

static bool cpu_online(int cpu, bool online)
{
	char path[96];

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/online", cpu);
	return sysfs_write(path, online ? "1" : "0");
}

/* What a test finds must not depend on how the one before ended. */
static void begin(void)
{
	if (getenv("HOMI_VM")) {
		set_parameter("write_queues", "0");
		set_parameter("poll_queues", "0");
		cpu_online(1, true);
	}
	fd = homi_open();
	if (ctrl_info(fd).out_reason != HOMI_REASON_NONE &&
	    ctrl_info(fd).out_reason != HOMI_REASON_NO_SPARE)
		SKIP("no queue can be had on this controller");
	ASSERT_EQ(0, reserve(0));
}

/* A controller whose every queue stock takes; returns how many that are. */
static unsigned int begin_exhausted(void)
{
	struct homi_ctrl_info info;

	begin();
	info = ctrl_info(fd);
	if (info.out_queues_spare)
		SKIP("the controller has queues to spare");
	if (info.out_queues_granted < 2)
		SKIP("the controller has one queue");
	ASSERT_EQ(HOMI_REASON_NO_SPARE, info.out_reason);
	ASSERT_EQ(info.out_queues_granted, info.out_queues_kernel);
	ASSERT_EQ(info.out_queues_granted, stock_queues());
	return info.out_queues_granted;
}

static void end_exhausted(unsigned int all)
{
	ASSERT_EQ(0, reserve(0));
	ASSERT_EQ(all, stock_queues());
	ASSERT_EQ(all, ctrl_info(fd).out_queues_kernel);
	ASSERT_EQ(0, ctrl_info(fd).out_queues_spare);
	check_stock();
}

TEST(needs_privilege)
{
	pid_t pid;

	begin();
	pid = fork();
	if (!pid) {
		become_nobody();
		ASSERT_EQ(-EPERM, reserve(0));
		_exit(0);
	}
	ASSERT_EQ(0, child_status(pid));
}

TEST(bad_counts)
{
	begin();
	ASSERT_EQ(-EINVAL, reserve(65535));
	ASSERT_EQ(-EINVAL, reserve(~0u));
}

/* One is taken, works, survives resets in its place, and is given back. */
TEST_TIMEOUT(one, 120)
{
	unsigned int all = begin_exhausted(), i;
	uint64_t generation = ctrl_info(fd).out_generation;
	struct ring ring;
	struct io io;

	ASSERT_EQ(-ENOSPC, ring_create(&ring, fd, 16));
	ASSERT_EQ(0, reserve(1));
	ASSERT_EQ(generation + 1, ctrl_info(fd).out_generation);
	ASSERT_EQ(all - 1, stock_queues());
	ASSERT_EQ(all - 1, ctrl_info(fd).out_queues_kernel);
	check_stock();
	/* Again: nothing to do, so no reset. */
	ASSERT_EQ(0, reserve(1));
	ASSERT_EQ(generation + 1, ctrl_info(fd).out_generation);
	io_open(&io);
	ring_open(&ring, fd, 16);
	ASSERT_EQ(all, ring.q.out_qid);
	io_check(&io, &ring);
	for (i = 0; i < (soak() ? 6 : 3); i++) {
		reset();
		ASSERT_EQ(all - 1, stock_queues());
		recreate(&ring);
		ASSERT_EQ(all, queue_info(fd, ring.q.out_queue_id).out_qid);
		io_check(&io, &ring);
		check_stock();
	}
	/* In use, and destroyed but still mapped: not given back. */
	ASSERT_EQ(-EBUSY, reserve(0));
	ASSERT_EQ(HOMI_QUEUE_LIVE, queue_info(fd, ring.q.out_queue_id).out_state);
	ASSERT_EQ(0, destroy(fd, ring.q.out_queue_id));
	ASSERT_EQ(-EBUSY, reserve(0));
	ASSERT_EQ(1, ctrl_info(fd).out_queues_reserved);
	ring_unmap(&ring);
	end_exhausted(all);
	ASSERT_EQ(-ENOSPC, ring_create(&ring, fd, 16));
}

/* All but one; one more than that is refused and changes nothing. */
TEST_TIMEOUT(as_many_as_there_are, 120)
{
	unsigned int all = begin_exhausted(), i;
	struct ring *rings = calloc(all, sizeof(*rings));

	ASSERT_EQ(-ENOSPC, reserve(all));
	wait_homi_live();
	ASSERT_EQ(0, ctrl_info(fd).out_queues_reserved);
	ASSERT_EQ(all, stock_queues());
	ASSERT_EQ(0, reserve(all - 1));
	ASSERT_EQ(1, stock_queues());
	ASSERT_EQ(-ENOSPC, reserve(all));
	wait_homi_live();
	ASSERT_EQ(all - 1, ctrl_info(fd).out_queues_reserved);
	ASSERT_EQ(1, stock_queues());
	ASSERT_EQ(-ENOSPC, reserve(60000));
	wait_homi_live();
	for (i = 0; i < all - 1; i++)
		ring_open(&rings[i], fd, 16);
	ASSERT_EQ(-ENOSPC, ring_create(&rings[all - 1], fd, 16));
	check_stock();
	/* A part of it is in use. */
	ASSERT_EQ(0, ring_destroy(&rings[0]));
	ring_unmap(&rings[0]);
	if (all > 2)
		ASSERT_EQ(-EBUSY, reserve(0));
	for (i = 1; i < all - 1; i++) {
		ASSERT_EQ(0, ring_destroy(&rings[i]));
		ring_unmap(&rings[i]);
	}
	end_exhausted(all);
}

/* The reservation belongs to the controller, its queues to their open file. */
TEST(outlives_its_file)
{
	unsigned int all = begin_exhausted();
	struct ring ring;

	ASSERT_EQ(0, reserve(1));
	close(fd);
	fd = homi_open();
	ASSERT_EQ(1, ctrl_info(fd).out_queues_reserved);
	reset();
	ASSERT_EQ(1, ctrl_info(fd).out_queues_spare);
	ASSERT_EQ(all - 1, stock_queues());
	ring_open(&ring, fd, 16);
	ASSERT_EQ(0, ring_destroy(&ring));
	ring_unmap(&ring);
	end_exhausted(all);
}

/* With queues to spare there is nothing to take from stock, and no reset. */
TEST(spare_anyway)
{
	struct homi_ctrl_info before;
	unsigned int stock;

	begin();
	before = ctrl_info(fd);
	if (!before.out_queues_spare)
		SKIP("no spare queue on this controller");
	stock = stock_queues();
	ASSERT_EQ(0, reserve(before.out_queues_spare));
	ASSERT_EQ(before.out_generation, ctrl_info(fd).out_generation);
	reset();
	ASSERT_EQ(before.out_queues_spare, ctrl_info(fd).out_queues_spare);
	ASSERT_EQ(stock, stock_queues());
	ASSERT_EQ(0, reserve(0));
	ASSERT_EQ(before.out_generation + 1, ctrl_info(fd).out_generation);
}

/*
 * Whatever stock wants at a reset, it never gets an id that is lent, or held back. Its own I/O is
 * not looked at while it has poll queues: a drive that was probed without gets one that nobody
 * polls, and each request on it waits for its time-out, with homi and without.
 */
static void check_wishes(unsigned int reserved)
{
	static const char *const wishes[][2] = {
		{ "1", "0" }, { "2", "0" }, { "0", "1" }, { "0", "0" }, { "2", "2" },
		{ "0", "0" },
	};
	struct ring ring, held;
	struct io io;
	unsigned int i;

	io_open(&io);
	ring_open(&ring, fd, 16);
	if (ctrl_info(fd).out_queues_spare) {
		ring_open(&held, fd, 16);
		ASSERT_EQ(0, destroy(fd, held.q.out_queue_id));
	} else {
		held.q.out_qid = ring.q.out_qid;
	}
	for (i = 0; i < ARRAY_SIZE(wishes); i++) {
		ASSERT(set_parameter("write_queues", wishes[i][0]));
		ASSERT(set_parameter("poll_queues", wishes[i][1]));
		reset();
		ASSERT(stock_queues() < ring.q.out_qid && stock_queues() < held.q.out_qid);
		ASSERT(ctrl_info(fd).out_queues_kernel < ring.q.out_qid);
		ASSERT_EQ(reserved, ctrl_info(fd).out_queues_reserved);
		recreate(&ring);
		io_check(&io, &ring);
		if (wishes[i][1][0] == '0')
			check_stock();
	}
	ASSERT_EQ(0, ring_destroy(&ring));
	ring_unmap(&ring);
	if (held.q.out_qid != ring.q.out_qid)
		ring_unmap(&held);
}

TEST_TIMEOUT(wishes_of_stock, 180)
{
	need_own_machine("the NVMe driver's parameters are changed");
	begin();
	if (!set_parameter("write_queues", "0"))
		SKIP("nvme's parameters cannot be changed");
	if (!ctrl_info(fd).out_queues_spare)
		ASSERT_EQ(0, reserve(1));
	check_wishes(ctrl_info(fd).out_queues_reserved);
	ASSERT_EQ(0, reserve(0));
}

/* Stock's wish is for possible processors; but what if it were not. */
TEST_TIMEOUT(processors_come_and_go, 180)
{
	unsigned int stock, reserved;
	struct ring ring;
	struct io io;
	int i;

	need_own_machine("its processors are switched off and on");
	begin();
	if (!ctrl_info(fd).out_queues_spare)
		ASSERT_EQ(0, reserve(1));
	reserved = ctrl_info(fd).out_queues_reserved;
	if (!cpu_online(1, false))
		SKIP("processors cannot be switched off");
	ASSERT(cpu_online(1, true));
	stock = stock_queues();
	io_open(&io);
	ring_open(&ring, fd, 16);
	for (i = 0; i < 4; i++) {
		ASSERT(cpu_online(1, i & 1));
		io_check(&io, &ring);
		reset();
		ASSERT(stock_queues() < ring.q.out_qid);
		recreate(&ring);
		io_check(&io, &ring);
		/*
		 * A reset while a processor is off leaves the queue of that one without an
		 * interrupt: on 7.3 stock goes on using it, with homi and without.
		 */
		if (i & 1)
			check_stock();
	}
	ASSERT_EQ(reserved, ctrl_info(fd).out_queues_reserved);
	ASSERT_EQ(stock, stock_queues());
	ASSERT_EQ(0, ring_destroy(&ring));
	ring_unmap(&ring);
	ASSERT_EQ(0, reserve(0));
}

/* Stock's I/O goes on over the reset that a reservation takes. */
TEST_TIMEOUT(under_load, 120)
{
	unsigned int all = begin_exhausted(), i;
	pid_t pid = fork();

	if (!pid)
		_exit(shell("exec dd if=%s of=/dev/null bs=4k count=2000000 iflag=direct 2>/dev/null",
			    bdev_path()) ? 1 : 0);
	for (i = 0; i < (soak() ? 10 : 4); i++) {
		nap_ms(50);
		ASSERT_EQ(0, reserve(1));
		ASSERT_EQ(all - 1, stock_queues());
		ASSERT_EQ(0, reserve(0));
		ASSERT_EQ(all, stock_queues());
	}
	/* It has not ended with an error meanwhile. */
	ASSERT(!shell("pgrep -x dd >/dev/null"));
	shell("pkill -x dd");
	child_status(pid);
	end_exhausted(all);
}

/* Two who reserve, and one who resets, at the same time: one after the other, or EAGAIN. */
TEST_TIMEOUT(at_the_same_time, 120)
{
	unsigned int all = begin_exhausted(), i, k;
	pid_t pids[3];

	for (k = 0; k < ARRAY_SIZE(pids); k++) {
		pids[k] = fork();
		if (pids[k])
			continue;
		fd = homi_open();
		for (i = 0; i < (soak() ? 14u : 6u); i++) {
			struct homi_reserve cmd = { .size = sizeof(cmd), .count = (i + k) % 2 };
			int err = k == 2 ? reset_controller(ctrl_name()) :
					   homi_call(fd, HOMI_RESERVE, &cmd);

			ASSERT(k == 2 || !err || err == -EAGAIN || err == -ENOSPC);
		}
		_exit(0);
	}
	for (k = 0; k < ARRAY_SIZE(pids); k++)
		ASSERT_EQ(0, child_status(pids[k]));
	wait_homi_live();
	ASSERT_EQ(0, reserve(1));
	end_exhausted(all);
}

static void stock_has(unsigned int queues)
{
	ASSERT_EQ(queues, stock_queues());
	ASSERT_EQ(queues, ctrl_info(fd).out_queues_kernel);
	check_stock();
}

/* Killed while its reset goes on: it ends before that, which leaves one answer or the other. */
TEST_TIMEOUT(killed, 120)
{
	unsigned int all = begin_exhausted(), reserved = 0, i;
	uint64_t generation;
	int status;
	pid_t pid;

	if (access(QUIESCE_MS, W_OK))
		SKIP("no %s", QUIESCE_MS);
	for (i = 0; i < times(16, 4); i++) {
		/* Half of the time stock's reset begins when all is over. */
		bool held = i % 2;

		ASSERT(sysfs_write(QUIESCE_MS, held ? "2000" : "0"));
		generation = ctrl_info(fd).out_generation;
		pid = fork();
		if (!pid) {
			reserve(!reserved);
			_exit(0);
		}
		nap_ms(held ? 300 : 5 + i * 17 % 120);
		kill(pid, SIGKILL);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		if (held) {
			ASSERT(WIFSIGNALED(status));
			ASSERT_EQ(generation, ctrl_info(fd).out_generation);
			ASSERT(sysfs_write(QUIESCE_MS, "0"));
		}
		wait_homi_live();
		reserved = ctrl_info(fd).out_queues_reserved;
		ASSERT(reserved <= 1);
		stock_has(all - reserved);
		reset();
		ASSERT_EQ(reserved, ctrl_info(fd).out_queues_reserved);
		stock_has(all - reserved);
	}
	end_exhausted(all);
}
