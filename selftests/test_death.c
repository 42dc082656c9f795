// SPDX-License-Identifier: GPL-2.0-only
/*
 * A process dies with thousands of commands in flight, or in the middle of a call, and
 * whatever it shared goes on or ends.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "files.h"
#include "harness.h"
#include "victim.h"

/*
 * Where the drive is faster than the victim there are never many commands in flight. What there is
 * takes a second, or two where all is slow, for which QEMU's Delete SQ waits: within delete_ms.
 */
static void begin(void)
{
	fixture_open();
	drive_throttle(getenv("HOMI_SLOW") ? 2000 : 4000);
}

/* --- kill -9 --- */

/* A kill counts if it had thousands in flight. Else the round is one more. */
struct kills {
	unsigned int wanted, counted, rounds, most, least;
};

static void count_kill(struct kills *kills, unsigned int n)
{
	if (++kills->rounds > 10 * kills->wanted)
		FAIL("only %u of %u kills with %u commands in flight", kills->counted,
		     kills->rounds, IN_FLIGHT);
	if (n < IN_FLIGHT)
		return;
	kills->least = kills->counted && kills->least < n ? kills->least : n;
	kills->most = kills->most > n ? kills->most : n;
	kills->counted++;
}

static void print_kills(const struct kills *kills)
{
	printf("# %u kills of %u, each with %u to %u commands in flight in %u queues of %u entries\n",
	       kills->counted, kills->rounds, kills->least, kills->most, fx.rings, fx.depth);
}

TEST_TIMEOUT(in_flight, 480)
{
	struct kills kills = { .wanted = times(80, 10) };

	begin();
	while (kills.counted < kills.wanted) {
		pid_t pid = victim_start(victim_busy);

		usleep(seed_next(&fx.seed, 20000));
		wait_busy();
		count_kill(&kills, victim_kill_and_check(pid));
	}
	print_kills(&kills);
}

enum {
	OPEN, CREATE, MMAP, FAULT_IN, REGISTER, SUBMIT, RESOLVE, TABLE, DESTROY_TABLE, FORK,
	DESTROY_QUEUE, DESTROY_MEM, CLOSE, PHASES
};

static const char *const phases[PHASES] = {
	"open", "QUEUE_CREATE", "mmap", "page faults", "MEM_REGISTER", "I/O", "EXTENT_RESOLVE",
	"the table's mapping", "DESTROY of the extent", "fork", "DESTROY of the queue",
	"DESTROY of the memory", "close",
};

static struct file file = { .fd = -1 };

/* Where the next victim dies: how many times it gets there before, and how soon after. */
static struct {
	int phase;
	unsigned int spared;
	long ns;
} fate;

static timer_t death;

static void at(int phase)
{
	struct itimerspec soon = { .it_value.tv_nsec = fate.ns };

	atomic_store(&fx.shared->phase, phase);
	if (phase == fate.phase && !fate.spared--)
		ASSERT(!timer_settime(death, 0, &soon, NULL));
}

static void fault_in(const struct ring *ring)
{
	size_t off;

	for (off = 0; off < ring->q.out_sq_mmap_length; off += PAGE)
		((volatile char *)ring->sq)[off] = 0;
	for (off = 0; off < ring->q.out_cq_mmap_length; off += PAGE)
		(void)((volatile char *)ring->cq)[off];
	(void)*(volatile char *)ring->db;
	if (ring->shadow)
		(void)*(volatile char *)ring->shadow;
}

/* Every call, one after the other, until it is killed in one of them. */
static void call_all(void)
{
	size_t length = BLOCKS * PAGE;
	struct table table;
	unsigned int k;
	struct sqe sqe;
	struct sigevent kill = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL };
	pid_t pid;
	int fd;

	ASSERT(!timer_create(CLOCK_MONOTONIC, &kill, &death));
	for (;;) {
		at(OPEN);
		fd = homi_open();
		at(CREATE);
		ASSERT_EQ(0, ring_create(&rings[0], fd, fx.depth));
		at(MMAP);
		ring_map(&rings[0]);
		at(FAULT_IN);
		fault_in(&rings[0]);
		at(REGISTER);
		dma_from(&victim_dma, fd, fx.data, length, HOMI_MEM_WRITE);
		at(SUBMIT);
		for (k = 0; k < BLOCKS && k < fx.depth - 1; k++) {
			sqe = sqe_rw(NVME_READ, &fx.area, k * PAGE, PAGE, &victim_dma, k * PAGE,
				     NULL);
			ring_post(&rings[0], &sqe);
		}
		ring_doorbell(&rings[0]);
		if (file.fd >= 0) {
			at(RESOLVE);
			ASSERT_EQ(0, table_resolve(&table, fd, file.fd, 0, 0));
			at(TABLE);
			table.t = mmap(NULL, table.r.out_mmap_length, PROT_READ, MAP_SHARED, fd,
				       table.r.out_mmap_offset);
			ASSERT(table.t != MAP_FAILED && table.t->state == HOMI_EXTENT_VALID);
			at(DESTROY_TABLE);
			ASSERT_EQ(0, table_close(&table));
		}
		at(FORK);
		pid = fork();
		if (!pid)
			_exit(0);
		ASSERT_EQ(0, child_status(pid));
		at(DESTROY_QUEUE);
		ASSERT_EQ(0, ring_destroy(&rings[0]));
		ring_unmap(&rings[0]);
		at(DESTROY_MEM);
		ASSERT_EQ(0, dma_destroy(&victim_dma));
		at(CLOSE);
		close(fd);
	}
}

/* By a timer of its own, which strikes in time where the test would not. In which phase it died. */
static int die_in(int phase)
{
	fate.phase = phase;
	fate.spared = seed_next(&fx.seed, 3);
	fate.ns = 1 + seed_next(&fx.seed, 400000);
	victim_reap(child_start(call_all));
	return atomic_load(&fx.shared->phase);
}

TEST_TIMEOUT(in_calls, 240)
{
	unsigned int rounds = soak() ? 78 : 39, died[PHASES] = { 0 }, i;
	const char *dir = getenv("HOMI_EXT4");
	uint64_t end;
	int fd, phase;

	fixture_open();
	set_recall_ms(60000);
	if (dir && *dir)
		file_create(&file, dir, "death", 64 * PAGE, fx.seed);
	for (i = 0; i < rounds; i++) {
		phase = i % PHASES;
		if (file.fd < 0 && phase >= RESOLVE && phase <= DESTROY_TABLE)
			phase = CREATE;
		died[die_in(phase)]++;
		check_end();
		if (file.fd < 0)
			continue;
		/* A lease that is left holds up whoever wants to write. */
		end = now_ms() + 30000;
		fd = open(file.path, O_WRONLY | O_CLOEXEC);
		ASSERT(fd >= 0 && now_ms() < end);
		close(fd);
	}
	printf("# %u kills:", rounds);
	for (i = 0; i < PHASES; i++)
		printf(" %u in %s%s", died[i], phases[i], i == PHASES - 1 ? "\n" : ",");
	if (file.fd >= 0)
		file_remove(&file);
}

/* --- what outlives the victim --- */

static void busy_with_grandchild(void)
{
	pid_t pid;

	victim_open();
	pid = fork();
	ASSERT(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, 0);
		for (;;)
			pause();
	}
	atomic_store(&fx.shared->grandchild, pid);
	victim_fill();
	victim_go_on();
}

/* What the dead one gave to the controller is done, into memory that is still pinned. */
static void wait_all_arrived(void)
{
	uint64_t end = now_ms() + 30000;
	unsigned int n;

	while ((n = in_flight())) {
		if (now_ms() > end)
			FAIL("%u commands did not arrive", n);
		usleep(1000);
	}
}

/* The end of either leaves the queues to the other, that of both does not. */
TEST_TIMEOUT(grandchild_shares_descriptor, 240)
{
	struct kills kills = { .wanted = times(14, 4) };

	begin();
	/* The grandchild becomes this process's child when its parent dies. */
	ASSERT(!prctl(PR_SET_CHILD_SUBREAPER, 1));
	while (kills.counted < kills.wanted) {
		pid_t pid = victim_start(busy_with_grandchild);
		pid_t other = atomic_load(&fx.shared->grandchild);
		bool victim_first = kills.counted % 2;
		unsigned int n;

		wait_busy();
		n = victim_kill(victim_first ? pid : other);
		if (victim_first)
			victim_reap(pid);
		usleep(seed_next(&fx.seed, 5000));
		ASSERT_EQ(fx.rings, queues_lent());
		ASSERT(pinned_pages() >= fx.pinned + fx.slots);
		if (victim_first) {
			wait_all_arrived();
			victim_kill(other);
		} else {
			wait_busy();
			n = victim_kill(pid);
			victim_reap(pid);
		}
		atomic_store(&fx.shared->grandchild, 0);
		victim_reap(other);
		check_end();
		count_kill(&kills, n);
	}
	print_kills(&kills);
}

static bool exec_keeps;

static void busy_then_exec(void)
{
	victim_open();
	if (exec_keeps)
		ASSERT(!fcntl(victim_dma.fd, F_SETFD, 0));
	victim_fill();
	execl("/bin/sleep", "sleep", "60", NULL);
	FAIL("exec: %s", strerror(errno));
}

/* The mappings end; the descriptor goes on with the new program, or not. */
TEST_TIMEOUT(exec, 120)
{
	unsigned int rounds = times(12, 4), i;

	fixture_open();
	for (i = 0; i < rounds; i++) {
		char path[64], comm[32];
		uint64_t end = now_ms() + 30000;
		pid_t pid;

		exec_keeps = i % 2;
		pid = victim_start(busy_then_exec);
		snprintf(path, sizeof(path), "/proc/%d/comm", pid);
		while (!sysfs_read(comm, sizeof(comm), "%s", path) || strcmp(comm, "sleep")) {
			ASSERT(now_ms() < end);
			usleep(200);
		}
		if (exec_keeps) {
			ASSERT_EQ(fx.rings, queues_lent());
			wait_all_arrived();
		} else {
			check_end();
		}
		victim_kill(pid);
		victim_reap(pid);
		check_end();
	}
}

static int socks[2];

static void busy_after_sending(void)
{
	uint32_t ids[MAX_RINGS + 1];
	unsigned int r;

	victim_open();
	for (r = 0; r < fx.rings; r++)
		ids[r] = rings[r].q.out_queue_id;
	ids[MAX_RINGS] = victim_dma.id;
	send_fd(socks[1], victim_dma.fd, ids, sizeof(ids));
	victim_fill();
	victim_go_on();
}

/* Sent over a socket: the receiver uses the dead one's queues, memory and numbers. */
TEST_TIMEOUT(heir, 240)
{
	struct kills kills = { .wanted = times(14, 4) };
	unsigned int n, r;

	begin();
	ASSERT(!socketpair(AF_UNIX, SOCK_STREAM, 0, socks));
	while (kills.counted < kills.wanted) {
		pid_t pid = victim_start(busy_after_sending);
		uint32_t ids[MAX_RINGS + 1], count;
		struct dma dma = { 0 };
		struct ring ring;
		int fd;

		fd = receive_fd(socks[0], ids, sizeof(ids));
		usleep(seed_next(&fx.seed, 5000));
		wait_busy();
		n = victim_kill(pid);
		victim_reap(pid);
		for (r = 0; r < fx.rings; r++) {
			ASSERT_EQ(HOMI_QUEUE_LIVE, queue_info(fd, ids[r]).out_state);
			ASSERT_EQ(-EBUSY, destroy(fd, ids[MAX_RINGS]));
			ASSERT_EQ(0, destroy(fd, ids[r]));
		}
		/* Its memory, by its addresses, through a new queue */
		dma = (struct dma){ .fd = fd, .id = ids[MAX_RINGS], .va = fx.data,
				    .length = fx.slots * (size_t)PAGE };
		count = fx.slots;
		dma.seg = calloc(count, sizeof(*dma.seg));
		ASSERT_EQ(0, mem_segments(fd, dma.id, dma.seg, &count));
		dma.segments = count;
		ring_open(&ring, fd, 8);
		memset(fx.data, 0, BLOCKS * PAGE);
		ASSERT_EQ(0, ring_copy(&ring, NVME_READ, &fx.area, 0, BLOCKS * PAGE, &dma, NULL,
				       PAGE));
		ASSERT_SAME(fx.copy, fx.data, BLOCKS * PAGE);
		ASSERT_EQ(0, ring_destroy(&ring));
		ring_unmap(&ring);
		ASSERT_EQ(0, dma_destroy(&dma));
		close(fd);
		check_end();
		count_kill(&kills, n);
	}
	print_kills(&kills);
}
