/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HOMI_SELFTESTS_PEER_H
#define HOMI_SELFTESTS_PEER_H

/*
 * Memory that the kernel has no pages of: a BAR, where there is an accelerator, or else user
 * memory that is used like one, by demand. As harness.h: in the one file that has the tests.
 */

#define SIZE	(1u << 20)

#include <linux/magic.h>
#include <sys/vfs.h>

#include "exporter.h"
#include "uring_rw.h"

#define BLOCK	PAGE

static int dmabuf = -1;

static inline bool is_ext4(const char *dir)
{
	struct statfs st;

	ASSERT(!statfs(dir, &st));
	return st.f_type == EXT4_SUPER_MAGIC;
}

/* The controller reaches the accelerator's memory, and this is there. */
static inline bool import_bar(void)
{
	struct homi_mem_register r;

	if (access("/dev/homi_exporter", F_OK))
		return false;
	need_exporter();
	dmabuf = exporter_export(EXPORTER_BAR | EXPORTER_SCATTERED, 0, SIZE);
	if (mem_import(t.fd, dmabuf, 0, SIZE, HOMI_MEM_WRITE | HOMI_MEM_BAR, &r)) {
		close(dmabuf);
		dmabuf = -1;
		return false;
	}
	t.mem = r.out_mem_id;
	mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, 0);
	ASSERT(mem != MAP_FAILED);
	return true;
}

static inline void begin_peer(const char *dir, unsigned int flags)
{
	ASSERT_EQ(0, uring_open(&ring, ENTRIES, IORING_SETUP_SQE128 | flags));
	t = (struct rw_target){ .fd = homi_open() };
	copy = new_memory(SIZE);
	if (!import_bar()) {
		mem = new_memory(SIZE);
		ASSERT_EQ(0, mem_register(t.fd, mem, SIZE, HOMI_MEM_WRITE, &t.mem, NULL));
		t.flags = HOMI_RW_BY_EXTENTS;
	}
	if (!dir)
		return;
	file_create(&file, dir, "peer", SIZE, 1);
	ASSERT_EQ(0, file_register(t.fd, file.fd, (uint32_t *)&t.file, NULL));
}

/* A BAR is read in words, not by what string functions do. */
static inline void fetch(char *to, const char *from, size_t length)
{
	const volatile uint64_t *word = (const volatile uint64_t *)from;
	size_t i;

	for (i = 0; i < length / 8; i++)
		((uint64_t *)to)[i] = word[i];
}

/* A BAR is written to in words too. */
static inline void put(char *to, const char *from, size_t length)
{
	volatile uint64_t *word = (volatile uint64_t *)to;
	size_t i;

	for (i = 0; i < length / 8; i++)
		word[i] = ((const uint64_t *)from)[i];
}

/* One READ, what pread() says of it, and nothing else in the memory is touched. */
static inline void check_one(uint64_t at, uint64_t to, uint32_t length)
{
	static char got[SIZE];
	ssize_t want = pread(file.fd, copy, length, at);
	uint32_t end = 0;

	memset(mem, 0x11, SIZE);
	ASSERT_EQ(want, rw_do(&ring, &t, false, at, to, length));
	fetch(got, mem, SIZE);
	if (want)
		end = (want + 4095) & ~4095u;
	ASSERT_SAME(copy, got + to, want);
	ASSERT(is_filled(got, 0x11, to));
	/* Of the last block, which may be of 512 bytes, the rest is zero. */
	if (want % 512)
		ASSERT(is_filled(got + to + want, 0, 512 - want % 512));
	if (to + end < SIZE)
		ASSERT(is_filled(got + to + end, 0x11, SIZE - to - end));
}

/* Of many lengths, at places that are not those in the memory; @after those of one length */
static inline void in_pieces(void (*one)(uint64_t at, uint64_t to, uint32_t length),
			     void (*after)(void))
{
	static const uint32_t lengths[] = { 4096, 12288, 65536, 524288, SIZE };
	uint64_t at;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(lengths); i++) {
		uint64_t step = SIZE / 4 > lengths[i] ? SIZE / 4 : lengths[i];

		for (at = 0; at + lengths[i] <= SIZE; at += step)
			one(at, SIZE - lengths[i] - at, lengths[i]);
		if (after)
			after();
	}
}

static inline void check_reads(void)
{
	in_pieces(check_one, NULL);
	/* An address within a page, as PRP1 may have it */
	check_one(2 * PAGE, 512, 3 * PAGE);
	check_one(2 * PAGE, 5 * PAGE + 2048, 64 * PAGE);
}

/* How many gave data; the others have to say @other. */
static inline unsigned int reap_many(int other)
{
	unsigned int i, good = 0;

	for (i = 0; i < ENTRIES; i++) {
		int res = uring_reap(&ring, NULL);

		good += res == PIECE;
		if (res != PIECE)
			ASSERT_EQ(other, res);
	}
	return good;
}

/* The ways to have many in flight: by @check(dir, flags of the ring, flags of each SQE) */
#define AT_DEPTH(check)								\
	FS_TEST(at_depth) { check(dir, 0, 0); }					\
	FS_TEST(at_depth_by_workers) { check(dir, 0, IOSQE_ASYNC); }		\
	FS_TEST(at_depth_by_a_polling_thread) { check(dir, IORING_SETUP_SQPOLL, 0); }

static inline int act_punch(const char *path)
{
	int fd = open(path, O_RDWR);

	return fd < 0 || fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, SIZE) ||
	       close(fd) ? errno : 0;
}

/* What the file has, for a test that writes to it */
static char model[SIZE];

/* A FILE by a descriptor that can write */
static inline void begin_anyway(const char *dir, unsigned int flags)
{
	begin_peer(dir, flags);
	ASSERT_EQ(0, destroy(t.fd, t.file));
	file_reopen(&file, O_RDWR);
	ASSERT_EQ(0, file_register(t.fd, file.fd, (uint32_t *)&t.file, NULL));
	ASSERT_EQ(SIZE, pread(file.fd, model, SIZE, 0));
}

/* Where it can't be had, this is seen and the end. */
static inline void begin_beside(const char *dir, unsigned int flags)
{
	begin_anyway(dir, flags);
	if (goes_beside())
		return;
	ASSERT_EQ(-EAGAIN, rw_do(&ring, &t, false, 0, 0, PAGE));
	ASSERT_EQ(-EOPNOTSUPP, rw_do(&ring, &t, true, 0, 0, PAGE));
	file_remove(&file);
	SKIP("this kernel's file system can't say where a file lies beside who writes to it");
}

#endif
