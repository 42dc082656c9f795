/* SPDX-License-Identifier: MIT */
#ifndef FIO_HOMI_ENGINE_H
#define FIO_HOMI_ENGINE_H

/*
 * An external engine of fio's: jobs go through queue pairs of homi's, or by io_uring to files.
 * fio.h is first: it wants to be.
 */
#include <fio.h>

#include <homi/homi.h>
#include <homi/uring.h>

enum engine_mode {
	MODE_URING,		/* files, by HOMI_READ and HOMI_WRITE */
	MODE_RAW,		/* a namespace or partition, by a queue pair of its own */
};

enum engine_way {
	WAY_AUTO,
	WAY_BY_FS,
	WAY_BY_EXTENTS,
};

/* As fio's parser fills it in; nothing may be at offset 0. */
struct engine_options {
	void *pad;
	unsigned int mode;
	unsigned int way;
	unsigned int claim;
	char *ctrl;
	char *dmabuf;
};

struct engine;

/**
 * struct target - what an open file of a job's is
 * @engine: whose
 * @file_id: the FILE (MODE_URING)
 * @ns: the namespace (MODE_RAW)
 * @start: where in that it begins, bytes
 * @length: bytes
 * @status: of the last command of it that failed
 */
struct target {
	struct engine *engine;
	uint32_t file_id;
	struct homi_ns_info ns;
	uint64_t start;
	uint64_t length;
	uint16_t status;
};

/**
 * struct slot - a command of a raw queue pair, one for each io_u
 * @io_u: NULL: none is in flight
 * @sqe: it, for who has to send it again
 * @posted_ns: when
 */
struct slot {
	struct io_u *io_u;
	struct homi_sqe sqe;
	uint64_t posted_ns;
};

/**
 * struct engine - a job
 * @options: of it
 * @dev: the controller; @has_dev: it is open
 * @mem: the buffers; @mem.length is 0 if there are none
 * @events: what getevents() has found, for event()
 * @ring: MODE_URING; @has_ring: it is made
 * @queue: MODE_RAW; @has_queue: it is made
 * @lists: a page of the controller's for each slot, for PRP lists and ranges to trim
 * @slots: by io_u's index
 * @busy: slots in flight
 * @looked_ns: when it was last asked whether the queue is there
 * @overdue: looks in a row at which a command was
 * @failed: negative errno: nothing goes any more
 * @recoveries: how often the queue was lost and made anew
 * @resent: commands that were sent again then
 */
struct engine {
	const struct engine_options *options;
	struct homi_dev dev;
	bool has_dev;
	struct homi_mem mem;
	struct io_u **events;

	struct io_uring ring;
	bool has_ring;

	struct homi_queue queue;
	bool has_queue;
	struct homi_mem lists;
	struct slot *slots;
	unsigned int depth;
	unsigned int busy;
	uint64_t looked_ns;
	unsigned int overdue;
	int failed;
	unsigned int recoveries;
	uint64_t resent;
};

/* A sentence for people, the error for fio; returns 1. @err: negative errno */
int engine_fails(struct thread_data *td, int err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Where in the job's memory an io_u's data are; false: not there */
bool engine_mem_offset(const struct engine *e, const struct io_u *io_u, uint64_t *offset);

/* --- place.c: where something is --- */

/* Opens the controller that has @path; 0, or 1 and it was said why not. */
int place_open(struct thread_data *td, struct engine *e, const char *path);
/* Which blocks an open block device is; 0, or 1 and it was said why that can't be told. */
int place_find_blocks(struct thread_data *td, struct engine *e, const struct fio_file *f,
		      struct target *t);
int place_alloc(struct thread_data *td, struct engine *e, uint64_t length);
void place_free(struct engine *e);

/* --- uring.c --- */

int uring_start(struct thread_data *td, struct engine *e);
void uring_stop(struct engine *e);
int uring_open(struct thread_data *td, struct engine *e, struct fio_file *f, struct target *t);
enum fio_q_status uring_queue(struct thread_data *td, struct engine *e, struct io_u *io_u);
int uring_commit(struct engine *e);
int uring_getevents(struct engine *e, unsigned int min, unsigned int max);

/* --- raw.c --- */

int raw_start(struct thread_data *td, struct engine *e);
void raw_stop(struct engine *e);
int raw_open(struct thread_data *td, struct engine *e, struct fio_file *f, struct target *t);
enum fio_q_status raw_queue(struct engine *e, struct io_u *io_u);
int raw_commit(struct engine *e);
int raw_getevents(struct thread_data *td, struct engine *e, unsigned int min, unsigned int max);

#endif /* FIO_HOMI_ENGINE_H */
