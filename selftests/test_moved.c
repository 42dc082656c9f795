// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who moves the blocks of a file, or frees them, waits for READs and WRITEs that go by where it
 * lies and that have no lease, since somebody has it open for writing.
 */
#include <linux/fs.h>
#include <signal.h>
#include <stdlib.h>

#include "harness.h"
#include "peer.h"

static int act_shrink(const char *path)
{
	int fd = open(path, O_RDWR);

	return fd < 0 || ftruncate(fd, PAGE) || close(fd) ? errno : 0;
}

static int act_collapse(const char *path)
{
	int fd = open(path, O_RDWR);

	return fd < 0 || fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, SIZE / 2) || close(fd) ? errno : 0;
}

/* All are over when it returns, with the drive as slow as it was. */
static void waits_for_all(const char *dir, bool write, int (*act)(const char *path))
{
	struct __kernel_timespec second = { .tv_sec = 1 };
	unsigned int i, good = 0;
	struct io_uring_cqe *cqe;
	struct waiter waiter;

	begin_beside(dir, 0);
	if (!drive_throttle(20))
		SKIP("no QEMU whose drive can be held up");
	nap_ms(10);
	post_many(write);
	/* The inode is theirs first: a third of them is over when the last one is under way. */
	nap_ms(1000);
	waiter_start(&waiter, act, file.path);
	ASSERT_EQ(0, waiter_end(&waiter, 40000, NULL));
	io_uring_wait_cqes(&ring, &cqe, ENTRIES, &second, NULL);
	/* One that came later than he is told so. */
	ASSERT_EQ(ENTRIES, io_uring_cq_ready(&ring));
	drive_throttle(0);
	for (i = 0; i < ENTRIES; i++) {
		int res = uring_reap(&ring, NULL);

		good += res == PIECE;
		if (res != PIECE && (write || res))
			ASSERT(res == -EOPNOTSUPP || res == -EAGAIN);
	}
	printf("# %u were under way\n", good);
	ASSERT(good > 3);
	file_remove(&file);
}

FS_TEST(truncate_waits_for_reads)
{
	waits_for_all(dir, false, act_shrink);
}

FS_TEST(truncate_waits_for_writes)
{
	waits_for_all(dir, true, act_shrink);
}

FS_TEST(punch_waits)
{
	waits_for_all(dir, true, act_punch);
}

FS_TEST(collapse_waits)
{
	waits_for_all(dir, true, act_collapse);
}

static struct file donor;

/* xfs_fsr's ioctl, which does not wait for direct I/O */
static int act_swap(const char *path)
{
	return shell("xfs_io -c 'swapext %s' %s", donor.path, path);
}

TEST(swapping_waits)
{
	const char *dir = need_fs("xfs");

	if (!have("xfs_io"))
		SKIP("xfs_io is not installed");
	file_create(&donor, dir, "donor", SIZE, 77);
	waits_for_all(dir, true, act_swap);
	file_remove(&donor);
}

/* e4defrag's, which takes nothing of the page cache */
static int act_move(const char *path)
{
	int fd = open(path, O_RDWR), from = open(donor.path, O_RDWR);

	return fd < 0 || from < 0 || ext4_move(fd, from, SIZE / PAGE) ? errno : 0;
}

static void moving_waits(bool write)
{
	const char *dir = need_fs("ext4");

	file_create(&donor, dir, "donor", SIZE, 77);
	file_reopen(&donor, O_RDWR);
	ASSERT(!ftruncate(donor.fd, 0) && !fallocate(donor.fd, 0, 0, SIZE) && !fsync(donor.fd));
	waits_for_all(dir, write, act_move);
	file_remove(&donor);
}

/* What it moves is in the page cache: it asks the drive for nothing that these READs are before. */
TEST(moving_waits_for_reads)
{
	moving_waits(false);
}

TEST(moving_waits_for_writes)
{
	moving_waits(true);
}

static char other_path[300];

/* The blocks are somebody else's as soon as they are free, and stay as he writes them. */
static int act_reuse(const char *path)
{
	static char data[SIZE], again[SIZE];
	int fd, other, i;

	for (i = 0; i < 4; i++) {
		fd = open(path, O_RDWR);
		other = open(other_path, O_RDWR | O_CREAT | O_TRUNC, 0600);
		memset(data, 0x5a, SIZE);
		if (fd < 0 || other < 0 || ftruncate(fd, 0) || write(other, data, SIZE) != SIZE ||
		    fsync(other))
			return EIO;
		memset(again, 0x31 + i, SIZE);
		if (pwrite(fd, again, SIZE, 0) != SIZE || fsync(fd))
			return EIO;
		nap_ms(10);
		if (posix_fadvise(other, 0, 0, POSIX_FADV_DONTNEED) ||
		    pread(other, again, SIZE, 0) != SIZE)
			return EIO;
		if (memcmp(again, data, SIZE))
			return EBADMSG;
		close(fd);
		close(other);
	}
	return 0;
}

FS_TEST_TIMEOUT(never_over_another_file, 120)
{
	unsigned int round, rounds = times(40, 5), i, good = 0;
	static char got[SIZE];
	struct waiter waiter;

	begin_beside(dir, 0);
	snprintf(other_path, sizeof(other_path), "%s.other", file.path);
	for (round = 0; round < rounds; round++) {
		waiter_start(&waiter, act_reuse, file.path);
		do {
			bool write = round % 2;

			memset(mem, write ? 0x77 : 0, SIZE);
			post_many(write);
			for (i = 0; i < ENTRIES; i++) {
				int res = uring_reap(&ring, NULL);

				if (res < 0)
					ASSERT(res == -EAGAIN || res == -EOPNOTSUPP);
				good += res > 0;
			}
			fetch(got, mem, SIZE);
			for (i = 0; i < SIZE; i += BLOCK)
				ASSERT(!is_filled(got + i, 0x5a, BLOCK));
		} while (waiter_waits(&waiter, 0));
		ASSERT_EQ(0, waiter_end(&waiter, 30000, NULL));
		ASSERT(!unlink(other_path));
	}
	printf("# %u went\n", good);
	ASSERT(good);
	file_remove(&file);
}

/* Those who want the inode's lock alone, all the time: nobody may take it a second time. */
static void want_it_alone(void)
{
	int fd = open(file.path, O_RDWR);
	char byte = 0;

	for (;;) {
		ASSERT(!ftruncate(fd, SIZE));
		ASSERT(!fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, SIZE));
		ASSERT_EQ(1, pwrite(fd, &byte, 1, SIZE - 1));
	}
}

FS_TEST_TIMEOUT(with_writers_in_the_queue, 120)
{
	unsigned int round;
	pid_t pid[3];
	size_t i;

	begin_beside(dir, 0);
	for (i = 0; i < ARRAY_SIZE(pid); i++)
		pid[i] = child_start(want_it_alone);
	for (round = 0; round < times(100, 10); round++) {
		post_many(round % 2);
		ASSERT_EQ(ENTRIES, reap_many(0));
	}
	for (i = 0; i < ARRAY_SIZE(pid); i++) {
		kill(pid[i], SIGKILL);
		ASSERT_EQ(128 + SIGKILL, child_status(pid[i]));
	}
	file_remove(&file);
}
