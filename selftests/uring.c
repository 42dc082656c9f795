// SPDX-License-Identifier: GPL-2.0-only
#include "uring.h"

int uring_open(struct io_uring *ring, unsigned int entries, unsigned int flags)
{
	struct io_uring_params p = { .flags = flags };
	int err = io_uring_queue_init_params(entries, ring, &p);

	if (err == -ENOSYS || err == -EPERM)
		SKIP("io_uring is off here: %s", strerror(-err));
	return err;
}

struct io_uring_sqe *uring_next(struct io_uring *ring, int fd, uint32_t cmd)
{
	struct io_uring_sqe *sqe;

	/* A polling thread takes them in its own time. */
	while (!(sqe = io_uring_get_sqe(ring)))
		ASSERT(io_uring_submit(ring) >= 0);
	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, fd, NULL, 0, 0);
	sqe->off = cmd;
	return sqe;
}

int uring_reap(struct io_uring *ring, uint64_t *data)
{
	struct io_uring_cqe *cqe;
	int err, res;

	do {
		err = io_uring_wait_cqe(ring, &cqe);
	} while (err == -EINTR);
	ASSERT_EQ(0, err);
	res = cqe->res;
	if (data)
		*data = cqe->user_data;
	io_uring_cqe_seen(ring, cqe);
	return res;
}

int uring_call(struct io_uring *ring, int fd, uint32_t cmd, void *arg)
{
	struct io_uring_sqe *sqe = uring_next(ring, fd, cmd);
	struct homi_uring_call call = { .addr = (uintptr_t)arg };

	memcpy(sqe->cmd, &call, sizeof(call));
	ASSERT_EQ(1, io_uring_submit(ring));
	return uring_reap(ring, NULL);
}

int file_register(int fd, int file, uint32_t *id, uint32_t *reason)
{
	struct homi_file_register cmd = { .size = sizeof(cmd), .fd = file };
	int err = homi_call(fd, HOMI_FILE_REGISTER, &cmd);

	*id = cmd.out_file_id;
	if (reason)
		*reason = cmd.out_reason;
	return err;
}

struct homi_uring_rw rw_make(const struct rw_target *t, uint64_t file_offset, uint64_t mem_offset,
		       uint32_t length)
{
	return (struct homi_uring_rw){
		.flags = t->flags,
		.file = t->file,
		.file_offset = file_offset,
		.mem_id = t->mem,
		.length = length,
		.mem_offset = mem_offset,
	};
}

struct io_uring_sqe *rw_post(struct io_uring *ring, int fd, bool write, const struct homi_uring_rw *rw,
			     uint64_t data)
{
	struct io_uring_sqe *sqe = uring_next(ring, fd, write ? HOMI_WRITE : HOMI_READ);

	/* The second half of the SQE too: all of the command area of 80 bytes */
	memset(sqe->cmd, 0, 80);
	memcpy(sqe->cmd, rw, sizeof(*rw));
	sqe->user_data = data;
	return sqe;
}

int rw_do(struct io_uring *ring, const struct rw_target *t, bool write, uint64_t file_offset,
	  uint64_t mem_offset, uint32_t length)
{
	struct homi_uring_rw rw = rw_make(t, file_offset, mem_offset, length);

	rw_post(ring, t->fd, write, &rw, 0);
	ASSERT_EQ(1, io_uring_submit(ring));
	return uring_reap(ring, NULL);
}
