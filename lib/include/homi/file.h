/* SPDX-License-Identifier: MIT */
#ifndef HOMI_FILE_H
#define HOMI_FILE_H

/*
 * A file that is read or written through a reader's queue for as long as one
 * likes, while others use it too: when somebody wants it, it is given back, and
 * resolved again when he is done.
 *
 * There are no hidden threads. Between calls the file is held, and whoever wants
 * it waits for the next call, or until the module's recall_ms are over and all
 * queues of the open device are deleted. So a program that makes pauses listens
 * to homi_file_get_event() and calls homi_file_give_way().
 *
 * What a call delivers was in the file at some time during the call, as with
 * pread() beside a writer; in one call pieces may be of different times.
 *
 * A file belongs to one thread, as its reader does. Several files may share a
 * reader: while a call waits or reads, the others that are read are given back
 * when somebody wants them; those that are written to only while it waits. With
 * HOMI_FILE_WRITE the device has no queues but the reader's: a call
 * that has to give way is -EBUSY else. Removal of the controller is as in
 * reader.h.
 */

#include "reader.h"

#ifdef __cplusplus
extern "C" {
#endif

#define HOMI_FILE_WAIT_MS	30000u

/* struct homi_file_options.flags */
enum {
	HOMI_FILE_WRITE = 1 << 0,	/* to write in place, and to read what was written */
	HOMI_FILE_NO_WAIT = 1 << 1,	/* -EAGAIN instead of waiting for others */
};

/**
 * struct homi_file_options - all may be 0
 * @flags: HOMI_FILE_*
 * @wait_ms: how long a call may wait for others to be done with the file, and do
 *	in vain what they break into; 0: HOMI_FILE_WAIT_MS
 */
struct homi_file_options {
	unsigned int flags;
	uint32_t wait_ms;
};

struct homi_file;

/**
 * homi_file_open - begins to hold a file
 * @file: written
 * @reader: reads it; on @dev; outlives the file
 * @dev: the controller that the file is on; outlives the file
 * @fd: open for reading, or with HOMI_FILE_WRITE with O_PATH; duplicated
 * @options: may be NULL
 * @reason: enum homi_reason, written also on error; may be NULL
 *
 * Errors are those of homi_extents_open(), or of homi_extents_open_to_write().
 * -EAGAIN: somebody has it, and had it for all of wait_ms.
 */
int homi_file_open(struct homi_file **file, struct homi_reader *reader,
		   const struct homi_dev *dev, int fd, const struct homi_file_options *options,
		   uint32_t *reason);

/**
 * homi_file_pread - reads into memory of the caller, any at all
 * @file: the file
 * @buf: room for @length bytes
 * @length: bytes
 * @offset: bytes, of any alignment
 *
 * Return: bytes read, fewer than @length only at the end of the file; or a negative
 * errno: -EAGAIN as for homi_file_open(), others as for homi_reader_read(). Then
 * anything may be in @buf. With HOMI_FILE_WRITE -EINVAL for what is behind the
 * last whole block of the file.
 */
int64_t homi_file_pread(struct homi_file *file, void *buf, uint64_t length, uint64_t offset);

/**
 * homi_file_read - delivers a range in file order
 * @file: the file
 * @offset: bytes
 * @length: bytes; what is behind the end of the file is not delivered
 * @deliver: see homi_pump_read(); each byte once. Not 0 ends the call with that.
 * @arg: for @deliver
 *
 * 0 or a negative errno, likewise.
 */
int homi_file_read(struct homi_file *file, uint64_t offset, uint64_t length,
		   homi_deliver_fn deliver, void *arg);

/**
 * homi_file_pwrite - writes in place; durable when it returns
 * @file: opened with HOMI_FILE_WRITE
 * @buf: @length bytes
 * @length: bytes, a multiple of the block size
 * @offset: likewise; the range is within the file
 *
 * Return: @length, or a negative errno; then any part may have been written. What
 * is interrupted by others, or by a reset, is written again as a whole: one who
 * reads in between sees a part of it.
 */
int64_t homi_file_pwrite(struct homi_file *file, const void *buf, uint64_t length,
			 uint64_t offset);

/**
 * homi_file_get_event - an eventfd that becomes readable when somebody wants the file
 *
 * To be waited for only; it belongs to the file. Also readable when nobody does.
 */
int homi_file_get_event(const struct homi_file *file);

/**
 * homi_file_give_way - if somebody wants the file, he gets it
 *
 * 0: he did, or nobody wants it. A file that is written to takes the reader's queue
 * with it, until it is used again.
 */
int homi_file_give_way(struct homi_file *file);

/** homi_file_get_table - the extents as they are now; NULL while it is not held, or empty */
const struct homi_extent_table *homi_file_get_table(const struct homi_file *file);

/** homi_file_get_reason - enum homi_reason of the last -EAGAIN or -EOPNOTSUPP */
uint32_t homi_file_get_reason(const struct homi_file *file);

/**
 * homi_file_close - gives it back
 *
 * -EBUSY: opened with HOMI_FILE_WRITE, and the device has queues besides the
 * reader's, still after wait_ms. Then it stays open.
 */
int homi_file_close(struct homi_file *file);

#ifdef __cplusplus
}
#endif

#endif /* HOMI_FILE_H */
