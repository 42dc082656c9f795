// SPDX-License-Identifier: MIT
/*
 * dma-bufs for io_uring: by the kernel's own registration where that is and serves the
 * target, by homi's otherwise. The system calls are made here and not by liburing, which
 * the library is not linked with.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <homi/uring.h>

#include "internal.h"

/*
 * What linux/io_uring.h has under names of its own in kernels that know it, and
 * liburing's copy does not have yet: struct io_uring_rsrc_update2 whose first
 * reserved field became flags, and struct io_uring_regbuf_desc.
 */
#define UPDATE_EXTENDED		(1u << 1)	/* @data: struct buf_desc, not iovecs */

enum buf_type {
	BUF_EMPTY = 0,
	BUF_DMABUF = 2,
};

struct buf_update {
	uint32_t offset;
	uint32_t flags;
	uint64_t data;
	uint64_t tags;
	uint32_t nr;
	uint32_t resv2;
};

struct buf_desc {
	uint32_t type;
	uint32_t flags;
	uint64_t size;
	uint64_t uaddr;
	int32_t dmabuf_fd;
	int32_t target_fd;
	uint64_t resv[6];
};

_Static_assert(sizeof(struct buf_update) == sizeof(struct io_uring_rsrc_update2) &&
	       sizeof(struct buf_desc) == 80, "as the kernel has them");

/* Opcodes that take a structure take its size, others a count. */
static int ring_register(int ring, unsigned int opcode, const void *arg, unsigned int nr)
{
	long ret = syscall(__NR_io_uring_register, ring, opcode, arg, nr);

	return ret < 0 ? -errno : (int)ret;
}

/* One entry of the ring's table of buffers: 1, how many were updated, or a negative errno */
static int update_entry(int ring, uint32_t index, const struct buf_desc *desc)
{
	struct buf_update update = {
		.offset = index, .flags = UPDATE_EXTENDED, .data = (uintptr_t)desc, .nr = 1,
	};

	return ring_register(ring, IORING_REGISTER_BUFFERS_UPDATE, &update, sizeof(update));
}

/*
 * Kernels that do not know the flag see a reserved field that is not 0, before they look
 * for a table. Those that do miss the table first; with one, they look at the descriptors
 * of a dma-buf, which are none, only if they were built for that.
 */
static int probe_ring(int ring)
{
	static const struct buf_desc none = { .type = BUF_EMPTY };
	static const struct buf_desc bad = {
		.type = BUF_DMABUF, .dmabuf_fd = -1, .target_fd = -1,
	};
	const struct io_uring_rsrc_register table = {
		.nr = 1, .flags = IORING_RSRC_REGISTER_SPARSE,
	};
	int ret = update_entry(ring, 0, &none);

	if (ret == -EINVAL)
		return HOMI_URING_DMABUF_NONE;
	if (ret != -ENXIO)
		return ret < 0 ? ret : -EPROTO;
	ret = ring_register(ring, IORING_REGISTER_BUFFERS2, &table, sizeof(table));
	if (ret)
		return ret < 0 ? ret : -EPROTO;
	ret = update_entry(ring, 0, &bad);
	switch (ret) {
	case -EBADF:
		return HOMI_URING_DMABUF_YES;
	case -EOPNOTSUPP:
		return HOMI_URING_DMABUF_OFF;
	case -EINVAL:
		return HOMI_URING_DMABUF_NONE;
	}
	return ret < 0 ? ret : -EPROTO;
}

int homi_uring_probe(void)
{
	struct io_uring_params params;
	int ring, ret;

	memset(&params, 0, sizeof(params));
	ring = (int)syscall(__NR_io_uring_setup, 1, &params);
	if (ring < 0)
		return -errno;
	ret = probe_ring(ring);
	close(ring);
	return ret;
}

/* Of the kinds of file that the kernel's own way serves? */
static int check_target(int target)
{
	struct stat st;
	int flags;

	if (fstat(target, &st))
		return -errno;
	if (!S_ISBLK(st.st_mode))
		return -ENOTBLK;
	flags = fcntl(target, F_GETFL);
	if (flags < 0)
		return -errno;
	return flags & O_DIRECT ? 0 : -EINVAL;
}

/*
 * enum homi_uring_way. Only what is surely not for the kernel's own way is for homi's: no
 * answer to the question is none.
 */
static int choose(const struct homi_uring_buf_config *config)
{
	int ret, only = config->way == HOMI_URING_BY_KERNEL || !config->dev;

	if (config->way == HOMI_URING_BY_HOMI)
		return config->dev ? HOMI_URING_BY_HOMI : -EINVAL;
	if (config->way != HOMI_URING_EITHER && config->way != HOMI_URING_BY_KERNEL)
		return -EINVAL;
	ret = check_target(config->target);
	if (!only && (ret == -ENOTBLK || ret == -EINVAL))
		return HOMI_URING_BY_HOMI;
	if (ret)
		return ret;
	ret = homi_uring_probe();
	if (ret < 0)
		return ret;
	if (ret == HOMI_URING_DMABUF_YES)
		return HOMI_URING_BY_KERNEL;
	return only ? -EOPNOTSUPP : HOMI_URING_BY_HOMI;
}

static int open_by_kernel(struct homi_uring_buf *buf, int dmabuf)
{
	const struct buf_desc desc = {
		.type = BUF_DMABUF, .dmabuf_fd = dmabuf, .target_fd = buf->target,
	};
	int ret = update_entry(buf->ring->ring_fd, buf->index, &desc);

	if (ret < 0)
		return ret;
	return ret == 1 ? 0 : -EPROTO;
}

static int open_by_homi(struct homi_uring_buf *buf, const struct homi_uring_buf_config *config,
			uint32_t *reason)
{
	off_t length;
	int ret;

	ret = homi_file_register(buf->dev, buf->target, &buf->file_id, reason);
	if (ret)
		return ret;
	if (config->mem) {
		buf->mem = *config->mem;
		buf->borrowed = 1;
		return 0;
	}
	length = lseek(config->dmabuf, 0, SEEK_END);
	if (length < 0)
		ret = -errno;
	else
		ret = homi_mem_import(buf->dev, config->dmabuf, 0, (uint64_t)length,
				      HOMI_MEM_WRITE, NULL, &buf->mem, reason);
	if (ret)
		homi_destroy(buf->dev, buf->file_id);
	return ret;
}

int homi_uring_buf_open(struct homi_uring_buf *buf, const struct homi_uring_buf_config *config,
			uint32_t *reason)
{
	int ret = choose(config);

	memset(buf, 0, sizeof(*buf));
	if (reason)
		*reason = 0;
	if (ret < 0)
		return ret;
	buf->way = (enum homi_uring_way)ret;
	buf->dev = config->dev;
	buf->ring = config->ring;
	buf->index = config->index;
	buf->target = config->target;
	if (buf->way == HOMI_URING_BY_KERNEL)
		ret = open_by_kernel(buf, config->dmabuf);
	else
		ret = open_by_homi(buf, config, reason);
	if (ret)
		memset(buf, 0, sizeof(*buf));
	return ret;
}

int homi_uring_buf_close(struct homi_uring_buf *buf)
{
	static const struct buf_desc none = { .type = BUF_EMPTY };
	int ret = 0;

	if (buf->way == HOMI_URING_BY_KERNEL) {
		ret = update_entry(buf->ring->ring_fd, buf->index, &none);
		if (ret == 1)
			ret = 0;
		else if (ret >= 0)
			ret = -EPROTO;
	} else if (buf->way == HOMI_URING_BY_HOMI) {
		/* The MEM first: it may be busy, and then nothing is to have been done. */
		if (!buf->borrowed && buf->mem.id)
			ret = homi_mem_release(buf->dev, &buf->mem);
		if (!ret)
			ret = homi_destroy(buf->dev, buf->file_id);
	}
	if (!ret)
		memset(buf, 0, sizeof(*buf));
	return ret;
}
