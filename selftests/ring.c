// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "ring.h"

int ring_create_with(struct ring *ring, int fd, uint32_t depth, uint32_t flags)
{
	memset(ring, 0, sizeof(*ring));
	ring->fd = fd;
	ring->q.size = sizeof(ring->q);
	ring->q.flags = flags;
	ring->q.depth = depth;
	ring->cq_phase = 1;
	return homi_call(fd, HOMI_QUEUE_CREATE, &ring->q);
}

int ring_create(struct ring *ring, int fd, uint32_t depth)
{
	return ring_create_with(ring, fd, depth, 0);
}

static void *map_region(int fd, uint64_t offset, size_t length)
{
	void *va = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);

	if (va == MAP_FAILED)
		FAIL("mmap of %zu bytes at cookie %#llx: %s", length,
		     (unsigned long long)offset, strerror(errno));
	return va;
}

void ring_map(struct ring *ring)
{
	struct homi_queue_create *q = &ring->q;

	if (!q->sq_mem_id)
		ring->sq = map_region(ring->fd, q->out_sq_mmap_offset, q->out_sq_mmap_length);
	if (!q->cq_mem_id)
		ring->cq = map_region(ring->fd, q->out_cq_mmap_offset, q->out_cq_mmap_length);
	ring->db = map_region(ring->fd, q->out_db_mmap_offset, PAGE);
	if (!q->out_shadow_mmap_offset)
		return;
	ring->shadow = map_region(ring->fd, q->out_shadow_mmap_offset, PAGE);
	ring->event = map_region(ring->fd, q->out_event_mmap_offset, PAGE);
}

void ring_unmap(struct ring *ring)
{
	if (!ring->q.sq_mem_id)
		munmap((void *)ring->sq, ring->q.out_sq_mmap_length);
	if (!ring->q.cq_mem_id)
		munmap((void *)ring->cq, ring->q.out_cq_mmap_length);
	munmap(ring->db, PAGE);
	if (ring->shadow) {
		munmap(ring->shadow, PAGE);
		munmap(ring->event, PAGE);
	}
}

void ring_open(struct ring *ring, int fd, uint32_t depth)
{
	ASSERT_EQ(0, ring_create(ring, fd, depth));
	ring_map(ring);
}

int ring_create_in(struct ring *ring, int fd, uint32_t depth, const struct dma *sq,
		   const struct dma *cq)
{
	int err;

	memset(ring, 0, sizeof(*ring));
	ring->fd = fd;
	ring->q.size = sizeof(ring->q);
	ring->q.depth = depth;
	ring->cq_phase = 1;
	if (sq) {
		ring->q.sq_mem_id = sq->id;
		ring->sq = (struct sqe *)sq->va;
	}
	if (cq) {
		ring->q.cq_mem_id = cq->id;
		ring->cq = (struct cqe *)cq->va;
		memset(cq->va, 0, depth * sizeof(struct cqe));
	}
	err = homi_call(fd, HOMI_QUEUE_CREATE, &ring->q);
	if (!err)
		ring_map(ring);
	return err;
}

int ring_destroy(struct ring *ring)
{
	return destroy(ring->fd, ring->q.out_queue_id);
}

int ring_recreate(struct ring *ring)
{
	struct homi_queue_recreate cmd = {
		.size = sizeof(cmd),
		.queue_id = ring->q.out_queue_id,
		.depth = ring->q.depth,
	};
	int err = homi_call(ring->fd, HOMI_QUEUE_RECREATE, &cmd);

	if (err)
		return err;
	ASSERT_EQ(ring->q.out_shadow_mmap_offset, cmd.out_shadow_mmap_offset);
	ASSERT_EQ(ring->q.out_event_mmap_offset, cmd.out_event_mmap_offset);
	ASSERT_EQ(ring->q.out_sq_shadow_offset, cmd.out_sq_shadow_offset);
	ASSERT_EQ(ring->q.out_cq_shadow_offset, cmd.out_cq_shadow_offset);
	ring->q.out_generation = cmd.out_generation;
	ring->sq_tail = 0;
	ring->sq_head = 0;
	ring->cq_head = 0;
	ring->cq_phase = 1;
	return 0;
}

bool ring_full(const struct ring *ring)
{
	return (ring->sq_tail + 1) % ring->q.depth == ring->sq_head;
}

void ring_post(struct ring *ring, const struct sqe *sqe)
{
	ASSERT(!ring_full(ring));
	*(struct sqe *)&ring->sq[ring->sq_tail] = *sqe;
	ring->sq_tail = (ring->sq_tail + 1) % ring->q.depth;
}

static void write_doorbell(struct ring *ring, uint32_t db, uint32_t shadow, uint16_t value)
{
	/* entries before the doorbell that announces them */
	__atomic_thread_fence(__ATOMIC_RELEASE);
	if (ring->shadow) {
		*(volatile uint32_t *)((char *)ring->shadow + shadow) = value;
		/* shadow entry before the register: the controller reads it then */
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
	}
	*(volatile uint32_t *)((char *)ring->db + db) = value;
}

void ring_doorbell(struct ring *ring)
{
	write_doorbell(ring, ring->q.out_sq_db_offset, ring->q.out_sq_shadow_offset,
		       ring->sq_tail);
}

bool ring_take(struct ring *ring, struct cqe *cqe)
{
	volatile struct cqe *entry = &ring->cq[ring->cq_head];

	if ((entry->status & 1) != ring->cq_phase)
		return false;
	/* the phase before the rest of the entry */
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	*cqe = *(struct cqe *)entry;
	ring->sq_head = cqe->sq_head;
	if (++ring->cq_head == ring->q.depth) {
		ring->cq_head = 0;
		ring->cq_phase ^= 1;
	}
	return true;
}

void ring_cq_doorbell(struct ring *ring)
{
	write_doorbell(ring, ring->q.out_cq_db_offset, ring->q.out_cq_shadow_offset,
		       ring->cq_head);
}

int ring_poll(struct ring *ring, struct cqe *cqe, unsigned int ms)
{
	uint64_t end = now_ms() + ms;
	unsigned int spins = 0;

	while (!ring_take(ring, cqe)) {
		if (++spins < 200)
			continue;
		if (now_ms() > end)
			return RING_TIMEOUT;
		usleep(50);
	}
	ring_cq_doorbell(ring);
	return 0;
}

void dma_from(struct dma *dma, int fd, void *va, size_t length, uint32_t flags)
{
	uint32_t count;

	*dma = (struct dma){ .fd = fd, .va = va, .length = length };
	ASSERT_EQ(0, mem_register(fd, va, length, flags, &dma->id, &dma->segments));
	ASSERT(dma->segments > 0);
	dma->seg = calloc(dma->segments, sizeof(*dma->seg));
	ASSERT(dma->seg);
	count = dma->segments;
	ASSERT_EQ(0, mem_segments(fd, dma->id, dma->seg, &count));
	ASSERT_EQ(dma->segments, count);
}

void dma_new(struct dma *dma, int fd, size_t length)
{
	void *va = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT(va != MAP_FAILED);
	memset(va, 0xa5, length);
	dma_from(dma, fd, va, length, HOMI_MEM_WRITE);
}

uint64_t dma_addr(const struct dma *dma, size_t offset)
{
	uint32_t low = 0, high = dma->segments;

	ASSERT(offset < dma->length);
	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;

		if (dma->seg[middle].offset <= offset)
			low = middle;
		else
			high = middle;
	}
	return dma->seg[low].dma_addr + (offset - dma->seg[low].offset);
}

int dma_destroy(struct dma *dma)
{
	free(dma->seg);
	dma->seg = NULL;
	return destroy(dma->fd, dma->id);
}

/*
 * The third partition if there is one, which may be overwritten, else the start of the
 * namespace, which is only read.
 */
void area_open(struct area *area, uint64_t length)
{
	const char *raw = raw_path();
	struct stat st;

	memset(area, 0, sizeof(*area));
	area->writable = raw != NULL;
	area->fd = open(raw ? raw : bdev_path(), (raw ? O_RDWR : O_RDONLY) | O_DIRECT | O_CLOEXEC);
	ASSERT(area->fd >= 0);
	ASSERT(!fstat(area->fd, &st));
	area->nsid = bdev_nsid();
	area->block_size = bdev_block_size();
	area->slba = part_start(st.st_rdev) / area->block_size;
	area->length = length;
}

void area_need_write(const struct area *area)
{
	if (!area->writable)
		SKIP("HOMI_RAW names no partition that may be overwritten");
}

/* Gives the area known content by stock's path, or learns the one that it has. */
void area_fill(const struct area *area, uint64_t seed, char *copy)
{
	if (area->writable) {
		fill_random(copy, area->length, seed);
		ASSERT_EQ(area->length, pwrite(area->fd, copy, area->length, area->offset));
		return;
	}
	area_pread(area, 0, copy, area->length);
}

void area_pread(const struct area *area, uint64_t offset, void *buf, size_t length)
{
	ASSERT_EQ(length, pread(area->fd, buf, length, area->offset + offset));
}

struct sqe sqe_rw(uint8_t opcode, const struct area *area, uint64_t offset, size_t length,
		  const struct dma *buf, size_t buf_offset, const struct dma *list)
{
	struct sqe sqe = {
		.opcode = opcode,
		.nsid = area->nsid,
		.prp1 = dma_addr(buf, buf_offset),
		.slba = area->slba + offset / area->block_size,
		.nlb = length / area->block_size - 1,
	};
	size_t first = PAGE - buf_offset % PAGE, at;
	uint64_t *prp;

	if (length <= first)
		return sqe;
	if (length - first <= PAGE) {
		sqe.prp2 = dma_addr(buf, buf_offset + first);
		return sqe;
	}
	prp = (uint64_t *)list->va;
	for (at = first; at < length; at += PAGE)
		*prp++ = dma_addr(buf, buf_offset + at);
	sqe.prp2 = dma_addr(list, 0);
	return sqe;
}

int ring_do(struct ring *ring, const struct sqe *sqe)
{
	static uint16_t cid;
	struct sqe own = *sqe;
	struct cqe cqe;
	int err;

	own.cid = ++cid;
	ring_post(ring, &own);
	ring_doorbell(ring);
	err = ring_poll(ring, &cqe, 30000);
	if (err)
		return err;
	ASSERT_EQ(own.cid, cqe.cid);
	ASSERT_EQ(ring->q.out_qid, cqe.sqid);
	return cqe.status >> 1;
}

int ring_copy(struct ring *ring, uint8_t opcode, const struct area *area, uint64_t offset,
	      size_t length, const struct dma *buf, const struct dma *list, size_t step)
{
	size_t done, now;
	struct sqe sqe;
	int status;

	for (done = 0; done < length; done += now) {
		now = length - done < step ? length - done : step;
		sqe = sqe_rw(opcode, area, offset + done, now, buf, done, list);
		status = ring_do(ring, &sqe);
		if (status)
			return status;
	}
	return 0;
}

size_t max_step(int fd)
{
	struct homi_ctrl_info info = ctrl_info(fd);
	size_t step = 64 * PAGE;

	ASSERT_EQ(PAGE, info.out_page_size);
	if (info.out_max_transfer && info.out_max_transfer < step)
		step = info.out_max_transfer;
	return step;
}
