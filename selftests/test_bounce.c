// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where each mapping goes through a bounce buffer (boot with swiotlb=force): memory that
 * would have to be copied is refused, never wrong, and what needs none works.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "harness.h"
#include "ring.h"

static void need_bouncing(void)
{
	if (shell("grep -q 'swiotlb=.*force' /proc/cmdline"))
		SKIP("this kernel was booted without swiotlb=force");
}

TEST(memory_is_refused)
{
	static const size_t sizes[] = { PAGE, 16 * PAGE, 4 << 20 };
	int fd, memfd;
	uint32_t id;
	unsigned int i;

	need_bouncing();
	fd = homi_open();
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		void *va = mmap(NULL, sizes[i], PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		ASSERT(va != MAP_FAILED);
		ASSERT_EQ(-EOPNOTSUPP, mem_register(fd, va, sizes[i], HOMI_MEM_WRITE, &id, NULL));
		ASSERT_EQ(-EOPNOTSUPP, mem_register(fd, va, sizes[i], 0, &id, NULL));
		munmap(va, sizes[i]);
		memfd = memfd_create("homi", MFD_CLOEXEC);
		ASSERT(memfd >= 0 && !ftruncate(memfd, sizes[i]));
		va = mmap(NULL, sizes[i], PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
		ASSERT(va != MAP_FAILED);
		ASSERT_EQ(-EOPNOTSUPP, mem_register(fd, va, sizes[i], HOMI_MEM_WRITE, &id, NULL));
		munmap(va, sizes[i]);
		close(memfd);
	}
}

/* Refused 2000 times it keeps none of the bounce buffers, of which there are 64 MiB. */
TEST(refused_leaks_nothing)
{
	unsigned int i;
	uint32_t id;
	void *va;
	int fd;

	need_bouncing();
	fd = homi_open();
	va = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT(va != MAP_FAILED);
	for (i = 0; i < 2000; i++)
		ASSERT_EQ(-EOPNOTSUPP, mem_register(fd, va, 16 * PAGE, HOMI_MEM_WRITE, &id, NULL));
}

/* Rings are coherent memory: a command without data works, beside stock's own I/O. */
TEST(rings_work)
{
	struct sqe flush = { .opcode = NVME_FLUSH };
	struct area area;
	struct ring ring;
	unsigned int i;
	char *copy, *got;
	int fd;

	need_bouncing();
	fd = homi_open();
	need_queues(fd, 1);
	ring_open(&ring, fd, 16);
	flush.nsid = bdev_nsid();
	ASSERT(!posix_memalign((void **)&copy, PAGE, 1 << 20));
	ASSERT(!posix_memalign((void **)&got, PAGE, 1 << 20));
	area_open(&area, 1 << 20);
	area_fill(&area, 5, copy);
	for (i = 0; i < 100; i++)
		ASSERT_EQ(NVME_SC_SUCCESS, ring_do(&ring, &flush));
	area_pread(&area, 0, got, 1 << 20);
	ASSERT_SAME(copy, got, 1 << 20);
	ASSERT_EQ(0, ring_destroy(&ring));
	ring_unmap(&ring);
}
