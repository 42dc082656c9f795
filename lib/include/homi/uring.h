/* SPDX-License-Identifier: MIT */
#ifndef HOMI_URING_H
#define HOMI_URING_H

/**
 * DOC: io_uring
 *
 * For programs with liburing: what to put into an SQE. READ and WRITE need a ring
 * with IORING_SETUP_SQE128; see struct homi_uring_rw for what they do and return.
 */

#include <liburing.h>
#include <string.h>

#include "homi.h"

#ifdef __cplusplus
extern "C" {
#endif

/* IORING_OP_URING_CMD for the descriptor of homi's; not for callers */
static inline void homi_uring_prep_(struct io_uring_sqe *sqe, const struct homi_dev *dev,
				    uint32_t cmd, const void *area, size_t size, size_t room)
{
	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, dev->fd, NULL, 0, 0);
	/* cmd_op, and the padding behind it */
	sqe->off = cmd;
	memset(sqe->cmd, 0, room);
	memcpy(sqe->cmd, area, size);
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
	homi_uring_prep_(sqe, dev, cmd, &call, sizeof(call), 16);
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
	homi_uring_prep_(sqe, dev, cmd, rw, sizeof(*rw), 80);
}

/* Of a FILE and a MEM; not for callers */
static inline void homi_uring_prep_file_(struct io_uring_sqe *sqe, const struct homi_dev *dev,
					 uint32_t cmd, uint32_t file_id, uint64_t file_offset,
					 const struct homi_mem *mem, uint64_t mem_offset,
					 uint32_t length)
{
	struct homi_uring_rw rw;

	memset(&rw, 0, sizeof(rw));
	rw.file = (int32_t)file_id;
	rw.file_offset = file_offset;
	rw.mem_id = mem->id;
	rw.length = length;
	rw.mem_offset = mem_offset;
	homi_uring_prep_rw(sqe, dev, cmd, &rw);
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

#ifdef __cplusplus
}
#endif

#endif
