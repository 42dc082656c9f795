// SPDX-License-Identifier: GPL-2.0-only
/*
 * Everything at once, at random: processes that make, use and end all kinds of objects and are
 * killed at any time, stock's own I/O, resets of both kinds, and a controller that goes and
 * comes. HOMI_SEED repeats what was chosen, though not how it was interleaved.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "files.h"
#include "harness.h"
#include "storm.h"
#include "witness.h"
#include "worker.h"

#define SITES		2
#define STOCK_BLOCKS	32u
#define STOCK_ID	(WORKERS_MAX * WORKER_BLOCKS)
#define OFFSET2		(8u << 20)	/* of the area on the second controller */

static struct {
	struct site sites[SITES];
	unsigned int site_count;
	struct worker workers[WORKERS_MAX];
	pid_t pids[WORKERS_MAX];
	unsigned int worker_count;
	struct file files[WORKERS_MAX];
	struct counts *counts;
	atomic_bool *stop;
	unsigned long wanted;
	uint64_t seed;
	char node2[64];
	struct stock_queues stock[SITES];
	long long pinned;
} st;

static unsigned long steps(void)
{
	return atomic_load(&st.counts->steps);
}

/* Goes on when so many steps were taken, or at the end. */
static void wait_steps(unsigned int more)
{
	unsigned long until = steps() + more;

	while (!atomic_load(st.stop) && steps() < until)
		usleep(500);
}

/* --- the controllers --- */

/*
 * The block device of the second controller's namespace, as it is named now: by its subsystem, which
 * may have got its number from a controller that is gone.
 */
static int open_second(int flags)
{
	char node[64], path[PATH_MAX];
	unsigned int subsystem, nsid;
	struct dirent *entry;
	DIR *dir;
	int fd = -1;

	ASSERT(node_of(st.sites[1].pci, node, sizeof(node)));
	snprintf(path, sizeof(path), "/sys/class/nvme/%s", base_name(node));
	dir = opendir(path);
	if (!dir)
		return -1;
	while (fd < 0 && (entry = readdir(dir)))
		if (sscanf(entry->d_name, "nvme%un%u", &subsystem, &nsid) == 2 ||
		    sscanf(entry->d_name, "nvme%uc%*un%u", &subsystem, &nsid) == 2) {
			snprintf(path, sizeof(path), "/dev/nvme%un%u", subsystem, nsid);
			fd = open(path, flags | O_DIRECT | O_CLOEXEC);
		}
	closedir(dir);
	return fd;
}

/* A second controller takes part if it has a namespace that may be overwritten. */
static void find_second(void)
{
	const char *dev = getenv("HOMI_DEV2"), *raw = getenv("HOMI_RAW2");
	struct homi_ns_info ns = { .size = sizeof(ns), .flags = HOMI_NS_NEXT, .nsid = 1 };
	struct site *site = &st.sites[1];
	int fd;

	if (!dev || !*dev || !raw || !*raw) {
		printf("# without HOMI_DEV2 and HOMI_RAW2 no controller is unplugged\n");
		return;
	}
	/* Nobody has it mounted. */
	fd = open(raw, O_RDWR | O_EXCL | O_CLOEXEC);
	ASSERT(fd >= 0);
	close(fd);
	snprintf(st.node2, sizeof(st.node2), "%s", dev);
	pci_of(base_name(dev), site->pci, sizeof(site->pci));
	site->may_go = true;
	fd = homi_open_at(dev);
	if (ctrl_info(fd).out_queues_spare) {
		ASSERT_EQ(0, homi_call(fd, HOMI_NS_INFO, &ns));
		site->area = (struct area){
			.fd = open_second(O_RDWR),
			.offset = OFFSET2,
			.slba = OFFSET2 / ns.out_block_size,
			.nsid = ns.out_nsid,
			.block_size = ns.out_block_size,
		};
		ASSERT(site->area.fd >= 0);
		stock_queues_learn(&st.stock[1], base_name(dev));
		st.site_count = 2;
	}
	close(fd);
}

static void stamp_blocks(const struct area *area, unsigned int first, unsigned int count)
{
	unsigned int i;
	char *buf;

	ASSERT(!posix_memalign((void **)&buf, PAGE, PAGE));
	for (i = first; i < first + count; i++) {
		block_stamp(buf, i, 0);
		ASSERT_EQ(PAGE, pwrite(area->fd, buf, PAGE, area->offset + i * PAGE));
	}
	free(buf);
}

/* --- the processes --- */

static void add_worker(unsigned int site, struct block *blocks)
{
	static const char *const dirs[] = { "HOMI_EXT4", "HOMI_XFS" };
	unsigned int index = st.worker_count++;
	const char *dir = site ? NULL : getenv(dirs[index % 2]);
	struct worker *worker = &st.workers[index];
	char *content;

	*worker = (struct worker){
		.index = index,
		.site = &st.sites[site],
		.blocks = blocks + index * WORKER_BLOCKS,
		.counts = st.counts,
		.stop = st.stop,
	};
	stamp_blocks(&st.sites[site].area, index * WORKER_BLOCKS, WORKER_BLOCKS);
	if (!dir || !*dir)
		return;
	file_create(&st.files[index], dir, index < 2 ? "stress0" : "stress1", WORKER_FILE, index);
	memcpy(worker->path, st.files[index].path, sizeof(worker->path));
	content = malloc(WORKER_FILE);
	ASSERT_EQ(WORKER_FILE, pread(st.files[index].fd, content, WORKER_FILE, 0));
	worker->content = content;
}

static unsigned int starting;

static void worker_main(void)
{
	worker_run(&st.workers[starting]);
}

/* Another life, with the same blocks */
static void start_worker(unsigned int i)
{
	st.workers[i].seed = st.seed + seed_next(&st.seed, 1u << 31);
	starting = i;
	st.pids[i] = child_start(worker_main);
}

static void stock_main(void)
{
	uint64_t seq[STOCK_BLOCKS] = { 0 }, seed = st.seed;
	const struct area *area = &st.sites[0].area;
	char *buf;

	ASSERT(!posix_memalign((void **)&buf, PAGE, PAGE));
	while (!atomic_load(st.stop)) {
		unsigned int i = seed_next(&seed, STOCK_BLOCKS), id = STOCK_ID + i;

		if (seed_next(&seed, 2)) {
			block_stamp(buf, id, ++seq[i]);
			ASSERT_EQ(PAGE, pwrite(area->fd, buf, PAGE, area->offset + id * PAGE));
		}
		memset(buf, 0, 64);
		area_pread(area, id * PAGE, buf, PAGE);
		ASSERT_EQ(seq[i], block_version(buf, id));
		atomic_fetch_add(&st.counts->stock, 1);
	}
}

/* An emulated VF stays offline after one. */
static bool has_function_reset(const char *pci)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/physfn", pci);
	if (!access(path, F_OK))
		return false;
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/reset", pci);
	return !access(path, W_OK);
}

static void reset_main(void)
{
	uint64_t seed = st.seed + 1;
	char node[64], path[160];

	for (;;) {
		unsigned int second = seed_next(&seed, 4) == 0 && st.site_count == 2;
		bool function = seed_next(&seed, 4) == 0;

		wait_steps(4 + seed_next(&seed, 24));
		if (atomic_load(st.stop))
			return;
		if (!node_of(st.sites[second].pci, node, sizeof(node)))
			continue;
		if (function && has_function_reset(st.sites[second].pci)) {
			snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/reset",
				 st.sites[second].pci);
			sysfs_write(path, "1");
			atomic_fetch_add(&st.counts->function_resets, 1);
		} else {
			reset_controller(base_name(node));
			atomic_fetch_add(&st.counts->resets, 1);
		}
		if (second)
			continue;
		ASSERT(wait_live(ctrl_name(), 30000));
		stock_queues_check(&st.stock[0]);
	}
}

static void wait_second(void)
{
	uint64_t end = now_ms() + 60000;
	char node[64];

	while (!node_of(st.sites[1].pci, node, sizeof(node)) || !wait_live(base_name(node), 0)) {
		ASSERT(now_ms() < end);
		usleep(5000);
	}
}

static void unbind_and_bind(void)
{
	ASSERT(sysfs_write("/sys/bus/pci/drivers/nvme/unbind", st.sites[1].pci));
	ASSERT(sysfs_write("/sys/bus/pci/drivers/nvme/bind", st.sites[1].pci));
	wait_second();
	atomic_fetch_add(&st.counts->unbinds, 1);
}

static void remove_and_rescan(void)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/remove", st.sites[1].pci);
	ASSERT(sysfs_write(path, "1"));
	ASSERT(sysfs_write("/sys/bus/pci/rescan", "1"));
	wait_second();
	atomic_fetch_add(&st.counts->removals, 1);
}

static void unplug_main(void)
{
	uint64_t seed = st.seed + 2;

	for (;;) {
		wait_steps(60 + seed_next(&seed, 100));
		if (atomic_load(st.stop))
			return;
		if (seed_next(&seed, 2))
			unbind_and_bind();
		else
			remove_and_rescan();
	}
}

/* --- the test --- */

/* Nothing that a killed worker gave to the controller is executed when this returns. */
static void wait_file_gone(pid_t pid)
{
	uint64_t end = now_ms() + 60000;

	while (holds_file(pid)) {
		if (now_ms() > end)
			FAIL("the file of process %d, which was killed, is not gone", pid);
		usleep(500);
	}
}

static void kill_worker(unsigned int i)
{
	ASSERT(!kill(st.pids[i], SIGKILL));
	ASSERT_EQ(128 + SIGKILL, child_status(st.pids[i]));
	atomic_fetch_add(&st.counts->kills, 1);
	wait_file_gone(st.pids[i]);
	start_worker(i);
}

/* Who ends before it is told to has found something. */
static void check_alive(const pid_t *pids, unsigned int count)
{
	unsigned int i;
	int status;

	for (i = 0; i < count; i++)
		if (waitpid(pids[i], &status, WNOHANG) == pids[i])
			FAIL("process %u of %u ended with status %#x", i, count, status);
}

static void set_up(void)
{
	struct block *blocks;
	void *shared;
	unsigned int i;
	int fd = homi_open();

	need_debugfs();
	need_queues(fd, 2);
	close(fd);
	area_open(&st.sites[0].area, STOCK_ID * PAGE);
	area_need_write(&st.sites[0].area);
	pci_of(ctrl_name(), st.sites[0].pci, sizeof(st.sites[0].pci));
	st.site_count = 1;
	st.seed = seed_begin();
	st.wanted = soak() ? 2500 : 1000;
	find_second();
	stock_queues_learn(&st.stock[0], ctrl_name());
	shared = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT(shared != MAP_FAILED);
	st.counts = shared;
	st.stop = (void *)((char *)shared + PAGE);
	blocks = (void *)((char *)shared + 2 * PAGE);
	for (i = 0; i < 4; i++)
		add_worker(0, blocks);
	for (i = 0; st.site_count == 2 && i < 2; i++)
		add_worker(1, blocks);
	stamp_blocks(&st.sites[0].area, STOCK_ID, STOCK_BLOCKS);
	if (st.site_count == 2)
		close(st.sites[1].area.fd);
	wait_nothing_left(ctrl_name());
	st.pinned = pinned_pages();
	set_recall_ms(300);
}

/* What each worker wrote, through stock */
static void verify(void)
{
	uint64_t end = now_ms() + 30000;
	unsigned int i, block;
	char *buf;

	ASSERT(!posix_memalign((void **)&buf, PAGE, PAGE));
	/* Stock looks for namespaces when the controller is there already. */
	while (st.site_count == 2 && (st.sites[1].area.fd = open_second(O_RDONLY)) < 0) {
		ASSERT(now_ms() < end);
		nap_ms(5);
	}
	for (i = 0; i < st.worker_count; i++)
		for (block = 0; block < WORKER_BLOCKS; block++) {
			struct worker *worker = &st.workers[i];

			area_pread(&worker->site->area, worker_block_id(worker, block) * PAGE, buf,
				   PAGE);
			worker_check_block(worker, block, buf);
		}
	if (st.site_count == 2)
		close(st.sites[1].area.fd);
}

static void report(void)
{
	const struct counts *c = st.counts;

	printf("# stress: %lu steps, %lu kills, %lu resets, %lu function resets, %lu unbinds, %lu removals\n",
	       c->steps, c->kills, c->resets, c->function_resets, c->unbinds, c->removals);
	printf("# stress: %lu files opened; queues: %lu made, %lu made anew, %lu deleted; memory: %lu registered, %lu given back\n",
	       c->opens, c->creates, c->recreates, c->deletes, c->registers, c->unregisters);
	printf("# stress: %lu commands, %lu blocks verified (%lu after a write without an answer), %lu batches lost, %lu abandoned; stock: %lu\n",
	       c->commands, c->verified, c->undecided, c->lost, c->abandoned, c->stock);
	printf("# stress: %lu extents, %lu recalls, %lu forks, %lu mappings\n", c->tables, c->recalls,
	       c->forks, c->maps);
	printf("# stress: %lu times EAGAIN, %lu ENODEV or SIGBUS, %lu ENOSPC, %lu EBUSY, %lu no node\n",
	       c->again, c->gone, c->no_queue, c->busy, c->absent);
	fflush(stdout);
}

/* All is closed: nothing is left, all is there, and it holds what it must. */
static void check_end(void)
{
	unsigned int i;

	ASSERT(wait_live(ctrl_name(), 30000));
	wait_nothing_left(ctrl_name());
	stock_queues_check(&st.stock[0]);
	verify();
	if (st.site_count == 2) {
		/* Nobody holds an old one: the name is the old one again. */
		unbind_and_bind();
		ASSERT(!access(st.node2, F_OK));
		wait_nothing_left(base_name(st.node2));
		stock_queues_check(&st.stock[1]);
	}
	for (i = 0; i < st.worker_count; i++)
		if (st.workers[i].path[0])
			file_remove(&st.files[i]);
	wait_unpinned(st.pinned);
}

/* A batch that a reset takes is rare, and what this is about. */
static bool is_enough(void)
{
	return st.counts->kills > 5 && st.counts->resets > 5 && st.counts->verified > 100 &&
	       st.counts->lost > 0;
}

TEST_TIMEOUT(everything, 580)
{
	pid_t others[3];
	unsigned int n = 0, i;

	if (lockdep_watches())
		SKIP("lockdep stops at how stock begins the reset of a function");
	set_up();
	for (i = 0; i < st.worker_count; i++)
		start_worker(i);
	others[n++] = child_start(stock_main);
	others[n++] = child_start(reset_main);
	if (st.site_count == 2)
		others[n++] = child_start(unplug_main);
	while (steps() < st.wanted || (!is_enough() && steps() < 20 * st.wanted)) {
		usleep(seed_next(&st.seed, 20000));
		wait_steps(seed_next(&st.seed, 40));
		kill_worker(seed_next(&st.seed, st.worker_count));
		check_alive(st.pids, st.worker_count);
		check_alive(others, n);
	}
	atomic_store(st.stop, true);
	for (i = 0; i < n; i++)
		ASSERT_EQ(0, child_status(others[i]));
	for (i = 0; i < st.worker_count; i++)
		ASSERT_EQ(0, child_status(st.pids[i]));
	report();
	check_end();
	ASSERT(is_enough());
}
