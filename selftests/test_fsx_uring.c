// SPDX-License-Identifier: GPL-2.0-only
/*
 * A file is changed in all ways there are, at random, by READ and WRITE of homi's among others,
 * and compared with a model: by each of the two ways, by a descriptor for both and by one that
 * only reads. What goes is right, byte for byte; what does not says so and has done nothing.
 */
#include <linux/fs.h>
#include <sys/stat.h>

#include "churn.h"
#include "harness.h"
#include "peer.h"
#include "witness.h"

/* What homi did of it */
static struct {
	unsigned long reads, writes, refused_reads, refused_writes, nobodys;
} did;

static bool by_extents;

/* Whole blocks, as direct I/O wants them */
static size_t some_range(size_t *length)
{
	size_t block = 512, blocks = MAX_SIZE / block, first = seed_next(&ch->seed, blocks);

	if (bdev_block_size() > block || seed_next(&ch->seed, 2)) {
		block = PAGE;
		blocks = MAX_PAGES;
		first = seed_next(&ch->seed, blocks);
	}
	*length = (1 + seed_next(&ch->seed, blocks - first)) * block;
	return first * block;
}

/* Refused is what goes by extents only where the file system has to do something for it. */
static bool is_refused(int res)
{
	return by_extents && (res == -EAGAIN || res == -EOPNOTSUPP);
}

/*
 * XFS may have blocks that it has not allocated yet where nothing is dirty, behind an end that
 * has moved since, and then has no direct I/O of them: for nobody.
 */
static void check_is_stocks(size_t offset, size_t length)
{
	static char buf[MAX_SIZE] __attribute__((aligned(4096)));
	int fd = churn_open(O_RDONLY | O_DIRECT);

	ASSERT_EQ(-1, pread(fd, buf, length, offset));
	ASSERT_EQ(EIO, errno);
	close(fd);
	did.nobodys++;
}

static void do_read(void)
{
	size_t length, offset = some_range(&length), want = 0;
	static char got[MAX_SIZE];
	int res;

	if (offset < ch->size)
		want = ch->size - offset < length ? ch->size - offset : length;
	memset(mem, 0x11, MAX_SIZE);
	res = rw_do(&ring, &t, false, offset, MAX_SIZE - length, length);
	if (is_refused(res)) {
		did.refused_reads++;
		return;
	}
	if (res == -EIO) {
		check_is_stocks(offset, length);
		return;
	}
	ASSERT_EQ(want, res);
	fetch(got, mem, MAX_SIZE);
	ASSERT_SAME(ch->model + offset, got + MAX_SIZE - length, want);
	ASSERT(is_filled(got, 0x11, MAX_SIZE - length));
	did.reads++;
}

static void do_write(void)
{
	size_t length, offset = some_range(&length);
	const char *data = churn_data();
	int res;

	put(mem, data, MAX_SIZE);
	res = rw_do(&ring, &t, true, offset, MAX_SIZE - length, length);
	if (is_refused(res)) {
		did.refused_writes++;
		return;
	}
	ASSERT_EQ(length, res);
	model_write(offset, data + MAX_SIZE - length, length);
	did.writes++;
}

/* By the file system, with nothing of homi's */
static void compare(void)
{
	static char got[MAX_SIZE + 1];
	int fd = churn_open(O_RDONLY);

	ASSERT_EQ(ch->size, pread(fd, got, sizeof(got), 0));
	ASSERT_SAME(ch->model, got, ch->size);
	close(fd);
}

/* Another file may have its name by now. */
static bool is_still_it(int fd)
{
	struct stat is, was;

	ASSERT(!stat(ch->path, &is) && !fstat(fd, &was));
	return is.st_ino == was.st_ino;
}

static void some_of_each(int flags)
{
	unsigned int n = 1 + seed_next(&ch->seed, 6);
	int fd;

	/* XFS remembers for ever that a file shared blocks once. */
	if (!seed_next(&ch->seed, 4))
		churn_replace();
	fd = churn_open(flags);
	ASSERT_EQ(0, file_register(t.fd, fd, (uint32_t *)&t.file, NULL));
	while (n--) {
		switch (seed_next(&ch->seed, 4)) {
		case 0:
			if (flags == O_RDWR)
				churn_by_descriptor(fd);
			else
				churn_change();
			break;
		case 1:
			if (flags == O_RDWR)
				do_write();
			break;
		default:
			if (flags == O_RDWR || is_still_it(fd))
				do_read();
		}
	}
	ASSERT_EQ(0, destroy(t.fd, t.file));
	close(fd);
	compare();
}

static void churn_by(const char *dir, uint32_t way)
{
	unsigned int rounds = times(4000, 400), i;

	begin_peer(NULL, 0);
	by_extents = way == HOMI_RW_BY_EXTENTS;
	if (!by_extents) {
		mem = new_memory(SIZE);
		t.mem = register_pages(t.fd, mem, SIZE, HOMI_MEM_WRITE);
	}
	t.flags = way;
	churn_begin(dir);
	for (i = 0; i < rounds; i++)
		some_of_each(seed_next(&ch->seed, 3) ? O_RDWR : O_RDONLY);
	printf("# fsx: %lu reads, %lu refused; %lu writes, %lu refused; %lu not by pread either\n",
	       did.reads, did.refused_reads, did.writes, did.refused_writes, did.nobodys);
	ASSERT(did.reads > rounds / 8);
	if (!by_extents)
		ASSERT_EQ(0, did.refused_reads + did.refused_writes);
	/* Where nobody can say where it lies beside a writer, those who only read still can. */
	if (!by_extents || goes_beside())
		ASSERT(did.writes > rounds / 64);
	else
		ASSERT_EQ(0, did.writes);
	churn_end();
}

FS_TEST_TIMEOUT(by_file_system, 240)
{
	churn_by(dir, HOMI_RW_BY_FS);
}

FS_TEST_TIMEOUT(by_blocks, 240)
{
	churn_by(dir, HOMI_RW_BY_EXTENTS);
}
