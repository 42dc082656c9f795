// SPDX-License-Identifier: GPL-2.0-only
/* Memory, mappings and descriptors are given up, in any order, while commands are in flight. */
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "harness.h"
#include "victim.h"

#define SPARE_PAGES	8192u	/* left to the rest of the machine */

/* --- memory that the process gives up or moves --- */

static uint64_t frame_of(int pagemap, const void *va)
{
	uint64_t entry;

	ASSERT_EQ(sizeof(entry), pread(pagemap, &entry, sizeof(entry),
				       (uintptr_t)va / PAGE * sizeof(entry)));
	return entry >> 63 ? entry & ((1ull << 55) - 1) : 0;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* New small pages, filled; how many of them are in the sorted list of @frames? */
static unsigned int allocate(char **va, size_t pages, int pagemap, const uint64_t *frames,
			     size_t count)
{
	unsigned int found = 0;
	uint64_t frame;
	size_t i;

	*va = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT(*va != MAP_FAILED);
	madvise(*va, pages * PAGE, MADV_NOHUGEPAGE);
	memset(*va, 0x2e, pages * PAGE);
	for (i = 0; i < pages; i++) {
		frame = frame_of(pagemap, *va + i * PAGE);
		ASSERT(frame);
		found += bsearch(&frame, frames, count, sizeof(frame), by_value) != NULL;
	}
	return found;
}

static void keep_reading(struct ring *ring, const struct dma *dma, unsigned int ms)
{
	uint64_t end = now_ms() + ms;
	unsigned int k = 0, in_flight = 0;
	struct cqe cqe;

	while (now_ms() < end || in_flight) {
		while (now_ms() < end && !ring_full(ring)) {
			struct sqe sqe = sqe_rw(NVME_READ, &fx.area, k % BLOCKS * PAGE, PAGE, dma,
						(size_t)k % (dma->length / PAGE) * PAGE, NULL);

			ring_post(ring, &sqe);
			in_flight++;
			k++;
		}
		ring_doorbell(ring);
		for (; in_flight && ring_take(ring, &cqe); in_flight--)
			ASSERT_EQ(0, cqe.status >> 1);
		ring_cq_doorbell(ring);
	}
}

/*
 * Unmapped while the controller writes to it: the frames go to nobody else before DESTROY, and
 * to others after it.
 */
TEST_TIMEOUT(unmapped_memory_is_not_recycled, 120)
{
	size_t pages = getenv("HOMI_SLOW") ? 512 : 2048, many, got = 0, i;
	int fd, pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t *frames = calloc(pages, sizeof(*frames));
	struct ring ring;
	struct cqe cqe;
	struct sqe sqe;
	struct dma dma;
	cpu_set_t cpu;
	char *va;

	fixture_open();
	ASSERT(pagemap >= 0);
	/* What is freed here waits for who asks next on the same processor. */
	CPU_ZERO(&cpu);
	CPU_SET(0, &cpu);
	ASSERT(!sched_setaffinity(0, sizeof(cpu), &cpu));
	fd = homi_open();
	va = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT(va != MAP_FAILED);
	madvise(va, pages * PAGE, MADV_NOHUGEPAGE);
	memset(va, 1, pages * PAGE);
	dma_from(&dma, fd, va, pages * PAGE, HOMI_MEM_WRITE);
	for (i = 0; i < pages; i++)
		frames[i] = frame_of(pagemap, va + i * PAGE);
	if (!frames[0])
		SKIP("page frame numbers are not shown");
	qsort(frames, pages, sizeof(*frames), by_value);
	ring_open(&ring, fd, 512);
	keep_reading(&ring, &dma, 100);
	sqe = sqe_rw(NVME_READ, &fx.area, 0, PAGE, &dma, 0, NULL);
	for (i = 0; i < 511; i++)
		ring_post(&ring, &sqe);
	ring_doorbell(&ring);
	ASSERT(!munmap(va, pages * PAGE));
	for (i = 0; i < 511; i++)
		ASSERT_EQ(0, ring_poll(&ring, &cqe, 30000));
	/* A third of what is free, or what a slow machine looks at in time: not one of those */
	many = (size_t)sysconf(_SC_AVPHYS_PAGES) / 3;
	if (getenv("HOMI_SLOW") && many > 32 * pages)
		many = 32 * pages;
	ASSERT_EQ(0, allocate(&va, many, pagemap, frames, pages));
	keep_reading(&ring, &dma, 300);
	for (i = 0; i < many; i++)
		ASSERT(is_filled(va + i * PAGE, 0x2e, PAGE));
	munmap(va, many * PAGE);
	ASSERT_EQ(0, ring_destroy(&ring));
	ring_unmap(&ring);
	ASSERT_EQ(0, dma_destroy(&dma));
	wait_unpinned(fx.pinned);
	/* Which of the free ones come first is the kernel's affair: all are taken, if need be. */
	for (i = 0; i < 12 && !got; i++) {
		size_t spare = sysconf(_SC_AVPHYS_PAGES);

		if (spare < SPARE_PAGES + pages)
			break;
		spare -= SPARE_PAGES;
		got = allocate(&va, many < spare ? many : spare, pagemap, frames, pages);
	}
	printf("# of %zu frames %zu are in use again after DESTROY\n", pages, got);
	ASSERT(got > 0);
	close(fd);
	wait_nothing_left(ctrl_name());
}

/* Moved in the address space: DMA goes where the pages went. Rings stay where they are. */
TEST(moved_memory)
{
	size_t length = BLOCKS * PAGE;
	struct dma dma;
	struct ring ring;
	char *to;
	int fd;

	fixture_open();
	fd = homi_open();
	dma_new(&dma, fd, length);
	ring_open(&ring, fd, 16);
	ASSERT(mremap((void *)ring.sq, ring.q.out_sq_mmap_length, ring.q.out_sq_mmap_length,
		      MREMAP_MAYMOVE | MREMAP_FIXED, map_shared(PAGE)) == MAP_FAILED);
	ASSERT(mremap(ring.db, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, map_shared(PAGE)) ==
	       MAP_FAILED);
	to = mremap(dma.va, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, map_shared(length));
	ASSERT(to != MAP_FAILED);
	ASSERT_EQ(0, ring_copy(&ring, NVME_READ, &fx.area, 0, length, &dma, NULL, PAGE));
	ASSERT_SAME(fx.copy, to, length);
	ASSERT_EQ(0, ring_destroy(&ring));
	ASSERT_EQ(0, dma_destroy(&dma));
	ring_unmap(&ring);
	close(fd);
	check_end();
}

/* --- every order --- */

enum { END_QUEUE, END_MEM, END_CLOSE, UNMAP_RINGS, UNMAP_MEM, ENDS };

static void end_one(int what, bool *closed)
{
	switch (what) {
	case END_QUEUE:
		if (!*closed)
			ASSERT_EQ(0, ring_destroy(&rings[0]));
		rings[0].q.out_queue_id = 0;
		break;
	case END_MEM:
		if (*closed)
			break;
		if (rings[0].q.out_queue_id)
			ASSERT_EQ(-EBUSY, dma_destroy(&victim_dma));
		else
			ASSERT_EQ(0, dma_destroy(&victim_dma));
		break;
	case END_CLOSE:
		close(victim_dma.fd);
		*closed = true;
		break;
	case UNMAP_RINGS:
		ring_unmap(&rings[0]);
		break;
	case UNMAP_MEM:
		munmap(victim_dma.va, BLOCKS * PAGE);
		break;
	}
}

/* With commands in flight all the time; test_lifetime does it with idle ones and extents. */
static void end_in_order(unsigned int number)
{
	int rest[ENDS] = { 0, 1, 2, 3, 4 }, i, pick;
	bool closed = false;
	struct sqe sqe;
	unsigned int k = 0;
	int fd = homi_open();

	ring_open(&rings[0], fd, 128);
	dma_from(&victim_dma, fd, mmap(NULL, BLOCKS * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE |
				       MAP_ANONYMOUS, -1, 0), BLOCKS * PAGE, HOMI_MEM_WRITE);
	while (!ring_full(&rings[0])) {
		sqe = sqe_rw(NVME_READ, &fx.area, k % BLOCKS * PAGE, PAGE, &victim_dma,
			     k % BLOCKS * PAGE, NULL);
		ring_post(&rings[0], &sqe);
		k++;
	}
	ring_doorbell(&rings[0]);
	for (i = 0; i < ENDS; i++) {
		pick = number % (ENDS - i);
		number /= ENDS - i;
		end_one(rest[pick], &closed);
		memmove(&rest[pick], &rest[pick + 1], (ENDS - i - pick - 1) * sizeof(rest[0]));
	}
	ASSERT(closed);
}

TEST_TIMEOUT(any_order_in_flight, 120)
{
	unsigned int rounds = times(3, 1), i;

	fixture_open();
	for (i = 0; i < rounds * 120; i++) {
		end_in_order(i % 120);
		wait_nothing_left(ctrl_name());
		wait_unpinned(fx.pinned);
	}
	check_stock();
}
