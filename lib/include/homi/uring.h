/* SPDX-License-Identifier: MIT */
#ifndef HOMI_URING_H
#define HOMI_URING_H

/**
 * DOC: io_uring
 *
 * For programs with liburing, which libhomi.pc does not ask for (Debian: liburing-dev): what to
 * put into an SQE. READ and WRITE need a ring with IORING_SETUP_SQE128; see struct homi_uring_rw for what they do and return.
 *
 * struct homi_uring_buf is for dma-bufs. Kernels after 7.3 have a registration of these
 * themselves, for raw block devices; homi has one for files. It says which of both it is.
 */

#include <liburing.h>
#include <string.h>

#include "homi.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * enum homi_uring_dmabuf - has the kernel a registration of dma-bufs of its own?
 * @HOMI_URING_DMABUF_NONE: it does not know of such a thing
 * @HOMI_URING_DMABUF_OFF: it does, but was built without (CONFIG_DMABUF_TOKEN)
 * @HOMI_URING_DMABUF_YES: for block devices that are open with O_DIRECT
 */
enum homi_uring_dmabuf {
	HOMI_URING_DMABUF_NONE = 0,
	HOMI_URING_DMABUF_OFF = 1,
	HOMI_URING_DMABUF_YES = 2,
};

/**
 * homi_uring_probe - asks the running kernel that
 *
 * By a ring of its own, that is gone when it returns; nothing is registered with any
 * other. Needs no controller and no homi.
 *
 * Return: enum homi_uring_dmabuf, or why it is not known: -ENOSYS: this kernel has no
 * io_uring; -EPERM: it has, but not for the caller (kernel.io_uring_disabled, seccomp,
 * which may say -ENOSYS too); -EMFILE, -ENOMEM and the like: no ring could be had;
 * -EPROTO: an answer that makes no sense.
 */
int homi_uring_probe(void);

/**
 * enum homi_uring_way - who moves data between a file and a dma-buf
 * @HOMI_URING_EITHER: to ask with: the kernel for a block device that is open with
 *	O_DIRECT, if it can; homi for all else
 * @HOMI_URING_BY_KERNEL: IORING_OP_READ_FIXED and WRITE_FIXED
 * @HOMI_URING_BY_HOMI: HOMI_READ and HOMI_WRITE of a FILE and a MEM
 */
enum homi_uring_way {
	HOMI_URING_EITHER = 0,
	HOMI_URING_BY_KERNEL = 1,
	HOMI_URING_BY_HOMI = 2,
};

/**
 * struct homi_uring_buf_config - what is to be read to, or written from; of what
 * @dev: the controller, for homi's way; NULL: the kernel's or none
 * @ring: for the kernel's way
 * @index: in its table of buffers, likewise; what is there is replaced
 * @dmabuf: all of it; open for reading and writing; may be closed afterwards
 * @target: a file or a block device, open for what is to be done with it
 * @way: EITHER, or the one that is demanded
 * @mem: for homi's way, if the dma-buf has been imported already: one MEM can so be had
 *	by many files. Outlives the handle. NULL: it is imported for this one.
 */
struct homi_uring_buf_config {
	const struct homi_dev *dev;
	struct io_uring *ring;
	uint32_t index;
	int dmabuf;
	int target;
	enum homi_uring_way way;
	const struct homi_mem *mem;
};

/**
 * struct homi_uring_buf - a dma-buf and a file that it is for
 * @way: BY_KERNEL or BY_HOMI: who does it
 * @target: of the config
 * @index: likewise
 *
 * The rest is private.
 */
struct homi_uring_buf {
	enum homi_uring_way way;
	int target;
	uint32_t index;
	uint32_t file_id;
	const struct homi_dev *dev;
	struct io_uring *ring;
	struct homi_mem mem;
	int borrowed;
};

/**
 * homi_uring_buf_open - makes a dma-buf known for a file
 * @buf: written
 * @config: @dev and @ring outlive @buf
 * @reason: enum homi_reason, written also on error, 0 if homi was not asked; may be NULL
 *
 * What was demanded and can't be had is an error, and so is what goes wrong on the way
 * that was chosen: the other one is not tried then.
 *
 * The kernel's way: -EOPNOTSUPP: the kernel has none, or the device's driver does not do
 * it; -ENOTBLK: @target is no block device; -EINVAL: it is not open with O_DIRECT, @index
 * is not in the table, the dma-buf is too large (more than 1 GiB at first), or @way is
 * none; -ENXIO: @ring has no table of buffers (io_uring_register_buffers_sparse()); else
 * as homi_uring_probe(), and what the kernel says. @target stays open as long as @buf.
 *
 * homi's way: as homi_file_register() and homi_mem_import(); -EINVAL: demanded, and @dev
 * is NULL. Of a block device it is -EOPNOTSUPP with HOMI_REASON_FILE_TYPE.
 *
 * -EBADF: a descriptor is none.
 */
int homi_uring_buf_open(struct homi_uring_buf *buf, const struct homi_uring_buf_config *config,
			uint32_t *reason);

/**
 * homi_uring_buf_close - undoes that; a handle that is all zeroes stays as it is
 *
 * -EBUSY, homi's way: a command uses the MEM, or the open device has a live queue; other
 * errors are the kernel's. What is left can be closed again.
 */
int homi_uring_buf_close(struct homi_uring_buf *buf);

/* Bytes for a command in an SQE of 128 */
#define HOMI_URING_ROOM	80

/* IORING_OP_URING_CMD for the descriptor of homi's; not for callers */
static inline void homi_uring_prep_(struct io_uring_sqe *sqe, const struct homi_dev *dev,
				    uint32_t cmd)
{
	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, dev->fd, NULL, 0, 0);
	/* cmd_op, and the padding behind it */
	sqe->off = cmd;
}

/**
 * homi_uring_prep_call - a command that ioctl() takes too
 * @sqe: of either size
 * @dev: the controller
 * @cmd: HOMI_MEM_REGISTER for example
 * @arg: its structure, @size filled in, which has to stay until the completion
 */
static inline void homi_uring_prep_call(struct io_uring_sqe *sqe, const struct homi_dev *dev,
					uint32_t cmd, void *arg)
{
	struct homi_uring_call call;

	memset(&call, 0, sizeof(call));
	call.addr = (uintptr_t)arg;
	homi_uring_prep_(sqe, dev, cmd);
	memcpy(sqe->cmd, &call, sizeof(call));
}

/**
 * homi_uring_prep_rw - READ or WRITE
 * @sqe: of 128 bytes
 * @dev: the controller
 * @cmd: HOMI_READ or HOMI_WRITE
 * @rw: copied
 */
static inline void homi_uring_prep_rw(struct io_uring_sqe *sqe, const struct homi_dev *dev,
				      uint32_t cmd, const struct homi_uring_rw *rw)
{
	homi_uring_prep_(sqe, dev, cmd);
	memcpy(sqe->cmd, rw, sizeof(*rw));
	memset(sqe->cmd + sizeof(*rw), 0, HOMI_URING_ROOM - sizeof(*rw));
}

/* Of a FILE and a MEM; not for callers */
static inline void homi_uring_prep_file_(struct io_uring_sqe *sqe, const struct homi_dev *dev,
					 uint32_t cmd, uint32_t file_id, uint64_t file_offset,
					 const struct homi_mem *mem, uint64_t mem_offset,
					 uint32_t length)
{
	/* In place: a copy is a good part of what user space does for an I/O. */
	struct homi_uring_rw *rw = (struct homi_uring_rw *)(void *)sqe->cmd;

	homi_uring_prep_(sqe, dev, cmd);
	memset(rw, 0, HOMI_URING_ROOM);
	rw->file = (int32_t)file_id;
	rw->file_offset = file_offset;
	rw->mem_id = mem->id;
	rw->length = length;
	rw->mem_offset = mem_offset;
}

/**
 * homi_uring_prep_read - from a file to a MEM
 * @sqe: of 128 bytes
 * @dev: the controller
 * @file_id: by homi_file_register()
 * @file_offset: bytes
 * @mem: registered, with HOMI_MEM_WRITE
 * @mem_offset: bytes from its start
 * @length: bytes
 */
static inline void homi_uring_prep_read(struct io_uring_sqe *sqe, const struct homi_dev *dev,
					uint32_t file_id, uint64_t file_offset,
					const struct homi_mem *mem, uint64_t mem_offset,
					uint32_t length)
{
	homi_uring_prep_file_(sqe, dev, HOMI_READ, file_id, file_offset, mem, mem_offset, length);
}

/** homi_uring_prep_write - from a MEM to a file; as homi_uring_prep_read() */
static inline void homi_uring_prep_write(struct io_uring_sqe *sqe, const struct homi_dev *dev,
					 uint32_t file_id, uint64_t file_offset,
					 const struct homi_mem *mem, uint64_t mem_offset,
					 uint32_t length)
{
	homi_uring_prep_file_(sqe, dev, HOMI_WRITE, file_id, file_offset, mem, mem_offset, length);
}

/* For the SQE of either way; not for callers */
static inline void homi_uring_prep_buf_(struct io_uring_sqe *sqe, const struct homi_uring_buf *buf,
					int write, uint64_t file_offset, uint64_t buf_offset,
					uint32_t length)
{
	/* Where there are no addresses, one is where it is in the buffer. */
	void *addr = (void *)(uintptr_t)buf_offset;

	if (buf->way == HOMI_URING_BY_HOMI)
		homi_uring_prep_file_(sqe, buf->dev, write ? HOMI_WRITE : HOMI_READ, buf->file_id,
				      file_offset, &buf->mem, buf_offset, length);
	else if (write)
		io_uring_prep_write_fixed(sqe, buf->target, addr, length, file_offset,
					  (int)buf->index);
	else
		io_uring_prep_read_fixed(sqe, buf->target, addr, length, file_offset,
					 (int)buf->index);
}

/**
 * homi_uring_prep_buf_read - from a file to a dma-buf, whichever way
 * @sqe: of 128 bytes, of the ring that @buf was opened with
 * @buf: open
 * @file_offset: bytes
 * @buf_offset: bytes from the start of the dma-buf, or of the MEM that was handed in
 * @length: bytes
 *
 * The CQE's res is bytes or -errno. -EAGAIN: by the kernel, the dma-buf was just being
 * moved: try again; by homi, somebody has the file open for writing, or wanted it back some
 * seconds ago, and this file system can't say then where it lies.
 */
static inline void homi_uring_prep_buf_read(struct io_uring_sqe *sqe,
					    const struct homi_uring_buf *buf,
					    uint64_t file_offset, uint64_t buf_offset,
					    uint32_t length)
{
	homi_uring_prep_buf_(sqe, buf, 0, file_offset, buf_offset, length);
}

/**
 * homi_uring_prep_buf_write - from a dma-buf to a file; as homi_uring_prep_buf_read()
 *
 * By homi to blocks that the file has already, and not on each kernel and file system: the
 * CQE's res is -EOPNOTSUPP otherwise.
 */
static inline void homi_uring_prep_buf_write(struct io_uring_sqe *sqe,
					     const struct homi_uring_buf *buf,
					     uint64_t file_offset, uint64_t buf_offset,
					     uint32_t length)
{
	homi_uring_prep_buf_(sqe, buf, 1, file_offset, buf_offset, length);
}

#ifdef __cplusplus
}
#endif

#endif
