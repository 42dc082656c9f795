// SPDX-License-Identifier: GPL-2.0-only
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "victim.h"

#define MAX_DEPTH	2048u
#define NOT_YET		0x6e6f742079657421ull	/* in a page: its command did not end */

struct fixture fx;
struct ring rings[MAX_RINGS];
struct dma victim_dma;

void *map_shared(size_t length)
{
	void *va = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	ASSERT(va != MAP_FAILED);
	return va;
}

void fixture_open(void)
{
	int fd = homi_open(), memfd;
	struct homi_ctrl_info info = ctrl_info(fd);

	need_debugfs();
	fx.depth = info.out_max_depth < MAX_DEPTH ? info.out_max_depth : MAX_DEPTH;
	fx.rings = IN_FLIGHT / (fx.depth - 1) + 2;
	ASSERT(fx.rings <= MAX_RINGS);
	need_queues(fd, fx.rings);
	close(fd);
	fx.seed = seed_begin();
	fx.slots = fx.rings * (fx.depth - 1);
	fx.shared = map_shared(sizeof(*fx.shared));
	memfd = memfd_create("homi", MFD_CLOEXEC);
	ASSERT(memfd >= 0 && !ftruncate(memfd, fx.slots * (size_t)PAGE));
	fx.data = mmap(NULL, fx.slots * (size_t)PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	ASSERT(fx.data != MAP_FAILED);
	memset(fx.data, 0, fx.slots * (size_t)PAGE);
	ASSERT(!posix_memalign((void **)&fx.copy, PAGE, BLOCKS * PAGE));
	ASSERT(!posix_memalign((void **)&fx.again, PAGE, BLOCKS * PAGE));
	area_open(&fx.area, BLOCKS * PAGE);
	area_fill(&fx.area, fx.seed, fx.copy);
	stock_queues_learn(&fx.stock, ctrl_name());
	wait_nothing_left(ctrl_name());
	fx.pinned = pinned_pages();
}

static volatile uint64_t *slot_word(unsigned int slot)
{
	return (volatile uint64_t *)(fx.data + (size_t)slot * PAGE);
}

/* --- the victim --- */

/* Command @cid of ring @r reads into a page of its own. */
static void post(unsigned int r, unsigned int cid)
{
	unsigned int slot = r * (fx.depth - 1) + cid;
	struct sqe sqe = sqe_rw(NVME_READ, &fx.area, slot % BLOCKS * PAGE, PAGE, &victim_dma,
				(size_t)slot * PAGE, NULL);

	sqe.cid = cid;
	*slot_word(slot) = NOT_YET;
	atomic_fetch_add(&fx.shared->marked, 1);
	ring_post(&rings[r], &sqe);
}

static void ring_up(unsigned int r, unsigned int posted)
{
	ring_doorbell(&rings[r]);
	atomic_fetch_add(&fx.shared->rung, posted);
}

void victim_open(void)
{
	unsigned int r;
	int fd = homi_open();

	for (r = 0; r < fx.rings; r++)
		ring_open(&rings[r], fd, fx.depth);
	dma_from(&victim_dma, fd, fx.data, fx.slots * (size_t)PAGE, HOMI_MEM_WRITE);
}

void victim_fill(void)
{
	unsigned int r, cid;

	for (r = 0; r < fx.rings; r++) {
		for (cid = 0; cid < fx.depth - 1; cid++)
			post(r, cid);
		ring_up(r, fx.depth - 1);
	}
	atomic_store(&fx.shared->full, true);
}

/*
 * What is given again is told to the controller at once, for all queues: where it is faster than
 * this process, thousands are in flight for a moment at least.
 */
void victim_go_on(void)
{
	unsigned int posted[MAX_RINGS], r;
	struct cqe cqe;

	for (;;) {
		for (r = 0; r < fx.rings; r++) {
			for (posted[r] = 0; ring_take(&rings[r], &cqe); posted[r]++) {
				ASSERT_EQ(0, cqe.status >> 1);
				post(r, cqe.cid);
			}
			if (posted[r])
				ring_cq_doorbell(&rings[r]);
		}
		for (r = 0; r < fx.rings; r++) {
			if (posted[r])
				ring_up(r, posted[r]);
		}
	}
}

pid_t victim_start(void (*run)(void))
{
	uint64_t end = now_ms() + 60000;
	pid_t pid;

	memset(fx.shared, 0, sizeof(*fx.shared));
	pid = child_start(run);
	while (!atomic_load(&fx.shared->full)) {
		ASSERT(now_ms() < end);
		ASSERT_EQ(0, waitpid(pid, NULL, WNOHANG));
		usleep(200);
	}
	return pid;
}

void victim_busy(void)
{
	victim_open();
	victim_fill();
	victim_go_on();
}

/* --- what the test sees --- */

/* One page of @step is looked at. */
static unsigned int in_flight_of(unsigned int step)
{
	unsigned long rung = atomic_load(&fx.shared->rung), marked;
	unsigned int slot, n = 0;

	for (slot = 0; slot < fx.slots; slot += step)
		n += *slot_word(slot) == NOT_YET;
	n *= step;
	marked = atomic_load(&fx.shared->marked);
	return n > marked - rung ? n - (marked - rung) : 0;
}

unsigned int in_flight(void)
{
	return in_flight_of(1);
}

void wait_busy(void)
{
	uint64_t end = now_ms() + 60000;

	/* To look at all of them takes longer than many are. */
	while (in_flight_of(61) < IN_FLIGHT + IN_FLIGHT / 2) {
		if (now_ms() > end)
			FAIL("only %u commands in flight", in_flight());
		sched_yield();
	}
}

unsigned int victim_kill(pid_t pid)
{
	ASSERT(!kill(pid, SIGKILL));
	return in_flight();
}

static void mark(void)
{
	unsigned int slot;

	for (slot = 0; slot < fx.slots; slot++)
		memset(fx.data + (size_t)slot * PAGE, 0x5d, 64);
}

static void check_free_memory(void)
{
	unsigned int slot, bad = 0;

	for (slot = 0; slot < fx.slots; slot++)
		bad += !is_filled(fx.data + (size_t)slot * PAGE, 0x5d, 64);
	if (bad)
		FAIL("%u of %u pages were written after they were unpinned", bad, fx.slots);
}

void check_stock(void)
{
	stock_queues_check(&fx.stock);
	area_pread(&fx.area, 0, fx.again, BLOCKS * PAGE);
	ASSERT_SAME(fx.copy, fx.again, BLOCKS * PAGE);
}

void check_end(void)
{
	wait_unpinned(fx.pinned);
	mark();
	wait_nothing_left(ctrl_name());
	usleep(2000);
	check_free_memory();
	check_stock();
}

void victim_reap(pid_t pid)
{
	ASSERT_EQ(128 + SIGKILL, child_status(pid));
}

unsigned int victim_kill_and_check(pid_t pid)
{
	uint64_t end = now_ms() + 30000;
	unsigned int n;

	n = victim_kill(pid);
	while (pinned_pages_about() > fx.pinned + fx.slots / 2)
		ASSERT(now_ms() < end);
	mark();
	victim_reap(pid);
	wait_nothing_left(ctrl_name());
	check_free_memory();
	check_end();
	return n;
}

uint32_t queues_lent(void)
{
	int fd = homi_open();
	uint32_t lent = ctrl_info(fd).out_queues_lent;

	close(fd);
	return lent;
}
