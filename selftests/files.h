/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HOMI_SELFTESTS_FILES_H
#define HOMI_SELFTESTS_FILES_H

/* Files, their extents by homi and by FIEMAP, and processes that want to change them. */

#include <linux/fiemap.h>

#include "common.h"

/* The directory for tests on a file system, "ext4" or "xfs"; skips the test without one. */
const char *need_fs(const char *type);

/* Defines a test twice, for ext4 and for XFS, with the mount point in @dir. */
#define FS_TEST_TIMEOUT(id, limit)				\
	static void id##_on(const char *dir);			\
	TEST_TIMEOUT(id##_ext4, limit) { id##_on(need_fs("ext4")); }	\
	TEST_TIMEOUT(id##_xfs, limit) { id##_on(need_fs("xfs")); }	\
	static void id##_on(const char *dir)

#define FS_TEST(id)	FS_TEST_TIMEOUT(id, TEST_SECONDS)

/*
 * Can homi ask where a file of the usual ones lies while somebody has it open for writing? Later
 * kernels' FIEMAP of ext4 takes the inode's lock, and their XFS moves blocks by atomic writes; of
 * kernels between nothing is known here.
 */
bool goes_beside(void);

struct file {
	char path[256];
	int fd;			/* read only */
};

/* A new file with random content (from @seed) that is on the device. */
void file_create(struct file *file, const char *dir, const char *name, size_t size,
		 uint64_t seed);
void file_reopen(struct file *file, int flags);
void file_remove(struct file *file);

/* An EXTENT and its mapped table */
struct table {
	int fd;
	struct homi_extent_resolve r;
	const struct homi_extent_table *t;
};

int table_resolve(struct table *table, int fd, int file, uint64_t offset, uint64_t length);
void table_open(struct table *table, int fd, int file, uint64_t offset, uint64_t length);
int table_close(struct table *table);
/* Sorted, gapless over the range, and nothing set that should not be. */
void table_check(const struct table *table, uint64_t offset, uint64_t length);
/* Byte of the namespace behind byte @offset of the file; ~0 for a hole. */
uint64_t table_lookup(const struct table *table, uint64_t offset);

/* FIEMAP after a sync; to be freed. */
struct fiemap *file_fiemap(int file);
uint64_t fiemap_lookup(const struct fiemap *map, uint64_t offset);

/* Somebody else who does something that may have to wait. */
struct waiter {
	pid_t pid;
	uint64_t begin;
};

void waiter_start(struct waiter *waiter, int (*act)(const char *path), const char *path);
/* Has it not ended after @ms? */
bool waiter_waits(const struct waiter *waiter, unsigned int ms);
/* Its result, 0 or an errno; waits up to @ms; *took tells how long it was at it */
int waiter_end(const struct waiter *waiter, unsigned int ms, uint64_t *took);

/*
 * Mounts of a test are seen by its own processes only and end with them. Returns an empty
 * directory to mount on.
 */
const char *private_mount_point(void);

int act_open_write(const char *path);
int act_open_write_nonblock(const char *path);
int act_open_read(const char *path);
int act_truncate(const char *path);
int act_unlink(const char *path);
int act_overwrite(const char *path);

/* e4defrag's ioctl, again and again: these blocks and the donor's change places. 0 or -1 */
int ext4_move(int file, int donor, uint64_t blocks);

#endif
