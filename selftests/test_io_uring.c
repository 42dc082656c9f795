// SPDX-License-Identifier: GPL-2.0-only
/*
 * The io_uring door: the commands of the table, and READ and WRITE of files, compared
 * with what pread() and pwrite() do.
 */
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/falloc.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <linux/fs.h>

#include "harness.h"
/* Compared often, byte by byte */
#define SIZE	(1u << 20)
#include "uring_rw.h"

/* --- commands --- */

TEST(commands)
{
	struct homi_ctrl_info info = { .size = sizeof(info) }, again = info;
	struct homi_mem_register r = {
		.size = sizeof(r), .type = HOMI_MEM_USER, .flags = HOMI_MEM_WRITE, .length = PAGE,
	};
	struct homi_destroy destroy = { .size = sizeof(destroy) };
	struct homi_uring_call call = { .__reserved = 1 };
	struct io_uring_sqe *sqe;
	unsigned int wide;
	int fd = homi_open();

	for (wide = 0; wide < 2; wide++) {
		ASSERT_EQ(0, uring_open(&ring, 8, wide ? IORING_SETUP_SQE128 : 0));
		ASSERT_EQ(0, uring_call(&ring, fd, HOMI_CTRL_INFO, &info));
		ASSERT_EQ(0, homi_call(fd, HOMI_CTRL_INFO, &again));
		ASSERT(!memcmp(&info, &again, sizeof(info)));
		r.addr = (uintptr_t)new_memory(PAGE);
		ASSERT_EQ(0, uring_call(&ring, fd, HOMI_MEM_REGISTER, &r));
		ASSERT(r.out_mem_id);
		destroy.id = r.out_mem_id;
		ASSERT_EQ(0, uring_call(&ring, fd, HOMI_DESTROY, &destroy));
		ASSERT_EQ(-ENOENT, uring_call(&ring, fd, HOMI_DESTROY, &destroy));
		ASSERT_EQ(-ENOTTY, uring_call(&ring, fd, _IO(HOMI_TYPE, 0x7f), &info));
		ASSERT_EQ(-ENOTTY, uring_call(&ring, fd, 0, &info));
		ASSERT_EQ(-EFAULT, uring_call(&ring, fd, HOMI_CTRL_INFO, NULL));
		sqe = uring_next(&ring, fd, HOMI_CTRL_INFO);
		call.addr = (uintptr_t)&info;
		memcpy(sqe->cmd, &call, sizeof(call));
		ASSERT_EQ(1, io_uring_submit(&ring));
		ASSERT_EQ(-EINVAL, uring_reap(&ring, NULL));
		io_uring_queue_exit(&ring);
	}
	/* By ioctl() there is no READ. */
	ASSERT_EQ(-ENOTTY, homi_call(fd, HOMI_READ, &info));
	ASSERT_EQ(-ENOTTY, homi_call(fd, HOMI_WRITE, &info));
}

static void reset_it(void)
{
	ASSERT_EQ(0, reset_controller(ctrl_name()));
}

/* EAGAIN is an answer like another. */
TEST(command_that_is_to_come_again)
{
	struct homi_queue_create q = { .size = sizeof(q), .depth = 4 };
	int fd = homi_open(), err = 0;
	uint64_t end;
	pid_t pid;

	need_queues(fd, 1);
	ASSERT_EQ(0, uring_open(&ring, 8, 0));
	ASSERT(sysfs_write(QUIESCE_MS, "1000"));
	pid = child_start(reset_it);
	for (end = now_ms() + 10000; err != -EAGAIN && now_ms() < end;) {
		err = uring_call(&ring, fd, HOMI_QUEUE_CREATE, &q);
		if (!err)
			ASSERT_EQ(0, destroy(fd, q.out_queue_id));
	}
	ASSERT_EQ(0, child_status(pid));
	ASSERT(sysfs_write(QUIESCE_MS, "0"));
	ASSERT_EQ(-EAGAIN, err);
	ASSERT(wait_live(ctrl_name(), 30000));
}

/* --- data --- */

static void check_reads(void)
{
	static const uint32_t lengths[] = { 4096, 12288, 65536, 524288 };
	uint64_t at;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(lengths); i++) {
		uint64_t step = SIZE / 8 > lengths[i] ? SIZE / 8 : lengths[i];

		for (at = 0; at + lengths[i] <= SIZE; at += step) {
			uint64_t to = SIZE - lengths[i] - at;

			memset(mem, 0x11, SIZE);
			ASSERT_EQ(lengths[i], rw_do(&ring, &t, false, at, to, lengths[i]));
			ASSERT_EQ(lengths[i], pread(file.fd, copy, lengths[i], at));
			ASSERT_SAME(copy, mem + to, lengths[i]);
			ASSERT(is_filled(mem, 0x11, to));
			ASSERT(is_filled(mem + to + lengths[i], 0x11, SIZE - to - lengths[i]));
		}
	}
}

static void check_writes(uint64_t seed)
{
	static const uint32_t lengths[] = { 4096, 20480, 131072 };
	uint64_t at;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(lengths); i++) {
		fill_random(mem, SIZE, seed + i);
		for (at = 0; at + lengths[i] <= SIZE; at += SIZE / 4) {
			uint64_t from = SIZE - lengths[i] - at;

			ASSERT_EQ(lengths[i], rw_do(&ring, &t, true, at, from, lengths[i]));
			ASSERT_EQ(lengths[i], pread(file.fd, copy, lengths[i], at));
			ASSERT_SAME(mem + from, copy, lengths[i]);
		}
	}
}

FS_TEST(data)
{
	begin(dir, 0);
	/* In the page cache, of which the direct I/O has to know */
	ASSERT_EQ(SIZE, pread(file.fd, copy, SIZE, 0));
	check_reads();
	check_writes(7);
	t.flags = HOMI_RW_BY_FS;
	check_reads();
	t.flags |= HOMI_RW_DSYNC;
	check_writes(8);
	/* The descriptor itself */
	t.file = file.fd;
	t.flags = HOMI_RW_FD;
	check_reads();
	check_writes(9);
	file_remove(&file);
}

/* What is dirty in the page cache is read, and what is written there is not hidden by it. */
FS_TEST(coherent_with_the_page_cache)
{
	char *map;
	int i;

	begin(dir, 0);
	map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file.fd, 0);
	ASSERT(map != MAP_FAILED);
	for (i = 0; i < 8; i++) {
		fill_random(map, SIZE, 100 + i);
		ASSERT_EQ(SIZE, rw_do(&ring, &t, false, 0, 0, SIZE));
		ASSERT_SAME(map, mem, SIZE);
		fill_random(mem, SIZE, 200 + i);
		ASSERT_EQ(SIZE, rw_do(&ring, &t, true, 0, 0, SIZE));
		ASSERT_SAME(mem, map, SIZE);
	}
	munmap(map, SIZE);
	file_remove(&file);
}

FS_TEST(ends_and_holes)
{
	begin(dir, 0);
	/* The end of the file: short there, and only there */
	ASSERT(!ftruncate(file.fd, SIZE - 5000));
	ASSERT_EQ(SIZE - 5000, rw_do(&ring, &t, false, 0, 0, SIZE));
	ASSERT_EQ(SIZE - 5000, pread(file.fd, copy, SIZE, 0));
	ASSERT_SAME(copy, mem, SIZE - 5000);
	ASSERT_EQ(0, rw_do(&ring, &t, false, SIZE, 0, PAGE));
	ASSERT_EQ(0, rw_do(&ring, &t, false, 0, 0, 0));
	ASSERT_EQ(0, rw_do(&ring, &t, true, 0, 0, 0));
	/* Made longer, with a hole before */
	fill_random(mem, 8 * PAGE, 5);
	ASSERT_EQ(8 * PAGE, rw_do(&ring, &t, true, 2 * SIZE, 0, 8 * PAGE));
	ASSERT_EQ(8 * PAGE, pread(file.fd, copy, 8 * PAGE, 2 * SIZE));
	ASSERT_SAME(mem, copy, 8 * PAGE);
	memset(mem, 0x22, SIZE);
	ASSERT_EQ(PAGE * 16, rw_do(&ring, &t, false, SIZE + SIZE / 2, 0, PAGE * 16));
	ASSERT(is_filled(mem, 0, PAGE * 16));
	/* Preallocated, and a hole in the middle of something */
	ASSERT(!fallocate(file.fd, 0, 3 * SIZE, SIZE));
	ASSERT_EQ(SIZE, rw_do(&ring, &t, false, 3 * SIZE, 0, SIZE));
	ASSERT(is_filled(mem, 0, SIZE));
	ASSERT_EQ(PAGE, rw_do(&ring, &t, true, 3 * SIZE + 5 * PAGE, 0, PAGE));
	ASSERT(!fallocate(file.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 8 * PAGE, 64 * PAGE));
	ASSERT_EQ(256 * PAGE, rw_do(&ring, &t, false, 0, 0, 256 * PAGE));
	ASSERT_EQ(256 * PAGE, pread(file.fd, copy, 256 * PAGE, 0));
	ASSERT_SAME(copy, mem, 256 * PAGE);
	ASSERT(is_filled(mem + 8 * PAGE, 0, 64 * PAGE));
	file_remove(&file);
}

FS_TEST(appended)
{
	uint32_t id;
	int i, fd;

	begin(dir, 0);
	ASSERT(!ftruncate(file.fd, 3 * PAGE));
	fd = open(file.path, O_RDWR | O_APPEND);
	ASSERT_EQ(0, file_register(t.fd, fd, &id, NULL));
	t.file = id;
	fill_random(mem, SIZE, 9);
	for (i = 0; i < 20; i++)
		ASSERT_EQ(PAGE, rw_do(&ring, &t, true, 0, i * PAGE, PAGE));
	ASSERT_EQ(20 * PAGE, pread(file.fd, copy, SIZE, 3 * PAGE));
	ASSERT_SAME(mem, copy, 20 * PAGE);
	close(fd);
	file_remove(&file);
}

/* Each block is what it was or what a later write made of it; @flags of the ring and of SQEs */
static void check_depth(const char *dir, unsigned int ring_flags, unsigned int sqe_flags)
{
	unsigned int blocks = SIZE / PAGE, in_flight = 0, posted = 0, i, k;
	uint64_t slot;

	begin(dir, ring_flags);
	fill_random(mem, SIZE, 31);
	for (k = 0; k < 2; k++) {
		/* All of it written and then read, in a mixed order */
		for (posted = 0, in_flight = 0; posted < blocks || in_flight;) {
			for (; posted < blocks && in_flight < ENTRIES; posted++, in_flight++) {
				uint64_t at = (uint64_t)(posted * 37 % blocks) * PAGE;
				struct homi_uring_rw rw = rw_make(&t, at, at, PAGE);

				rw_post(&ring, t.fd, !k, &rw, posted)->flags |= sqe_flags;
			}
			io_uring_submit(&ring);
			ASSERT_EQ(PAGE, uring_reap(&ring, &slot));
			ASSERT(slot < posted);
			in_flight--;
		}
		if (k)
			break;
		memcpy(copy, mem, SIZE);
		memset(mem, 0, SIZE);
	}
	ASSERT_SAME(copy, mem, SIZE);
	memset(mem, 0, SIZE);
	for (i = 0; i < SIZE; i += 1 << 20)
		ASSERT_EQ(1 << 20, pread(file.fd, mem + i, 1 << 20, i));
	ASSERT_SAME(copy, mem, SIZE);
	io_uring_queue_exit(&ring);
	file_remove(&file);
}

FS_TEST(at_depth)
{
	check_depth(dir, 0, 0);
}

FS_TEST(at_depth_by_workers)
{
	check_depth(dir, 0, IOSQE_ASYNC);
}

FS_TEST(at_depth_by_a_polling_thread)
{
	check_depth(dir, IORING_SETUP_SQPOLL, 0);
}

/* Fragmented: one request goes over many extents. */
FS_TEST(over_many_extents)
{
	unsigned int i;

	begin(dir, 0);
	for (i = 0; i < SIZE / PAGE; i += 2)
		ASSERT(!fallocate(file.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, i * PAGE,
				  PAGE));
	ASSERT_EQ(SIZE, rw_do(&ring, &t, false, 0, 0, SIZE));
	ASSERT_EQ(SIZE, pread(file.fd, copy, SIZE, 0));
	ASSERT_SAME(copy, mem, SIZE);
	fill_random(mem, SIZE, 78);
	ASSERT_EQ(SIZE, rw_do(&ring, &t, true, 0, 0, SIZE));
	ASSERT_EQ(SIZE, pread(file.fd, copy, SIZE, 0));
	ASSERT_SAME(mem, copy, SIZE);
	file_remove(&file);
}

/* Behind something that only workers do, so that it is begun by one */
FS_TEST(linked)
{
	unsigned int i;

	begin(dir, 0);
	for (i = 0; i < 40; i++) {
		struct homi_uring_rw rw = rw_make(&t, i * PAGE, (39 - i) * PAGE, PAGE);
		struct io_uring_sqe *sqe;
		int res[2] = { -1, -1 };
		uint64_t which;

		fill_random(mem, 40 * PAGE, 600 + i);
		/* Something else was asked for by the last one in its place. */
		ASSERT_EQ(PAGE, rw_do(&ring, &t, false, SIZE - PAGE, SIZE - PAGE, PAGE));
		sqe = io_uring_get_sqe(&ring);
		io_uring_prep_fsync(sqe, file.fd, 0);
		sqe->user_data = 0;
		sqe->flags |= IOSQE_IO_LINK;
		rw_post(&ring, t.fd, true, &rw, 1);
		ASSERT_EQ(2, io_uring_submit(&ring));
		res[0] = uring_reap(&ring, &which);
		ASSERT(which == 0);
		res[1] = uring_reap(&ring, &which);
		ASSERT_EQ(0, res[0]);
		ASSERT_EQ(PAGE, res[1]);
		ASSERT_EQ(PAGE, pread(file.fd, copy, PAGE, i * PAGE));
		ASSERT_SAME(mem + (39 - i) * PAGE, copy, PAGE);
	}
	file_remove(&file);
}

/* Files of which ext4 does some by the page cache: with indirect blocks, and with data journalled */
static void check_special(unsigned int clear, unsigned int set)
{
	unsigned int flags, i;

	begin(need_fs("ext4"), 0);
	ASSERT(!ftruncate(file.fd, 0));
	ASSERT(!ioctl(file.fd, FS_IOC_GETFLAGS, &flags));
	flags = (flags & ~clear) | set;
	if (ioctl(file.fd, FS_IOC_SETFLAGS, &flags))
		SKIP("flags of a file on ext4: %s", strerror(errno));
	for (i = 0; i < 2; i++) {
		/* Into holes, over what is there, and both at once */
		ASSERT(!ftruncate(file.fd, 0));
		ASSERT(!ftruncate(file.fd, SIZE));
		fill_random(mem, SIZE, 70 + i);
		ASSERT_EQ(8 * PAGE, rw_do(&ring, &t, true, 16 * PAGE, 16 * PAGE, 8 * PAGE));
		ASSERT_EQ(8 * PAGE, rw_do(&ring, &t, true, 20 * PAGE, 20 * PAGE, 8 * PAGE));
		ASSERT_EQ(4 * PAGE, rw_do(&ring, &t, true, 20 * PAGE, 20 * PAGE, 4 * PAGE));
		ASSERT_EQ(64 * PAGE, rw_do(&ring, &t, true, 0, 0, 64 * PAGE));
		ASSERT_EQ(64 * PAGE, pread(file.fd, copy, 64 * PAGE, 0));
		ASSERT_SAME(mem, copy, 64 * PAGE);
		memset(mem, 1, SIZE);
		ASSERT_EQ(SIZE, rw_do(&ring, &t, false, 0, 0, SIZE));
		ASSERT_SAME(copy, mem, 64 * PAGE);
		ASSERT(is_filled(mem + 64 * PAGE, 0, SIZE - 64 * PAGE));
	}
	file_remove(&file);
}

TEST(indirect_blocks)
{
	check_special(FS_EXTENT_FL, 0);
}

TEST(journalled_data)
{
	check_special(0, FS_JOURNAL_DATA_FL);
}

/* --- what is refused --- */

static int rw_with(void (*spoil)(struct homi_uring_rw *rw), bool write)
{
	struct homi_uring_rw rw = rw_make(&t, 0, 0, PAGE);

	spoil(&rw);
	rw_post(&ring, t.fd, write, &rw, 0);
	ASSERT_EQ(1, io_uring_submit(&ring));
	return uring_reap(&ring, NULL);
}

static void spoil_flags(struct homi_uring_rw *rw) { rw->flags = 1u << 4; }
static void spoil_both(struct homi_uring_rw *rw) { rw->flags = HOMI_RW_BY_FS | HOMI_RW_BY_EXTENTS; }
static void spoil_dsync(struct homi_uring_rw *rw) { rw->flags = HOMI_RW_DSYNC; }
static void spoil_dsync_fd(struct homi_uring_rw *rw)
{
	rw->flags = HOMI_RW_DSYNC | HOMI_RW_FD;
	rw->file = file.fd;
}

static void spoil_extents(struct homi_uring_rw *rw) { rw->flags = HOMI_RW_BY_EXTENTS; }
static void spoil_reserved(struct homi_uring_rw *rw) { rw->__reserved[0] = 1; }
static void spoil_reserved_last(struct homi_uring_rw *rw) { rw->__reserved[3] = 1ull << 63; }
static void spoil_file(struct homi_uring_rw *rw) { rw->file = 99999; }
static void spoil_file_kind(struct homi_uring_rw *rw) { rw->file = rw->mem_id; }
static void spoil_fd(struct homi_uring_rw *rw) { rw->flags = HOMI_RW_FD; rw->file = -1; }
static void spoil_fd_kind(struct homi_uring_rw *rw) { rw->flags = HOMI_RW_FD; rw->file = t.fd; }
static void spoil_mem(struct homi_uring_rw *rw) { rw->mem_id = 99999; }
static void spoil_mem_kind(struct homi_uring_rw *rw) { rw->mem_id = rw->file; }
static void spoil_mem_offset(struct homi_uring_rw *rw) { rw->mem_offset = SIZE; }
static void spoil_mem_wrap(struct homi_uring_rw *rw) { rw->mem_offset = -(uint64_t)512; }
static void spoil_length(struct homi_uring_rw *rw) { rw->length = SIZE + 512; }
static void spoil_length_most(struct homi_uring_rw *rw) { rw->length = UINT32_MAX; }
static void spoil_offset(struct homi_uring_rw *rw) { rw->file_offset = 1ull << 63; }
static void spoil_offset_wrap(struct homi_uring_rw *rw) { rw->file_offset = (1ull << 63) - 512; }

FS_TEST(bad_arguments)
{
	static const struct {
		const char *what;
		void (*spoil)(struct homi_uring_rw *rw);
		int err;
	} bad[] = {
		{ "flags", spoil_flags, -EINVAL },
		{ "both ways", spoil_both, -EINVAL },
		{ "by extents", spoil_extents, -EOPNOTSUPP },
		{ "reserved", spoil_reserved, -EINVAL },
		{ "last reserved", spoil_reserved_last, -EINVAL },
		{ "no FILE", spoil_file, -ENOENT },
		{ "a MEM for a FILE", spoil_file_kind, -ENOENT },
		{ "no descriptor", spoil_fd, -EBADF },
		{ "a descriptor of no file", spoil_fd_kind, -EOPNOTSUPP },
		{ "no MEM", spoil_mem, -ENOENT },
		{ "a FILE for a MEM", spoil_mem_kind, -ENOENT },
		{ "behind the MEM", spoil_mem_offset, -EINVAL },
		{ "around the MEM", spoil_mem_wrap, -EINVAL },
		{ "longer than the MEM", spoil_length, -EINVAL },
		{ "as long as can be", spoil_length_most, -EINVAL },
		{ "behind all files", spoil_offset, -EINVAL },
		{ "over the end of all files", spoil_offset_wrap, -EINVAL },
	};
	struct homi_uring_rw rw;
	unsigned int i, write;
	int err;

	begin(dir, 0);
	memset(mem, 0x33, SIZE);
	for (write = 0; write < 2; write++)
		for (i = 0; i < ARRAY_SIZE(bad); i++) {
			err = rw_with(bad[i].spoil, write);
			if (err != bad[i].err)
				FAIL("%s: %d, not %d", bad[i].what, err, bad[i].err);
		}
	/* What only a WRITE can be */
	ASSERT_EQ(-EINVAL, rw_with(spoil_dsync, false));
	ASSERT_EQ(-EINVAL, rw_with(spoil_dsync_fd, false));
	ASSERT(is_filled(mem, 0x33, SIZE));
	/* Narrow SQEs have no room for it. */
	io_uring_queue_exit(&ring);
	ASSERT_EQ(0, uring_open(&ring, 8, 0));
	rw = rw_make(&t, 0, 0, PAGE);
	{
		struct io_uring_sqe *sqe = uring_next(&ring, t.fd, HOMI_READ);

		memcpy(sqe->cmd, &rw, 16);
		ASSERT_EQ(1, io_uring_submit(&ring));
		ASSERT_EQ(-EINVAL, uring_reap(&ring, NULL));
	}
	file_remove(&file);
}

/* Alignment, and how the file is open and the MEM registered */
FS_TEST(bad_kinds)
{
	int err, fd;

	begin(dir, 0);
	memset(mem, 0x33, SIZE);
	/* As the file system answers others */
	fd = open(file.path, O_RDWR | O_DIRECT);
	err = pread(fd, copy + SIZE / 2, 100, 100);
	ASSERT_EQ(err < 0 ? -errno : err, rw_do(&ring, &t, false, 100, 0, 100));
	err = pread(fd, copy + SIZE / 2 + 1, 512, 0);
	ASSERT_EQ(err < 0 ? -errno : err, rw_do(&ring, &t, false, 0, 1, 512));
	memset(mem, 0x33, SIZE);
	close(fd);
	/* How it is open */
	fd = open(file.path, O_RDONLY);
	ASSERT_EQ(0, file_register(t.fd, fd, (uint32_t *)&t.file, NULL));
	ASSERT_EQ(-EBADF, rw_do(&ring, &t, true, 0, 0, PAGE));
	ASSERT_EQ(PAGE, rw_do(&ring, &t, false, 0, 0, PAGE));
	close(fd);
	fd = open(file.path, O_WRONLY);
	ASSERT_EQ(0, file_register(t.fd, fd, (uint32_t *)&t.file, NULL));
	ASSERT_EQ(-EBADF, rw_do(&ring, &t, false, 0, 0, PAGE));
	close(fd);
	fd = open(file.path, O_PATH);
	ASSERT_EQ(-EBADF, file_register(t.fd, fd, (uint32_t *)&t.file, NULL));
	close(fd);
	/* A MEM that is not to be written to; one may read it. */
	ASSERT_EQ(0, file_register(t.fd, file.fd, (uint32_t *)&t.file, NULL));
	t.mem = register_pages(t.fd, copy, SIZE, 0);
	ASSERT_EQ(-EFAULT, rw_do(&ring, &t, false, 0, 0, PAGE));
	ASSERT_EQ(PAGE, rw_do(&ring, &t, true, 0, 0, PAGE));
	file_remove(&file);
}

TEST(bad_files)
{
	uint32_t id, reason;
	int fd = homi_open(), pipes[2], other;

	ASSERT(!pipe(pipes));
	ASSERT_EQ(-EBADF, file_register(fd, -1, &id, NULL));
	ASSERT_EQ(-EOPNOTSUPP, file_register(fd, pipes[0], &id, &reason));
	ASSERT_EQ(HOMI_REASON_FILE_TYPE, reason);
	ASSERT_EQ(-EOPNOTSUPP, file_register(fd, fd, &id, &reason));
	ASSERT_EQ(HOMI_REASON_FILE_TYPE, reason);
	other = open(bdev_path(), O_RDONLY);
	ASSERT_EQ(-EOPNOTSUPP, file_register(fd, other, &id, &reason));
	ASSERT_EQ(HOMI_REASON_FILE_TYPE, reason);
	close(other);
	other = open(need_fs("ext4"), O_RDONLY | O_DIRECTORY);
	ASSERT_EQ(-EOPNOTSUPP, file_register(fd, other, &id, &reason));
	ASSERT_EQ(HOMI_REASON_FILE_TYPE, reason);
	close(other);
	other = memfd_create("homi", MFD_CLOEXEC);
	ASSERT_EQ(-EOPNOTSUPP, file_register(fd, other, &id, &reason));
	ASSERT_EQ(HOMI_REASON_FS, reason);
	close(other);
	if (getenv("HOMI_DEV2")) {
		/* Another controller's */
		int second = homi_open_at(getenv("HOMI_DEV2"));
		struct file here;

		file_create(&here, need_fs("ext4"), "uring-other", PAGE, 1);
		ASSERT_EQ(-EOPNOTSUPP, file_register(second, here.fd, &id, &reason));
		ASSERT_EQ(HOMI_REASON_OTHER_DEVICE, reason);
		ASSERT_EQ(0, file_register(fd, here.fd, &id, &reason));
		/* It keeps the file, whatever becomes of the descriptor. */
		file_remove(&here);
		ASSERT_EQ(0, destroy(fd, id));
		ASSERT_EQ(-ENOENT, destroy(fd, id));
	}
}

/* A way around the limit of open files there is not. */
static void register_too_many(void)
{
	struct rlimit limit = { 40, 40 };
	unsigned int i;
	uint32_t id;
	int err;

	set_cap(CAP_SYS_RESOURCE, false);
	ASSERT(!setrlimit(RLIMIT_NOFILE, &limit));
	for (i = 0; !(err = file_register(t.fd, file.fd, &id, NULL)); i++)
		ASSERT(i < 100);
	ASSERT_EQ(-EDQUOT, err);
	/* The one of begin() counts. */
	ASSERT_EQ(39, i);
	ASSERT_EQ(0, destroy(t.fd, t.file));
	ASSERT_EQ(0, file_register(t.fd, file.fd, &id, NULL));
	ASSERT_EQ(-EDQUOT, file_register(t.fd, file.fd, &id, NULL));
}

TEST(as_many_files_as_may_be_open)
{
	begin(need_fs("ext4"), 0);
	ASSERT_EQ(0, child_status(child_start(register_too_many)));
	file_remove(&file);
}

/* What the caller's limit cuts off, it gets the same by homi. */
FS_TEST(limited)
{
	struct rlimit before, limit;

	begin(dir, 0);
	signal(SIGXFSZ, SIG_IGN);
	ASSERT(!getrlimit(RLIMIT_FSIZE, &before));
	limit = before;
	limit.rlim_cur = SIZE + 4 * PAGE;
	ASSERT(!setrlimit(RLIMIT_FSIZE, &limit));
	ASSERT_EQ(4 * PAGE, rw_do(&ring, &t, true, SIZE, 0, 8 * PAGE));
	ASSERT_EQ(-EFBIG, rw_do(&ring, &t, true, SIZE + 4 * PAGE, 0, PAGE));
	ASSERT_EQ(PAGE, rw_do(&ring, &t, true, 0, 0, PAGE));
	ASSERT(!setrlimit(RLIMIT_FSIZE, &before));
	file_remove(&file);
}

/* Nobody, with a descriptor of homi's that somebody opened for him, and a file of his own */
static void be_nobody(void)
{
	begin(NULL, 0);
	become_nobody();
	file.fd = open(file.path, O_RDWR);
	ASSERT(file.fd >= 0);
	ASSERT_EQ(0, file_register(t.fd, file.fd, (uint32_t *)&t.file, NULL));
	check_reads();
	check_writes(3);
}

FS_TEST(unprivileged)
{
	struct stat st;

	file_create(&file, dir, "nobody", SIZE, 2);
	ASSERT(!chown(file.path, NOBODY, NOBODY));
	/* What only root could have kept */
	ASSERT(!chmod(file.path, 06755));
	ASSERT_EQ(0, child_status(child_start(be_nobody)));
	ASSERT(!stat(file.path, &st));
	ASSERT_EQ(0, st.st_mode & 06000);
	file_remove(&file);
}
