/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HOMI_SELFTESTS_URING_RW_H
#define HOMI_SELFTESTS_URING_RW_H

/* A file, a MEM and a ring, for READ and WRITE. As harness.h: in the one file that has the tests. */

#include <fcntl.h>
#include <sys/mman.h>

#include "files.h"
#include "uring.h"

/* Of the file and of the MEM */
#ifndef SIZE
#define SIZE	(2u << 20)
#endif
#define ENTRIES	64u

static struct io_uring ring;
static struct rw_target t;
static struct file file;
static char *mem, *copy;

static inline uint32_t register_pages(int fd, void *addr, size_t length, uint32_t flags)
{
	uint32_t id;

	ASSERT_EQ(0, mem_register(fd, addr, length, flags | HOMI_MEM_PAGES, &id, NULL));
	return id;
}

static inline char *new_memory(size_t size)
{
	char *va = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT(va != MAP_FAILED);
	return va;
}

/* A file of SIZE bytes and some, open for both, a MEM as large, and a ring */
static inline void begin(const char *dir, unsigned int flags)
{
	ASSERT_EQ(0, uring_open(&ring, ENTRIES, IORING_SETUP_SQE128 | flags));
	t = (struct rw_target){ .fd = homi_open() };
	mem = new_memory(SIZE);
	copy = new_memory(SIZE);
	t.mem = register_pages(t.fd, mem, SIZE, HOMI_MEM_WRITE);
	if (!dir)
		return;
	file_create(&file, dir, "uring", SIZE, 1);
	file_reopen(&file, O_RDWR);
	ASSERT_EQ(0, file_register(t.fd, file.fd, (uint32_t *)&t.file, NULL));
}

static inline struct homi_io_stats own_stats(void)
{
	struct homi_io_stats stats = { .size = sizeof(stats) };

	ASSERT_EQ(0, homi_call(t.fd, HOMI_IO_STATS, &stats));
	return stats;
}

/* The same file and a FILE of it once more, for a child */
static inline void register_again(int flags)
{
	file.fd = open(file.path, flags);
	ASSERT_EQ(0, file_register(t.fd, file.fd, (uint32_t *)&t.file, NULL));
}

/* From here on by the file's blocks: nobody has it open for writing, and another MEM of the same */
static inline void begin_extents(void)
{
	uint32_t id;

	ASSERT_EQ(0, destroy(t.fd, t.file));
	file_reopen(&file, O_RDONLY);
	ASSERT_EQ(0, file_register(t.fd, file.fd, (uint32_t *)&t.file, NULL));
	ASSERT_EQ(0, mem_register(t.fd, mem, SIZE, HOMI_MEM_WRITE, &id, NULL));
	t.mem = id;
	t.flags = HOMI_RW_BY_EXTENTS;
}

#define PIECE	(SIZE / ENTRIES)

/* As many as the ring has room for, of all of it */
static inline void post_many(bool write)
{
	unsigned int i;

	for (i = 0; i < ENTRIES; i++) {
		struct homi_uring_rw rw = rw_make(&t, (uint64_t)i * PIECE, (uint64_t)i * PIECE, PIECE);

		rw_post(&ring, t.fd, write, &rw, i);
	}
	ASSERT_EQ(ENTRIES, io_uring_submit(&ring));
}

#endif
