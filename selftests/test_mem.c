// SPDX-License-Identifier: GPL-2.0-only
/* MEM: what may be registered, how it is told, and that DMA lands in it. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "harness.h"
#include "ring.h"

#define HUGE_PAGE	(2u << 20)

static char *map(size_t length, int prot, int flags, int fd)
{
	void *va = mmap(NULL, length, prot, flags, fd, 0);

	ASSERT(va != MAP_FAILED);
	return va;
}

static char *anonymous(size_t length)
{
	return map(length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

static void check_segments(const struct dma *dma)
{
	uint64_t at = 0;
	uint32_t i;

	for (i = 0; i < dma->segments; i++) {
		ASSERT_EQ(at, dma->seg[i].offset);
		ASSERT(dma->seg[i].length > 0 && dma->seg[i].length % PAGE == 0);
		ASSERT(dma->seg[i].dma_addr % PAGE == 0);
		ASSERT(dma->seg[i].dma_addr + dma->seg[i].length > dma->seg[i].dma_addr);
		at += dma->seg[i].length;
	}
	ASSERT_EQ(dma->length, at);
}

/* Reads known data into @dma by a queue and looks for them at @where. */
static void check_dma(int fd, const struct dma *dma, const char *where, size_t length)
{
	struct area area;
	struct ring ring;
	struct dma list;
	char *copy;

	ASSERT(!posix_memalign((void **)&copy, PAGE, length));
	area_open(&area, length);
	area_fill(&area, length, copy);
	ring_open(&ring, fd, 16);
	dma_new(&list, fd, PAGE);
	ASSERT_EQ(0, ring_copy(&ring, NVME_READ, &area, 0, length, dma, &list, max_step(fd)));
	if (where)
		ASSERT_SAME(where, copy, length);
	ASSERT_EQ(0, ring_destroy(&ring));
	ring_unmap(&ring);
	ASSERT_EQ(0, dma_destroy(&list));
	free(copy);
}

TEST(anonymous_memory)
{
	static const size_t sizes[] = { PAGE, 3 * PAGE, 1 << 20, 5 << 20 };
	int fd = homi_open();
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct dma dma;

		dma_new(&dma, fd, sizes[i]);
		check_segments(&dma);
		ASSERT_EQ(0, dma_destroy(&dma));
		ASSERT(is_filled(dma.va, 0xa5, sizes[i]));
	}
}

TEST(anonymous_dma)
{
	int fd = homi_open();
	struct dma dma;

	need_queues(fd, 1);
	dma_new(&dma, fd, 1 << 20);
	check_dma(fd, &dma, dma.va, 1 << 20);
}

/* Pages that were never touched are made by the registration. */
TEST(untouched_memory)
{
	int fd = homi_open();
	char *va = anonymous(64 * PAGE);
	struct dma dma;

	dma_from(&dma, fd, va, 64 * PAGE, HOMI_MEM_WRITE);
	check_segments(&dma);
	ASSERT(is_filled(va, 0, 64 * PAGE));
	need_queues(fd, 1);
	check_dma(fd, &dma, va, 64 * PAGE);
}

TEST(memfd)
{
	int fd = homi_open(), file = memfd_create("homi", MFD_CLOEXEC);
	char *va, *again;
	struct dma dma;

	ASSERT(file >= 0 && !ftruncate(file, 1 << 20));
	va = map(1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, file);
	again = map(1 << 20, PROT_READ, MAP_SHARED, file);
	dma_from(&dma, fd, va, 1 << 20, HOMI_MEM_WRITE);
	check_segments(&dma);
	need_queues(fd, 1);
	check_dma(fd, &dma, again, 1 << 20);
}

TEST(hugetlb)
{
	const char *count = "/proc/sys/vm/nr_hugepages";
	int fd = homi_open();
	struct dma dma;
	void *va;

	need_own_machine("its huge pages are taken");
	if (sysfs_number("%s", count) < 4 && !sysfs_write(count, "4"))
		SKIP("huge pages cannot be reserved");
	va = mmap(NULL, 2 * HUGE_PAGE, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (va == MAP_FAILED)
		SKIP("no huge pages: %s", strerror(errno));
	memset(va, 1, 2 * HUGE_PAGE);
	dma_from(&dma, fd, va, 2 * HUGE_PAGE, HOMI_MEM_WRITE);
	check_segments(&dma);
	ASSERT(dma.segments <= 2);
	ASSERT_EQ(0, dma_destroy(&dma));
	/* a part of one, off its start */
	dma_from(&dma, fd, (char *)va + 3 * PAGE, HUGE_PAGE, HOMI_MEM_WRITE);
	check_segments(&dma);
	if (ctrl_info(fd).out_queues_spare)
		check_dma(fd, &dma, dma.va, 1 << 20);
	ASSERT_EQ(0, dma_destroy(&dma));
	munmap(va, 2 * HUGE_PAGE);
	sysfs_write(count, "0");
}

TEST(read_only_mapping)
{
	int fd = homi_open();
	char *va = anonymous(4 * PAGE);
	uint32_t id;

	memset(va, 0x5a, 4 * PAGE);
	ASSERT(!mprotect(va, 4 * PAGE, PROT_READ));
	ASSERT_EQ(-EFAULT, mem_register(fd, va, 4 * PAGE, HOMI_MEM_WRITE, &id, NULL));
	ASSERT_EQ(0, mem_register(fd, va, 4 * PAGE, 0, &id, NULL));
	ASSERT_EQ(0, destroy(fd, id));
	/* one page of it suffices */
	ASSERT(!mprotect(va, 2 * PAGE, PROT_READ | PROT_WRITE));
	ASSERT_EQ(-EFAULT, mem_register(fd, va, 4 * PAGE, HOMI_MEM_WRITE, &id, NULL));
	ASSERT_EQ(0, mem_register(fd, va, 2 * PAGE, HOMI_MEM_WRITE, &id, NULL));
}

/* What the controller only reads: NVMe Write out of read-only pages */
TEST(read_only_source)
{
	int fd = homi_open();
	char *va = anonymous(2 * PAGE), *copy;
	struct area area;
	struct ring ring;
	struct dma dma;
	struct sqe sqe;

	need_queues(fd, 1);
	area_open(&area, 2 * PAGE);
	area_need_write(&area);
	fill_random(va, 2 * PAGE, now_ms());
	ASSERT(!mprotect(va, 2 * PAGE, PROT_READ));
	dma_from(&dma, fd, va, 2 * PAGE, 0);
	ring_open(&ring, fd, 4);
	sqe = sqe_rw(NVME_WRITE, &area, 0, 2 * PAGE, &dma, 0, NULL);
	ASSERT_EQ(0, ring_do(&ring, &sqe));
	ASSERT(!posix_memalign((void **)&copy, PAGE, 2 * PAGE));
	area_pread(&area, 0, copy, 2 * PAGE);
	ASSERT_SAME(va, copy, 2 * PAGE);
	/* Where an IOMMU translates it enforces that; a fault of it would make dmesg dirty. */
}

TEST(bad_ranges)
{
	int fd = homi_open();
	char *va = anonymous(8 * PAGE);
	uint32_t id;

	ASSERT_EQ(-EINVAL, mem_register(fd, va + 1, PAGE, 0, &id, NULL));
	ASSERT_EQ(-EINVAL, mem_register(fd, va + 512, PAGE, 0, &id, NULL));
	ASSERT_EQ(-EINVAL, mem_register(fd, va, PAGE + 1, 0, &id, NULL));
	ASSERT_EQ(-EINVAL, mem_register(fd, va, 512, 0, &id, NULL));
	ASSERT_EQ(-EINVAL, mem_register(fd, va, 0, 0, &id, NULL));
	ASSERT_EQ(-EFAULT, mem_register(fd, NULL, PAGE, 0, &id, NULL));
	ASSERT(!munmap(va + 4 * PAGE, PAGE));
	ASSERT_EQ(-EFAULT, mem_register(fd, va + 4 * PAGE, PAGE, 0, &id, NULL));
	ASSERT_EQ(-EFAULT, mem_register(fd, va, 8 * PAGE, 0, &id, NULL));
	ASSERT(!mprotect(va, PAGE, PROT_NONE));
	ASSERT_EQ(-EFAULT, mem_register(fd, va, PAGE, 0, &id, NULL));
	ASSERT_EQ(-EFAULT, mem_register(fd, va, PAGE, HOMI_MEM_WRITE, &id, NULL));
}

/* Numbers that overflow, and ones that no machine has */
TEST(huge_ranges)
{
	static const struct { uint64_t addr, length; } bad[] = {
		{ 0x10000, ~0ull - PAGE + 1 },
		{ ~0ull - PAGE + 1, PAGE },
		{ ~0ull - PAGE + 1, 2 * PAGE },
		{ 0x10000, 1ull << 63 },
		{ 0x10000, 1ull << 44 },
		{ 0x7ffffffff000, PAGE },
		{ 0xffffffff81000000, PAGE },
		{ 0xffff888000000000, 1 << 20 },
	};
	int fd = homi_open();
	unsigned int i;
	uint32_t id;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		int err = mem_register(fd, (void *)bad[i].addr, bad[i].length, 0, &id, NULL);

		if (err != -EINVAL && err != -EFAULT && err != -ENOMEM && err != -EDQUOT)
			FAIL("row %u: %d", i, err);
	}
}

TEST(bad_type)
{
	static const uint32_t types[] = { 0, 2, 3, 0x80000001, ~0u };
	struct homi_mem_register reg = { .size = sizeof(reg), .length = PAGE };
	int fd = homi_open();
	unsigned int i;

	reg.addr = (uintptr_t)anonymous(PAGE);
	for (i = 0; i < ARRAY_SIZE(types); i++) {
		int err;

		reg.type = types[i];
		err = homi_call(fd, HOMI_MEM_REGISTER, &reg);
		if (err != -EINVAL && err != -EOPNOTSUPP)
			FAIL("type %u: %d", types[i], err);
	}
}

/* Mapped device memory and files with a page cache of their own are not DMA memory. */
TEST(not_dma_memory)
{
	const char *dir = getenv("HOMI_EXT4");
	int fd = homi_open(), file;
	struct ring ring;
	char path[256];
	uint32_t id;
	char *va;

	if (dir && *dir) {
		snprintf(path, sizeof(path), "%s/mapped.%d", dir, getpid());
		file = open(path, O_RDWR | O_CREAT, 0600);
		ASSERT(file >= 0 && !unlink(path) && !ftruncate(file, 4 * PAGE));
		va = map(4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file);
		memset(va, 1, 4 * PAGE);
		ASSERT(mem_register(fd, va, 4 * PAGE, HOMI_MEM_WRITE, &id, NULL) < 0);
	}
	need_queues(fd, 1);
	ring_open(&ring, fd, 64);
	ASSERT(mem_register(fd, (void *)ring.sq, PAGE, 0, &id, NULL) < 0);
	ASSERT(mem_register(fd, ring.db, PAGE, HOMI_MEM_WRITE, &id, NULL) < 0);
	if (ring.shadow)
		ASSERT(mem_register(fd, ring.shadow, PAGE, HOMI_MEM_WRITE, &id, NULL) < 0);
}

static void as_nobody_with_limit(int fd, char *va)
{
	struct rlimit limit = { 16 * PAGE, 16 * PAGE };
	uint32_t first, second;

	ASSERT(!setrlimit(RLIMIT_MEMLOCK, &limit));
	become_nobody();
	ASSERT_EQ(-ENOMEM, mem_register(fd, va, 17 * PAGE, 0, &first, NULL));
	ASSERT_EQ(0, mem_register(fd, va, 10 * PAGE, 0, &first, NULL));
	ASSERT_EQ(-ENOMEM, mem_register(fd, va, 7 * PAGE, 0, &second, NULL));
	ASSERT_EQ(0, mem_register(fd, va, 6 * PAGE, 0, &second, NULL));
	ASSERT_EQ(-ENOMEM, mem_register(fd, va, PAGE, 0, &second, NULL));
	/* What is destroyed may be registered anew. */
	ASSERT_EQ(0, destroy(fd, first));
	ASSERT_EQ(0, mem_register(fd, va, 10 * PAGE, 0, &first, NULL));
	ASSERT_EQ(-ENOMEM, mem_register(fd, va, PAGE, 0, &second, NULL));
}

TEST(memlock_limit)
{
	int fd = homi_open();
	char *va = anonymous(64 * PAGE);
	struct rlimit limit = { PAGE, PAGE };
	uint32_t id;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (!pid) {
		as_nobody_with_limit(fd, va);
		_exit(0);
	}
	ASSERT_EQ(0, child_status(pid));
	/* CAP_IPC_LOCK */
	ASSERT(!setrlimit(RLIMIT_MEMLOCK, &limit));
	ASSERT_EQ(0, mem_register(fd, va, 64 * PAGE, 0, &id, NULL));
}

TEST(segments_need_room)
{
	const size_t length = 256 * PAGE;
	struct homi_segment *seg, mark;
	int fd = homi_open();
	uint32_t count, i;
	struct dma dma;

	dma_new(&dma, fd, length);
	memset(&mark, 0x99, sizeof(mark));
	seg = malloc((dma.segments + 1) * sizeof(*seg));
	count = 0;
	ASSERT_EQ(-EMSGSIZE, mem_segments(fd, dma.id, NULL, &count));
	ASSERT_EQ(dma.segments, count);
	for (i = 0; i <= dma.segments; i++)
		seg[i] = mark;
	count = dma.segments - 1;
	ASSERT_EQ(-EMSGSIZE, mem_segments(fd, dma.id, seg, &count));
	ASSERT_EQ(dma.segments, count);
	count = dma.segments + 1;
	ASSERT_EQ(0, mem_segments(fd, dma.id, seg, &count));
	ASSERT_EQ(dma.segments, count);
	ASSERT_SAME(&seg[dma.segments], &mark, sizeof(mark));
	ASSERT_SAME(seg, dma.seg, dma.segments * sizeof(*seg));
	count = ~0u;
	ASSERT_EQ(0, mem_segments(fd, dma.id, seg, &count));
	ASSERT_EQ(-EFAULT, mem_segments(fd, dma.id, NULL, &count));
	ASSERT_EQ(-EFAULT, mem_segments(fd, dma.id, (void *)-PAGE, &count));
}

/* EBUSY only while a queue lives that could target it. */
TEST(destroy_busy)
{
	int fd = homi_open(), other = homi_open();
	struct dma dma, elsewhere;
	struct ring ring;

	need_queues(fd, 1);
	dma_new(&dma, fd, PAGE);
	dma_new(&elsewhere, other, PAGE);
	ASSERT_EQ(0, ring_create(&ring, fd, 4));
	ASSERT_EQ(-EBUSY, destroy(fd, dma.id));
	ASSERT_EQ(0, dma_destroy(&elsewhere));
	ASSERT_EQ(-EBUSY, destroy(fd, dma.id));
	ASSERT_EQ(0, ring_destroy(&ring));
	ASSERT_EQ(0, dma_destroy(&dma));
}

/* The pages are pinned: they stay when the mapping goes, and when the file shrinks. */
TEST(munmap_then_dma)
{
	const size_t length = 64 * PAGE;
	int fd = homi_open(), file = memfd_create("homi", MFD_CLOEXEC);
	struct dma shared, private;
	char *va, *again;

	need_queues(fd, 1);
	ASSERT(file >= 0 && !ftruncate(file, length));
	va = map(length, PROT_READ | PROT_WRITE, MAP_SHARED, file);
	dma_from(&shared, fd, va, length, HOMI_MEM_WRITE);
	dma_new(&private, fd, length);
	ASSERT(!munmap(va, length));
	ASSERT(!munmap(private.va, length));
	/* Whoever gets memory now must not get these pages. */
	again = anonymous(8 << 20);
	memset(again, 0x42, 8 << 20);
	check_dma(fd, &private, NULL, length);
	ASSERT(is_filled(again, 0x42, 8 << 20));
	va = map(length, PROT_READ, MAP_SHARED, file);
	check_dma(fd, &shared, va, length);
	ASSERT(!ftruncate(file, 0));
	check_dma(fd, &shared, NULL, length);
	ASSERT(is_filled(again, 0x42, 8 << 20));
	ASSERT_EQ(0, dma_destroy(&shared));
	ASSERT_EQ(0, dma_destroy(&private));
}

/* A child that shares the pages does not take them away from the DMA. */
TEST(fork_then_dma)
{
	int fd = homi_open();
	struct dma dma;
	pid_t pid;

	need_queues(fd, 1);
	dma_new(&dma, fd, 16 * PAGE);
	pid = fork();
	if (!pid) {
		pause();
		_exit(0);
	}
	memset(dma.va, 0x11, 16 * PAGE);
	check_dma(fd, &dma, dma.va, 16 * PAGE);
	kill(pid, SIGKILL);
	ASSERT_EQ(128 + SIGKILL, child_status(pid));
}

/* The same pages twice, and over each other, at two open files */
TEST(overlapping)
{
	int fd = homi_open(), other = homi_open();
	char *va = anonymous(32 * PAGE);
	struct dma a, b, c;

	dma_from(&a, fd, va, 32 * PAGE, HOMI_MEM_WRITE);
	dma_from(&b, fd, va + 8 * PAGE, 16 * PAGE, HOMI_MEM_WRITE);
	dma_from(&c, other, va, 32 * PAGE, 0);
	check_segments(&a);
	check_segments(&b);
	check_segments(&c);
	need_queues(fd, 1);
	check_dma(fd, &b, va + 8 * PAGE, 16 * PAGE);
	ASSERT_EQ(0, dma_destroy(&a));
	check_dma(fd, &b, va + 8 * PAGE, 16 * PAGE);
	close(fd);
	ASSERT_EQ(0, dma_destroy(&c));
}

/* Given back: many times more than the machine could keep. */
TEST(no_leak)
{
	long long before = 0, after;
	int fd = homi_open();
	char *va = anonymous(16 << 20);
	unsigned int i;
	uint32_t id;

	memset(va, 1, 16 << 20);
	for (i = 0; i < 40; i++) {
		ASSERT_EQ(0, mem_register(fd, va, 16 << 20, HOMI_MEM_WRITE, &id, NULL));
		if (i % 2)
			ASSERT_EQ(0, destroy(fd, id));
		else
			close(fd), fd = homi_open();
		munmap(va, 16 << 20);
		va = anonymous(16 << 20);
		memset(va, 1, 16 << 20);
		after = 0;
		if (i == 5 || i == 39) {
			FILE *file = fopen("/proc/meminfo", "r");
			char line[128];

			while (file && fgets(line, sizeof(line), file))
				sscanf(line, "MemAvailable: %lld", &after);
			ASSERT(after > 0);
			fclose(file);
		}
		if (i == 5)
			before = after;
	}
	/* 34 rounds that leaked would have cost 544 MiB */
	ASSERT(after > before - 200 * 1024);
}
