// SPDX-License-Identifier: GPL-2.0-only
/* EXTENT_RESOLVE: the table against FIEMAP, filefrag, and the blocks themselves. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <linux/falloc.h>
#include <linux/fs.h>

#include "compare.h"
#include "harness.h"

FS_TEST(whole_file)
{
	int fd = homi_open();
	struct file file;

	file_create(&file, dir, "whole", 3 << 20, 31);
	check_file(fd, file.fd);
	file_remove(&file);
}

FS_TEST(odd_size)
{
	int fd = homi_open();
	struct file file;

	file_create(&file, dir, "odd", 5 * PAGE + 123, 32);
	check_file(fd, file.fd);
	file_remove(&file);
	/* XFS and ext4 keep a byte in a block, too */
	file_create(&file, dir, "byte", 1, 33);
	check_file(fd, file.fd);
	file_remove(&file);
}

FS_TEST(read_by_queue)
{
	int fd = homi_open();
	struct table table;
	struct ring ring;
	struct dma dma, list;
	struct file file;

	need_queues(fd, 1);
	file_create(&file, dir, "queue", 1 << 20, 34);
	table_open(&table, fd, file.fd, 0, 0);
	ring_open(&ring, fd, 16);
	dma_new(&dma, fd, 1 << 18);
	dma_new(&list, fd, PAGE);
	compare_blocks(&table, file.fd, &ring, &dma, &list);
	ASSERT_EQ(0, table_close(&table));
	file_remove(&file);
}

FS_TEST(sub_ranges)
{
	static const struct { uint64_t offset, length, want; } ranges[] = {
		{ 0, PAGE, PAGE },
		{ PAGE, PAGE, PAGE },
		{ 5 * PAGE, 11 * PAGE, 11 * PAGE },
		{ 63 * PAGE, PAGE, PAGE },
		{ 60 * PAGE, 0, 4 * PAGE },
		{ 60 * PAGE, 100 * PAGE, 4 * PAGE },	/* cut at the end */
		{ 0, 1ull << 40, 64 * PAGE },
		{ PAGE, 0x7ffffffffffff000, 63 * PAGE },
	};
	int fd = homi_open();
	struct file file;
	struct table table;
	unsigned int i;

	file_create(&file, dir, "ranges", 64 * PAGE, 35);
	for (i = 0; i < ARRAY_SIZE(ranges); i++) {
		table_open(&table, fd, file.fd, ranges[i].offset, ranges[i].length);
		table_check(&table, ranges[i].offset, ranges[i].want);
		compare_fiemap(&table, file.fd, ranges[i].offset,
			       ranges[i].offset + ranges[i].want);
		ASSERT_EQ(0, table_close(&table));
	}
	file_remove(&file);
}

FS_TEST(bad_ranges)
{
	int fd = homi_open();
	uint32_t block = bdev_block_size();
	const struct { uint64_t offset, length; } bad[] = {
		{ 1, PAGE }, { PAGE, 1 }, { block - 1, 0 }, { 0, block + 1 }, { block / 2, block },
		{ 16 * PAGE, 0 }, { 16 * PAGE, PAGE }, { 1ull << 40, PAGE },
		{ 0x8000000000000000, PAGE }, { ~0ull - PAGE + 1, PAGE },
		{ ~0ull - PAGE + 1, 2 * PAGE },
	};
	struct homi_extent_resolve r;
	struct file file, empty;
	unsigned int i;

	file_create(&file, dir, "bad", 16 * PAGE, 36);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		int err = extent_resolve(fd, file.fd, bad[i].offset, bad[i].length, &r);

		if (err != -EINVAL)
			FAIL("range %u: %d", i, err);
	}
	file_create(&empty, dir, "empty", 0, 1);
	ASSERT_EQ(-EINVAL, extent_resolve(fd, empty.fd, 0, 0, &r));
	ASSERT_EQ(-EINVAL, extent_resolve(fd, empty.fd, 0, PAGE, &r));
	/* Nothing of that left a lease behind. */
	file_reopen(&file, O_RDWR | O_NONBLOCK);
	file_remove(&file);
	file_remove(&empty);
}

/* Holes, data that were never written, and data */
FS_TEST(sparse)
{
	int fd = homi_open(), writer;
	struct table table;
	struct file file;
	char page[PAGE];
	uint64_t at;

	file_create(&file, dir, "sparse", 0, 1);
	writer = open(file.path, O_RDWR | O_CLOEXEC);
	memset(page, 0x21, PAGE);
	ASSERT(!fallocate(writer, 0, 64 * PAGE, 32 * PAGE));		/* unwritten */
	ASSERT_EQ(PAGE, pwrite(writer, page, PAGE, 8 * PAGE));		/* data in a hole */
	ASSERT_EQ(PAGE, pwrite(writer, page, PAGE, 70 * PAGE));	/* data in unwritten */
	ASSERT(!ftruncate(writer, 200 * PAGE + 17));			/* hole at the end */
	ASSERT(!fsync(writer));
	close(writer);
	check_file(fd, file.fd);
	table_open(&table, fd, file.fd, 0, 0);
	for (at = 0; at < 200 * PAGE; at += PAGE)
		ASSERT_EQ(at == 8 * PAGE || at == 70 * PAGE, table_lookup(&table, at) != ~0ull);
	ASSERT_EQ(0, table_close(&table));
	/* a range that is nothing but a hole */
	table_open(&table, fd, file.fd, 100 * PAGE, 10 * PAGE);
	table_check(&table, 100 * PAGE, 10 * PAGE);
	ASSERT_EQ(~0ull, table_lookup(&table, 100 * PAGE));
	ASSERT_EQ(0, table_close(&table));
	file_remove(&file);
}

FS_TEST(unwritten_tail)
{
	int fd = homi_open(), writer;
	struct table table;
	struct file file;

	file_create(&file, dir, "tail", 4 * PAGE, 37);
	writer = open(file.path, O_RDWR | O_CLOEXEC);
	ASSERT(!fallocate(writer, 0, 4 * PAGE, 60 * PAGE));
	/* blocks beyond the end of the file are no part of it */
	ASSERT(!fallocate(writer, FALLOC_FL_KEEP_SIZE, 64 * PAGE, 64 * PAGE));
	close(writer);
	check_file(fd, file.fd);
	table_open(&table, fd, file.fd, 0, 0);
	ASSERT(table_lookup(&table, 3 * PAGE) != ~0ull);
	ASSERT_EQ(~0ull, table_lookup(&table, 4 * PAGE));
	ASSERT_EQ(0, table_close(&table));
	file_remove(&file);
}

/* Nobody has synced this: the answer must hold for the device all the same. */
FS_TEST(dirty_data)
{
	int fd = homi_open(), writer;
	char *data = page_buffer(1 << 20);
	struct file file;

	file_create(&file, dir, "dirty", 0, 1);
	fill_random(data, 1 << 20, 38);
	writer = open(file.path, O_WRONLY | O_CLOEXEC);
	ASSERT_EQ(1 << 20, write(writer, data, 1 << 20));
	close(writer);
	check_file(fd, file.fd);
	file_remove(&file);
}

static void punch_every_other(const char *path, unsigned int count)
{
	int writer = open(path, O_RDWR | O_CLOEXEC);
	unsigned int i;

	ASSERT(writer >= 0);
	for (i = 0; i < count; i++)
		ASSERT(!fallocate(writer, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				  (2 * i + 1) * PAGE, PAGE));
	ASSERT(!fsync(writer));
	close(writer);
}

FS_TEST_TIMEOUT(fragmented, 120)
{
	unsigned int count = soak() ? 8000 : 1500;
	int fd = homi_open();
	struct table table;
	struct file file;

	file_create(&file, dir, "fragments", count * 2 * PAGE, 39);
	punch_every_other(file.path, count);
	check_file(fd, file.fd);
	table_open(&table, fd, file.fd, 0, 0);
	ASSERT_EQ(2 * count, table.r.out_count);
	ASSERT_EQ(0, table_close(&table));
	/* two of these, the middle of one record to the middle of another */
	table_open(&table, fd, file.fd, 1000 * PAGE, 2 * PAGE);
	table_check(&table, 1000 * PAGE, 2 * PAGE);
	ASSERT_EQ(2, table.r.out_count);
	ASSERT_EQ(0, table_close(&table));
	file_remove(&file);
}

/* The lines of filefrag -v: "   0:  0..  255:  34048..  34303:  256:  flags" */
FS_TEST(filefrag)
{
	int fd = homi_open();
	struct file file;
	struct table table;
	char command[320], line[256];
	unsigned int seen = 0, fs_block;
	struct stat st;
	FILE *pipe;

	if (!have("filefrag"))
		SKIP("filefrag is not installed");
	file_create(&file, dir, "filefrag", 512 * PAGE, 40);
	punch_every_other(file.path, 100);
	ASSERT(!stat(file.path, &st));
	fs_block = st.st_blksize;
	table_open(&table, fd, file.fd, 0, 0);
	snprintf(command, sizeof(command), "PATH=$PATH:/usr/sbin filefrag -v -b%u %s", fs_block,
		 file.path);
	pipe = popen(command, "r");
	ASSERT(pipe);
	while (fgets(line, sizeof(line), pipe)) {
		unsigned long long n, logical, last, physical, end, at;

		if (sscanf(line, " %llu: %llu.. %llu: %llu.. %llu:", &n, &logical, &last, &physical,
			   &end) != 5)
			continue;
		seen++;
		for (at = 0; at <= last - logical; at++)
			ASSERT_EQ((physical + at) * fs_block + fs_start(file.fd),
				  table_lookup(&table, (logical + at) * fs_block));
	}
	pclose(pipe);
	ASSERT(seen >= 100);
	ASSERT_EQ(0, table_close(&table));
	file_remove(&file);
}

static bool can_map(int fd, const struct homi_extent_resolve *r, int prot, int flags, long more)
{
	void *va = mmap(NULL, r->out_mmap_length + more, prot, flags, fd, r->out_mmap_offset);

	if (va == MAP_FAILED)
		return false;
	munmap(va, r->out_mmap_length + more);
	return true;
}

FS_TEST(table_is_read_only)
{
	int fd = homi_open(), other = homi_open();
	struct table table;
	struct file file;
	void *va;

	file_create(&file, dir, "map", 4 * PAGE, 41);
	ASSERT_EQ(0, table_resolve(&table, fd, file.fd, 0, 0));
	ASSERT(can_map(fd, &table.r, PROT_READ, MAP_SHARED, 0));
	ASSERT(!can_map(fd, &table.r, PROT_READ | PROT_WRITE, MAP_SHARED, 0));
	ASSERT(!can_map(fd, &table.r, PROT_READ | PROT_EXEC, MAP_SHARED, 0));
	ASSERT(!can_map(fd, &table.r, PROT_READ, MAP_PRIVATE, 0));
	ASSERT(!can_map(fd, &table.r, PROT_READ, MAP_SHARED, PAGE));
	ASSERT(!can_map(other, &table.r, PROT_READ, MAP_SHARED, 0));
	va = mmap(NULL, table.r.out_mmap_length, PROT_READ, MAP_SHARED, fd,
		  table.r.out_mmap_offset);
	ASSERT(va != MAP_FAILED);
	ASSERT(mprotect(va, table.r.out_mmap_length, PROT_READ | PROT_WRITE) < 0);
	ASSERT(mremap(va, table.r.out_mmap_length, table.r.out_mmap_length + PAGE,
		      MREMAP_MAYMOVE) == MAP_FAILED);
	ASSERT_EQ(SIGSEGV, fault_of(va, true));
	munmap(va, table.r.out_mmap_length);
	ASSERT_EQ(0, destroy(fd, table.r.out_extent_id));
	ASSERT(!can_map(fd, &table.r, PROT_READ, MAP_SHARED, 0));
	file_remove(&file);
}

/* The same file many times, by several open files; and several files at once */
FS_TEST(many_extents)
{
	int fd = homi_open(), other = homi_open();
	struct table tables[40];
	struct file a, b;
	unsigned int i;

	file_create(&a, dir, "many-a", 16 * PAGE, 42);
	file_create(&b, dir, "many-b", 16 * PAGE, 43);
	for (i = 0; i < ARRAY_SIZE(tables); i++) {
		table_open(&tables[i], i % 2 ? fd : other, i % 3 ? a.fd : b.fd, 0, 0);
		table_check(&tables[i], 0, 16 * PAGE);
	}
	for (i = 0; i < ARRAY_SIZE(tables); i++)
		ASSERT_EQ(i % 3 ? table_lookup(&tables[1], 0) : table_lookup(&tables[0], 0),
			  table_lookup(&tables[i], 0));
	ASSERT(table_lookup(&tables[0], 0) != table_lookup(&tables[1], 0));
	for (i = 0; i < ARRAY_SIZE(tables); i += 2)
		ASSERT_EQ(0, table_close(&tables[i]));
	ASSERT_EQ(HOMI_EXTENT_VALID, tables[1].t->state);
	for (i = 1; i < ARRAY_SIZE(tables); i += 2)
		ASSERT_EQ(0, table_close(&tables[i]));
	file_reopen(&a, O_RDWR | O_NONBLOCK);
	file_reopen(&b, O_RDWR | O_NONBLOCK);
	file_remove(&a);
	file_remove(&b);
}

/* A reflinked file's blocks are shared: reading them is fine. */
TEST(reflink_xfs)
{
	const char *dir = need_fs("xfs");
	int fd = homi_open(), clone;
	struct file file;
	char path[300];

	file_create(&file, dir, "reflink", 64 * PAGE, 44);
	snprintf(path, sizeof(path), "%s.clone", file.path);
	clone = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	ASSERT(clone >= 0);
	if (ioctl(clone, FICLONE, file.fd))
		SKIP("this XFS has no reflinks");
	ASSERT_EQ(sizeof(path), pwrite(clone, path, sizeof(path), 8 * PAGE));
	ASSERT(!fsync(clone));
	close(clone);
	check_file(fd, file.fd);
	clone = open(path, O_RDONLY);
	check_file(fd, clone);
	close(clone);
	ASSERT(!unlink(path));
	file_remove(&file);
}
