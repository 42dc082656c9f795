// SPDX-License-Identifier: GPL-2.0-only
/*
 * A file that is written to in place by whoever holds it: alone, and nobody sees anything but what
 * is on the drive when it has ended, in whatever way that was.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "harness.h"
#include "inplace.h"

struct writer {
	int fd;
	struct file file;	/* not open */
	struct table table;
	struct area area;
	struct ring ring;
	struct dma dma;
	struct stat before;
};

static void writer_open(struct writer *w, const char *dir, const char *name)
{
	memset(w, 0, sizeof(*w));
	w->fd = homi_open();
	need_queues(w->fd, 1);
	file_to_write(&w->file, dir, name);
	table_open_to_write(&w->table, w->fd, w->file.path);
	ASSERT(!stat(w->file.path, &w->before));
	w->area.nsid = w->table.r.out_nsid;
	w->area.block_size = w->table.r.out_block_size;
	ring_open(&w->ring, w->fd, 16);
	dma_new(&w->dma, w->fd, SIZE);
}

/* All of it anew, page by page, and flushed */
static void write_all(struct writer *w, uint64_t seed)
{
	struct sqe flush = { .opcode = NVME_FLUSH, .nsid = w->area.nsid }, sqe;
	unsigned int i;

	fill_random(w->dma.va, SIZE, seed);
	for (i = 0; i < PAGES; i++) {
		sqe = sqe_rw(NVME_WRITE, &w->area, table_lookup(&w->table, i * PAGE), PAGE,
			     &w->dma, i * PAGE, NULL);
		ASSERT_EQ(0, ring_do(&w->ring, &sqe));
	}
	ASSERT_EQ(0, ring_do(&w->ring, &flush));
}

static void check_content(const char *path, const void *want, int flags)
{
	int file = open(path, O_RDONLY | O_CLOEXEC | flags);
	char *buf;

	ASSERT(file >= 0);
	ASSERT(!posix_memalign((void **)&buf, PAGE, SIZE));
	ASSERT_EQ(SIZE, pread(file, buf, SIZE, 0));
	ASSERT_SAME(want, buf, SIZE);
	close(file);
	free(buf);
}

static bool is_later(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

static bool was_touched(const struct writer *w)
{
	struct stat now;

	ASSERT(!stat(w->file.path, &now));
	return is_later(&now.st_mtim, &w->before.st_mtim) &&
	       is_later(&now.st_ctim, &w->before.st_ctim);
}

/* What others find, by the page cache and without it */
static void check_others(const struct writer *w)
{
	check_content(w->file.path, w->dma.va, 0);
	check_content(w->file.path, w->dma.va, O_DIRECT);
	ASSERT(was_touched(w));
}

static void queue_end(struct writer *w)
{
	ASSERT_EQ(0, ring_destroy(&w->ring));
	ring_unmap(&w->ring);
}

/* --- how it ends --- */

FS_TEST(in_place)
{
	struct writer w;

	writer_open(&w, dir, "write");
	table_check(&w.table, 0, SIZE);
	write_all(&w, 1);
	nap_ms(20);
	write_all(&w, 2);
	ASSERT_EQ(-EBUSY, destroy(w.fd, w.table.r.out_extent_id));
	ASSERT_EQ(HOMI_EXTENT_VALID, w.table.t->state);
	queue_end(&w);
	ASSERT_EQ(0, table_close(&w.table));
	check_others(&w);
	file_remove(&w.file);
}

FS_TEST(closed)
{
	struct writer w;
	char *copy = malloc(SIZE);

	writer_open(&w, dir, "write");
	nap_ms(20);
	write_all(&w, 3);
	memcpy(copy, w.dma.va, SIZE);
	munmap((void *)w.table.t, w.table.r.out_mmap_length);
	ring_unmap(&w.ring);
	close(w.fd);
	check_content(w.file.path, copy, 0);
	ASSERT(was_touched(&w));
	file_remove(&w.file);
}

FS_TEST(survives_resets)
{
	struct writer w;
	struct waiter reader;
	unsigned int i;

	writer_open(&w, dir, "write");
	set_recall_ms(MINUTE_MS);
	for (i = 0; i < 2; i++) {
		write_all(&w, 10 + i);
		ASSERT_EQ(0, reset_controller(ctrl_name()));
		ASSERT(wait_live(ctrl_name(), 20000));
		ASSERT(poll_fd(w.fd, POLLOUT, 30000) & POLLOUT);
		ASSERT_EQ(0, ring_recreate(&w.ring));
	}
	ASSERT_EQ(HOMI_EXTENT_VALID, w.table.t->state);
	nap_ms(20);
	write_all(&w, 20);
	waiter_start(&reader, act_open_read, w.file.path);
	ASSERT(waiter_waits(&reader, 200));
	ack_recall(&w.table);
	ASSERT_EQ(0, waiter_end(&reader, 20000, NULL));
	check_others(&w);
	ASSERT_EQ(0, table_close(&w.table));
	queue_end(&w);
	file_remove(&w.file);
}

/* Whoever wants the file waits, the queue is deleted, and what he finds is what was written. */
static void recalled_by(const char *dir, int (*act)(const char *path), bool content)
{
	struct waiter other;
	struct writer w;

	writer_open(&w, dir, "write");
	set_recall_ms(MINUTE_MS);
	nap_ms(20);
	write_all(&w, 4);
	waiter_start(&other, act, w.file.path);
	wait_recalled(&w.table);
	ASSERT(waiter_waits(&other, 100));
	write_all(&w, 5);
	ack_recall(&w.table);
	ASSERT_EQ(0, waiter_end(&other, MINUTE_MS / 2, NULL));
	ASSERT_EQ(HOMI_EXTENT_ACKED, w.table.t->state);
	ASSERT_EQ(HOMI_QUEUE_REVOKED, queue_info(w.fd, w.ring.q.out_queue_id).out_state);
	if (content)
		check_others(&w);
	ASSERT_EQ(0, ring_recreate(&w.ring));
	/* It does not hold anything any more. */
	ASSERT_EQ(0, table_close(&w.table));
	queue_end(&w);
	if (unlink(w.file.path))
		ASSERT_EQ(ENOENT, errno);
}

FS_TEST(open_for_reading)
{
	recalled_by(dir, act_open_read, true);
}

FS_TEST(open_for_writing)
{
	recalled_by(dir, act_open_write, true);
}

FS_TEST(truncate_by_path)
{
	recalled_by(dir, act_truncate, false);
}

FS_TEST(unlinked)
{
	recalled_by(dir, act_unlink, false);
}

static int act_chmod(const char *path)
{
	return chmod(path, 0640);
}

FS_TEST(change_of_mode)
{
	recalled_by(dir, act_chmod, true);
}

FS_TEST(without_answer)
{
	struct waiter reader;
	struct writer w;

	writer_open(&w, dir, "write");
	set_recall_ms(200);
	nap_ms(20);
	write_all(&w, 6);
	waiter_start(&reader, act_open_read, w.file.path);
	ASSERT_EQ(0, waiter_end(&reader, 20000, NULL));
	ASSERT_EQ(HOMI_EXTENT_REVOKED, w.table.t->state);
	ASSERT_EQ(HOMI_QUEUE_REVOKED, queue_info(w.fd, w.ring.q.out_queue_id).out_state);
	ASSERT_EQ(-ESTALE, extent_ack(&w.table, 2));
	check_others(&w);
	ASSERT_EQ(0, table_close(&w.table));
	queue_end(&w);
	file_remove(&w.file);
}

/* Each page as it is on the drive, whichever write was the last */
FS_TEST(killed)
{
	char *cached = malloc(SIZE), *direct;
	unsigned int i, rounds = times(10, 2);
	struct writer w;
	int file;
	pid_t pid;

	ASSERT(!posix_memalign((void **)&direct, PAGE, SIZE));
	for (i = 0; i < rounds; i++) {
		fflush(NULL);
		pid = fork();
		if (!pid) {
			uint64_t seed = 100;

			writer_open(&w, dir, "killed");
			for (;;)
				write_all(&w, seed++);
		}
		nap_ms(400 * patience() + i * 7);
		kill(pid, SIGKILL);
		ASSERT_EQ(pid, waitpid(pid, NULL, 0));
		snprintf(w.file.path, sizeof(w.file.path), "%s/killed.%d", dir, pid);
		file = open(w.file.path, O_RDONLY | O_CLOEXEC);
		ASSERT(file >= 0);
		ASSERT_EQ(SIZE, pread(file, cached, SIZE, 0));
		close(file);
		file = open(w.file.path, O_RDONLY | O_DIRECT | O_CLOEXEC);
		ASSERT_EQ(SIZE, pread(file, direct, SIZE, 0));
		ASSERT_SAME(direct, cached, SIZE);
		close(file);
		ASSERT(!unlink(w.file.path));
	}
}

/* --- frozen file systems --- */

static int freeze(const char *dir, unsigned long how)
{
	int file = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), ret;

	ASSERT(file >= 0);
	ret = ioctl(file, how, 0);
	close(file);
	return ret;
}

static const char *frozen_dir;

static int act_freeze(const char *path)
{
	(void)path;
	return freeze(frozen_dir, FIFREEZE);
}

/* Not to be left frozen, whatever happens */
static pid_t thaw_later(const char *dir, unsigned int ms)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (!pid) {
		setpgid(0, 0);
		syscall(SYS_close_range, 3, ~0U, 0);
		nap_ms(ms);
		freeze(dir, FITHAW);
		_exit(0);
	}
	return pid;
}

static void wait_touched(const struct writer *w)
{
	uint64_t end = now_ms() + 30000;

	while (!was_touched(w)) {
		ASSERT(now_ms() < end);
		nap_ms(10);
	}
}

/* It ends while the file system is frozen; the times follow. */
FS_TEST(ends_frozen)
{
	struct writer w;
	pid_t pid;

	writer_open(&w, dir, "write");
	write_all(&w, 7);
	queue_end(&w);
	nap_ms(20);
	pid = thaw_later(dir, 3000);
	ASSERT(!freeze(dir, FIFREEZE));
	ASSERT_EQ(0, table_close(&w.table));
	ASSERT(!was_touched(&w));
	check_content(w.file.path, w.dma.va, 0);
	ASSERT(!freeze(dir, FITHAW));
	wait_touched(&w);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	file_remove(&w.file);
}

/* Who freezes waits for who truncates, who waits for us: we wait for neither. */
FS_TEST(ends_while_somebody_freezes)
{
	struct waiter other, freezer;
	struct writer w;
	pid_t pid;

	writer_open(&w, dir, "write");
	set_recall_ms(MINUTE_MS);
	write_all(&w, 8);
	nap_ms(20);
	frozen_dir = dir;
	pid = thaw_later(dir, 15000);
	waiter_start(&other, act_truncate, w.file.path);
	wait_recalled(&w.table);
	waiter_start(&freezer, act_freeze, dir);
	ASSERT(waiter_waits(&freezer, 500));
	ack_recall(&w.table);
	ASSERT_EQ(0, waiter_end(&other, 30000, NULL));
	ASSERT_EQ(0, waiter_end(&freezer, 30000, NULL));
	ASSERT(!freeze(dir, FITHAW));
	wait_touched(&w);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	ASSERT_EQ(0, table_close(&w.table));
	queue_end(&w);
	file_remove(&w.file);
}
