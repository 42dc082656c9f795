// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a READ by extents costs its user's budget when its file becomes longer or shorter, or its memory
 * goes, while the READ waits for the file.
 */
#include <sys/stat.h>

#include "budget.h"

#define MORE	(16 * SIZE)

/* The file is locked for all of it, and longer when it is there. */
static void grow(void)
{
	int fd = open(file.path, O_WRONLY | O_DIRECT);

	ASSERT(fd >= 0);
	ASSERT_EQ(MORE, pwrite(fd, new_memory(MORE), MORE, SIZE));
}

static void start_beside(void)
{
	start(need_fs("ext4"));
	if (!goes_beside())
		SKIP("this kernel's file system can't say where a file lies beside who writes to it");
}

/* A budget that all goes through, what was charged so far, and a file that a child has locked */
static pid_t start_growing(struct account *before)
{
	pid_t pid;

	start_beside();
	quota_set(KIB, 1 << 20);
	/* That this can be asked without the inode's lock is learnt while nobody has it. */
	ASSERT_EQ(PAGE, rw_do(&ring, &t, false, 0, 0, PAGE));
	*before = account_of(0);
	if (!drive_throttle(1))
		SKIP("no QEMU whose drive can be held up");
	nap_ms(10 * patience());
	pid = child_start(grow);
	nap_ms(500 * patience());
	return pid;
}

/* What was behind the end of the file when it was let through */
TEST(grown_meanwhile)
{
	unsigned int i, good = 0;
	struct account before;
	struct stat st;
	pid_t pid = start_growing(&before);

	for (i = 0; i < ENTRIES; i++) {
		struct homi_uring_rw rw = rw_make(&t, SIZE + (uint64_t)i * PIECE,
						  (uint64_t)i * PIECE, PIECE);

		rw_post(&ring, t.fd, false, &rw, i);
	}
	ASSERT_EQ(ENTRIES, io_uring_submit(&ring));
	nap_ms(300 * patience());
	ASSERT(!fstat(file.fd, &st));
	ASSERT_EQ(SIZE, st.st_size);
	ASSERT_EQ(0, io_uring_cq_ready(&ring));
	drive_throttle(0);
	ASSERT_EQ(0, child_status(pid));
	for (i = 0; i < ENTRIES; i++) {
		int res = uring_reap(&ring, NULL);

		if (res)
			ASSERT_EQ(PIECE, res);
		good += !!res;
	}
	ASSERT(good);
	ASSERT_EQ(before.ios + good, account_of(0).ios);
	ASSERT_EQ(before.bytes + (uint64_t)good * PIECE, account_of(0).bytes);
	file_remove(&file);
}

static void read_slowly(void)
{
	int fd = open(file.path, O_RDONLY | O_DIRECT);

	ASSERT(fd >= 0);
	ASSERT_EQ(MORE, pread(fd, new_memory(MORE), MORE, 0));
}

static void cut(void)
{
	ASSERT(!truncate(file.path, PAGE));
}

static void post_read(uint32_t length)
{
	struct homi_uring_rw rw = rw_make(&t, 0, 0, length);

	rw_post(&ring, t.fd, false, &rw, 0);
	ASSERT_EQ(1, io_uring_submit(&ring));
}

/* What it was let through for is given back, and who waits for that learns of it: it is minutes. */
TEST(shrunk_meanwhile)
{
	pid_t reader, cutter;
	int fd;

	start_beside();
	grow();
	fd = open(file.path, O_RDWR);
	ASSERT(fd >= 0);
	ASSERT_EQ(PAGE, rw_do(&ring, &t, false, 0, 0, PAGE));
	if (!drive_throttle(1))
		SKIP("no QEMU whose drive can be held up");
	nap_ms(10 * patience());
	/* He has the inode's lock, the one who cuts is next, and a READ is behind both. */
	reader = child_start(read_slowly);
	nap_ms(300 * patience());
	cutter = child_start(cut);
	nap_ms(300 * patience());
	quota_set(KIB, 4);
	post_read(SIZE);
	nap_ms(300 * patience());
	ASSERT_EQ(SIZE, account_of(0).bytes);
	post_read(PAGE);
	wait_for_waits(ctrl_name(), 0, 0);
	ASSERT_EQ(0, io_uring_cq_ready(&ring));
	drive_throttle(0);
	ASSERT_EQ(0, child_status(reader));
	ASSERT_EQ(0, child_status(cutter));
	ASSERT_EQ(PAGE, uring_reap(&ring, NULL));
	ASSERT_EQ(PAGE, uring_reap(&ring, NULL));
	ASSERT_EQ(2 * PAGE, account_of(0).bytes);
	close(fd);
	file_remove(&file);
}

/* So it is if nothing of it went to the drive, because its memory is gone by then. */
TEST(mem_gone_meanwhile)
{
	struct account before, due, after;
	pid_t pid = start_growing(&before);

	post_read(SIZE);
	nap_ms(300 * patience());
	ASSERT_EQ(0, io_uring_cq_ready(&ring));
	due = account_of(0);
	ASSERT_EQ(before.bytes + SIZE, due.bytes);
	ASSERT_EQ(before.ios + 1, due.ios);
	ASSERT_EQ(0, destroy(t.fd, t.mem));
	drive_throttle(0);
	ASSERT_EQ(0, child_status(pid));
	ASSERT_EQ(-ENOENT, uring_reap(&ring, NULL));
	after = account_of(0);
	ASSERT_EQ(before.bytes, after.bytes);
	ASSERT_EQ(before.ios, after.ios);
	ASSERT_EQ(1, own_stats().out_extents_errors);
	file_remove(&file);
}
