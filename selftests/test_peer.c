// SPDX-License-Identifier: GPL-2.0-only
/*
 * READ by where the file lies, of files that nobody has open for writing; see peer.h for the
 * memory.
 */
#include <linux/pci_regs.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "harness.h"
#include "peer.h"

FS_TEST(data)
{
	struct homi_io_stats stats;

	begin_peer(dir, 0);
	printf("# to %s\n", dmabuf < 0 ? "user memory" : "the accelerator");
	check_reads();
	t.flags = HOMI_RW_BY_EXTENTS;
	check_reads();
	t.file = file.fd;
	t.flags |= HOMI_RW_FD;
	check_reads();
	stats = own_stats();
	ASSERT_EQ(0, stats.out_fs_reads);
	ASSERT_EQ(0, stats.out_extents_errors);
	ASSERT(stats.out_extents_reads > 30);
	ASSERT(stats.out_extents_read_bytes > 4 * SIZE);
	file_remove(&file);
}

/* What a file system never leaves there: data in the file's last block, behind its end */
static void scribble_behind_end(uint64_t size)
{
	uint32_t block = bdev_block_size();
	uint64_t last = size / block * block, at;
	struct table table;
	char *buf;
	int bdev;

	table_open(&table, t.fd, file.fd, 0, 0);
	at = table_lookup(&table, last);
	ASSERT_EQ(0, table_close(&table));
	ASSERT(at != ~0ull && !posix_memalign((void **)&buf, PAGE, block));
	bdev = open(bdev_path(), O_RDWR | O_DIRECT);
	ASSERT(bdev >= 0);
	ASSERT_EQ(block, pread(bdev, buf, block, at));
	memset(buf + size % block, 0x77, block - size % block);
	ASSERT_EQ(block, pwrite(bdev, buf, block, at));
	close(bdev);
	free(buf);
}

/* Holes, what was allocated and never written, many extents, and an end within a block */
FS_TEST(ends_and_holes)
{
	unsigned int i;
	int fd;

	begin_peer(dir, 0);
	fd = open(file.path, O_WRONLY);
	for (i = 0; i < 64; i += 2)
		ASSERT(!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, i * PAGE, PAGE));
	ASSERT(!fallocate(fd, FALLOC_FL_ZERO_RANGE, 100 * PAGE, 30 * PAGE));
	ASSERT(!ftruncate(fd, SIZE - 5000));
	ASSERT(!fsync(fd));
	close(fd);
	scribble_behind_end(SIZE - 5000);
	check_reads();
	check_one(SIZE - 2 * PAGE, 0, 8 * PAGE);
	ASSERT_EQ(0, rw_do(&ring, &t, false, SIZE, 0, PAGE));
	ASSERT_EQ(0, rw_do(&ring, &t, false, 0, 0, 0));
	/* Nothing in it at all */
	ASSERT(!truncate(file.path, 0));
	ASSERT_EQ(0, rw_do(&ring, &t, false, 0, 0, PAGE));
	ASSERT(!truncate(file.path, 3 * PAGE));
	check_one(0, 0, 4 * PAGE);
	file_remove(&file);
}

/* Many in flight, of many lengths, into places that do not overlap */
static void check_depth(const char *dir, unsigned int ring_flags, unsigned int sqe_flags)
{
	unsigned int blocks = SIZE / BLOCK, posted = 0, in_flight = 0, i;
	static char got[SIZE];
	uint64_t slot;

	begin_peer(dir, ring_flags);
	memset(mem, 0, SIZE);
	while (posted < blocks || in_flight) {
		for (; posted < blocks && in_flight < ENTRIES; in_flight++) {
			uint32_t n = 1 + posted % 7;
			struct homi_uring_rw rw;

			n = posted + n > blocks ? blocks - posted : n;
			rw = rw_make(&t, (uint64_t)posted * BLOCK, (uint64_t)posted * BLOCK, n * BLOCK);
			rw_post(&ring, t.fd, false, &rw, n)->flags |= sqe_flags;
			posted += n;
		}
		io_uring_submit(&ring);
		i = uring_reap(&ring, &slot);
		ASSERT_EQ(slot * BLOCK, i);
		in_flight--;
	}
	ASSERT_EQ(SIZE, pread(file.fd, copy, SIZE, 0));
	fetch(got, mem, SIZE);
	ASSERT_SAME(copy, got, SIZE);
	io_uring_queue_exit(&ring);
	file_remove(&file);
}

AT_DEPTH(check_depth)

/* Schedulers expect a bio of what they are given, and there is none. */
TEST(whatever_schedules)
{
	static const char * const names[] = { "mq-deadline", "kyber", "bfq", "none" };
	unsigned int i, set = 0;
	char path[128];

	begin_peer(need_fs("ext4"), 0);
	snprintf(path, sizeof(path), "/sys/block/%s/queue/scheduler", base_name(bdev_path()));
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		shell("modprobe -q %s", !strcmp(names[i], "kyber") ? "kyber-iosched" : names[i]);
		if (!sysfs_write(path, names[i]))
			continue;
		set++;
		ASSERT_EQ(PAGE, rw_do(&ring, &t, false, 0, 0, PAGE));
		post_many(false);
		ASSERT_EQ(ENTRIES, reap_many(0));
		check_one(0, 0, SIZE);
	}
	printf("# %u of them\n", set);
	ASSERT(set);
	file_remove(&file);
}

/* Resets are not seen: stock does what they took away again. */
FS_TEST_TIMEOUT(resets_unseen, 120)
{
	unsigned int resets = times(50, 5), round;
	static char got[SIZE];

	begin_peer(dir, 0);
	ASSERT_EQ(SIZE, pread(file.fd, copy, SIZE, 0));
	for (round = 0; round < resets; round++) {
		memset(mem, 0, SIZE);
		/* Each second time the controller hears of none, and the reset takes them all. */
		if (round % 2)
			pci_command_clear(PCI_COMMAND_MEMORY);
		else
			drive_throttle(400);
		post_many(false);
		ASSERT_EQ(0, reset_controller(ctrl_name()));
		drive_throttle(0);
		ASSERT_EQ(ENTRIES, reap_many(0));
		fetch(got, mem, SIZE);
		ASSERT_SAME(copy, got, SIZE);
		ASSERT(wait_live(ctrl_name(), 30000));
	}
	printf("# %u reads over %u resets\n", ENTRIES * resets, resets);
	file_remove(&file);
}

/* --- somebody wants the file --- */

static int act_rewrite(const char *path)
{
	char *data = malloc(SIZE);
	int fd = open(path, O_RDWR);

	/* Not synced: the next READ has to see to that. */
	if (fd < 0)
		return errno;
	fill_random(data, SIZE, 1000 + getpid());
	if (pwrite(fd, data, SIZE / 2, 0) != SIZE / 2)
		return EIO;
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, SIZE / 2, SIZE / 4))
		return errno;
	nap_ms(30);
	return close(fd) ? errno : 0;
}

/* He gets it, however many READs there are; these say so, and then there is what he wrote. */
FS_TEST_TIMEOUT(given_to_who_writes, 120)
{
	unsigned int round, rounds = times(60, 8), good = 0, refused = 0;
	struct waiter waiter;

	begin_peer(dir, 0);
	for (round = 0; round < rounds; round++) {
		waiter_start(&waiter, act_rewrite, file.path);
		do {
			unsigned int n;

			post_many(false);
			n = reap_many(-EAGAIN);
			good += n;
			refused += ENTRIES - n;
		} while (waiter_waits(&waiter, 0));
		ASSERT_EQ(0, waiter_end(&waiter, 30000, NULL));
		check_one(0, 0, SIZE);
	}
	printf("# %u reads, %u refused\n", good, refused);
	ASSERT(good);
	/* Beside him too, where that can be done; of XFS not what he punches a hole into. */
	if (is_ext4(dir) && goes_beside())
		ASSERT_EQ(0, refused);
	else
		ASSERT(refused);
	file_remove(&file);
}

/* Who opens it has it when the last command that reads it is over, and not before. */
FS_TEST(waited_for)
{
	struct __kernel_timespec second = { .tv_sec = 1 };
	struct io_uring_cqe *cqe;
	struct waiter waiter;

	begin_peer(dir, 0);
	ASSERT_EQ(PAGE, rw_do(&ring, &t, false, 0, 0, PAGE));
	if (!drive_throttle(20))
		SKIP("no QEMU whose drive can be held up");
	nap_ms(10);
	post_many(false);
	waiter_start(&waiter, act_open_write, file.path);
	ASSERT_EQ(0, waiter_end(&waiter, 40000, NULL));
	/* They are over, and have to be told of only; the drive is as slow as before. */
	io_uring_wait_cqes(&ring, &cqe, ENTRIES, &second, NULL);
	ASSERT_EQ(ENTRIES, io_uring_cq_ready(&ring));
	drive_throttle(0);
	ASSERT_EQ(ENTRIES, reap_many(0));
	file_remove(&file);
}

static char other_path[300];

/* The blocks are somebody else's as soon as they are free. */
static int act_reuse(const char *path)
{
	static char secret[SIZE];
	int fd, i;

	memset(secret, 0x5a, SIZE);
	for (i = 0; i < 4; i++) {
		if (truncate(path, 0))
			return errno;
		fd = open(other_path, O_RDWR | O_CREAT | O_TRUNC, 0600);
		if (fd < 0 || write(fd, secret, SIZE) != SIZE || fsync(fd))
			return EIO;
		close(fd);
		fd = open(path, O_WRONLY);
		if (fd < 0)
			return errno;
		fill_random(secret, SIZE, i);
		if (write(fd, secret, SIZE) != SIZE || close(fd))
			return EIO;
		memset(secret, 0x5a, SIZE);
		nap_ms(10);
	}
	return 0;
}

static void expect_no_secret(void)
{
	static char got[SIZE];
	size_t i;

	fetch(got, mem, SIZE);
	for (i = 0; i < SIZE; i += BLOCK)
		ASSERT(!is_filled(got + i, 0x5a, BLOCK));
}

FS_TEST_TIMEOUT(never_of_another_file, 120)
{
	unsigned int round, rounds = times(40, 5), i, good = 0;
	struct waiter waiter;

	begin_peer(dir, 0);
	snprintf(other_path, sizeof(other_path), "%s.other", file.path);
	for (round = 0; round < rounds; round++) {
		waiter_start(&waiter, act_reuse, file.path);
		do {
			memset(mem, 0, SIZE);
			post_many(false);
			for (i = 0; i < ENTRIES; i++) {
				int res = uring_reap(&ring, NULL);

				/* Its end may be anywhere. */
				if (res < 0)
					ASSERT_EQ(-EAGAIN, res);
				ASSERT(res <= (int)PIECE);
				good += res > 0;
			}
			expect_no_secret();
		} while (waiter_waits(&waiter, 0));
		ASSERT_EQ(0, waiter_end(&waiter, 30000, NULL));
		ASSERT(!unlink(other_path));
		check_one(0, 0, SIZE);
	}
	ASSERT(good);
	file_remove(&file);
}

/* Who may read it may have it read, and nobody is stalled by that. */
FS_TEST(of_somebody_else)
{
	struct homi_extent_resolve r = { .size = sizeof(r) };
	struct waiter waiter;

	begin_peer(dir, 0);
	ASSERT(!chmod(file.path, 0644));
	ASSERT(!seteuid(65534));
	r.fd = file.fd;
	ASSERT_EQ(-EPERM, homi_call(t.fd, HOMI_EXTENT_RESOLVE, &r));
	check_one(0, 0, SIZE);
	ASSERT(!seteuid(0));
	waiter_start(&waiter, act_open_write, file.path);
	ASSERT_EQ(0, waiter_end(&waiter, 10000, NULL));
	file_remove(&file);
}

/* --- no memory --- */

#define GROUP	"/sys/fs/cgroup/homi_test_peer"
#define HOG	(40u << 20)

static char hog_path[300];

/* As full as it may be, with page cache: who may not wait for some to be taken back gets none. */
static void fill_group(void)
{
	static char buf[1 << 20];
	int fd = open(hog_path, O_RDONLY), i;

	for (i = 0; i < (int)(HOG / sizeof(buf)); i++)
		ASSERT_EQ(sizeof(buf), pread(fd, buf, sizeof(buf), (off_t)i * sizeof(buf)));
	close(fd);
}

static void read_in_group(void)
{
	static char got[SIZE];
	unsigned int round, i;

	ASSERT(sysfs_write(GROUP "/cgroup.procs", "0"));
	begin_peer(NULL, 0);
	register_again(O_RDONLY);
	for (round = 0; round < times(40, 8); round++) {
		struct homi_uring_rw rw = rw_make(&t, 0, 0, SIZE);

		memset(mem, 0, SIZE);
		fill_group();
		/* Over each other, with as much in flight as there can be */
		drive_throttle(round % 2 ? 4000 : 0);
		for (i = 0; i < 8; i++)
			rw_post(&ring, t.fd, false, &rw, i);
		ASSERT_EQ(8, io_uring_submit(&ring));
		for (i = 0; i < 8; i++)
			ASSERT_EQ(SIZE, uring_reap(&ring, NULL));
		drive_throttle(0);
		ASSERT_EQ(SIZE, pread(file.fd, copy, SIZE, 0));
		fetch(got, mem, SIZE);
		ASSERT_SAME(copy, got, SIZE);
	}
	ASSERT_EQ(0, own_stats().out_extents_errors);
}

/* In many pieces, for each of which something is allocated */
FS_TEST_TIMEOUT(without_memory, 120)
{
	struct file hog;
	unsigned int i;
	int fd, err;

	sysfs_write("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	if (mkdir(GROUP, 0755) && errno != EEXIST)
		SKIP("no cgroups here: %s", strerror(errno));
	if (!sysfs_write(GROUP "/memory.max", "33554432"))
		SKIP("no limits of memory here");
	file_create(&file, dir, "pieces", SIZE, 3);
	file_create(&hog, dir, "hog", HOG, 4);
	snprintf(hog_path, sizeof(hog_path), "%s", hog.path);
	ASSERT(!posix_fadvise(hog.fd, 0, 0, POSIX_FADV_DONTNEED));
	fd = open(file.path, O_WRONLY);
	for (i = 0; i < SIZE / PAGE; i += 2)
		ASSERT(!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, i * PAGE, PAGE));
	close(fd);
	err = child_status(child_start(read_in_group));
	file_remove(&hog);
	file_remove(&file);
	rmdir(GROUP);
	ASSERT_EQ(0, err);
}

/* --- what it names goes --- */

FS_TEST(destroyed_in_flight)
{
	unsigned int round, busy = 0;
	int err;

	begin_peer(dir, 0);
	for (round = 0; round < times(40, 8) || (round < 50 && !busy); round++) {
		ASSERT_EQ(PAGE, rw_do(&ring, &t, false, 0, 0, PAGE));
		drive_throttle(50);
		nap_ms(10);
		post_many(false);
		err = destroy(t.fd, t.mem);
		busy += err == -EBUSY;
		if (err != -EBUSY)
			ASSERT_EQ(0, err);
		ASSERT_EQ(0, destroy(t.fd, t.file));
		drive_throttle(0);
		reap_many(-ENOENT);
		if (!err)
			break;
		ASSERT_EQ(0, file_register(t.fd, file.fd, (uint32_t *)&t.file, NULL));
	}
	printf("# %u times in use\n", busy);
	ASSERT(busy);
	if (err)
		ASSERT_EQ(0, destroy(t.fd, t.mem));
	ASSERT_EQ(-ENOENT, rw_do(&ring, &t, false, 0, 0, PAGE));
	file_remove(&file);
}

static void be_killed(void)
{
	begin_peer(NULL, 0);
	register_again(O_RDONLY);
	for (;;) {
		post_many(false);
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

	file_create(&file, dir, "killed", SIZE, 2);
	for (round = 0; round < times(60, 10); round++) {
		pid = child_start(be_killed);
		nap_ms(20 + round * 7 % 40);
		kill(pid, SIGKILL);
		ASSERT_EQ(128 + SIGKILL, child_status(pid));
		/* Nothing of it keeps the file. */
		waiter_start(&waiter, act_open_write, file.path);
		ASSERT_EQ(0, waiter_end(&waiter, 10000, NULL));
	}
	file_remove(&file);
}

/* Who stopped has READs that end all the same: nobody waits for his process. */
static void be_stopped(void)
{
	begin_peer(NULL, 0);
	register_again(O_RDONLY);
	ASSERT_EQ(PAGE, rw_do(&ring, &t, false, 0, 0, PAGE));
	drive_throttle(200);
	post_many(false);
	raise(SIGSTOP);
	_exit(0);
}

FS_TEST(stopped_in_flight)
{
	struct waiter waiter;
	int status;
	pid_t pid;

	file_create(&file, dir, "stopped", SIZE, 2);
	pid = child_start(be_stopped);
	ASSERT_EQ(pid, waitpid(pid, &status, WUNTRACED));
	ASSERT(WIFSTOPPED(status));
	drive_throttle(0);
	waiter_start(&waiter, act_open_write, file.path);
	ASSERT_EQ(0, waiter_end(&waiter, 20000, NULL));
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	file_remove(&file);
}

/* The exporter gets it back when nothing is on its way to it, and waits for no more than that. */
FS_TEST(taken_back)
{
	struct exporter_take take;
	static char got[SIZE];
	unsigned int good;

	begin_peer(dir, 0);
	if (dmabuf < 0)
		SKIP("no accelerator that this controller reaches");
	ASSERT_EQ(PAGE, rw_do(&ring, &t, false, 0, 0, PAGE));
	drive_throttle(100);
	nap_ms(10);
	post_many(false);
	take = exporter_take(dmabuf, 0, 20000);
	/* It is the exporter's again. */
	memset(mem, 0x33, SIZE);
	drive_throttle(0);
	ASSERT(take.out_waited_ms != ~0u);
	ASSERT(take.out_pending);
	ASSERT_EQ(0, take.out_left);
	good = reap_many(-ESTALE);
	fetch(got, mem, SIZE);
	ASSERT(is_filled(got, 0x33, SIZE));
	printf("# %u were under way, for %u ms\n", good, take.out_waited_ms);
	ASSERT(good);
	ASSERT_EQ(-ESTALE, rw_do(&ring, &t, false, 0, 0, PAGE));
	ASSERT_EQ(0, destroy(t.fd, t.mem));
	munmap(mem, SIZE);
	exporter_wait_free(dmabuf);
	file_remove(&file);
}

/* --- what is refused --- */

static void expect_refused(int err, uint64_t at, uint64_t to, uint32_t length)
{
	ASSERT_EQ(err, rw_do(&ring, &t, false, at, to, length));
}

FS_TEST(refused)
{
	struct rw_target other;
	uint32_t pages;
	void *va;

	begin_peer(dir, 0);
	expect_refused(-EINVAL, 100, 0, PAGE);
	expect_refused(-EINVAL, 0, 0, 100);
	expect_refused(-EINVAL, 0, 2, PAGE);
	expect_refused(-EINVAL, 0, SIZE, PAGE);
	expect_refused(-EINVAL, 0, SIZE - PAGE, 2 * PAGE);
	/* The file is open for reading. */
	ASSERT_EQ(-EBADF, rw_do(&ring, &t, true, 0, 0, PAGE));
	other = t;
	va = new_memory(SIZE);
	/* Of pages only there are no addresses, and of addresses only no pages. */
	pages = register_pages(t.fd, va, SIZE, HOMI_MEM_WRITE);
	t.mem = pages;
	t.flags = HOMI_RW_BY_EXTENTS;
	expect_refused(-EOPNOTSUPP, 0, 0, PAGE);
	t = other;
	if (dmabuf >= 0) {
		t.flags = HOMI_RW_BY_FS;
		expect_refused(-EOPNOTSUPP, 0, 0, PAGE);
	}
	/* Not to be written to by the controller */
	ASSERT_EQ(0, mem_register(t.fd, va, SIZE, 0, &t.mem, NULL));
	t.flags = HOMI_RW_BY_EXTENTS;
	expect_refused(-EFAULT, 0, 0, PAGE);
	t = other;
	t.file = 12345;
	expect_refused(-ENOENT, 0, 0, PAGE);
	t.flags |= HOMI_RW_FD;
	expect_refused(-EBADF, 0, 0, PAGE);
	t.file = open(file.path, O_WRONLY);
	expect_refused(-EBADF, 0, 0, PAGE);
	close(t.file);
	t = other;
	t.flags = HOMI_RW_BY_EXTENTS | HOMI_RW_BY_FS;
	expect_refused(-EINVAL, 0, 0, PAGE);
	t = other;
	check_one(0, 0, SIZE);
	file_remove(&file);
}
