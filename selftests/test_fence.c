// SPDX-License-Identifier: GPL-2.0-only
/*
 * The fence: a holder that does not answer writes to the blocks that it once got, 128 commands deep
 * and without pause. As soon as whoever moved the blocks is back, other files get them; nothing that
 * the holder still writes may be in these. The file system is one of the test's own, and full but for
 * what the test needs: no allocator can put off for long what was freed.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "harness.h"
#include "inplace.h"
#include "ring.h"

#define DEPTH	128u
#define ROOM	(3 * SIZE)	/* that is left: for the holder's file, and as much again twice */
#define OTHERS	(ROOM / SIZE + 1)	/* files, which take all of it */

/* Of 16 bytes each; scripts/check-all looks for them in the drive's image. */
static const char within[] = "homi-within-it.", behind[] = "homi-behind-it.";

static struct {
	int fd;
	struct file file, source;
	struct table table;
	struct area area;
	struct ring ring;
	struct dma dma;
	pthread_t thread;
	atomic_bool stop;
	atomic_ulong completed, posted;
	struct {
		int fd;
		size_t size;	/* that it could have */
	} others[OTHERS];
	bool pieces;		/* the holder's file is in pieces, for who wants to mend that */
	bool writes;		/* the holder may write, until it is recalled */
	char *buf;
	unsigned long met, rounds;
} fx;

/* --- the holder --- */

static void post(unsigned int i)
{
	struct sqe sqe = sqe_rw(NVME_WRITE, &fx.area, table_lookup(&fx.table, i % PAGES * PAGE), PAGE,
				&fx.dma, 0, NULL);

	sqe.cid = i % DEPTH;
	ring_post(&fx.ring, &sqe);
	atomic_fetch_add(&fx.posted, 1);
}

/* Goes on as if nothing had happened, whatever has. */
static void *holder(void *arg)
{
	unsigned int i;
	struct cqe cqe;

	(void)arg;
	for (i = 0; i < DEPTH; i++)
		post(i);
	ring_doorbell(&fx.ring);
	while (!atomic_load(&fx.stop)) {
		if (!ring_poll(&fx.ring, &cqe, 1))
			atomic_fetch_add(&fx.completed, 1);
		/* Nobody takes any more: all over again. */
		if (ring_full(&fx.ring))
			fx.ring.sq_head = fx.ring.sq_tail;
		post(i++);
		ring_doorbell(&fx.ring);
	}
	return NULL;
}

/* Page by page in turns with a file that goes again */
static void take_to_pieces(const char *dir)
{
	char path[256];
	int fds[2], i;

	snprintf(path, sizeof(path), "%s/fence.between", dir);
	fds[0] = open(fx.file.path, O_RDWR | O_TRUNC | O_DIRECT | O_CLOEXEC);
	fds[1] = open(path, O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
	ASSERT(fds[0] >= 0 && fds[1] >= 0);
	for (i = 0; i < 2 * (int)PAGES; i++)
		ASSERT_EQ(PAGE, pwrite(fds[i % 2], fx.buf, PAGE, i / 2 * PAGE));
	ASSERT(!fsync(fds[0]));
	close(fds[0]);
	close(fds[1]);
	ASSERT(!unlink(path));
}

static void holder_writes(const char text[16])
{
	unsigned int i;

	for (i = 0; i < PAGE; i += 16)
		memcpy(fx.dma.va + i, text, 16);
}

static void holder_start(const char *dir)
{
	uint64_t end = now_ms() + 20000;

	file_create(&fx.file, dir, "fence", SIZE, 7);
	if (fx.pieces)
		take_to_pieces(dir);
	if (fx.writes) {
		close(fx.file.fd);
		fx.file.fd = -1;
		table_open_to_write(&fx.table, fx.fd, fx.file.path);
	} else {
		table_open(&fx.table, fx.fd, fx.file.fd, 0, 0);
	}
	fx.area.nsid = fx.table.r.out_nsid;
	fx.area.block_size = fx.table.r.out_block_size;
	ring_open(&fx.ring, fx.fd, DEPTH + 1);
	holder_writes(within);
	atomic_store(&fx.stop, false);
	atomic_store(&fx.completed, 0);
	ASSERT(!pthread_create(&fx.thread, NULL, holder, NULL));
	while (atomic_load(&fx.completed) < DEPTH)
		ASSERT(now_ms() < end);
}

static void holder_end(void)
{
	atomic_store(&fx.stop, true);
	pthread_join(fx.thread, NULL);
	ASSERT_EQ(HOMI_QUEUE_REVOKED, queue_info(fx.fd, fx.ring.q.out_queue_id).out_state);
	ASSERT_EQ(0, ring_destroy(&fx.ring));
	ring_unmap(&fx.ring);
	ASSERT_EQ(0, table_close(&fx.table));
	file_remove(&fx.file);
}

/* --- a file system that is full --- */

#define MKFS	"PATH=$PATH:/usr/sbin mkfs."

/* XFS's own; its header file is not everywhere. */
struct resblks {
	__u64 wanted, available;
};

#define XFS_IOC_SET_RESBLKS	_IOWR('X', 114, struct resblks)

/* What is kept back for the file system itself could be what was freed. */
static void keep_nothing_back(const char *dir, const char *kind)
{
	struct resblks none = { 0 };
	char path[128];
	int fd;

	if (!strcmp(kind, "ext4")) {
		snprintf(path, sizeof(path), "/sys/fs/ext4/%s/reserved_clusters",
			 base_name(raw_path()));
		ASSERT(sysfs_write(path, "0"));
		return;
	}
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ASSERT(fd >= 0 && !ioctl(fd, XFS_IOC_SET_RESBLKS, &none));
	close(fd);
}

/* One file has all but ROOM of it. */
static void fill(const char *dir)
{
	off_t size = 0, step;
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/fence.ballast", dir);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	ASSERT(fd >= 0);
	for (step = 1 << 24; step >= PAGE; ) {
		if (!fallocate(fd, 0, size, step)) {
			size += step;
		} else {
			ASSERT_EQ(ENOSPC, errno);
			step /= 2;
		}
	}
	ASSERT(size > ROOM && !ftruncate(fd, size - ROOM) && !syncfs(fd));
	close(fd);
}

/* For each other file there is but the descriptor. */
static void make_others(const char *dir)
{
	char path[256];
	unsigned int i;

	snprintf(path, sizeof(path), "%s/fence.other", dir);
	for (i = 0; i < OTHERS; i++) {
		fx.others[i].fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_DIRECT | O_CLOEXEC, 0600);
		ASSERT(fx.others[i].fd >= 0 && !unlink(path));
	}
}

static const char *full_file_system(const char *kind)
{
	const char *dir = private_mount_point();

	if (!raw_path())
		SKIP("HOMI_RAW names no partition that may be overwritten");
	if (!strcmp(kind, "ext4"))
		ASSERT(!shell(MKFS "ext4 -q -F -b 4096 -m 0 %s 32m >/dev/null", raw_path()));
	else
		ASSERT(!shell(MKFS "xfs -q -f --unsupported -d size=48m,agcount=1 %s >/dev/null",
			      raw_path()));
	ASSERT(!mount(raw_path(), dir, kind, 0, NULL));
	keep_nothing_back(dir, kind);
	file_create(&fx.source, dir, "fence.source", SIZE, 8);
	make_others(dir);
	fill(dir);
	return dir;
}

/* --- who gets the blocks --- */

/* How many of the holder's blocks it has got */
static unsigned int met(int fd)
{
	struct fiemap *map = file_fiemap(fd);
	unsigned int i, k, n = 0;
	uint64_t start;
	struct stat st;

	ASSERT(!fstat(fd, &st));
	start = part_start(st.st_dev);
	for (i = 0; i < PAGES; i++) {
		uint64_t at = table_lookup(&fx.table, i * PAGE);

		for (k = 0; k < map->fm_mapped_extents; k++) {
			struct fiemap_extent *e = &map->fm_extents[k];

			n += at >= start + e->fe_physical &&
			     at < start + e->fe_physical + e->fe_length;
		}
	}
	free(map);
	return n;
}

/* Takes what it can get; ENOSPC may be for one block only of those that are written at once. */
static void other_grows(unsigned int i)
{
	size_t step = SIZE;

	while (step >= PAGE && fx.others[i].size < SIZE) {
		size_t size = fx.others[i].size, left = SIZE - size;
		ssize_t n = pwrite(fx.others[i].fd, fx.buf, left < step ? left : step, size);

		if (n > 0) {
			fx.others[i].size += n;
		} else {
			ASSERT_EQ(ENOSPC, errno);
			step /= 2;
		}
	}
	ASSERT(!fsync(fx.others[i].fd));
}

/* What was freed may be had when that is committed. */
static void others_get_them(void)
{
	unsigned long before = fx.met;
	unsigned int i;

	ASSERT(!syncfs(fx.source.fd));
	memset(fx.buf, 0x5a, SIZE);
	for (i = 0; i < OTHERS && fx.met == before; i++) {
		other_grows(i);
		fx.met += met(fx.others[i].fd);
	}
}

static void check_others(void)
{
	unsigned int i;

	for (i = 0; i < OTHERS; i++) {
		size_t size = fx.others[i].size;

		ASSERT_EQ(size, pread(fx.others[i].fd, fx.buf, SIZE, 0));
		if (!is_filled(fx.buf, 0x5a, size))
			FAIL("round %lu: something else is in another file", fx.rounds);
		ASSERT(!ftruncate(fx.others[i].fd, 0));
		fx.others[i].size = 0;
	}
}

/* --- who moves them --- */

static int act_punch_all(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -1 : fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
				       SIZE);
}

static int act_collapse_half(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -1 : fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, SIZE / 2);
}

static int act_open_truncate(const char *path)
{
	return open(path, O_WRONLY | O_TRUNC | O_CLOEXEC) < 0 ? -1 : 0;
}

static int act_clone(const char *path)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), from = open(fx.source.path, O_RDONLY | O_CLOEXEC);

	return fd < 0 || from < 0 ? -1 : ioctl(fd, FICLONE, from);
}

/* What e4defrag does (test_recall runs that); it has the blocks that were moved, until it ends. */
static int act_defragment(const char *path)
{
	int fd, from;
	char donor[264];

	snprintf(donor, sizeof(donor), "%s.donor", path);
	fd = open(path, O_RDWR | O_CLOEXEC);
	from = open(donor, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || from < 0 || unlink(donor) || fallocate(from, 0, 0, SIZE))
		return -1;
	return ext4_move(fd, from, PAGES);
}

/* --- */

static void round_of(const char *dir, int (*act)(const char *path))
{
	struct waiter waiter;

	holder_start(dir);
	waiter_start(&waiter, act, fx.file.path);
	ASSERT_EQ(0, waiter_end(&waiter, 20000, NULL));
	holder_writes(behind);
	ASSERT_EQ(HOMI_EXTENT_REVOKED, fx.table.t->state);
	fx.rounds++;
	others_get_them();
	nap_ms(5);
	check_others();
	holder_end();
}

static void begin(void)
{
	fx.fd = homi_open();
	need_queues(fx.fd, 1);
	set_recall_ms(20);
	ASSERT(!posix_memalign((void **)&fx.buf, PAGE, SIZE));
	dma_new(&fx.dma, fx.fd, PAGE);
}

static void rounds_on(const char *kind, int (*act)(const char *path))
{
	unsigned int rounds = times(208, 7), i;
	const char *dir = full_file_system(kind);

	begin();
	/* A round in which nobody gets the blocks shows nothing, and does not count. */
	for (i = 0; i < rounds; ) {
		unsigned long before = fx.met;

		round_of(dir, act);
		i += fx.met > before;
		ASSERT(fx.rounds < 2 * rounds);
	}
	printf("# %u rounds of %lu, %lu blocks met again, %lu commands of the holder\n", rounds,
	       fx.rounds, fx.met, atomic_load(&fx.posted));
}

#define FENCE_TEST(id, act)							\
	TEST_TIMEOUT(id##_ext4, 180) { rounds_on("ext4", act); }		\
	TEST_TIMEOUT(id##_xfs, 180) { rounds_on("xfs", act); }

FENCE_TEST(truncate_by_path, act_truncate)
FENCE_TEST(truncate_by_open, act_open_truncate)
FENCE_TEST(punch, act_punch_all)
FENCE_TEST(collapse, act_collapse_half)

TEST_TIMEOUT(reflink, 180)
{
	rounds_on("xfs", act_clone);
}

TEST_TIMEOUT(defragment, 180)
{
	fx.pieces = true;
	rounds_on("ext4", act_defragment);
}

#define FENCE_TEST_OF_WRITER(id, act)						\
	TEST_TIMEOUT(id##_ext4, 180) { fx.writes = true; rounds_on("ext4", act); }	\
	TEST_TIMEOUT(id##_xfs, 180) { fx.writes = true; rounds_on("xfs", act); }

FENCE_TEST_OF_WRITER(truncate_what_is_written, act_truncate)
FENCE_TEST_OF_WRITER(replace_what_is_written, act_open_truncate)

/* It stays, for who looks into the image afterwards: what was written in time is found there. */
FS_TEST(what_was_in_time)
{
	char path[256];

	fx.writes = true;
	begin();
	holder_start(dir);
	atomic_store(&fx.stop, true);
	ASSERT(!pthread_join(fx.thread, NULL));
	ASSERT_EQ(0, ring_destroy(&fx.ring));
	ring_unmap(&fx.ring);
	ASSERT_EQ(0, table_close(&fx.table));
	snprintf(path, sizeof(path), "%s/fence.stays", dir);
	ASSERT(!rename(fx.file.path, path));
}
