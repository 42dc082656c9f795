// SPDX-License-Identifier: GPL-2.0-only
/*
 * READ and WRITE by where the file lies, of files that somebody has open for writing: who
 * WRITEs at least. See peer.h for the memory.
 */
#include <linux/fs.h>
#include <linux/fsverity.h>
#include <linux/pci_regs.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "harness.h"
#include "peer.h"

/* What the page cache says, and then what is on the drive, is the model. */
static void check_file(void)
{
	ASSERT_EQ(SIZE, pread(file.fd, copy, SIZE, 0));
	ASSERT_SAME(model, copy, SIZE);
	ASSERT(!fsync(file.fd) && !posix_fadvise(file.fd, 0, 0, POSIX_FADV_DONTNEED));
	ASSERT_EQ(SIZE, pread(file.fd, copy, SIZE, 0));
	ASSERT_SAME(model, copy, SIZE);
}

/* New content of all of the memory; returns what it is. */
static const char *new_content(void)
{
	static char content[SIZE];
	static uint64_t seed = 100;

	fill_random(content, SIZE, seed++);
	put(mem, content, SIZE);
	return content;
}

static void write_one(uint64_t at, uint64_t from, uint32_t length)
{
	const char *content = new_content();

	ASSERT_EQ(length, rw_do(&ring, &t, true, at, from, length));
	memcpy(model + at, content + from, length);
}

static void check_writes(void)
{
	in_pieces(write_one, check_file);
	write_one(2 * PAGE, 512, 3 * PAGE);
	write_one(7 * PAGE, 5 * PAGE + 2048, 64 * PAGE);
	if (bdev_block_size() == 512)
		write_one(90 * PAGE + 512, PAGE + 2048, 1536);
	check_file();
}

FS_TEST(reads)
{
	char *map;

	begin_beside(dir, 0);
	check_reads();
	/* What is in the page cache only */
	fill_random(model, SIZE, 50);
	ASSERT_EQ(SIZE, pwrite(file.fd, model, SIZE, 0));
	check_one(0, 0, SIZE);
	map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file.fd, 0);
	ASSERT(map != MAP_FAILED);
	memset(map + 5 * PAGE, 0x66, 3 * PAGE);
	check_one(4 * PAGE, 0, 8 * PAGE);
	/* Somebody else's descriptor, and none but a reader's here */
	ASSERT_EQ(0, destroy(t.fd, t.file));
	t.file = open(file.path, O_RDONLY);
	t.flags |= HOMI_RW_FD;
	memset(map + 5 * PAGE, 0x67, 3 * PAGE);
	check_one(4 * PAGE, 0, 8 * PAGE);
	check_reads();
	munmap(map, SIZE);
	ASSERT_EQ(0, own_stats().out_extents_errors);
	file_remove(&file);
}

FS_TEST(writes)
{
	struct homi_io_stats stats;
	char *map;

	begin_beside(dir, 0);
	check_writes();
	t.flags |= HOMI_RW_BY_EXTENTS;
	/* Others see it, whichever way they look. */
	map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file.fd, 0);
	ASSERT(map != MAP_FAILED);
	ASSERT_SAME(model, map, SIZE);
	write_one(8 * PAGE, 0, 8 * PAGE);
	ASSERT_SAME(model, map, SIZE);
	/* What is dirty beside it stays. */
	memset(map + 7 * PAGE, 0x44, PAGE);
	memset(map + 10 * PAGE, 0x44, PAGE);
	memset(model + 7 * PAGE, 0x44, PAGE);
	write_one(8 * PAGE, 0, 8 * PAGE);
	check_file();
	munmap(map, SIZE);
	t.file = file.fd;
	t.flags |= HOMI_RW_FD;
	check_writes();
	stats = own_stats();
	ASSERT_EQ(0, stats.out_fs_writes);
	ASSERT_EQ(0, stats.out_extents_errors);
	ASSERT(stats.out_extents_writes > 30);
	ASSERT(stats.out_extents_written_bytes > 4 * SIZE);
	file_remove(&file);
}

/* All of it in 64 pieces, at once */
static void write_at_depth(const char *dir, unsigned int ring_flags, unsigned int sqe_flags)
{
	const char *content;
	unsigned int round, i;

	begin_beside(dir, ring_flags);
	for (round = 0; round < 4; round++) {
		content = new_content();
		for (i = 0; i < ENTRIES; i++) {
			struct homi_uring_rw rw = rw_make(&t, (uint64_t)i * PIECE, (uint64_t)i * PIECE,
							  PIECE);

			rw_post(&ring, t.fd, true, &rw, i)->flags |= sqe_flags;
		}
		io_uring_submit(&ring);
		ASSERT_EQ(ENTRIES, reap_many(0));
		memcpy(model, content, SIZE);
		check_file();
	}
	file_remove(&file);
}

AT_DEPTH(write_at_depth)

FS_TEST_TIMEOUT(resets_unseen, 120)
{
	unsigned int resets = times(50, 5), round;
	const char *content;

	begin_beside(dir, 0);
	for (round = 0; round < resets; round++) {
		content = new_content();
		if (round % 2)
			pci_command_clear(PCI_COMMAND_MEMORY);
		else
			drive_throttle(400);
		post_many(true);
		ASSERT_EQ(0, reset_controller(ctrl_name()));
		drive_throttle(0);
		ASSERT_EQ(ENTRIES, reap_many(0));
		ASSERT(wait_live(ctrl_name(), 30000));
		memcpy(model, content, SIZE);
		check_file();
		check_one(0, 0, SIZE);
	}
	printf("# %u writes over %u resets\n", ENTRIES * resets, resets);
	file_remove(&file);
}

/* --- holes, ends, and what else only the file system can write --- */

static void expect_write(int err, uint64_t at, uint32_t length)
{
	ASSERT_EQ(err, rw_do(&ring, &t, true, at, 0, length));
}

FS_TEST(ends_and_holes)
{
	bool ext4 = is_ext4(dir);
	unsigned int i;

	begin_beside(dir, 0);
	ASSERT(!fallocate(file.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 16 * PAGE, 4 * PAGE));
	ASSERT(!fallocate(file.fd, FALLOC_FL_ZERO_RANGE, 32 * PAGE, 4 * PAGE));
	ASSERT(!ftruncate(file.fd, SIZE - 5000));
	new_content();
	expect_write(-EOPNOTSUPP, 16 * PAGE, PAGE);
	expect_write(-EOPNOTSUPP, 15 * PAGE, 2 * PAGE);
	expect_write(-EOPNOTSUPP, 35 * PAGE, 2 * PAGE);
	/* Its last block, and behind it */
	expect_write(-EOPNOTSUPP, SIZE - 2 * PAGE, PAGE);
	expect_write(-EOPNOTSUPP, SIZE - 2 * PAGE, 2 * PAGE);
	expect_write(-EOPNOTSUPP, SIZE, PAGE);
	expect_write(-EOPNOTSUPP, 1ull << 40, PAGE);
	expect_write(3 * PAGE, SIZE - 5 * PAGE, 3 * PAGE);
	/* Nothing of it was touched. */
	check_one(SIZE - 2 * PAGE, 0, PAGE);
	check_one(36 * PAGE, 0, 64 * PAGE);
	if (ext4) {
		check_one(0, 0, SIZE);
	} else {
		ASSERT_EQ(-EAGAIN, rw_do(&ring, &t, false, 16 * PAGE, 0, PAGE));
		ASSERT_EQ(-EAGAIN, rw_do(&ring, &t, false, 31 * PAGE, 0, 2 * PAGE));
	}
	ASSERT_EQ(SIZE - 5000, lseek(file.fd, 0, SEEK_END));
	ASSERT_EQ(0, rw_do(&ring, &t, false, SIZE, 0, PAGE));
	/* Behind it there may be blocks, in many pieces. */
	for (i = 0; i < 40; i++)
		ASSERT(!fallocate(file.fd, FALLOC_FL_KEEP_SIZE, SIZE + 2 * i * PAGE, PAGE));
	ASSERT_EQ(0, rw_do(&ring, &t, false, SIZE, 0, 128 * PAGE));
	ASSERT(!ftruncate(file.fd, 0));
	ASSERT_EQ(0, rw_do(&ring, &t, false, 0, 0, PAGE));
	expect_write(-EOPNOTSUPP, 0, PAGE);
	file_remove(&file);
}

TEST(shared_blocks)
{
	char clone[300];
	int fd;

	begin_beside(need_fs("xfs"), 0);
	snprintf(clone, sizeof(clone), "%s.clone", file.path);
	fd = open(clone, O_RDWR | O_CREAT, 0600);
	ASSERT(fd >= 0);
	if (ioctl(fd, FICLONE, file.fd))
		SKIP("no reflinks here");
	new_content();
	expect_write(-EOPNOTSUPP, 0, PAGE);
	ASSERT_EQ(-EAGAIN, rw_do(&ring, &t, false, 0, 0, PAGE));
	check_file();
	ASSERT_EQ(SIZE, pread(fd, copy, SIZE, 0));
	ASSERT_SAME(model, copy, SIZE);
	close(fd);
	ASSERT(!unlink(clone));
	file_remove(&file);
}

static void set_flags(int set, int clear)
{
	int flags;

	ASSERT(!ioctl(file.fd, FS_IOC_GETFLAGS, &flags));
	flags = (flags | set) & ~clear;
	ASSERT(!ioctl(file.fd, FS_IOC_SETFLAGS, &flags));
}

FS_TEST(refused)
{
	struct rlimit before, limit;
	struct rw_target both;

	begin_beside(dir, 0);
	both = t;
	expect_write(-EINVAL, 100, PAGE);
	expect_write(-EINVAL, 0, 100);
	ASSERT_EQ(-EINVAL, rw_do(&ring, &t, true, 0, 2, PAGE));
	ASSERT_EQ(-EINVAL, rw_do(&ring, &t, true, 0, SIZE, PAGE));
	/* Not for writing; for appending only */
	t.flags |= HOMI_RW_FD;
	t.file = open(file.path, O_RDONLY);
	expect_write(-EBADF, 0, PAGE);
	close(t.file);
	t.file = open(file.path, O_RDWR | O_APPEND);
	expect_write(-EOPNOTSUPP, 0, PAGE);
	close(t.file);
	t.file = open(file.path, O_WRONLY);
	ASSERT_EQ(-EBADF, rw_do(&ring, &t, false, 0, 0, PAGE));
	close(t.file);
	t = both;
	set_flags(FS_IMMUTABLE_FL, 0);
	expect_write(-EOPNOTSUPP, 0, PAGE);
	set_flags(0, FS_IMMUTABLE_FL);
	signal(SIGXFSZ, SIG_IGN);
	ASSERT(!getrlimit(RLIMIT_FSIZE, &before));
	limit = before;
	limit.rlim_cur = 4 * PAGE;
	ASSERT(!setrlimit(RLIMIT_FSIZE, &limit));
	expect_write(-EFBIG, 4 * PAGE, PAGE);
	ASSERT_EQ(2 * PAGE, rw_do(&ring, &t, true, 2 * PAGE, 0, 8 * PAGE));
	ASSERT(!setrlimit(RLIMIT_FSIZE, &before));
	/* Nothing but those two pages */
	ASSERT_EQ(SIZE, pread(file.fd, copy, SIZE, 0));
	ASSERT(!memcmp(copy, model, 2 * PAGE));
	ASSERT(!memcmp(copy + 4 * PAGE, model + 4 * PAGE, SIZE - 4 * PAGE));
	file_remove(&file);
}

static void fault_holes(void)
{
	volatile char *map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file.fd, 0);
	unsigned int i;

	ASSERT(map != MAP_FAILED);
	for (i = 0;; i += 17) {
		map[(uint64_t)i * PAGE % SIZE] = 1;
		usleep(100);
	}
}

/* What has no blocks yet because it was written to just now has them soon. */
TEST(faulted_meanwhile)
{
	unsigned int rounds = times(400, 60), again = 0, round;
	pid_t pid;

	begin_beside(need_fs("ext4"), 0);
	pid = child_start(fault_holes);
	for (round = 0; round < rounds; round++) {
		int res;

		ASSERT(!fallocate(file.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, SIZE));
		res = rw_do(&ring, &t, false, 0, 0, SIZE);
		if (res != SIZE)
			ASSERT_EQ(-EAGAIN, res);
		again += res != SIZE;
	}
	kill(pid, SIGKILL);
	ASSERT_EQ(128 + SIGKILL, child_status(pid));
	ASSERT_EQ(SIZE, rw_do(&ring, &t, false, 0, 0, SIZE));
	printf("# %u of %u are to be asked again\n", again, rounds);
	file_remove(&file);
}

/* --- other file systems --- */

/* A new one on the partition that may be overwritten */
static const char *new_fs(const char *mkfs)
{
	const char *dir = private_mount_point(), *raw = raw_path();

	if (!raw)
		SKIP("HOMI_RAW names no partition that may be overwritten");
	ASSERT_EQ(0, shell("PATH=$PATH:/usr/sbin; %s %s >/dev/null && mount %s %s", mkfs, raw, raw,
			   dir));
	return dir;
}

/* Nothing moves a block of these behind anybody's back, whichever kernel it is. */
TEST(xfs_without_reflinks)
{
	if (!have("mkfs.xfs"))
		SKIP("mkfs.xfs is not installed");
	begin_anyway(new_fs("mkfs.xfs -q -f --unsupported -m reflink=0"), 0);
	check_reads();
	check_writes();
	file_remove(&file);
}

/* Without extents, which FIEMAP of ext4 may treat otherwise */
TEST(ext4_without_extents)
{
	if (!have("mkfs.ext4"))
		SKIP("mkfs.ext4 is not installed");
	begin_anyway(new_fs("mkfs.ext4 -q -F -O ^extents,^64bit"), 0);
	ASSERT_EQ(-EAGAIN, rw_do(&ring, &t, false, 0, 0, PAGE));
	ASSERT_EQ(-EOPNOTSUPP, rw_do(&ring, &t, true, 0, 0, PAGE));
	/* Nobody writes to it now. */
	file_reopen(&file, O_RDONLY);
	ASSERT_EQ(0, destroy(t.fd, t.file));
	ASSERT_EQ(0, file_register(t.fd, file.fd, (uint32_t *)&t.file, NULL));
	check_reads();
	file_remove(&file);
}

/* What was shut down is not written to behind its back. */
static void check_shut_down(const char *mkfs)
{
	static const __u32 no_logflush = 2;

	begin_beside(new_fs(mkfs), 0);
	ASSERT_EQ(PAGE, rw_do(&ring, &t, true, 0, 0, PAGE));
	ASSERT_EQ(PAGE, rw_do(&ring, &t, false, 0, 0, PAGE));
	/* XFS_IOC_GOINGDOWN, which ext4 has too */
	ASSERT(!ioctl(file.fd, _IOR('X', 125, __u32), &no_logflush));
	ASSERT_EQ(-EIO, rw_do(&ring, &t, true, 0, 0, PAGE));
	ASSERT_EQ(-EIO, rw_do(&ring, &t, false, 0, 0, PAGE));
	close(file.fd);
}

TEST(shut_down_ext4)
{
	if (!have("mkfs.ext4"))
		SKIP("mkfs.ext4 is not installed");
	check_shut_down("mkfs.ext4 -q -F");
}

TEST(shut_down_xfs)
{
	if (!have("mkfs.xfs"))
		SKIP("mkfs.xfs is not installed");
	check_shut_down("mkfs.xfs -q -f --unsupported");
}

/*
 * Verified from now on, by a descriptor that breaks no lease: so not by its blocks any more. A
 * table of them stays true.
 */
TEST(verified_later)
{
	struct fsverity_enable_arg enable = {
		.version = 1, .hash_algorithm = FS_VERITY_HASH_ALG_SHA256, .block_size = PAGE,
	};
	struct fiemap *before, *after;
	struct table table;
	uint64_t at;

	if (!have("mkfs.ext4"))
		SKIP("mkfs.ext4 is not installed");
	begin_peer(new_fs("mkfs.ext4 -q -F -b 4096 -O verity"), 0);
	check_one(0, 0, SIZE);
	table_open(&table, t.fd, file.fd, 0, 0);
	before = file_fiemap(file.fd);
	if (ioctl(file.fd, FS_IOC_ENABLE_VERITY, &enable))
		SKIP("this kernel has no fs-verity for ext4: %s", strerror(errno));
	ASSERT_EQ(-EOPNOTSUPP, rw_do(&ring, &t, false, 0, 0, PAGE));
	ASSERT_EQ(-EOPNOTSUPP, rw_do(&ring, &t, false, 0, 0, SIZE));
	/* A FILE that has no table yet */
	ASSERT_EQ(0, destroy(t.fd, t.file));
	ASSERT_EQ(0, file_register(t.fd, file.fd, (uint32_t *)&t.file, NULL));
	ASSERT_EQ(-EOPNOTSUPP, rw_do(&ring, &t, false, 0, 0, PAGE));
	ASSERT_EQ(HOMI_EXTENT_VALID, table.t->state);
	after = file_fiemap(file.fd);
	for (at = 0; at < SIZE; at += PAGE)
		ASSERT_EQ(fiemap_lookup(before, at), fiemap_lookup(after, at));
	ASSERT_EQ(0, table_close(&table));
	/* Its file system does verify. */
	memset(copy, 0, SIZE);
	t.mem = register_pages(t.fd, copy, SIZE, HOMI_MEM_WRITE);
	t.flags = HOMI_RW_BY_FS;
	ASSERT_EQ(SIZE, rw_do(&ring, &t, false, 0, 0, SIZE));
	ASSERT_EQ(SIZE, pread(file.fd, model, SIZE, 0));
	ASSERT_SAME(model, copy, SIZE);
	file_remove(&file);
}

/* --- what a file system does for who writes --- */

static void write_as_nobody(void)
{
	ASSERT(!setresgid(65534, 65534, 65534) && !setresuid(65534, 65534, 65534));
	begin_peer(NULL, 0);
	t.file = open(file.path, O_RDWR);
	ASSERT(t.file >= 0);
	t.flags |= HOMI_RW_FD;
	ASSERT_EQ(PAGE, rw_do(&ring, &t, true, 0, 0, PAGE));
}

FS_TEST(rights_and_times)
{
	struct stat before, after;
	char device[64];

	begin_beside(dir, 0);
	ASSERT(!fstat(file.fd, &before));
	nap_ms(20);
	write_one(0, 0, PAGE);
	ASSERT(!fstat(file.fd, &after));
	ASSERT(after.st_mtim.tv_sec > before.st_mtim.tv_sec ||
	       after.st_mtim.tv_nsec > before.st_mtim.tv_nsec);
	/* Nobody keeps a right by writing to a program that had it. */
	ASSERT(!fchmod(file.fd, 06777));
	snprintf(device, sizeof(device), "/dev/homi/%s", ctrl_name());
	ASSERT(!chmod(device, 0666));
	if (dmabuf >= 0)
		ASSERT(!chmod("/dev/homi_exporter", 0666));
	ASSERT_EQ(0, child_status(child_start(write_as_nobody)));
	ASSERT(!chmod(device, 0660));
	ASSERT(!fstat(file.fd, &after));
	ASSERT_EQ(0777, after.st_mode & 07777);
	file_remove(&file);
}

static unsigned long long flushes(void)
{
	unsigned long long n[17] = {};
	char line[512], *at = line;
	unsigned int i;

	ASSERT(sysfs_read(line, sizeof(line), "/sys/block/%s/stat", base_name(bdev_path())));
	for (i = 0; i < ARRAY_SIZE(n); i++)
		n[i] = strtoull(at, &at, 10);
	return n[15];
}

FS_TEST(durable)
{
	unsigned long long before;

	begin_beside(dir, 0);
	before = flushes();
	t.flags |= HOMI_RW_DSYNC;
	write_one(0, 0, PAGE);
	ASSERT(flushes() > before);
	t.flags &= ~HOMI_RW_DSYNC;
	/* As the descriptor has it */
	t.file = open(file.path, O_RDWR | O_DSYNC);
	t.flags |= HOMI_RW_FD;
	before = flushes();
	write_one(PAGE, 0, PAGE);
	ASSERT(flushes() > before);
	check_file();
	file_remove(&file);
}

/* A frozen file system is not written to, and who reads does not care. */
FS_TEST(frozen)
{
	struct __kernel_timespec second = { .tv_sec = 1 };
	int root = open(dir, O_RDONLY), err;
	struct homi_uring_rw rw;
	struct io_uring_cqe *cqe;
	const char *content;

	begin_beside(dir, 0);
	content = new_content();
	ASSERT(!ioctl(root, FIFREEZE, 0));
	rw = rw_make(&t, 0, 0, PAGE);
	rw_post(&ring, t.fd, true, &rw, 1);
	io_uring_submit(&ring);
	err = io_uring_wait_cqe_timeout(&ring, &cqe, &second);
	ASSERT(!ioctl(root, FITHAW, 0));
	ASSERT_EQ(-ETIME, err);
	ASSERT_EQ(PAGE, uring_reap(&ring, NULL));
	memcpy(model, content, PAGE);
	check_file();
	file_remove(&file);
}

/* --- what it names goes --- */

static void be_killed(void)
{
	begin_peer(NULL, 0);
	register_again(O_RDWR);
	for (;;) {
		post_many(true);
		post_many(false);
		reap_many(0);
		reap_many(0);
	}
}

FS_TEST(killed_in_flight)
{
	struct waiter waiter;
	unsigned int round;
	pid_t pid;

	begin_beside(dir, 0);
	for (round = 0; round < times(60, 10); round++) {
		pid = child_start(be_killed);
		nap_ms(20 + round * 7 % 40);
		kill(pid, SIGKILL);
		ASSERT_EQ(128 + SIGKILL, child_status(pid));
		/* Nothing of it keeps the blocks. */
		waiter_start(&waiter, act_punch, file.path);
		ASSERT_EQ(0, waiter_end(&waiter, 10000, NULL));
		ASSERT_EQ(SIZE, pwrite(file.fd, model, SIZE, 0));
	}
	file_remove(&file);
}

FS_TEST(taken_back)
{
	struct exporter_take take;
	const char *content;
	unsigned int good, i;

	begin_beside(dir, 0);
	if (dmabuf < 0)
		SKIP("no accelerator that this controller reaches");
	content = new_content();
	ASSERT(drive_throttle(100));
	nap_ms(10);
	post_many(true);
	nap_ms(50);
	take = exporter_take(dmabuf, 0, 20000);
	memset(mem, 0x33, SIZE);
	drive_throttle(0);
	ASSERT(take.out_waited_ms != ~0u);
	ASSERT_EQ(0, take.out_left);
	good = reap_many(-ESTALE);
	printf("# %u were under way, for %u ms\n", good, take.out_waited_ms);
	/* What it holds now has gone nowhere. */
	ASSERT_EQ(SIZE, pread(file.fd, copy, SIZE, 0));
	for (i = 0; i < ENTRIES; i++)
		ASSERT(!memcmp(copy + i * PIECE, content + i * PIECE, PIECE) ||
		       !memcmp(copy + i * PIECE, model + i * PIECE, PIECE));
	ASSERT(good);
	ASSERT_EQ(0, destroy(t.fd, t.mem));
	munmap(mem, SIZE);
	exporter_wait_free(dmabuf);
	file_remove(&file);
}
