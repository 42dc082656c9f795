// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a read or a write of a file takes, in ticks of the time stamp counter that nobody else
 * has: for scripts/bench-io, under which these are instructions. By io_uring with a registered
 * file and registered buffers and O_DIRECT; by homi to and from the same pages; and to and from
 * memory without pages, an accelerator's if there is one. First while nobody has the file open
 * for writing, then while this program has.
 *
 * usage: count_io FILE IOS	(HOMI_DEV as for the tests; FILE of 16 MiB at least)
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "count.h"
#include "exporter.h"
#include "uring.h"

#define DEPTH	32u
#define LARGE	(128u << 10)
#define ROOM	(DEPTH * LARGE)
#define FILE_SIZE	(16u << 20)
#define LARGE_PAGE	(2u << 20)
#define TIMES		5

enum way { BASE, PAGES, EXTENTS, WAYS };

static struct io_uring rings[2];	/* for SQEs of either size */
static struct rw_target t;
static bool writes;
static uint32_t mems[WAYS];
static char *room[WAYS];

static void post(enum way way, unsigned int slot, uint64_t at, uint32_t size)
{
	struct io_uring_sqe *sqe;

	if (way == BASE) {
		sqe = io_uring_get_sqe(&rings[0]);
		if (writes)
			io_uring_prep_write_fixed(sqe, 0, room[BASE] + slot * size, size, at, 0);
		else
			io_uring_prep_read_fixed(sqe, 0, room[BASE] + slot * size, size, at, 0);
	} else {
		/* In place, as the library's helpers and io_uring's own do */
		sqe = io_uring_get_sqe(&rings[1]);
		io_uring_prep_rw(IORING_OP_URING_CMD, sqe, 0, NULL, 0, 0);
		sqe->off = writes ? HOMI_WRITE : HOMI_READ;
		*(struct homi_uring_rw *)sqe->cmd = (struct homi_uring_rw){
			.flags = way == EXTENTS ? HOMI_RW_BY_EXTENTS : HOMI_RW_BY_FS,
			.file = t.file,
			.file_offset = at,
			.mem_id = mems[way],
			.length = size,
			.mem_offset = (uint64_t)slot * size,
		};
	}
	sqe->flags |= IOSQE_FIXED_FILE;
}

static long long run(enum way way, uint32_t size, unsigned int depth, unsigned int ios)
{
	struct io_uring *ring = &rings[way != BASE];
	unsigned int done, i;
	struct count c = { 0 };

	/* A tenth before it is counted */
	for (done = 0; done < ios + ios / 10; done += depth) {
		if (!c.tsc && done >= ios / 10)
			c = count_begin();
		for (i = 0; i < depth; i++)
			post(way, i, (uint64_t)(done + i) * 7919 % (FILE_SIZE / size) * size, size);
		ASSERT_EQ(depth, io_uring_submit_and_wait(ring, depth));
		for (i = 0; i < depth; i++)
			ASSERT_EQ(size, uring_reap(ring, NULL));
	}
	return count_end(&c) / (long long)(done - ios / 10);
}

/* In large pages, where they can be had: what a file system likes best */
static void *memory(void)
{
	char *va = mmap(NULL, ROOM + LARGE_PAGE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT(va != MAP_FAILED);
	va = (char *)(((uintptr_t)va + LARGE_PAGE - 1) & ~(uintptr_t)(LARGE_PAGE - 1));
	madvise(va, ROOM, MADV_HUGEPAGE);
	memset(va, 0, ROOM);
	return va;
}

static void prepare(const char *path)
{
	struct iovec vec = { .iov_len = ROOM };
	int direct = open(path, O_RDONLY | O_DIRECT), dmabuf;
	struct homi_mem_register r;

	ASSERT(direct >= 0);
	t = (struct rw_target){ .fd = homi_open() };
	ASSERT_EQ(0, uring_open(&rings[0], 2 * DEPTH, 0));
	ASSERT_EQ(0, uring_open(&rings[1], 2 * DEPTH, IORING_SETUP_SQE128));
	room[BASE] = memory();
	room[PAGES] = room[BASE];
	room[EXTENTS] = memory();
	vec.iov_base = room[BASE];
	ASSERT_EQ(0, io_uring_register_files(&rings[0], &direct, 1));
	ASSERT_EQ(0, io_uring_register_buffers(&rings[0], &vec, 1));
	ASSERT_EQ(0, io_uring_register_files(&rings[1], &t.fd, 1));
	ASSERT_EQ(0, file_register(t.fd, direct, (uint32_t *)&t.file, NULL));
	ASSERT_EQ(0, mem_register(t.fd, room[PAGES], ROOM, HOMI_MEM_WRITE | HOMI_MEM_PAGES,
				  &mems[PAGES], NULL));
	if (access("/dev/homi_exporter", F_OK)) {
		ASSERT_EQ(0, mem_register(t.fd, room[EXTENTS], ROOM, HOMI_MEM_WRITE,
					  &mems[EXTENTS], NULL));
		return;
	}
	need_exporter();
	dmabuf = exporter_export(EXPORTER_BAR, 0, ROOM);
	ASSERT_EQ(0, mem_import(t.fd, dmabuf, 0, ROOM, HOMI_MEM_WRITE | HOMI_MEM_BAR, &r));
	mems[EXTENTS] = r.out_mem_id;
}

/* In turn, some times each; the middle one of these counts. */
static void measure(const char *op, uint32_t size, unsigned int depth, unsigned int ios)
{
	long long insn[WAYS][TIMES], middle[WAYS];
	unsigned int time, way;

	for (time = 0; time < TIMES; time++)
		for (way = 0; way < WAYS; way++)
			insn[way][time] = run(way, size, depth, ios);
	for (way = 0; way < WAYS; way++) {
		middle[way] = count_middle(insn[way], TIMES);
	}
	printf("io op=%s size=%u depth=%u io_uring=%lld pages=%lld ratio=%.2f extents=%lld ratio=%.2f\n",
	       op, size, depth, middle[BASE], middle[PAGES], (double)middle[PAGES] / middle[BASE],
	       middle[EXTENTS], (double)middle[EXTENTS] / middle[BASE]);
	printf("# of %u: io_uring %lld to %lld, pages %lld to %lld, extents %lld to %lld\n", TIMES,
	       insn[BASE][0], insn[BASE][TIMES - 1], insn[PAGES][0], insn[PAGES][TIMES - 1],
	       insn[EXTENTS][0], insn[EXTENTS][TIMES - 1]);
	fflush(stdout);
}

static void measure_all(const char *op, unsigned int ios)
{
	static const uint32_t sizes[] = { 4096, LARGE };
	static const unsigned int depths[] = { 1, DEPTH };
	unsigned int s, d;

	for (s = 0; s < 2; s++)
		for (d = 0; d < 2; d++)
			measure(op, sizes[s], depths[d], ios / (s ? 4 : 1) / DEPTH * DEPTH);
}

/* Blocks of it that are there already */
static bool open_for_writing(const char *path)
{
	int fd = open(path, O_RDWR | O_DIRECT);

	ASSERT(fd >= 0);
	ASSERT_EQ(1, io_uring_register_files_update(&rings[0], 0, &fd, 1));
	ASSERT_EQ(0, file_register(t.fd, fd, (uint32_t *)&t.file, NULL));
	t.mem = mems[EXTENTS];
	t.flags = HOMI_RW_BY_EXTENTS;
	return rw_do(&rings[1], &t, false, 0, 0, PAGE) == PAGE;
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	count_start();
	prepare(argv[1]);
	measure_all("read", atoi(argv[2]));
	if (!open_for_writing(argv[1])) {
		printf("# this kernel can't say where the file lies beside who writes\n");
		return 0;
	}
	measure_all("read_beside", atoi(argv[2]));
	writes = true;
	measure_all("write", atoi(argv[2]));
	return 0;
}
