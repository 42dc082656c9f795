// SPDX-License-Identifier: GPL-2.0-only
/* Queues: made, mapped, driven by hand beside stock's own I/O, and taken down. */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "harness.h"
#include "ring.h"

#define AREA	(1u << 20)

static char *page_buffer(size_t size)
{
	void *buf = NULL;

	ASSERT(!posix_memalign(&buf, PAGE, size));
	return buf;
}

TEST(depths)
{
	int fd = homi_open();
	uint32_t max = ctrl_info(fd).out_max_depth, i;
	const uint32_t good[] = { 2, 3, 64, 65, 1024, max };
	const uint32_t bad[] = { 0, 1, max + 1, 65537, 1u << 31, ~0u };
	struct ring ring;

	need_queues(fd, 1);
	for (i = 0; i < ARRAY_SIZE(good); i++) {
		if (good[i] > max)
			continue;
		ASSERT_EQ(0, ring_create(&ring, fd, good[i]));
		ASSERT_EQ(good[i], queue_info(fd, ring.q.out_queue_id).out_depth);
		ASSERT_EQ(HOMI_QUEUE_LIVE, queue_info(fd, ring.q.out_queue_id).out_state);
		ASSERT(ring.q.out_sq_mmap_length >= good[i] * 64ull);
		ASSERT(ring.q.out_cq_mmap_length >= good[i] * 16ull);
		ASSERT_EQ(0, ring_destroy(&ring));
	}
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		ASSERT_EQ(-EINVAL, ring_create(&ring, fd, bad[i]));
	ASSERT_EQ(0, ctrl_info(fd).out_queues_lent);
}

TEST(answers)
{
	int fd = homi_open();
	struct homi_ctrl_info info = ctrl_info(fd);
	struct homi_queue_info q;
	struct ring ring;
	uint32_t db;

	need_queues(fd, 1);
	ASSERT_EQ(0, ring_create(&ring, fd, 16));
	q = queue_info(fd, ring.q.out_queue_id);
	ASSERT(ring.q.out_qid > info.out_queues_kernel);
	ASSERT(ring.q.out_qid <= info.out_queues_granted);
	ASSERT_EQ(ring.q.out_qid, q.out_qid);
	ASSERT_EQ(info.out_generation, q.out_generation);
	ASSERT_EQ(info.out_generation, ring.q.out_generation);
	/* NVMe: doorbells begin at 1000h, two for each queue */
	db = 0x1000 + 2 * ring.q.out_qid * info.out_doorbell_stride;
	ASSERT_EQ(db % PAGE, ring.q.out_sq_db_offset);
	ASSERT_EQ(db % PAGE + info.out_doorbell_stride, ring.q.out_cq_db_offset);
	ASSERT_EQ(!!(info.out_features & HOMI_CTRL_SHADOW_DOORBELLS),
		  !!ring.q.out_shadow_mmap_offset);
	ASSERT_EQ(!!ring.q.out_event_mmap_offset, !!ring.q.out_shadow_mmap_offset);
	ASSERT_EQ(1, ctrl_info(fd).out_queues_lent);
	ASSERT_EQ(info.out_queues_spare - 1, ctrl_info(fd).out_queues_spare);
}

static bool can_map(int fd, uint64_t cookie, size_t length, int prot, int flags)
{
	void *va = mmap(NULL, length, prot, flags, fd, cookie);

	if (va == MAP_FAILED)
		return false;
	munmap(va, length);
	return true;
}

static void check_region(int fd, int other, uint64_t cookie, size_t length)
{
	const int rw = PROT_READ | PROT_WRITE;
	void *va;

	ASSERT(cookie && !(cookie % PAGE));
	ASSERT(can_map(fd, cookie, length, rw, MAP_SHARED));
	ASSERT(can_map(fd, cookie, length, PROT_READ, MAP_SHARED));
	ASSERT(!can_map(fd, cookie, length + PAGE, rw, MAP_SHARED));
	if (length > PAGE)
		ASSERT(!can_map(fd, cookie, length - PAGE, rw, MAP_SHARED));
	ASSERT(!can_map(fd, cookie + PAGE, length, rw, MAP_SHARED));
	ASSERT(!can_map(fd, cookie, length, rw, MAP_PRIVATE));
	ASSERT(!can_map(fd, cookie, length, PROT_READ, MAP_PRIVATE));
	ASSERT(!can_map(fd, cookie, length, rw | PROT_EXEC, MAP_SHARED));
	ASSERT(!can_map(other, cookie, length, rw, MAP_SHARED));
	va = mmap(NULL, length, rw, MAP_SHARED, fd, cookie);
	ASSERT(va != MAP_FAILED);
	ASSERT(mprotect(va, length, PROT_READ | PROT_EXEC) < 0);
	ASSERT(mremap(va, length, length + PAGE, MREMAP_MAYMOVE) == MAP_FAILED);
	ASSERT(!mprotect(va, length, PROT_READ));
	ASSERT_EQ(0, fault_of(va, false));
	ASSERT_EQ(SIGSEGV, fault_of(va, true));
	ASSERT(!munmap(va, length));
}

TEST(mmap_rules)
{
	int fd = homi_open(), other = homi_open();
	struct ring ring;

	need_queues(fd, 1);
	ASSERT_EQ(0, ring_create(&ring, fd, 256));
	check_region(fd, other, ring.q.out_sq_mmap_offset, ring.q.out_sq_mmap_length);
	check_region(fd, other, ring.q.out_cq_mmap_offset, ring.q.out_cq_mmap_length);
	check_region(fd, other, ring.q.out_db_mmap_offset, PAGE);
	if (ring.q.out_shadow_mmap_offset) {
		check_region(fd, other, ring.q.out_shadow_mmap_offset, PAGE);
		check_region(fd, other, ring.q.out_event_mmap_offset, PAGE);
	}
	ASSERT(!can_map(fd, 0, PAGE, PROT_READ, MAP_SHARED));
	ASSERT(!can_map(fd, 0x7ffffffffffff000, PAGE, PROT_READ, MAP_SHARED));
	ASSERT_EQ(0, ring_destroy(&ring));
	ASSERT(!can_map(fd, ring.q.out_sq_mmap_offset, ring.q.out_sq_mmap_length, PROT_READ,
			MAP_SHARED));
}

/* A new queue shows nobody's old data. */
TEST(rings_start_zeroed)
{
	int fd = homi_open();
	struct ring ring;
	unsigned int i;

	need_queues(fd, 1);
	for (i = 0; i < 4; i++) {
		ring_open(&ring, fd, 64);
		ASSERT(is_filled((void *)ring.cq, 0, ring.q.out_cq_mmap_length));
		ASSERT(is_filled((void *)ring.sq, 0, ring.q.out_sq_mmap_length));
		memset((void *)ring.sq, 0xee, ring.q.out_sq_mmap_length);
		memset((void *)ring.cq, 0xee, ring.q.out_cq_mmap_length);
		ring_unmap(&ring);
		ASSERT_EQ(0, ring_destroy(&ring));
	}
}

/* The heart: what stock wrote the queue reads, in commands of every small size. */
static void read_area(uint32_t depth, size_t step)
{
	int fd = homi_open();
	struct area area;
	struct ring ring;
	struct dma buf, list;
	char *copy = page_buffer(AREA);

	area_open(&area, AREA);
	area_fill(&area, depth, copy);
	ring_open(&ring, fd, depth);
	dma_new(&buf, fd, AREA);
	dma_new(&list, fd, PAGE);
	if (step > max_step(fd))
		step = max_step(fd);
	ASSERT_EQ(0, ring_copy(&ring, NVME_READ, &area, 0, AREA, &buf, &list, step));
	ASSERT_SAME(buf.va, copy, AREA);
	ASSERT_EQ(0, ring_destroy(&ring));
}

TEST(read_single_pages)
{
	int fd = homi_open();

	need_queues(fd, 1);
	read_area(64, PAGE);
}

TEST(read_two_pages)
{
	int fd = homi_open();

	need_queues(fd, 1);
	read_area(64, 2 * PAGE);
}

TEST(read_prp_list)
{
	int fd = homi_open();

	need_queues(fd, 1);
	read_area(64, 64 * PAGE);
}

/* One byte of one block at a time would be too slow: the block size, from any offset in a page */
TEST(read_unaligned_buffer)
{
	int fd = homi_open(), i;
	struct area area;
	struct ring ring;
	struct dma buf, list;
	char *copy = page_buffer(AREA);

	need_queues(fd, 1);
	area_open(&area, AREA);
	area_fill(&area, 5, copy);
	ring_open(&ring, fd, 8);
	dma_new(&buf, fd, 16 * PAGE);
	dma_new(&list, fd, PAGE);
	for (i = 0; i < 8; i++) {
		size_t at = i * 516, length = 3 * PAGE;
		struct sqe sqe = sqe_rw(NVME_READ, &area, i * PAGE, length, &buf, at, &list);

		memset(buf.va, 0xa5, buf.length);
		ASSERT_EQ(0, ring_do(&ring, &sqe));
		ASSERT_SAME(buf.va + at, copy + i * PAGE, length);
		ASSERT(is_filled(buf.va, 0xa5, at));
		ASSERT(is_filled(buf.va + at + length, 0xa5, buf.length - at - length));
	}
}

TEST(write_is_seen_by_stock)
{
	int fd = homi_open();
	struct area area;
	struct ring ring;
	struct dma buf, list;
	char *copy = page_buffer(AREA);

	need_queues(fd, 1);
	area_open(&area, AREA);
	area_need_write(&area);
	area_fill(&area, 6, copy);
	ring_open(&ring, fd, 32);
	dma_new(&buf, fd, AREA);
	dma_new(&list, fd, PAGE);
	fill_random(buf.va, AREA, now_ms());
	ASSERT_EQ(0, ring_copy(&ring, NVME_WRITE, &area, 0, AREA, &buf, &list, max_step(fd)));
	area_pread(&area, 0, copy, AREA);
	ASSERT_SAME(buf.va, copy, AREA);
}

TEST(bad_commands_complete_with_an_error)
{
	int fd = homi_open();
	struct area area;
	struct ring ring;
	struct dma buf;
	struct sqe sqe;

	need_queues(fd, 1);
	area_open(&area, PAGE);
	ring_open(&ring, fd, 4);
	dma_new(&buf, fd, PAGE);
	sqe = sqe_rw(NVME_READ, &area, 0, PAGE, &buf, 0, NULL);
	sqe.slba = 1ull << 60;
	ASSERT((ring_do(&ring, &sqe) & 0x7ff) == 0x80);	/* LBA Out of Range */
	sqe = sqe_rw(NVME_READ, &area, 0, PAGE, &buf, 0, NULL);
	sqe.nsid = 0xfffffff0;
	ASSERT((ring_do(&ring, &sqe) & 0x7ff) == 0x0b);	/* Invalid Namespace or Format */
	ASSERT(is_filled(buf.va, 0xa5, PAGE));
	sqe = sqe_rw(NVME_READ, &area, 0, PAGE, &buf, 0, NULL);
	ASSERT_EQ(0, ring_do(&ring, &sqe));
}

/* Keeps the queue as full as it may be for three times round. */
static void wrap_around(uint32_t depth)
{
	int fd = homi_open();
	struct area area;
	struct ring ring;
	struct dma buf;
	char *copy = page_buffer(AREA);
	uint32_t total = depth * 3 + 1, posted = 0, done = 0;
	bool *seen = calloc(total, sizeof(*seen));

	area_open(&area, AREA);
	area_fill(&area, depth, copy);
	ring_open(&ring, fd, depth);
	dma_new(&buf, fd, AREA);
	while (done < total) {
		struct cqe cqe;

		while (posted < total && posted - done < depth - 1 && !ring_full(&ring)) {
			size_t at = (posted % (AREA / PAGE)) * PAGE;
			struct sqe sqe = sqe_rw(NVME_READ, &area, at, PAGE, &buf, at, NULL);

			sqe.cid = posted++;
			ring_post(&ring, &sqe);
		}
		ring_doorbell(&ring);
		ASSERT_EQ(0, ring_poll(&ring, &cqe, 30000));
		ASSERT_EQ(0, cqe.status >> 1);
		ASSERT(cqe.cid < total && !seen[cqe.cid]);
		seen[cqe.cid] = true;
		done++;
	}
	ASSERT_EQ(RING_TIMEOUT, ring_poll(&ring, &(struct cqe){ 0 }, 20));
	posted = total < AREA / PAGE ? total : AREA / PAGE;
	ASSERT_SAME(buf.va, copy, posted * PAGE);
}

TEST(wrap_around_2)
{
	int fd = homi_open();

	need_queues(fd, 1);
	wrap_around(2);
}

TEST(wrap_around_3)
{
	int fd = homi_open();

	need_queues(fd, 1);
	wrap_around(3);
}

TEST(wrap_around_128)
{
	int fd = homi_open();

	need_queues(fd, 1);
	wrap_around(128);
}

/* Every id that is spare can be lent, each once, and all of them come back. */
TEST(all_spare_ids)
{
	int fd = homi_open(), second = homi_open();
	struct homi_ctrl_info info = ctrl_info(fd);
	uint32_t i, first = 0;
	bool *seen = calloc(65536, sizeof(*seen));
	struct ring ring;

	need_queues(fd, 1);
	for (i = 0; i < info.out_queues_spare; i++) {
		ASSERT_EQ(0, ring_create(&ring, i % 2 ? fd : second, 2));
		ASSERT(ring.q.out_qid > info.out_queues_kernel);
		ASSERT(ring.q.out_qid <= info.out_queues_granted);
		ASSERT(!seen[ring.q.out_qid]);
		seen[ring.q.out_qid] = true;
		if (!i)
			first = ring.q.out_queue_id;
	}
	ASSERT_EQ(-ENOSPC, ring_create(&ring, fd, 2));
	ASSERT_EQ(0, ctrl_info(fd).out_queues_spare);
	ASSERT_EQ(info.out_queues_spare, ctrl_info(fd).out_queues_lent);
	ASSERT_EQ(0, destroy(second, first));
	ASSERT_EQ(0, ring_create(&ring, fd, 2));
	ASSERT_EQ(-ENOSPC, ring_create(&ring, fd, 2));
	close(second);
	close(fd);
	fd = homi_open();
	ASSERT_EQ(0, ctrl_info(fd).out_queues_lent);
	ASSERT_EQ(info.out_queues_spare, ctrl_info(fd).out_queues_spare);
}

/* After DESTROY nothing writes to the memory any more. */
TEST(destroy_in_flight)
{
	unsigned int rounds = soak() ? 40 : 10, i, k;
	int fd = homi_open();
	struct area area;
	struct ring ring;
	struct dma buf, list;
	char *copy = page_buffer(AREA);
	size_t step = max_step(fd);

	need_queues(fd, 1);
	area_open(&area, AREA);
	area_fill(&area, 7, copy);
	dma_new(&buf, fd, AREA);
	dma_new(&list, fd, PAGE);
	for (i = 0; i < rounds; i++) {
		struct sqe sqe = sqe_rw(NVME_READ, &area, 0, step, &buf, 0, &list);

		ring_open(&ring, fd, 128);
		for (k = 0; k < 100; k++) {
			sqe.cid = k;
			ring_post(&ring, &sqe);
		}
		ring_doorbell(&ring);
		ASSERT_EQ(0, ring_destroy(&ring));
		ring_unmap(&ring);
		memset(buf.va, 0x3c, AREA);
		nap_ms(10);
		ASSERT(is_filled(buf.va, 0x3c, AREA));
	}
	ASSERT_EQ(0, dma_destroy(&buf));
	ASSERT_EQ(0, dma_destroy(&list));
	area_pread(&area, 0, copy, AREA);
}

/* Others at the same time: stock's reads, and queues of this and of other open files */
struct worker {
	pthread_t thread;
	struct area area;
	const char *copy;
	int fd;			/* own queue on this file, -1: stock's path */
	unsigned int rounds;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	char *buf = page_buffer(AREA);
	struct dma dma, list;
	struct ring ring;
	unsigned int i;

	if (w->fd >= 0) {
		ring_open(&ring, w->fd, 16);
		dma_new(&dma, w->fd, AREA);
		dma_new(&list, w->fd, PAGE);
	}
	for (i = 0; i < w->rounds; i++) {
		if (w->fd < 0) {
			memset(buf, 0, AREA);
			area_pread(&w->area, 0, buf, AREA);
			ASSERT_SAME(buf, w->copy, AREA);
			continue;
		}
		memset(dma.va, 0, AREA);
		ASSERT_EQ(0, ring_copy(&ring, NVME_READ, &w->area, 0, AREA, &dma, &list,
				       max_step(w->fd)));
		ASSERT_SAME(dma.va, w->copy, AREA);
	}
	if (w->fd >= 0) {
		ASSERT_EQ(0, ring_destroy(&ring));
		/* A queue id is lent until nobody can reach its doorbell any more. */
		ring_unmap(&ring);
	}
	return NULL;
}

TEST(beside_each_other)
{
	struct worker workers[6] = { 0 };
	int fd = homi_open(), other = homi_open();
	char *copy = page_buffer(AREA);
	struct area area;
	unsigned int i;

	need_queues(fd, 4);
	area_open(&area, AREA);
	area_fill(&area, 8, copy);
	for (i = 0; i < ARRAY_SIZE(workers); i++) {
		workers[i].area = area;
		workers[i].copy = copy;
		workers[i].rounds = soak() ? 40 : 8;
		workers[i].fd = i < 2 ? -1 : i < 4 ? fd : other;
		ASSERT(!pthread_create(&workers[i].thread, NULL, work, &workers[i]));
	}
	for (i = 0; i < ARRAY_SIZE(workers); i++)
		ASSERT(!pthread_join(workers[i].thread, NULL));
	ASSERT_EQ(0, ctrl_info(fd).out_queues_lent);
}

/* Created and destroyed by several at once while stock reads */
static void *churn(void *arg)
{
	struct worker *w = arg;
	unsigned int i;

	for (i = 0; i < w->rounds; i++) {
		struct ring ring;
		int err = ring_create(&ring, w->fd, 2 + i % 40);

		if (err) {
			ASSERT_EQ(-ENOSPC, err);
			continue;
		}
		ASSERT_EQ(0, ring_destroy(&ring));
	}
	return NULL;
}

TEST(churn_beside_stock)
{
	struct worker workers[5] = { 0 };
	char *copy = page_buffer(AREA);
	int fd = homi_open();
	struct area area;
	unsigned int i;

	need_queues(fd, 1);
	area_open(&area, AREA);
	area_fill(&area, 9, copy);
	for (i = 0; i < ARRAY_SIZE(workers); i++) {
		workers[i].area = area;
		workers[i].copy = copy;
		workers[i].rounds = soak() ? 250 : 60;
		workers[i].fd = i < 1 ? -1 : i < 3 ? fd : homi_open();
		ASSERT(!pthread_create(&workers[i].thread, NULL, i < 1 ? work : churn,
				       &workers[i]));
	}
	for (i = 0; i < ARRAY_SIZE(workers); i++)
		ASSERT(!pthread_join(workers[i].thread, NULL));
	ASSERT_EQ(0, ctrl_info(fd).out_queues_lent);
}
