// SPDX-License-Identifier: GPL-2.0-only
/*
 * What keeps an EXTENT true: whoever wants to write to the file or to move its blocks waits
 * until the EXTENT is destroyed, or recall_ms, after which the holder's queues are deleted.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "files.h"
#include "harness.h"
#include "ring.h"

#define LONG_MS		60000	/* recall_ms where the holder answers */
#define SHORT_MS	2500	/* where it does not */

static void wait_state(const struct table *table, uint32_t state, unsigned int ms)
{
	volatile const uint32_t *now = &table->t->state;
	uint64_t end = now_ms() + ms;

	while (*now != state) {
		if (now_ms() > end)
			FAIL("the table's state is %u, not %u", *now, state);
		nap_ms(2);
	}
}

/* Waits, is let go by DESTROY, and then has success. */
static void waits_for_destroy(const char *dir, int (*act)(const char *path))
{
	int fd = homi_open();
	struct waiter waiter;
	struct table table;
	struct file file;
	uint64_t generation, took;
	struct ring ring = { 0 };

	set_recall_ms(LONG_MS);
	file_create(&file, dir, "lease", 16 * PAGE, 51);
	if (ctrl_info(fd).out_queues_spare)
		ring_open(&ring, fd, 4);
	table_open(&table, fd, file.fd, 0, 0);
	generation = table.t->generation;
	waiter_start(&waiter, act, file.path);
	wait_state(&table, HOMI_EXTENT_RECALLED, 30000);
	ASSERT(table.t->generation > generation);
	ASSERT(waiter_waits(&waiter, 300));
	ASSERT_EQ(0, table_close(&table));
	ASSERT_EQ(0, waiter_end(&waiter, 30000, &took));
	ASSERT(took >= 300 && took < LONG_MS / 4);
	/* An answer in time costs no queue. */
	if (ring.sq)
		ASSERT_EQ(HOMI_QUEUE_LIVE, queue_info(fd, ring.q.out_queue_id).out_state);
	close(file.fd);
	if (act != act_unlink)
		ASSERT(!unlink(file.path));
}

FS_TEST(open_for_writing_waits)
{
	waits_for_destroy(dir, act_open_write);
}

FS_TEST(truncate_waits)
{
	waits_for_destroy(dir, act_truncate);
}

FS_TEST(overwrite_waits)
{
	waits_for_destroy(dir, act_overwrite);
}

FS_TEST(close_lets_go)
{
	int fd = homi_open();
	struct waiter waiter;
	struct table table;
	struct file file;

	set_recall_ms(LONG_MS);
	file_create(&file, dir, "close", 4 * PAGE, 52);
	ASSERT_EQ(0, table_resolve(&table, fd, file.fd, 0, 0));
	waiter_start(&waiter, act_open_write, file.path);
	ASSERT(waiter_waits(&waiter, 200));
	close(fd);
	ASSERT_EQ(0, waiter_end(&waiter, 30000, NULL));
	file_remove(&file);
}

FS_TEST(nonblocking_open)
{
	int fd = homi_open();
	struct waiter waiter;
	struct table table;
	struct file file;
	uint64_t took;

	set_recall_ms(LONG_MS);
	file_create(&file, dir, "nonblock", 4 * PAGE, 53);
	table_open(&table, fd, file.fd, 0, 0);
	waiter_start(&waiter, act_open_write_nonblock, file.path);
	ASSERT_EQ(EWOULDBLOCK, waiter_end(&waiter, 30000, &took));
	ASSERT(took < 2000);
	/* It asked all the same. */
	wait_state(&table, HOMI_EXTENT_RECALLED, 30000);
	ASSERT_EQ(0, table_close(&table));
	waiter_start(&waiter, act_open_write_nonblock, file.path);
	ASSERT_EQ(0, waiter_end(&waiter, 30000, NULL));
	file_remove(&file);
}

FS_TEST(readers_pass)
{
	int fd = homi_open();
	struct waiter waiter;
	struct table table;
	struct file file;
	uint64_t took;

	set_recall_ms(LONG_MS);
	file_create(&file, dir, "readers", 4 * PAGE, 54);
	table_open(&table, fd, file.fd, 0, 0);
	waiter_start(&waiter, act_open_read, file.path);
	ASSERT_EQ(0, waiter_end(&waiter, 30000, &took));
	ASSERT_EQ(HOMI_EXTENT_VALID, table.t->state);
	ASSERT_EQ(0, table_close(&table));
	file_remove(&file);
}

/* The holder does not answer: its queues are deleted before the writer goes on. */
FS_TEST(recall_without_answer)
{
	int fd = homi_open(), bystander = homi_open();
	struct ring ring, spared;
	struct waiter waiter;
	struct table table;
	struct file file;
	struct dma dma;
	uint64_t took;

	need_queues(fd, 2);
	set_recall_ms(SHORT_MS);
	file_create(&file, dir, "recall", 16 * PAGE, 55);
	ring_open(&ring, fd, 8);
	ring_open(&spared, bystander, 8);
	dma_new(&dma, fd, PAGE);
	table_open(&table, fd, file.fd, 0, 0);
	waiter_start(&waiter, act_overwrite, file.path);
	wait_state(&table, HOMI_EXTENT_RECALLED, 30000);
	ASSERT_EQ(HOMI_QUEUE_LIVE, queue_info(fd, ring.q.out_queue_id).out_state);
	ASSERT(waiter_waits(&waiter, SHORT_MS / 2));
	ASSERT_EQ(0, waiter_end(&waiter, SHORT_MS + 30000, &took));
	ASSERT(took >= SHORT_MS - 50);
	ASSERT_EQ(HOMI_EXTENT_REVOKED, table.t->state);
	ASSERT_EQ(HOMI_QUEUE_REVOKED, queue_info(fd, ring.q.out_queue_id).out_state);
	ASSERT_EQ(HOMI_QUEUE_LIVE, queue_info(bystander, spared.q.out_queue_id).out_state);
	/* Really deleted: its id is not lent any more, a doorbell does nothing, MEM is free. */
	ring_doorbell(&ring);
	ASSERT_EQ(0, dma_destroy(&dma));
	ASSERT_EQ(0, table_close(&table));
	ASSERT_EQ(0, ring_destroy(&ring));
	ASSERT_EQ(0, ring_destroy(&spared));
	/* The open file is good for new ones. */
	ring_open(&ring, fd, 8);
	table_open(&table, fd, file.fd, 0, 0);
	table_check(&table, 0, 16 * PAGE);
	ASSERT_EQ(0, table_close(&table));
	file_remove(&file);
}

/* With I/O in flight on the file's old blocks: none of it happens after the writer's open. */
FS_TEST(revoked_queue_is_dead)
{
	int fd = homi_open();
	struct area area = { 0 };
	struct waiter waiter;
	struct table table;
	struct ring ring;
	struct file file;
	struct dma dma;
	struct sqe sqe;

	need_queues(fd, 1);
	set_recall_ms(300);
	file_create(&file, dir, "dead", 4 * PAGE, 56);
	ring_open(&ring, fd, 64);
	dma_new(&dma, fd, PAGE);
	table_open(&table, fd, file.fd, 0, 0);
	area.nsid = table.r.out_nsid;
	area.block_size = table.r.out_block_size;
	sqe = sqe_rw(NVME_READ, &area, table_lookup(&table, 0), PAGE, &dma, 0, NULL);
	ASSERT_EQ(0, ring_do(&ring, &sqe));
	waiter_start(&waiter, act_overwrite, file.path);
	ASSERT_EQ(0, waiter_end(&waiter, 30000, NULL));
	memset(dma.va, 0x13, PAGE);
	ring_post(&ring, &sqe);
	ring_doorbell(&ring);
	ASSERT_EQ(RING_TIMEOUT, ring_poll(&ring, &(struct cqe){ 0 }, 100));
	ASSERT(is_filled(dma.va, 0x13, PAGE));
	file_remove(&file);
}

FS_TEST(killed_holder_lets_go)
{
	struct waiter waiter;
	struct file file;
	int pipes[2];
	uint64_t took;
	pid_t holder;
	char byte;

	set_recall_ms(LONG_MS);
	file_create(&file, dir, "killed", 4 * PAGE, 57);
	ASSERT(!pipe(pipes));
	fflush(NULL);
	holder = fork();
	if (!holder) {
		int fd = homi_open();
		struct ring ring;
		struct table table;

		if (ctrl_info(fd).out_queues_spare)
			ring_open(&ring, fd, 4);
		table_open(&table, fd, file.fd, 0, 0);
		ASSERT_EQ(1, write(pipes[1], "x", 1));
		pause();
	}
	ASSERT_EQ(1, read(pipes[0], &byte, 1));
	waiter_start(&waiter, act_open_write, file.path);
	ASSERT(waiter_waits(&waiter, 200));
	ASSERT(!kill(holder, SIGKILL));
	ASSERT_EQ(128 + SIGKILL, child_status(holder));
	ASSERT_EQ(0, waiter_end(&waiter, 30000, &took));
	ASSERT(took < LONG_MS / 4);
	file_remove(&file);
}

/* Several holders: the writer waits for the last one. */
FS_TEST(several_holders)
{
	int a = homi_open(), b = homi_open();
	struct table first, second;
	struct waiter waiter;
	struct file file;

	set_recall_ms(LONG_MS);
	file_create(&file, dir, "several", 4 * PAGE, 58);
	table_open(&first, a, file.fd, 0, 0);
	table_open(&second, b, file.fd, 0, 0);
	waiter_start(&waiter, act_open_write, file.path);
	wait_state(&first, HOMI_EXTENT_RECALLED, 3000);
	wait_state(&second, HOMI_EXTENT_RECALLED, 3000);
	ASSERT_EQ(0, table_close(&first));
	ASSERT(waiter_waits(&waiter, 200));
	ASSERT_EQ(0, table_close(&second));
	ASSERT_EQ(0, waiter_end(&waiter, 30000, NULL));
	file_remove(&file);
}

/* A killed writer is gone, the recall still has its answer. */
FS_TEST(killed_writer)
{
	int fd = homi_open();
	struct waiter waiter;
	struct table table;
	struct file file;

	set_recall_ms(LONG_MS);
	file_create(&file, dir, "writer", 4 * PAGE, 59);
	table_open(&table, fd, file.fd, 0, 0);
	waiter_start(&waiter, act_open_write, file.path);
	wait_state(&table, HOMI_EXTENT_RECALLED, 3000);
	kill(waiter.pid, SIGKILL);
	ASSERT_EQ(128 + SIGKILL, waiter_end(&waiter, 30000, NULL));
	ASSERT_EQ(0, table_close(&table));
	table_open(&table, fd, file.fd, 0, 0);
	ASSERT_EQ(HOMI_EXTENT_VALID, table.t->state);
	ASSERT_EQ(0, table_close(&table));
	file_remove(&file);
}

/* Who has the file open for writing comes first, with a descriptor or a mapping alone. */
FS_TEST(writer_was_first)
{
	int fd = homi_open(), writer;
	struct homi_extent_resolve r;
	struct table table;
	struct file file;
	void *va;

	file_create(&file, dir, "first", 4 * PAGE, 60);
	writer = open(file.path, O_WRONLY | O_CLOEXEC);
	ASSERT_EQ(-EAGAIN, extent_resolve(fd, file.fd, 0, 0, &r));
	ASSERT_EQ(HOMI_REASON_WRITER, r.out_reason);
	close(writer);
	writer = open(file.path, O_RDWR | O_CLOEXEC);
	/* the caller's own descriptor is no exception */
	ASSERT_EQ(-EAGAIN, extent_resolve(fd, writer, 0, 0, &r));
	ASSERT_EQ(HOMI_REASON_WRITER, r.out_reason);
	va = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, writer, 0);
	ASSERT(va != MAP_FAILED);
	close(writer);
	ASSERT_EQ(-EAGAIN, extent_resolve(fd, file.fd, 0, 0, &r));
	ASSERT_EQ(HOMI_REASON_WRITER, r.out_reason);
	munmap(va, PAGE);
	table_open(&table, fd, file.fd, 0, 0);
	ASSERT_EQ(0, table_close(&table));
	file_remove(&file);
}

/* The user's own lease calls do not touch ours. */
FS_TEST(users_lease_calls)
{
	int fd = homi_open();
	struct waiter waiter;
	struct table table;
	struct file file;

	set_recall_ms(LONG_MS);
	file_create(&file, dir, "fcntl", 4 * PAGE, 61);
	table_open(&table, fd, file.fd, 0, 0);
	ASSERT(fcntl(file.fd, F_SETLEASE, F_UNLCK) < 0);
	waiter_start(&waiter, act_open_write, file.path);
	ASSERT(waiter_waits(&waiter, 200));
	fcntl(file.fd, F_SETLEASE, F_UNLCK);
	ASSERT(waiter_waits(&waiter, 100));
	ASSERT_EQ(0, table_close(&table));
	ASSERT_EQ(0, waiter_end(&waiter, 30000, NULL));
	file_remove(&file);
}

FS_TEST(close_of_the_files_descriptor)
{
	int fd = homi_open();
	struct waiter waiter;
	struct table table;
	struct file file;

	set_recall_ms(LONG_MS);
	file_create(&file, dir, "descriptor", 4 * PAGE, 62);
	table_open(&table, fd, file.fd, 0, 0);
	close(file.fd);
	file.fd = -1;
	waiter_start(&waiter, act_open_write, file.path);
	ASSERT(waiter_waits(&waiter, 300));
	ASSERT_EQ(0, table_close(&table));
	ASSERT_EQ(0, waiter_end(&waiter, 30000, NULL));
	file_remove(&file);
}

/* No lease-break-time of the system's ends ours, nor does none keep it for ever. */
static void holds_with_break_time(const char *dir, const char *seconds, unsigned int ms)
{
	const char *path = "/proc/sys/fs/lease-break-time";
	int fd = homi_open();
	struct waiter waiter;
	struct table table;
	struct file file;
	bool waited;
	int err;

	need_own_machine("fs.lease-break-time is changed");
	file_create(&file, dir, "break", 4 * PAGE, 63);
	ASSERT(sysfs_write(path, seconds));
	set_recall_ms(LONG_MS);
	table_open(&table, fd, file.fd, 0, 0);
	waiter_start(&waiter, act_open_write, file.path);
	waited = waiter_waits(&waiter, ms);
	err = table_close(&table);
	if (!err)
		err = waiter_end(&waiter, 30000, NULL);
	set_recall_ms(200);
	table_open(&table, fd, file.fd, 0, 0);
	waiter_start(&waiter, act_open_write, file.path);
	if (!err)
		err = waiter_end(&waiter, 30000, NULL);
	ASSERT(sysfs_write(path, "45"));
	ASSERT(waited);
	ASSERT_EQ(0, err);
	ASSERT_EQ(HOMI_EXTENT_REVOKED, table.t->state);
	ASSERT_EQ(0, table_close(&table));
	file_remove(&file);
}

FS_TEST(lease_break_time_0)
{
	holds_with_break_time(dir, "0", 700);
}

FS_TEST(lease_break_time_1)
{
	holds_with_break_time(dir, "1", 2500);
}

FS_TEST(leases_off)
{
	const char *path = "/proc/sys/fs/leases-enable";
	struct homi_extent_resolve r;
	int fd = homi_open(), err;
	struct file file;

	need_own_machine("leases are switched off");
	file_create(&file, dir, "off", 4 * PAGE, 64);
	ASSERT(sysfs_write(path, "0"));
	err = extent_resolve(fd, file.fd, 0, 0, &r);
	ASSERT(sysfs_write(path, "1"));
	ASSERT_EQ(-EOPNOTSUPP, err);
	ASSERT_EQ(HOMI_REASON_LEASES_OFF, r.out_reason);
	file_remove(&file);
}

/* Many resolve and many write at the same time: all make progress, nothing is left. */
FS_TEST_TIMEOUT(storm, 120)
{
	unsigned int rounds = soak() ? 150 : 60, i, k;
	struct file file;
	pid_t pids[4];

	set_recall_ms(LONG_MS);
	file_create(&file, dir, "storm", 4 * PAGE, 65);
	fflush(NULL);
	for (k = 0; k < ARRAY_SIZE(pids); k++) {
		pids[k] = fork();
		if (pids[k])
			continue;
		for (i = 0; i < rounds; i++) {
			struct table table;
			int fd, err;

			if (k < 2) {
				ASSERT(!act_open_write(file.path));
				continue;
			}
			fd = homi_open();
			err = table_resolve(&table, fd, file.fd, 0, 0);
			if (err && err != -EAGAIN)
				FAIL("EXTENT_RESOLVE: %d", err);
			if (!err && i % 2)
				ASSERT_EQ(0, destroy(fd, table.r.out_extent_id));
			close(fd);
		}
		_exit(0);
	}
	for (k = 0; k < ARRAY_SIZE(pids); k++)
		ASSERT_EQ(0, child_status(pids[k]));
	file_reopen(&file, O_RDWR | O_NONBLOCK);
	file_remove(&file);
}

static int act_unmount(const char *path)
{
	return umount(path);
}

/* An EXTENT keeps its file system busy, and nothing does afterwards. */
TEST(unmount)
{
	const char *point;
	int fd = homi_open();
	struct waiter waiter;
	struct table table;
	struct file file;

	if (!raw_path())
		SKIP("HOMI_RAW names no partition that may be overwritten");
	point = private_mount_point();
	ASSERT_EQ(0, shell("mkfs.ext4 -q -F -b 4096 %s >/dev/null", raw_path()));
	ASSERT(!mount(raw_path(), point, "ext4", 0, NULL));
	file_create(&file, point, "umount", 4 * PAGE, 66);
	table_open(&table, fd, file.fd, 0, 0);
	close(file.fd);
	waiter_start(&waiter, act_unmount, point);
	ASSERT_EQ(EBUSY, waiter_end(&waiter, 30000, NULL));
	table_check(&table, 0, 4 * PAGE);
	ASSERT_EQ(0, table_close(&table));
	ASSERT(!umount(point));
}
