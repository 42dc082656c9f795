// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "exporter.h"

#define EXPORTER	"/dev/homi_exporter"

static int exporter = -1;

int need_exporter(void)
{
	if (exporter < 0)
		exporter = open(EXPORTER, O_RDWR | O_CLOEXEC);
	if (exporter < 0)
		SKIP("no " EXPORTER " (selftests/modules/homi_exporter.ko is not loaded)");
	if (!exporter_info(-1).out_bar_size)
		SKIP("no ivshmem device for homi_exporter");
	return exporter;
}

int exporter_export(uint32_t flags, uint64_t offset, uint64_t length)
{
	struct exporter_export cmd = { .offset = offset, .length = length, .flags = flags };

	if (ioctl(need_exporter(), EXPORTER_EXPORT, &cmd))
		FAIL("export of %#llx bytes, flags %#x: %s", (unsigned long long)length, flags,
		     strerror(errno));
	return cmd.out_fd;
}

struct exporter_info exporter_info(int dmabuf)
{
	struct exporter_info cmd = { .fd = dmabuf };

	ASSERT(!ioctl(exporter, EXPORTER_INFO, &cmd));
	return cmd;
}

struct exporter_take exporter_take(int dmabuf, uint32_t flags, uint32_t timeout_ms)
{
	struct exporter_take cmd = { .fd = dmabuf, .flags = flags, .timeout_ms = timeout_ms };

	ASSERT(!ioctl(need_exporter(), EXPORTER_TAKE, &cmd));
	return cmd;
}

void exporter_wait_free(int dmabuf)
{
	uint64_t end = now_ms() + 30000;
	struct exporter_info info;

	do {
		info = exporter_info(dmabuf);
		if (!info.out_attached && !info.out_mapped && !info.out_pinned)
			return;
		nap_ms(5);
	} while (now_ms() < end);
	FAIL("%u attached, %u mapped, %u pinned", info.out_attached, info.out_mapped,
	     info.out_pinned);
}

int mem_import(int fd, int dmabuf, uint64_t offset, uint64_t length, uint32_t flags,
	       struct homi_mem_register *r)
{
	struct homi_mem_register own;

	r = r ? r : &own;
	*r = (struct homi_mem_register){
		.size = sizeof(*r),
		.type = HOMI_MEM_DMABUF,
		.flags = flags,
		.fd = dmabuf,
		.addr = offset,
		.length = length,
	};
	return homi_call(fd, HOMI_MEM_REGISTER, r);
}

struct homi_mem_info mem_info(int fd, uint32_t id)
{
	struct homi_mem_info info = { .size = sizeof(info), .mem_id = id };

	ASSERT_EQ(0, homi_call(fd, HOMI_MEM_INFO, &info));
	return info;
}

void dma_import(struct dma *dma, int fd, int dmabuf, size_t length)
{
	struct homi_mem_register r;
	uint32_t count;
	int err;

	err = mem_import(fd, dmabuf, 0, length, HOMI_MEM_WRITE, &r);
	if (err)
		FAIL("error %d, reason %u", err, r.out_reason);
	*dma = (struct dma){
		.fd = fd,
		.id = r.out_mem_id,
		.length = length,
		.segments = r.out_segments,
		.va = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, 0),
	};
	ASSERT(dma->va != MAP_FAILED);
	dma->seg = calloc(dma->segments, sizeof(*dma->seg));
	ASSERT(dma->seg);
	count = dma->segments;
	ASSERT_EQ(0, mem_segments(fd, dma->id, dma->seg, &count));
	ASSERT_EQ(dma->segments, count);
}

int udmabuf_new(size_t length)
{
	struct udmabuf_create create = { .flags = UDMABUF_FLAGS_CLOEXEC, .size = length };
	int dev = open("/dev/udmabuf", O_RDWR | O_CLOEXEC), memfd, fd;

	if (dev < 0)
		return -errno;
	memfd = memfd_create("homi", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ASSERT(memfd >= 0 && !ftruncate(memfd, length));
	ASSERT(!fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK));
	create.memfd = memfd;
	fd = ioctl(dev, UDMABUF_CREATE, &create);
	ASSERT(fd >= 0);
	close(memfd);
	close(dev);
	return fd;
}

int heap_new(size_t length)
{
	struct dma_heap_allocation_data data = { .len = length, .fd_flags = O_RDWR | O_CLOEXEC };
	int dev = open("/dev/dma_heap/system", O_RDONLY | O_CLOEXEC);

	if (dev < 0)
		return -errno;
	ASSERT(!ioctl(dev, DMA_HEAP_IOCTL_ALLOC, &data));
	close(dev);
	return data.fd;
}
