/* SPDX-License-Identifier: MIT */
#ifndef HOMI_READER_H
#define HOMI_READER_H

/*
 * Reads and writes files through a queue pair of its own: a pump with the kernel below it.
 *
 * Every wait has a bound. A command that never completes ends in -ETIMEDOUT with
 * the queue deleted; a recall of the extents in -ESTALE. A controller reset is
 * waited for, and the read goes on, if it is in file order; else -ESTALE.
 * The reader stays usable after each error but -ENODEV: it makes a new queue
 * when it reads next.
 *
 * When the controller is removed the kernel takes the rings away, and a poll that
 * comes before the check is SIGBUS. A program that wants to outlive a removal
 * catches that (as tools/session.c does); it then may only close the reader.
 */

#include "homi.h"
#include "pump.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct homi_reader_options - all may be 0
 * @depth: commands in flight; cut to what the controller's queues can hold
 * @chunk: bytes in one command; cut to what the controller's limits allow
 * @timeout_ms: how long a command, or a reset that is under way, may take
 */
struct homi_reader_options {
	uint32_t depth;
	uint32_t chunk;
	uint32_t timeout_ms;
};

struct homi_reader;

/** homi_reader_open - @options may be NULL; @dev must outlive the reader */
int homi_reader_open(struct homi_reader **reader, const struct homi_dev *dev,
		     const struct homi_reader_options *options);

/**
 * homi_reader_read - see homi_pump_read()
 *
 * No command is in flight when it returns. -ESTALE with an extent table whose
 * state is not HOMI_EXTENT_VALID: somebody wants to write to the file. -ESTALE
 * else: the queue was lost by a reset, with HOMI_PUMP_ANY_ORDER, or by several
 * resets in a row.
 */
int homi_reader_read(struct homi_reader *reader, const struct homi_extents *extents,
		     uint64_t offset, uint64_t length, unsigned int flags,
		     homi_deliver_fn deliver, void *arg);

/**
 * homi_reader_write - see homi_pump_write()
 *
 * No command is in flight when it returns. -ESTALE with an extent table whose
 * state is not HOMI_EXTENT_VALID: somebody wants the file. -ESTALE else: the
 * queue was lost by a reset; what was written before that may not be durable, so
 * write all of it again.
 */
int homi_reader_write(struct homi_reader *reader, const struct homi_extents *extents,
		      uint64_t offset, uint64_t length, homi_fetch_fn fetch, void *arg);

/** homi_reader_get_stats - of the last read, also of one that failed */
void homi_reader_get_stats(const struct homi_reader *reader, struct homi_pump_stats *stats);

/** homi_reader_rest - deletes the queue until the reader is used again; 0 if all went well */
int homi_reader_rest(struct homi_reader *reader);

/** homi_reader_close - deletes the queue and frees the memory; 0 if all went well */
int homi_reader_close(struct homi_reader *reader);

#ifdef __cplusplus
}
#endif

#endif /* HOMI_READER_H */
