// SPDX-License-Identifier: GPL-2.0-only
#include <stdlib.h>
#include <sys/mman.h>

#include "imported.h"

struct imported im;

void im_begin_system(void)
{
	im.fd = homi_open();
	need_queues(im.fd, 1);
	ASSERT(!posix_memalign((void **)&im.copy, PAGE, LENGTH));
	ASSERT(!posix_memalign((void **)&im.again, PAGE, LENGTH));
	area_open(&im.area, LENGTH);
	dma_new(&im.list, im.fd, PAGE);
}

void im_begin(void)
{
	need_exporter();
	im_begin_system();
}

void im_begin_with(uint32_t flags)
{
	im_begin();
	im.dmabuf = exporter_export(flags, 16 * LENGTH, LENGTH);
	dma_import(&im.dma, im.fd, im.dmabuf, LENGTH);
	ring_open(&im.ring, im.fd, DEPTH);
}

void im_end(void)
{
	ASSERT_EQ(0, ring_destroy(&im.ring));
	ring_unmap(&im.ring);
	ASSERT_EQ(0, dma_destroy(&im.dma));
	exporter_wait_free(im.dmabuf);
	ASSERT(!munmap(im.dma.va, LENGTH));
	close(im.dmabuf);
}

void im_check_steps(char *at, const struct dma *list, size_t step)
{
	static uint64_t seed;

	area_need_write(&im.area);
	area_fill(&im.area, ++seed, im.copy);
	memset(at, 0, LENGTH);
	ASSERT_EQ(0, ring_copy(&im.ring, NVME_READ, &im.area, 0, LENGTH, &im.dma, list, step));
	memcpy(im.again, at, LENGTH);
	ASSERT_SAME(im.copy, im.again, LENGTH);
	fill_random(im.copy, LENGTH, ++seed);
	memcpy(at, im.copy, LENGTH);
	ASSERT_EQ(0, ring_copy(&im.ring, NVME_WRITE, &im.area, 0, LENGTH, &im.dma, list, step));
	area_pread(&im.area, 0, im.again, LENGTH);
	ASSERT_SAME(im.copy, im.again, LENGTH);
}

void im_check_data(char *at, const struct dma *list)
{
	im_check_steps(at, list, max_step(im.fd));
}

void *im_reader(void *arg)
{
	struct cqe cqe;
	unsigned int i;

	(void)arg;
	for (i = 0; !atomic_load(&im.stop); i++) {
		struct sqe sqe = sqe_rw(NVME_READ, &im.area, i * PAGE % LENGTH, PAGE, &im.dma,
					i * PAGE % LENGTH, NULL);

		sqe.cid = i % DEPTH;
		if (!ring_full(&im.ring)) {
			ring_post(&im.ring, &sqe);
			ring_doorbell(&im.ring);
		}
		if (!ring_poll(&im.ring, &cqe, 0))
			atomic_fetch_add(&im.completed, 1);
	}
	return NULL;
}
