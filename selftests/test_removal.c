// SPDX-License-Identifier: GPL-2.0-only
/*
 * The controller goes in the middle of it all, by unbind, by sysfs, by hot-unplug and without
 * notice: under load of both sides, with holders that are stopped, many times; and it comes
 * back. The smaller cases are in test_unbind.c.
 */
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "files.h"
#include "harness.h"
#include "removal.h"

#define DEPTH		65u
#define IN_FLIGHT	32u
#define FILE_SIZE	(64 * PAGE)

/* What the processes of a test tell each other */
struct shared {
	atomic_uint ready, homi, stock;
	atomic_bool removing, check;
	atomic_int fd;		/* of the holder whose descriptor is taken by another one */
	atomic_int pid;
	struct ring ring;
};

static struct shared *shared;
static struct victim victim;

static void begin(const struct removal *how)
{
	int fd;

	if (how == &by_hotplug)
		victim_need_plugged(&victim);
	else
		victim_need(&victim);
	fd = homi_open_at(victim.dev);
	need_queues(fd, 2);
	close(fd);
	shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT(shared != MAP_FAILED);
}

static void wait_for(atomic_uint *what, unsigned int count)
{
	uint64_t end = now_ms() + 30000;

	while (atomic_load(what) < count) {
		if (now_ms() > end)
			FAIL("only %u of %u", atomic_load(what), count);
		usleep(200);
	}
}

/* --- homi's load --- */

static sigjmp_buf ring_is_gone;

static void on_sigbus(int sig)
{
	(void)sig;
	siglongjmp(ring_is_gone, 1);
}

/* Reads without pause until the ring is taken away. */
static void keep_full(struct ring *ring, const struct dma *dma)
{
	struct sqe sqe = { .opcode = NVME_READ, .nsid = victim.nsid,
			   .nlb = PAGE / victim.block_size - 1 };
	uint64_t quiet = now_ms();
	struct cqe cqe;
	unsigned int n;

	signal(SIGBUS, on_sigbus);
	if (sigsetjmp(ring_is_gone, 1)) {
		signal(SIGBUS, SIG_DFL);
		ASSERT(atomic_load(&shared->removing));
		return;
	}
	for (;;) {
		for (; !ring_full(ring); atomic_fetch_add(&shared->homi, 1)) {
			sqe.cid = ring->sq_tail;
			sqe.prp1 = dma_addr(dma, ring->sq_tail % 16 * PAGE);
			sqe.slba = ring->sq_tail % 128 * (PAGE / victim.block_size);
			ring_post(ring, &sqe);
		}
		ring_doorbell(ring);
		for (n = 0; n < IN_FLIGHT / 2 && !ring_poll(ring, &cqe, n ? 0 : 5); n++) {
			quiet = now_ms();
			/* The last ones may be aborted by a deletion of stock's device. */
			if (cqe.status >> 1)
				ASSERT(atomic_load(&shared->removing));
			atomic_fetch_sub(&shared->homi, 1);
		}
		ASSERT(now_ms() < quiet + 30000);
	}
}

static void homi_load(void)
{
	int fd = homi_open_at(victim.dev);
	struct ring ring;
	struct dma dma;

	dma_new(&dma, fd, 16 * PAGE);
	ring_open(&ring, fd, DEPTH);
	keep_full(&ring, &dma);
	check_gone(fd);
	/* All mappings were taken away before the node. */
	wait_no_node(victim.dev);
	check_ring_gone(&ring);
	/* Waits until stock has left; then nothing arrives any more. */
	ASSERT_EQ(0, ring_destroy(&ring));
	memset(dma.va, 0x2e, 16 * PAGE);
	nap_ms(50);
	ASSERT(is_filled(dma.va, 0x2e, 16 * PAGE));
	ASSERT_EQ(0, dma_destroy(&dma));
}

/* --- stock's load --- */

/* Errors are stock's business once the controller is being taken away; hanging is not. */
static void stock_load(void)
{
	struct timespec limit = { .tv_sec = 90 };
	int disk = open(victim.disk, O_RDONLY | O_DIRECT | O_CLOEXEC);
	struct io_event events[DEPTH];
	unsigned int i, idle = 0, failed = 0;
	bool busy[DEPTH] = { false };
	aio_context_t aio = 0;
	char *buf;
	long n;

	ASSERT(disk >= 0);
	ASSERT(!posix_memalign((void **)&buf, PAGE, DEPTH * PAGE));
	ASSERT_EQ(0, syscall(SYS_io_setup, DEPTH, &aio));
	while (idle < DEPTH) {
		for (i = 0; i < DEPTH && !failed; i++) {
			struct iocb cb = { .aio_data = i, .aio_lio_opcode = IOCB_CMD_PREAD,
					   .aio_fildes = disk, .aio_nbytes = PAGE,
					   .aio_buf = (uintptr_t)(buf + i * PAGE),
					   .aio_offset = (128 + i) * PAGE }, *cbs = &cb;

			if (busy[i])
				continue;
			busy[i] = syscall(SYS_io_submit, aio, 1, &cbs) == 1;
			if (!busy[i])
				failed++;
			else
				atomic_fetch_add(&shared->stock, 1);
		}
		for (idle = 0, i = 0; i < DEPTH; i++)
			idle += !busy[i];
		if (idle == DEPTH)
			break;
		n = syscall(SYS_io_getevents, aio, 1, DEPTH / 4, events, &limit);
		/* Being stopped and continued interrupts it. */
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			FAIL("stock: no completion (%ld)", n);
		for (i = 0; i < n; i++) {
			busy[events[i].data] = false;
			failed += events[i].res != PAGE;
			atomic_fetch_sub(&shared->stock, 1);
		}
		if (failed)
			ASSERT(atomic_load(&shared->removing));
	}
	ASSERT(failed > 0);
}

static void remove_under_load(const struct removal *how)
{
	unsigned int rounds = times(24, 4), i;
	uint64_t took, worst = 0;
	pid_t pids[2];

	begin(how);
	for (i = 0; i < rounds; i++) {
		memset(shared, 0, sizeof(*shared));
		pids[0] = child_start(homi_load);
		pids[1] = how->deaf ? 0 : child_start(stock_load);
		wait_for(&shared->homi, IN_FLIGHT);
		if (!how->deaf)
			wait_for(&shared->stock, IN_FLIGHT);
		usleep(i * 7919 % 30000);
		atomic_store(&shared->removing, true);
		took = victim_remove(how, &victim);
		worst = took > worst ? took : worst;
		ASSERT_EQ(0, child_status(pids[0]));
		if (pids[1])
			ASSERT_EQ(0, child_status(pids[1]));
		victim_add(how, &victim);
		victim_prove(&victim);
	}
	printf("# %u removals under load, the longest %llu ms\n", rounds,
	       (unsigned long long)worst);
	victim_restore(&victim);
}

TEST_TIMEOUT(unbind_under_load, 240) { remove_under_load(&by_unbind); }
TEST_TIMEOUT(sysfs_under_load, 240) { remove_under_load(&by_sysfs); }
TEST_TIMEOUT(hotplug_under_load, 360) { remove_under_load(&by_hotplug); }
TEST_TIMEOUT(surprise_under_load, 240) { remove_under_load(&by_surprise); }

/* --- every holder is stopped --- */

static char file_path[256];

static void wait_until_checked(void)
{
	while (!atomic_load(&shared->check))
		usleep(2000);
}

/* The descriptor of the file is closed: only the EXTENT holds it. */
static void hold_table(struct table *table, int fd)
{
	int file = open(file_path, O_RDONLY | O_CLOEXEC);

	ASSERT(file >= 0);
	table_open(table, fd, file, 0, 0);
	close(file);
}

static void check_table_gone(const struct table *table)
{
	ASSERT_EQ(HOMI_EXTENT_REVOKED, table->t->state);
	ASSERT(table->t->generation > 1);
	ASSERT_EQ(0, destroy(table->fd, table->r.out_extent_id));
	ASSERT_EQ(SIGBUS, fault_of((void *)table->t, false));
}

/* One of each object, a queue that is kept full, and a child with the descriptor only. */
static void hold_busy(void)
{
	int fd = homi_open_at(victim.dev);
	struct table table;
	struct ring ring;
	struct dma dma;

	dma_new(&dma, fd, 16 * PAGE);
	hold_table(&table, fd);
	ring_open(&ring, fd, DEPTH);
	atomic_fetch_add(&shared->ready, 1);
	keep_full(&ring, &dma);
	wait_until_checked();
	check_gone(fd);
	check_ring_gone(&ring);
	check_table_gone(&table);
	ASSERT_EQ(0, dma_destroy(&dma));
	ASSERT_EQ(0, ring_destroy(&ring));
	ASSERT_EQ(SIGBUS, fault_of(ring.db, true));
}

static void hold_events(void)
{
	int fd = homi_open_at(victim.dev), own = eventfd(0, 0), table_event = eventfd(0, 0);
	struct table table;

	hold_table(&table, fd);
	ASSERT_EQ(0, event_bind(fd, 0, own));
	ASSERT_EQ(0, event_bind(fd, table.r.out_extent_id, table_event));
	atomic_fetch_add(&shared->ready, 1);
	/* Sleeps in here when it is stopped. */
	ASSERT(event_wait(own, 120000) > 0);
	ASSERT(event_wait(table_event, 30000) > 0);
	ASSERT_EQ(POLLERR | POLLHUP, poll_fd(fd, 0, 0));
	wait_until_checked();
	check_gone(fd);
	check_table_gone(&table);
	ASSERT_EQ(0, event_bind(fd, 0, -1));
}

static void hold_poll(void)
{
	int fd = homi_open_at(victim.dev);

	atomic_fetch_add(&shared->ready, 1);
	ASSERT_EQ(POLLERR | POLLHUP, poll_fd(fd, 0, 120000));
	wait_until_checked();
	check_gone(fd);
}

/* Its descriptor is inherited by a child and taken by another process; it maps nothing. */
static void hold_lender(void)
{
	int fd = homi_open_at(victim.dev);
	pid_t child;

	ASSERT_EQ(0, ring_create(&shared->ring, fd, 8));
	atomic_store(&shared->fd, fd);
	atomic_store(&shared->pid, getpid());
	child = fork();
	ASSERT(child >= 0);
	atomic_fetch_add(&shared->ready, 1);
	wait_until_checked();
	check_gone(fd);
	ASSERT_EQ(HOMI_QUEUE_GONE, queue_info(fd, shared->ring.q.out_queue_id).out_state);
	if (child)
		ASSERT_EQ(0, child_status(child));
}

static void hold_taker(void)
{
	struct ring ring;
	int pidfd, fd;

	while (!atomic_load(&shared->pid))
		usleep(1000);
	pidfd = syscall(SYS_pidfd_open, atomic_load(&shared->pid), 0);
	ASSERT(pidfd >= 0);
	fd = syscall(SYS_pidfd_getfd, pidfd, atomic_load(&shared->fd), 0);
	ASSERT(fd >= 0);
	ring = shared->ring;
	ring.fd = fd;
	ring_map(&ring);
	ASSERT_EQ(0, fault_of(ring.db, false));
	ASSERT_EQ(0, fault_of(ring.sq, true));
	atomic_fetch_add(&shared->ready, 1);
	wait_until_checked();
	check_gone(fd);
	check_ring_gone(&ring);
}

static void stop(pid_t pid)
{
	int status;

	ASSERT(!kill(pid, SIGSTOP));
	ASSERT_EQ(pid, waitpid(pid, &status, WUNTRACED));
	ASSERT(WIFSTOPPED(status));
}

static void remove_from_stopped(const struct removal *how, const char *type)
{
	void (*const holders[])(void) = { hold_busy, hold_events, hold_poll, hold_lender,
					  hold_taker };
	pid_t pids[ARRAY_SIZE(holders) + 1];
	unsigned int n = ARRAY_SIZE(holders), i;
	const char *point = "/tmp/homi";
	uint64_t took;

	begin(how);
	victim_make_file(&victim, type, FILE_SIZE, file_path);
	for (i = 0; i < n; i++)
		pids[i] = child_start(holders[i]);
	/* The lender's child counts too. */
	wait_for(&shared->ready, n + 1);
	wait_for(&shared->homi, IN_FLIGHT);
	ASSERT(umount(point) < 0 && errno == EBUSY);
	if (!how->deaf)
		pids[n++] = child_start(stock_load);
	if (!how->deaf)
		wait_for(&shared->stock, IN_FLIGHT);
	atomic_store(&shared->removing, true);
	for (i = 0; i < n; i++)
		stop(pids[i]);
	took = victim_remove(how, &victim);
	printf("# %u holders are stopped, gone after %llu ms\n", n, (unsigned long long)took);
	/* Their extents have let go of the file system. */
	umount_soon(point);
	victim_add(how, &victim);
	victim_prove(&victim);
	atomic_store(&shared->check, true);
	for (i = 0; i < n; i++)
		ASSERT(!kill(pids[i], SIGCONT));
	for (i = 0; i < n; i++)
		ASSERT_EQ(0, child_status(pids[i]));
	victim_restore(&victim);
	victim_prove(&victim);
}

TEST_TIMEOUT(unbind_all_stopped_ext4, 240) { remove_from_stopped(&by_unbind, "ext4"); }
TEST_TIMEOUT(unbind_all_stopped_xfs, 240) { remove_from_stopped(&by_unbind, "xfs"); }
TEST_TIMEOUT(sysfs_all_stopped, 240) { remove_from_stopped(&by_sysfs, "ext4"); }
TEST_TIMEOUT(hotplug_all_stopped, 240) { remove_from_stopped(&by_hotplug, "ext4"); }
TEST_TIMEOUT(surprise_all_stopped, 240) { remove_from_stopped(&by_surprise, "ext4"); }

/* --- stock's module --- */

#define CTRLS_MAX	16

static int remove_nvme(void)
{
	return syscall(SYS_delete_module, "nvme", O_NONBLOCK) ? -errno : 0;
}

/* In the order of their names, so that these are given again. */
static unsigned int all_controllers(char addresses[][32])
{
	unsigned int i, n = 0;

	for (i = 0; i < CTRLS_MAX; i++)
		if (sysfs_read(addresses[n], 32, "/sys/class/nvme/nvme%u/address", i))
			n++;
	return n;
}

static void load_nvme(char addresses[][32], unsigned int n)
{
	unsigned int i;

	ASSERT(sysfs_write("/sys/bus/pci/drivers_autoprobe", "0"));
	ASSERT(!shell("modprobe nvme"));
	for (i = 0; i < n; i++)
		ASSERT(sysfs_write("/sys/bus/pci/drivers/nvme/bind", addresses[i]));
	ASSERT(sysfs_write("/sys/bus/pci/drivers_autoprobe", "1"));
}

/* Refused by reference, not by luck: it goes at once when homi has let go. */
TEST_TIMEOUT(rmmod_nvme, 240)
{
	char addresses[CTRLS_MAX][32], disk[64];
	uint32_t nsid = bdev_nsid();
	struct ring ring;
	unsigned int n;
	uint64_t end;
	int fd, err;

	need_own_machine("its NVMe driver is unloaded");
	if (sysfs_number("/sys/module/nvme/refcnt") < 0)
		SKIP("nvme is no module here");
	if (shell("umount $HOMI_EXT4 $HOMI_XFS"))
		SKIP("the file systems of %s cannot be unmounted", ctrl_name());
	if (sysfs_number("/sys/module/nvme/refcnt"))
		SKIP("somebody else uses nvme");
	n = all_controllers(addresses);
	fd = homi_open();
	need_queues(fd, 1);
	ASSERT_EQ(-EWOULDBLOCK, remove_nvme());
	ring_open(&ring, fd, 8);
	close(fd);
	/* only mappings are left */
	ASSERT_EQ(-EWOULDBLOCK, remove_nvme());
	ASSERT_EQ(0, fault_of(ring.db, false));
	ring_unmap(&ring);
	/* The end of the last close may still be under way in a worker. */
	for (end = now_ms() + 30000; (err = remove_nvme()); nap_ms(10))
		if (now_ms() > end)
			FAIL("delete_module: %d", err);
	ASSERT(access(dev_path(), F_OK) < 0);
	ASSERT(!access("/sys/module/homi", F_OK));
	load_nvme(addresses, n);
	for (end = now_ms() + 20000; access(dev_path(), F_OK) ||
	     !disk_of(ctrl_name(), nsid, disk, sizeof(disk)); nap_ms(20))
		ASSERT(now_ms() < end);
	fd = homi_open();
	ASSERT(poll_fd(fd, POLLOUT, 30000) & POLLOUT);
	ring_open(&ring, fd, 8);
	ASSERT_EQ(0, ring_destroy(&ring));
	/* It may have another name now, which the other tests are told. */
	ASSERT(!shell("mount %sp1 $HOMI_EXT4 && mount %sp2 $HOMI_XFS", disk, disk));
}
