// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include <linux/fs.h>

#include "files.h"

#define EXT4_MAGIC	0xef53
#define XFS_MAGIC	0x58465342

const char *need_fs(const char *type)
{
	bool xfs = !strcmp(type, "xfs");
	const char *name = xfs ? "HOMI_XFS" : "HOMI_EXT4", *dir = getenv(name);
	struct statfs st;

	if (!dir || !*dir)
		SKIP("%s is not set: no %s on this controller", name, type);
	ASSERT(!statfs(dir, &st));
	ASSERT_EQ(xfs ? XFS_MAGIC : EXT4_MAGIC, st.f_type);
	return dir;
}

bool goes_beside(void)
{
	struct utsname name;

	ASSERT(!uname(&name));
	return atoi(name.release) < 7;
}

void file_create(struct file *file, const char *dir, const char *name, size_t size, uint64_t seed)
{
	size_t done, step = 1 << 20;
	char *buf = malloc(step);
	int fd;

	snprintf(file->path, sizeof(file->path), "%s/%s.%d", dir, name, getpid());
	fd = open(file->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		FAIL("create %s: %s", file->path, strerror(errno));
	for (done = 0; done < size; done += step) {
		if (step > size - done)
			step = size - done;
		fill_random(buf, step, seed + done + 1);
		ASSERT_EQ(step, write(fd, buf, step));
	}
	ASSERT(!fsync(fd));
	close(fd);
	free(buf);
	file->fd = open(file->path, O_RDONLY | O_CLOEXEC);
	ASSERT(file->fd >= 0);
}

void file_reopen(struct file *file, int flags)
{
	if (file->fd >= 0)
		close(file->fd);
	file->fd = open(file->path, flags | O_CLOEXEC);
	ASSERT(file->fd >= 0);
}

void file_remove(struct file *file)
{
	if (file->fd >= 0)
		close(file->fd);
	ASSERT(!unlink(file->path));
}

int table_resolve(struct table *table, int fd, int file, uint64_t offset, uint64_t length)
{
	memset(table, 0, sizeof(*table));
	table->fd = fd;
	return extent_resolve(fd, file, offset, length, &table->r);
}

void table_open(struct table *table, int fd, int file, uint64_t offset, uint64_t length)
{
	int err = table_resolve(table, fd, file, offset, length);

	if (err)
		FAIL("EXTENT_RESOLVE: %s, reason %u", strerror(-err), table->r.out_reason);
	table->t = mmap(NULL, table->r.out_mmap_length, PROT_READ, MAP_SHARED, fd,
			table->r.out_mmap_offset);
	ASSERT(table->t != MAP_FAILED);
}

int table_close(struct table *table)
{
	if (table->t)
		munmap((void *)table->t, table->r.out_mmap_length);
	table->t = NULL;
	return destroy(table->fd, table->r.out_extent_id);
}

void table_check(const struct table *table, uint64_t offset, uint64_t length)
{
	const struct homi_extent_table *t = table->t;
	uint64_t at = offset, i;

	ASSERT_EQ(HOMI_EXTENT_VALID, t->state);
	ASSERT_EQ(table->r.out_nsid, t->nsid);
	ASSERT_EQ(bdev_nsid(), t->nsid);
	ASSERT_EQ(bdev_block_size(), t->block_size);
	ASSERT_EQ(t->block_size, table->r.out_block_size);
	ASSERT_EQ(table->r.out_count, t->count);
	ASSERT(table->r.out_mmap_length >= sizeof(*t) + t->count * sizeof(t->records[0]));
	ASSERT(is_filled(t->__reserved, 0, sizeof(t->__reserved)));
	ASSERT(t->count > 0);
	for (i = 0; i < t->count; i++) {
		const struct homi_extent *e = &t->records[i];

		ASSERT_EQ(at, e->file_offset);
		ASSERT(e->blocks > 0);
		ASSERT(!(e->flags & ~HOMI_EXTENT_HOLE));
		ASSERT_EQ(0, e->__reserved);
		at += e->blocks * t->block_size;
	}
	ASSERT_EQ(offset + (length + t->block_size - 1) / t->block_size * t->block_size, at);
}

uint64_t table_lookup(const struct table *table, uint64_t offset)
{
	const struct homi_extent_table *t = table->t;
	uint64_t low = 0, high = t->count;
	const struct homi_extent *e;

	while (high - low > 1) {
		uint64_t middle = low + (high - low) / 2;

		if (t->records[middle].file_offset <= offset)
			low = middle;
		else
			high = middle;
	}
	e = &t->records[low];
	ASSERT(offset >= e->file_offset && offset - e->file_offset < e->blocks * t->block_size);
	if (e->flags & HOMI_EXTENT_HOLE)
		return ~0ull;
	return e->slba * t->block_size + (offset - e->file_offset);
}

struct fiemap *file_fiemap(int file)
{
	struct fiemap count = { .fm_length = ~0ull, .fm_flags = FIEMAP_FLAG_SYNC };
	struct fiemap *map;

	ASSERT(!ioctl(file, FS_IOC_FIEMAP, &count));
	map = calloc(1, sizeof(*map) + count.fm_mapped_extents * sizeof(map->fm_extents[0]));
	ASSERT(map);
	map->fm_length = ~0ull;
	map->fm_flags = FIEMAP_FLAG_SYNC;
	map->fm_extent_count = count.fm_mapped_extents;
	ASSERT(!ioctl(file, FS_IOC_FIEMAP, map));
	ASSERT_EQ(count.fm_mapped_extents, map->fm_mapped_extents);
	return map;
}

/* Byte of the file system's device; ~0 for what reads as zeroes */
uint64_t fiemap_lookup(const struct fiemap *map, uint64_t offset)
{
	uint32_t low = 0, high = map->fm_mapped_extents;
	const struct fiemap_extent *e;

	if (!high || offset < map->fm_extents[0].fe_logical)
		return ~0ull;
	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;

		if (map->fm_extents[middle].fe_logical <= offset)
			low = middle;
		else
			high = middle;
	}
	e = &map->fm_extents[low];
	if (offset - e->fe_logical >= e->fe_length || (e->fe_flags & FIEMAP_EXTENT_UNWRITTEN))
		return ~0ull;
	return e->fe_physical + (offset - e->fe_logical);
}

void waiter_start(struct waiter *waiter, int (*act)(const char *path), const char *path)
{
	fflush(NULL);
	waiter->begin = now_ms();
	waiter->pid = fork();
	ASSERT(waiter->pid >= 0);
	if (!waiter->pid) {
		/* The device must not stay open here when the test closes it. */
		syscall(SYS_close_range, 3, ~0U, 0);
		_exit(act(path) ? errno : 0);
	}
}

bool waiter_waits(const struct waiter *waiter, unsigned int ms)
{
	siginfo_t info;
	uint64_t end = now_ms() + ms;

	do {
		info.si_pid = 0;
		ASSERT(!waitid(P_PID, waiter->pid, &info, WEXITED | WNOHANG | WNOWAIT));
		if (info.si_pid)
			return false;
		nap_ms(5);
	} while (now_ms() < end);
	return true;
}

int waiter_end(const struct waiter *waiter, unsigned int ms, uint64_t *took)
{
	if (waiter_waits(waiter, ms)) {
		kill(waiter->pid, SIGKILL);
		FAIL("somebody still waits after %llu ms",
		     (unsigned long long)(now_ms() - waiter->begin));
	}
	if (took)
		*took = now_ms() - waiter->begin;
	return child_status(waiter->pid);
}

const char *private_mount_point(void)
{
	static const char point[] = "/tmp/homi";

	ASSERT(!unshare(CLONE_NEWNS));
	ASSERT(!mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
	/* Over /tmp, where none of the file systems under test is mounted. */
	ASSERT(!mount("homi", "/tmp", "tmpfs", 0, NULL));
	ASSERT(!mkdir(point, 0755));
	return point;
}

static int act_open(const char *path, int flags)
{
	int fd = open(path, flags);

	if (fd < 0)
		return -1;
	close(fd);
	return 0;
}

int act_open_write(const char *path)
{
	return act_open(path, O_WRONLY);
}

int act_open_write_nonblock(const char *path)
{
	return act_open(path, O_WRONLY | O_NONBLOCK);
}

int act_open_read(const char *path)
{
	char byte;
	int fd = open(path, O_RDONLY);
	bool ok = fd >= 0 && read(fd, &byte, 1) == 1;

	if (fd >= 0)
		close(fd);
	return ok ? 0 : -1;
}

int act_truncate(const char *path)
{
	return truncate(path, 0);
}

int act_unlink(const char *path)
{
	return unlink(path);
}

/* What the fence is there for: the blocks are given back and get other content. */
int act_overwrite(const char *path)
{
	char block[PAGE];
	int fd = open(path, O_WRONLY), i;

	if (fd < 0 || ftruncate(fd, 0))
		return -1;
	memset(block, 0x77, sizeof(block));
	for (i = 0; i < 16; i++)
		if (write(fd, block, sizeof(block)) != sizeof(block))
			return -1;
	return fsync(fd);
}

/* fs/ext4/ext4.h, which is not for programs */
struct move_extent {
	__u32 reserved, donor_fd;
	__u64 orig_start, donor_start, len, moved_len;
};

#define EXT4_IOC_MOVE_EXT	_IOWR('f', 15, struct move_extent)

int ext4_move(int file, int donor, uint64_t blocks)
{
	struct move_extent move = { .donor_fd = donor, .len = blocks };

	while (move.len) {
		move.moved_len = 0;
		if (ioctl(file, EXT4_IOC_MOVE_EXT, &move))
			return -1;
		move.orig_start += move.moved_len;
		move.donor_start += move.moved_len;
		move.len -= move.moved_len;
	}
	return 0;
}
