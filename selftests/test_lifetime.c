// SPDX-License-Identifier: GPL-2.0-only
/* Who dies when: any order of ends, killed and forked processes, descriptors handed on. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "files.h"
#include "harness.h"
#include "ring.h"

#define AREA	(256 * 1024u)

/* One open file with one object of each kind, as far as there can be. */
struct set {
	int fd;
	bool has_queue, has_table, closed;
	struct ring ring;
	struct dma dma;
	struct table table;
};

static void set_open(struct set *set, const struct file *file)
{
	memset(set, 0, sizeof(*set));
	set->fd = homi_open();
	dma_new(&set->dma, set->fd, 4 * PAGE);
	set->has_queue = ctrl_info(set->fd).out_queues_spare > 0;
	if (set->has_queue)
		ring_open(&set->ring, set->fd, 8);
	set->has_table = file != NULL;
	if (file)
		table_open(&set->table, set->fd, file->fd, 0, 0);
}

enum { END_QUEUE, END_MEM, END_TABLE, END_CLOSE, END_COUNT };

static void end_one(struct set *set, int what)
{
	int err = 0;

	if (what == END_CLOSE) {
		close(set->fd);
		set->closed = true;
		return;
	}
	/* Mappings keep the open file alive, but there is no descriptor any more. */
	if (set->closed)
		return;
	if (what == END_QUEUE && set->has_queue) {
		err = ring_destroy(&set->ring);
		set->has_queue = false;
	} else if (what == END_MEM && set->has_queue) {
		ASSERT_EQ(-EBUSY, dma_destroy(&set->dma));
	} else if (what == END_MEM) {
		err = dma_destroy(&set->dma);
	} else if (what == END_TABLE && set->has_table) {
		err = destroy(set->fd, set->table.r.out_extent_id);
	}
	ASSERT_EQ(0, err);
}

/* The four ends in the order that @number stands for */
static void permutation(int number, int *order)
{
	int rest[END_COUNT] = { 0, 1, 2, 3 }, i, k;

	for (i = 0; i < END_COUNT; i++) {
		int left = END_COUNT - i, pick = number % left;

		number /= left;
		order[i] = rest[pick];
		for (k = pick; k < left - 1; k++)
			rest[k] = rest[k + 1];
	}
}

/* munmap before all, between, after all: @unmap_at says before which end. */
static void end_in_order(const struct file *file, const int *order, int unmap_at)
{
	struct set set;
	int i;

	set_open(&set, file);
	for (i = 0; i <= END_COUNT; i++) {
		if (i == unmap_at) {
			if (set.ring.sq)
				ring_unmap(&set.ring);
			if (set.table.t)
				munmap((void *)set.table.t, set.table.r.out_mmap_length);
			munmap(set.dma.va, 4 * PAGE);
		}
		if (i < END_COUNT)
			end_one(&set, order[i]);
	}
}

TEST(any_order_of_ends)
{
	const char *dir = getenv("HOMI_EXT4");
	struct file file = { .fd = -1 };
	int number, order[END_COUNT], unmap_at;
	uint64_t end;
	int fd;

	if (dir && *dir)
		file_create(&file, dir, "ends", 4 * PAGE, 3);
	for (number = 0; number < 24; number++) {
		permutation(number, order);
		for (unmap_at = 0; unmap_at <= END_COUNT; unmap_at += 2)
			end_in_order(file.fd >= 0 ? &file : NULL, order, unmap_at);
	}
	/* All leases are gone: a writer is not held up. */
	if (file.fd >= 0) {
		set_recall_ms(60000);
		end = now_ms() + 30000;
		fd = open(file.path, O_WRONLY);
		ASSERT(fd >= 0);
		ASSERT(now_ms() < end);
		close(fd);
		file_remove(&file);
	}
}

/* A child's job: a queue that it keeps full until it is killed */
static void keep_busy(int report)
{
	struct area area;
	struct ring ring;
	struct dma dma, list;
	struct cqe cqe;
	struct sqe sqe;
	unsigned int done = 0, k;
	int fd = homi_open();
	size_t step = max_step(fd);

	area_open(&area, AREA);
	ring_open(&ring, fd, 64);
	dma_new(&dma, fd, AREA);
	dma_new(&list, fd, PAGE);
	sqe = sqe_rw(NVME_READ, &area, 0, step, &dma, 0, &list);
	for (k = 0; k < 60; k++)
		ring_post(&ring, &sqe);
	for (;;) {
		ring_doorbell(&ring);
		ASSERT_EQ(0, ring_poll(&ring, &cqe, 30000));
		ring_post(&ring, &sqe);
		if (++done == 100)
			ASSERT_EQ(1, write(report, "x", 1));
	}
}

static pid_t start_busy(void)
{
	int pipes[2];
	char byte;
	pid_t pid;

	ASSERT(!pipe(pipes));
	fflush(NULL);
	pid = fork();
	if (!pid) {
		close(pipes[0]);
		keep_busy(pipes[1]);
	}
	close(pipes[1]);
	ASSERT_EQ(1, read(pipes[0], &byte, 1));
	close(pipes[0]);
	return pid;
}

static void wait_lent(int fd, uint32_t count)
{
	uint64_t end = now_ms() + 30000;

	while (ctrl_info(fd).out_queues_lent != count) {
		if (now_ms() > end)
			FAIL("%u queues lent, not %u", ctrl_info(fd).out_queues_lent, count);
		nap_ms(5);
	}
}

TEST(kill_in_flight)
{
	unsigned int rounds = soak() ? 15 : 6, i;
	int fd = homi_open();
	char *copy, *again;
	struct area area;
	struct ring ring;
	struct dma dma, list;

	need_queues(fd, 2);
	ASSERT(!posix_memalign((void **)&copy, PAGE, AREA));
	ASSERT(!posix_memalign((void **)&again, PAGE, AREA));
	area_open(&area, AREA);
	area_fill(&area, 11, copy);
	ring_open(&ring, fd, 16);
	dma_new(&dma, fd, AREA);
	dma_new(&list, fd, PAGE);
	for (i = 0; i < rounds; i++) {
		pid_t pid = start_busy();

		wait_lent(fd, 2);
		ASSERT(!kill(pid, SIGKILL));
		ASSERT_EQ(128 + SIGKILL, child_status(pid));
		/* Its exit includes the deletion. */
		wait_lent(fd, 1);
		area_pread(&area, 0, again, AREA);
		ASSERT_SAME(copy, again, AREA);
		memset(dma.va, 0, AREA);
		ASSERT_EQ(0, ring_copy(&ring, NVME_READ, &area, 0, AREA, &dma, &list,
				       max_step(fd)));
		ASSERT_SAME(copy, dma.va, AREA);
	}
}

/* A child has the descriptor, but none of the mappings. */
TEST(fork_does_not_inherit_mappings)
{
	int fd = homi_open(), i;
	volatile char *regions[4];
	struct ring ring;
	pid_t pid;

	need_queues(fd, 1);
	ring_open(&ring, fd, 8);
	regions[0] = (volatile char *)ring.sq;
	regions[1] = (volatile char *)ring.cq;
	regions[2] = ring.db;
	regions[3] = ring.shadow ? ring.shadow : ring.db;
	for (i = 0; i < 4; i++) {
		pid = fork();
		if (!pid) {
			*regions[i];
			_exit(0);
		}
		ASSERT_EQ(128 + SIGSEGV, child_status(pid));
		ASSERT_EQ(0, fault_of(regions[i], false));
	}
}

TEST(fork_child_uses_descriptor)
{
	int fd = homi_open();
	char *copy;
	struct area area;
	struct ring ring;
	uint32_t mem;
	char *va;
	pid_t pid;

	need_queues(fd, 1);
	ASSERT(!posix_memalign((void **)&copy, PAGE, AREA));
	area_open(&area, AREA);
	area_fill(&area, 12, copy);
	ASSERT_EQ(0, ring_create(&ring, fd, 16));
	va = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_EQ(0, mem_register(fd, va, PAGE, 0, &mem, NULL));
	fflush(NULL);
	pid = fork();
	if (!pid) {
		struct dma dma, list;

		ring_map(&ring);
		dma_new(&dma, fd, AREA);
		dma_new(&list, fd, PAGE);
		ASSERT_EQ(0, ring_copy(&ring, NVME_READ, &area, 0, AREA, &dma, &list,
				       max_step(fd)));
		ASSERT_SAME(copy, dma.va, AREA);
		ASSERT_EQ(0, ring_destroy(&ring));
		ASSERT_EQ(0, destroy(fd, mem));
		_exit(0);
	}
	ASSERT_EQ(0, child_status(pid));
	/* What the child destroyed is destroyed, what it made is still there. */
	ASSERT_EQ(-ENOENT, destroy(fd, ring.q.out_queue_id));
	ASSERT_EQ(-ENOENT, destroy(fd, mem));
	ASSERT_EQ(0, ctrl_info(fd).out_queues_lent);
}

/* Made by one process, used by an unprivileged other one after the first one's death */
TEST(pass_descriptor_and_die)
{
	int socks[2], fd;
	struct ring ring;
	struct area area;
	struct dma dma, list;
	char *copy;
	pid_t pid;

	fd = homi_open();
	need_queues(fd, 1);
	close(fd);
	ASSERT(!posix_memalign((void **)&copy, PAGE, AREA));
	area_open(&area, AREA);
	area_fill(&area, 13, copy);
	ASSERT(!socketpair(AF_UNIX, SOCK_STREAM, 0, socks));
	fflush(NULL);
	pid = fork();
	if (!pid) {
		fd = homi_open();
		ring_open(&ring, fd, 16);
		send_fd(socks[1], fd, &ring, sizeof(ring));
		raise(SIGKILL);
	}
	fd = receive_fd(socks[0], &ring, sizeof(ring));
	ASSERT_EQ(128 + SIGKILL, child_status(pid));
	ring.fd = fd;
	fflush(NULL);
	pid = fork();
	if (!pid) {
		become_nobody();
		ring_map(&ring);
		dma_new(&dma, fd, AREA / 8);
		dma_new(&list, fd, PAGE);
		ASSERT_EQ(0, ring_copy(&ring, NVME_READ, &area, 0, AREA / 8, &dma, &list,
				       max_step(fd)));
		ASSERT_SAME(copy, dma.va, AREA / 8);
		_exit(0);
	}
	ASSERT_EQ(0, child_status(pid));
	ASSERT_EQ(HOMI_QUEUE_LIVE, queue_info(fd, ring.q.out_queue_id).out_state);
}

/* A descriptor that is only in a socket's buffer keeps everything alive; then nothing does. */
TEST(descriptor_in_flight)
{
	int socks[2], fd = homi_open(), watch = homi_open();
	struct ring ring;
	char byte = 0;

	need_queues(fd, 1);
	ASSERT(!socketpair(AF_UNIX, SOCK_STREAM, 0, socks));
	ASSERT_EQ(0, ring_create(&ring, fd, 4));
	send_fd(socks[1], fd, &byte, 1);
	close(fd);
	nap_ms(50);
	ASSERT_EQ(1, ctrl_info(watch).out_queues_lent);
	close(socks[0]);
	close(socks[1]);
	wait_lent(watch, 0);
}

/* A mapping is a reference to the open file. */
TEST(mapping_outlives_close)
{
	int fd = homi_open(), watch = homi_open();
	struct ring ring;

	need_queues(fd, 1);
	ring_open(&ring, fd, 8);
	close(fd);
	ASSERT_EQ(1, ctrl_info(watch).out_queues_lent);
	ASSERT_EQ(0, fault_of(ring.db, false));
	ring_unmap(&ring);
	wait_lent(watch, 0);
}

TEST(access_after_destroy)
{
	int fd = homi_open();
	struct ring ring;
	bool touch;

	need_queues(fd, 1);
	/* with pages that were and that were not mapped in yet */
	for (touch = false;; touch = true) {
		ring_open(&ring, fd, 256);
		if (touch) {
			ASSERT_EQ(0, fault_of(ring.sq, true));
			ASSERT_EQ(0, fault_of(ring.cq, true));
			ASSERT_EQ(0, fault_of(ring.db, false));
		}
		ASSERT_EQ(0, ring_destroy(&ring));
		ASSERT_EQ(SIGBUS, fault_of(ring.sq, true));
		ASSERT_EQ(SIGBUS, fault_of((char *)ring.sq + PAGE, false));
		ASSERT_EQ(SIGBUS, fault_of(ring.cq, false));
		ASSERT_EQ(SIGBUS, fault_of(ring.db, true));
		if (ring.shadow) {
			ASSERT_EQ(SIGBUS, fault_of(ring.shadow, true));
			ASSERT_EQ(SIGBUS, fault_of(ring.event, false));
		}
		ring_unmap(&ring);
		if (touch)
			break;
	}
}

TEST(table_access_after_destroy)
{
	const char *dir = need_fs("ext4");
	int fd = homi_open();
	struct table table;
	struct file file;

	file_create(&file, dir, "after", 4 * PAGE, 4);
	table_open(&table, fd, file.fd, 0, 0);
	ASSERT_EQ(0, fault_of((void *)table.t, false));
	ASSERT_EQ(0, destroy(fd, table.r.out_extent_id));
	ASSERT_EQ(SIGBUS, fault_of((void *)table.t, false));
	munmap((void *)table.t, table.r.out_mmap_length);
	file_remove(&file);
}

static int delete_module_homi(void)
{
	return syscall(SYS_delete_module, "homi", O_NONBLOCK) ? -errno : 0;
}

TEST(rmmod_while_open)
{
	int fd = homi_open(), err;
	struct ring ring;

	err = delete_module_homi();
	if (err != -EBUSY && err != -EWOULDBLOCK)
		FAIL("delete_module: %d", err);
	ASSERT_EQ(HOMI_CTRL_LIVE, ctrl_info(fd).out_state);
	need_queues(fd, 1);
	ring_open(&ring, fd, 8);
	close(fd);
	/* only mappings are left */
	err = delete_module_homi();
	if (err != -EBUSY && err != -EWOULDBLOCK)
		FAIL("delete_module: %d", err);
	ASSERT_EQ(0, fault_of(ring.db, false));
}

/* Loaded and unloaded under stock's I/O, the module leaves no trace. */
TEST(reload)
{
	const char *ko = getenv("HOMI_KO");
	unsigned int i, rounds = soak() ? 12 : 5;
	int fd, file, err;
	uint64_t end;
	struct area area;
	char *copy, *again;

	if (!ko)
		SKIP("HOMI_KO does not name the module");
	ASSERT(!posix_memalign((void **)&copy, PAGE, AREA));
	ASSERT(!posix_memalign((void **)&again, PAGE, AREA));
	area_open(&area, AREA);
	area_fill(&area, 14, copy);
	for (i = 0; i < rounds; i++) {
		struct set set;

		set_open(&set, NULL);
		if (set.has_queue)
			ring_unmap(&set.ring);
		close(set.fd);
		/* The end of the last close may still be under way in a worker. */
		for (end = now_ms() + 30000; (err = delete_module_homi()); nap_ms(10))
			if (now_ms() > end)
				FAIL("delete_module: %d", err);
		ASSERT(access(dev_path(), F_OK) < 0);
		area_pread(&area, 0, again, AREA);
		ASSERT_SAME(copy, again, AREA);
		file = open(ko, O_RDONLY | O_CLOEXEC);
		ASSERT(file >= 0);
		ASSERT(!syscall(SYS_finit_module, file, "", 0));
		close(file);
		for (end = now_ms() + 30000; access(dev_path(), F_OK); nap_ms(10))
			ASSERT(now_ms() < end);
		fd = homi_open();
		ASSERT_EQ(0, ctrl_info(fd).out_queues_lent);
		close(fd);
	}
}

/* As root a process may do all of it and be stopped at any time. */
TEST(kill_at_random_times)
{
	unsigned int rounds = soak() ? 60 : 25, i;
	int watch = homi_open();

	for (i = 0; i < rounds; i++) {
		pid_t pid = fork();

		if (!pid) {
			for (;;) {
				struct set set;

				set_open(&set, NULL);
				if (set.has_queue)
					ring_unmap(&set.ring);
				munmap(set.dma.va, 4 * PAGE);
				end_one(&set, i % END_COUNT);
				close(set.fd);
			}
		}
		usleep((i * 7919) % 20000);
		ASSERT(!kill(pid, SIGKILL));
		ASSERT_EQ(128 + SIGKILL, child_status(pid));
		wait_lent(watch, 0);
	}
}
