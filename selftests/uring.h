/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HOMI_SELFTESTS_URING_H
#define HOMI_SELFTESTS_URING_H

/* homi's commands by io_uring */

#include <liburing.h>

#include "common.h"

/* A ring, or the test is skipped where io_uring is off; 0 or -errno */
int uring_open(struct io_uring *ring, unsigned int entries, unsigned int flags);
/* The next SQE, filled in but for what the command has for itself */
struct io_uring_sqe *uring_next(struct io_uring *ring, int fd, uint32_t cmd);
/* One command of the table: what its completion says */
int uring_call(struct io_uring *ring, int fd, uint32_t cmd, void *arg);

/* What READ and WRITE are asked for, most of it */
struct rw_target {
	int fd;			/* of homi */
	int file;
	uint32_t flags;		/* HOMI_RW_* */
	uint32_t mem;
};

int file_register(int fd, int file, uint32_t *id, uint32_t *reason);
struct homi_uring_rw rw_make(const struct rw_target *t, uint64_t file_offset, uint64_t mem_offset,
		       uint32_t length);
/* Into the next SQE, of 128 bytes; @data comes back with its completion. */
struct io_uring_sqe *rw_post(struct io_uring *ring, int fd, bool write, const struct homi_uring_rw *rw,
			     uint64_t data);
/* The next completion, and whose it is (@data may be NULL) */
int uring_reap(struct io_uring *ring, uint64_t *data);
/* One, start to end: bytes or -errno */
int rw_do(struct io_uring *ring, const struct rw_target *t, bool write, uint64_t file_offset,
	  uint64_t mem_offset, uint32_t length);

#endif
