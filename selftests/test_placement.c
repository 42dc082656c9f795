// SPDX-License-Identifier: GPL-2.0-only
/*
 * Submission ring, completion ring, PRP list and data, each in the system's memory
 * or in an accelerator's BAR: all sixteen, compared byte by byte with what stock
 * reads and writes.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "harness.h"
#include "imported.h"

#define LIST	(2 * PAGE)

/* Of a row: bit set, in the BAR */
enum { IN_SQ = 1 << 0, IN_CQ = 1 << 1, IN_LIST = 1 << 2, IN_DATA = 1 << 3, ALL = 16 };

/* What is not in struct imported; its list is not used. */
static struct {
	struct dma sq, cq, list;
	uint64_t at;		/* in the BAR, next free byte */
} fx;

static void place(struct dma *dma, size_t length, bool bar)
{
	int dmabuf;

	if (!bar) {
		dma_new(dma, im.fd, length);
		return;
	}
	dmabuf = exporter_export(EXPORTER_BAR, fx.at, length);
	fx.at += length;
	dma_import(dma, im.fd, dmabuf, length);
	ASSERT_EQ(HOMI_PLACEMENT_BAR, mem_info(im.fd, dma->id).out_placement);
	close(dmabuf);
}

static void remove_all(void)
{
	struct dma *all[] = { &fx.sq, &fx.cq, &fx.list, &im.dma };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(all); i++) {
		ASSERT_EQ(0, dma_destroy(all[i]));
		ASSERT(!munmap(all[i]->va, all[i]->length));
	}
	fx.at = 0;
}

static void open_row(unsigned int row)
{
	place(&fx.sq, LIST, row & IN_SQ);
	place(&fx.cq, LIST, row & IN_CQ);
	place(&fx.list, LIST, row & IN_LIST);
	place(&im.dma, LENGTH, row & IN_DATA);
	ASSERT_EQ(0, ring_create_in(&im.ring, im.fd, DEPTH, &fx.sq, &fx.cq));
	ASSERT_EQ(0, im.ring.q.out_sq_mmap_length);
	ASSERT_EQ(0, im.ring.q.out_cq_mmap_offset);
}

static void close_row(void)
{
	ASSERT_EQ(-EBUSY, destroy(im.fd, fx.sq.id));
	ASSERT_EQ(-EBUSY, destroy(im.fd, fx.cq.id));
	ASSERT_EQ(0, ring_destroy(&im.ring));
	ring_unmap(&im.ring);
	remove_all();
}

/* Commands of a page, and of as many as go: the rings go round more than once. */
static void check_data(void)
{
	im_check_steps(im.dma.va, &fx.list, PAGE);
	im_check_data(im.dma.va, &fx.list);
}

TEST(all_sixteen)
{
	unsigned int row;

	im_begin();
	for (row = 0; row < ALL; row++) {
		open_row(row);
		check_data();
		close_row();
		printf("# sq %s, cq %s, list %s, data %s: right\n", row & IN_SQ ? "bar" : "host",
		       row & IN_CQ ? "bar" : "host", row & IN_LIST ? "bar" : "host",
		       row & IN_DATA ? "bar" : "host");
	}
}

/* One ring of the kernel's, one of the caller's */
TEST(one_of_each)
{
	im_begin();
	open_row(IN_SQ | IN_CQ | IN_DATA);
	ASSERT_EQ(0, ring_destroy(&im.ring));
	ring_unmap(&im.ring);
	ASSERT_EQ(0, ring_create_in(&im.ring, im.fd, DEPTH, &fx.sq, NULL));
	check_data();
	ASSERT_EQ(0, ring_destroy(&im.ring));
	ring_unmap(&im.ring);
	ASSERT_EQ(0, ring_create_in(&im.ring, im.fd, DEPTH, NULL, &fx.cq));
	check_data();
	ASSERT_EQ(0, ring_destroy(&im.ring));
	ring_unmap(&im.ring);
	remove_all();
}

TEST(back_after_a_reset)
{
	int err;

	im_begin();
	open_row(IN_SQ | IN_CQ | IN_LIST | IN_DATA);
	check_data();
	ASSERT_EQ(0, reset_controller(ctrl_name()));
	ASSERT(wait_live(ctrl_name(), 30000));
	ASSERT_EQ(HOMI_QUEUE_LOST, queue_info(im.fd, im.ring.q.out_queue_id).out_state);
	memset(fx.cq.va, 0, LIST);
	while ((err = ring_recreate(&im.ring)) == -EAGAIN)
		nap_ms(10);
	ASSERT_EQ(0, err);
	check_data();
	close_row();
}

/* A lost queue does not keep its memory, and is not made without it. */
TEST(not_back_without_its_memory)
{
	int err;

	im_begin();
	open_row(IN_SQ | IN_CQ);
	ASSERT_EQ(0, reset_controller(ctrl_name()));
	ASSERT(wait_live(ctrl_name(), 30000));
	while ((err = dma_destroy(&fx.sq)) == -EBUSY)
		nap_ms(10);
	ASSERT_EQ(0, err);
	while ((err = ring_recreate(&im.ring)) == -EAGAIN)
		nap_ms(10);
	ASSERT_EQ(-ESTALE, err);
	ASSERT_EQ(0, ring_destroy(&im.ring));
}

TEST(ring_taken_back)
{
	struct exporter_take answer;
	int dmabuf, err;

	im_begin();
	place(&fx.sq, LIST, false);
	dmabuf = exporter_export(EXPORTER_BAR, 0, LIST);
	dma_import(&fx.cq, im.fd, dmabuf, LIST);
	ASSERT_EQ(0, ring_create_in(&im.ring, im.fd, DEPTH, &fx.sq, &fx.cq));
	answer = exporter_take(dmabuf, EXPORTER_HOLD, 30000);
	ASSERT(answer.out_waited_ms != UINT32_MAX);
	ASSERT_EQ(0, answer.out_left);
	ASSERT_EQ(HOMI_QUEUE_REVOKED, queue_info(im.fd, im.ring.q.out_queue_id).out_state);
	while ((err = ring_recreate(&im.ring)) == -EAGAIN)
		nap_ms(5);
	ASSERT_EQ(-ESTALE, err);
	ASSERT_EQ(0, ring_destroy(&im.ring));
	ASSERT_EQ(-ESTALE, ring_create_in(&im.ring, im.fd, DEPTH, &fx.sq, &fx.cq));
	ASSERT_EQ(0, ring_create_in(&im.ring, im.fd, DEPTH, &fx.sq, NULL));
}

/* What keeps a destroyed queue, a mapping say, does not keep the memory of its rings. */
TEST(unmapped_last)
{
	im_begin();
	place(&fx.sq, LIST, false);
	place(&fx.cq, LIST, false);
	ASSERT_EQ(0, ring_create_in(&im.ring, im.fd, DEPTH, &fx.sq, &fx.cq));
	ASSERT_EQ(0, ring_destroy(&im.ring));
	ASSERT_EQ(0, dma_destroy(&fx.sq));
	ASSERT_EQ(0, dma_destroy(&fx.cq));
	ring_unmap(&im.ring);
	/* And by who ends with a mapping that is left */
	place(&fx.sq, LIST, false);
	ASSERT_EQ(0, ring_create_in(&im.ring, im.fd, DEPTH, &fx.sq, NULL));
	ASSERT_EQ(0, ring_destroy(&im.ring));
	ASSERT_EQ(0, dma_destroy(&fx.sq));
}

static int create_at(uint32_t sq, uint64_t sq_at, uint32_t cq, uint64_t cq_at, uint32_t depth)
{
	struct homi_queue_create q = {
		.size = sizeof(q), .depth = depth, .sq_mem_id = sq, .cq_mem_id = cq,
		.sq_offset = sq_at, .cq_offset = cq_at,
	};

	return homi_call(im.fd, HOMI_QUEUE_CREATE, &q);
}

TEST(bad_places)
{
	uint32_t lent, readable, id;
	struct dma pieces;
	int dmabuf, other;

	im_begin();
	lent = ctrl_info(im.fd).out_queues_lent;
	place(&fx.sq, LIST, true);
	place(&fx.cq, LIST, false);
	ASSERT_EQ(-ENOENT, create_at(1000, 0, 0, 0, DEPTH));
	ASSERT_EQ(-ENOENT, create_at(0, 0, 1000, 0, DEPTH));
	ASSERT_EQ(-EINVAL, create_at(0, PAGE, 0, 0, DEPTH));
	ASSERT_EQ(-EINVAL, create_at(0, 0, 0, PAGE, DEPTH));
	ASSERT_EQ(-EINVAL, create_at(fx.sq.id, 512, 0, 0, DEPTH));
	ASSERT_EQ(-EINVAL, create_at(fx.sq.id, LIST, 0, 0, DEPTH));
	ASSERT_EQ(-EINVAL, create_at(fx.sq.id, -(uint64_t)PAGE, 0, 0, DEPTH));
	ASSERT_EQ(-EINVAL, create_at(fx.sq.id, PAGE, 0, 0, 65));
	ASSERT_EQ(-EINVAL, create_at(fx.sq.id, 0, 0, 0, 129));
	ASSERT_EQ(0, mem_register(im.fd, im.copy, PAGE, 0, &readable, NULL));
	ASSERT_EQ(-EINVAL, create_at(fx.sq.id, 0, readable, 0, DEPTH));
	/* A ring in two pieces is none. */
	dmabuf = exporter_export(EXPORTER_BAR | EXPORTER_SCATTERED, 8 * PAGE, 4 * PAGE);
	dma_import(&pieces, im.fd, dmabuf, 4 * PAGE);
	ASSERT_EQ(-EINVAL, create_at(fx.sq.id, 0, pieces.id, 3 * PAGE, 257));
	/* An IOMMU may have made one of some. */
	if (pieces.segments > 1)
		ASSERT_EQ(-EINVAL, create_at(pieces.id, pieces.seg[0].length - PAGE, 0, 0, 65));
	else
		ASSERT_EQ(HOMI_IOMMU_TRANSLATING, ctrl_info(im.fd).out_iommu);
	/* Another kind of object, and another file's */
	ASSERT_EQ(0, ring_create(&im.ring, im.fd, DEPTH));
	ASSERT_EQ(-ENOENT, create_at(im.ring.q.out_queue_id, 0, 0, 0, DEPTH));
	ASSERT_EQ(0, ring_destroy(&im.ring));
	other = homi_open();
	do {
		ASSERT_EQ(0, mem_register(other, im.again, PAGE, HOMI_MEM_WRITE, &id, NULL));
	} while (id <= pieces.id);
	ASSERT_EQ(-ENOENT, create_at(id, 0, 0, 0, DEPTH));
	ASSERT_EQ(lent, ctrl_info(im.fd).out_queues_lent);
	ASSERT_EQ(0, create_at(fx.sq.id, PAGE, fx.cq.id, PAGE, 64));
}

TEST(closed_with_all_of_it)
{
	int dmabuf;

	im_begin();
	place(&fx.sq, LIST, true);
	dmabuf = exporter_export(EXPORTER_BAR, fx.at, LIST);
	dma_import(&fx.cq, im.fd, dmabuf, LIST);
	ASSERT_EQ(0, ring_create_in(&im.ring, im.fd, DEPTH, &fx.sq, &fx.cq));
	ring_unmap(&im.ring);
	ASSERT(!close(im.fd));
	exporter_wait_free(dmabuf);
}
