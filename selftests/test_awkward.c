// SPDX-License-Identifier: GPL-2.0-only
/*
 * Files that random calls have made, on file systems of several kinds: each answer is FIEMAP's, and
 * what lies in the blocks is what the file reads; and whether it may be written to in place follows
 * from FIEMAP too.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "compare.h"
#include "harness.h"
#include "inplace.h"

#define MOST	(96 * PAGE)	/* bytes of a file, about */

static struct {
	int fd;
	const char *dir;
	bool reflink;
	bool inlined;		/* the file system may keep data in inodes: nothing is granted */
	unsigned int granted, writable, holes, shared, empty;
} fx;

static unsigned int below(unsigned int n)
{
	return (unsigned int)rand() % n;
}

/* Some are aligned, some are not. */
static off_t somewhere(unsigned int most)
{
	off_t at = below(most);

	return below(2) ? at : at / PAGE * PAGE;
}

static void write_some(int file)
{
	static char buf[16 * PAGE];

	fill_random(buf, sizeof(buf), rand());
	ASSERT(pwrite(file, buf, 1 + below(sizeof(buf)), somewhere(MOST)) > 0);
}

/* Tiny, in pieces, or all there at first */
static void begin_file(int file, unsigned int i)
{
	static char buf[MOST];
	unsigned int length;

	switch (below(4)) {
	case 0:
		fill_random(buf, 60, i);
		ASSERT_EQ(1 + i % 50, pwrite(file, buf, 1 + i % 50, 0));
		break;
	case 1:
		write_some(file);
		break;
	default:
		length = 1 + below(sizeof(buf));
		fill_random(buf, length, i);
		ASSERT_EQ(length, pwrite(file, buf, length, 0));
	}
}

/* A piece of an earlier file, or all of it; not every one fits. */
static void share(int file, const char *earlier)
{
	struct file_clone_range range = { .src_fd = open(earlier, O_RDONLY | O_CLOEXEC) };

	if (range.src_fd < 0)
		return;
	if (below(2)) {
		range.src_offset = somewhere(MOST / 2) / PAGE * PAGE;
		range.dest_offset = somewhere(MOST) / PAGE * PAGE;
		range.src_length = (1 + below(8)) * PAGE;
		ioctl(file, FICLONERANGE, &range);
	} else {
		ioctl(file, FICLONE, range.src_fd);
	}
	close(range.src_fd);
}

static void set_project(int file)
{
	struct fsxattr attr;

	if (ioctl(file, FS_IOC_FSGETXATTR, &attr))
		return;
	attr.fsx_projid = 1 + below(5);
	attr.fsx_extsize = 0;
	ioctl(file, FS_IOC_FSSETXATTR, &attr);
}

/* What the file system refuses is not done; that is its affair. */
static void change(int file, const char *earlier)
{
	off_t at = somewhere(MOST), length = 1 + below(12 * PAGE);

	switch (below(12)) {
	case 0:
	case 1:
	case 2:
		write_some(file);
		break;
	case 3:
		ASSERT(!ftruncate(file, at));
		break;
	case 4:
		fallocate(file, below(2) ? FALLOC_FL_KEEP_SIZE : 0, at, length);
		break;
	case 5:
		fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, length);
		break;
	case 6:
		fallocate(file, FALLOC_FL_ZERO_RANGE | (below(2) ? FALLOC_FL_KEEP_SIZE : 0), at,
			  length);
		break;
	case 7:
		fallocate(file, FALLOC_FL_COLLAPSE_RANGE, at / PAGE * PAGE, PAGE);
		break;
	case 8:
		fallocate(file, FALLOC_FL_INSERT_RANGE, at / PAGE * PAGE, PAGE);
		break;
	case 9:
		ASSERT(!fsync(file));
		break;
	case 10:
		set_project(file);
		break;
	case 11:
		if (fx.reflink)
			share(file, earlier);
		break;
	}
}

/* As the contract says it, from what FIEMAP says: a reason, or HOMI_REASON_NONE */
static uint32_t may_write(int file, uint64_t end)
{
	struct fiemap *map = file_fiemap(file);
	uint32_t i, reason = HOMI_REASON_NONE;
	uint64_t at = 0;

	for (i = 0; i < map->fm_mapped_extents && at < end && !reason; i++) {
		const struct fiemap_extent *e = &map->fm_extents[i];

		if (e->fe_logical >= end)
			break;
		if (e->fe_logical > at || e->fe_flags & FIEMAP_EXTENT_UNWRITTEN)
			reason = HOMI_REASON_HOLE;
		else if (e->fe_flags & FIEMAP_EXTENT_SHARED)
			reason = HOMI_REASON_SHARED;
		at = e->fe_logical + e->fe_length;
	}
	free(map);
	return reason || at >= end ? reason : HOMI_REASON_HOLE;
}

static void check_write(const char *path, uint64_t size)
{
	uint64_t end = size / bdev_block_size() * bdev_block_size();
	struct homi_extent_resolve r;
	int file = open(path, O_RDONLY | O_CLOEXEC), err;
	uint32_t reason = may_write(file, end);

	close(file);
	err = resolve_path(fx.fd, path, &r);
	if (!end) {
		ASSERT_EQ(-EINVAL, err);
	} else if (reason) {
		if (err != -EOPNOTSUPP || r.out_reason != reason)
			FAIL("%s: error %d reason %u, not reason %u", path, err, r.out_reason,
			     reason);
		fx.holes += reason == HOMI_REASON_HOLE;
		fx.shared += reason == HOMI_REASON_SHARED;
	} else {
		if (err)
			FAIL("%s: error %d reason %u, but all is there", path, err, r.out_reason);
		ASSERT_EQ(0, destroy(fx.fd, r.out_extent_id));
		fx.writable++;
	}
}

static void check(const char *path)
{
	int file = open(path, O_RDONLY | O_CLOEXEC), err;
	struct homi_extent_resolve r;
	struct stat st;

	ASSERT(file >= 0 && !fstat(file, &st));
	err = extent_resolve(fx.fd, file, 0, 0, &r);
	if (fx.inlined) {
		ASSERT_EQ(-EOPNOTSUPP, err);
		ASSERT_EQ(HOMI_REASON_INLINE, r.out_reason);
	} else if (!st.st_size) {
		ASSERT_EQ(-EINVAL, err);
		fx.empty++;
	} else {
		if (err)
			FAIL("%s: error %d reason %u", path, err, r.out_reason);
		ASSERT_EQ(0, destroy(fx.fd, r.out_extent_id));
		check_file(fx.fd, file);
		fx.granted++;
	}
	close(file);
	if (st.st_size && !err)
		check_write(path, st.st_size);
}

/* Each shares with the one before, which stays for that long. */
static void generate(const char *dir, unsigned int files)
{
	char path[2][300] = { "", "" };
	unsigned int i, k;
	int file;

	fx.dir = dir;
	fx.fd = homi_open();
	srand(4711);
	for (i = 0; i < files; i++) {
		char *now = path[i % 2], *before = path[1 - i % 2];

		snprintf(now, sizeof(path[0]), "%s/awkward.%u", dir, i);
		file = open(now, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		ASSERT(file >= 0);
		begin_file(file, i);
		for (k = below(9); k > 0; k--)
			change(file, before);
		close(file);
		check(now);
		if (before[0])
			ASSERT(!unlink(before));
	}
	ASSERT(!unlink(path[(files - 1) % 2]));
	close(fx.fd);
	printf("# %u files: %u as FIEMAP says, %u may be written to, %u have holes, %u share, %u empty\n",
	       files, fx.granted, fx.writable, fx.holes, fx.shared, fx.empty);
	ASSERT(fx.inlined || (fx.granted > files / 2 && fx.writable && fx.holes));
}

/* Of the kind that @mkfs makes: it is "mkfs.", the kind, and options. */
static void generate_on(const char *mkfs, const char *options)
{
	char kind[8];
	const char *point = private_mount_point();

	if (!raw_path())
		SKIP("HOMI_RAW names no partition that may be overwritten");
	if (shell("PATH=$PATH:/usr/sbin %s %s >/dev/null 2>&1", mkfs, raw_path()))
		SKIP("%s: not on this drive", mkfs);
	ASSERT_EQ(1, sscanf(mkfs, "mkfs.%7s", kind));
	if (mount(raw_path(), point, kind, 0, options))
		SKIP("%s: mount: %s", mkfs, strerror(errno));
	generate(point, times(200, 40));
	ASSERT(!umount(point));
}

TEST_TIMEOUT(ext4, 200)
{
	generate(need_fs("ext4"), times(600, 80));
}

TEST_TIMEOUT(xfs, 200)
{
	fx.reflink = true;
	/* Few of them share in the end. */
	generate(need_fs("xfs"), times(600, 160));
	ASSERT(fx.shared);
}

TEST_TIMEOUT(ext4_blocks_of_1k, 200)
{
	generate_on("mkfs.ext4 -q -F -b 1024", NULL);
}

/* What an fsync does there is not what commits a journal. */
TEST_TIMEOUT(ext4_without_journal, 200)
{
	generate_on("mkfs.ext4 -q -F -O ^has_journal", NULL);
}

TEST_TIMEOUT(ext4_bigalloc, 200)
{
	generate_on("mkfs.ext4 -q -F -O bigalloc -C 65536", NULL);
}

/* By user, group and project */
TEST_TIMEOUT(ext4_quota, 200)
{
	generate_on("mkfs.ext4 -q -F -O quota,project -E quotatype=usrquota:grpquota:prjquota",
		    NULL);
}

TEST_TIMEOUT(xfs_quota, 200)
{
	fx.reflink = true;
	generate_on("mkfs.xfs -q -f --unsupported", "uquota,gquota,pquota");
}

/*
 * When data leave the inode, ext4 writes their first block by its journal: it is on the drive later,
 * and a replay could bring it back.
 */
TEST_TIMEOUT(ext4_inline, 200)
{
	fx.inlined = true;
	generate_on("mkfs.ext4 -q -F -O inline_data -I 256", NULL);
}
