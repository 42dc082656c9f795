/* SPDX-License-Identifier: MIT */
#ifndef HOMI_PUMP_H
#define HOMI_PUMP_H

/*
 * Moves a range of a file through a ring, with many commands in flight. It is
 * given a ring, memory and extents and makes no kernel call on them, so that it
 * runs as well against a model of a controller. reader.h puts the kernel below.
 */

#include <stddef.h>
#include <stdint.h>

#include "extent.h"
#include "prp.h"
#include "ring.h"

#ifdef __cplusplus
extern "C" {
#endif

#define HOMI_PUMP_CHUNK		(128u << 10)
#define HOMI_PUMP_DEPTH		128u
#define HOMI_PUMP_TIMEOUT_MS	30000u

/**
 * struct homi_pump_config - what a pump is made of
 * @ring: room for @depth commands; used by nobody else while a read runs
 * @mem: start of a MEM, page aligned; homi_pump_memory() says how much it takes
 * @mem_length: bytes there
 * @segs: its segments
 * @seg_count: number of these
 * @page_size: the controller's (CC.MPS)
 * @depth: commands in flight, 0: HOMI_PUMP_DEPTH
 * @chunk: bytes in one command, 0: HOMI_PUMP_CHUNK; cut to what the limits allow
 * @max_transfer: the controller's limit (MDTS) in bytes, 0: none
 * @timeout_ms: how long a command may take, 0: HOMI_PUMP_TIMEOUT_MS
 * @check: called about every 10 ms of waiting or working. Negative: the read ends
 *	at once with that, commands in flight or not. Positive: nothing more is
 *	sent, what is in flight is waited for, and the read ends with the negative
 *	of it. @idle is not 0 if no completion came since the last call. May be
 *	NULL.
 * @check_arg: for @check
 */
struct homi_pump_config {
	struct homi_ring *ring;
	void *mem;
	uint64_t mem_length;
	const struct homi_seg *segs;
	uint32_t seg_count;
	uint32_t page_size;
	uint32_t depth;
	uint32_t chunk;
	uint64_t max_transfer;
	uint32_t timeout_ms;
	int (*check)(void *arg, int idle);
	void *check_arg;
};

/**
 * struct homi_pump_source - where a file lies
 * @records: its extents, sorted and gapless over the range that is read
 * @count: number of records
 * @nsid: namespace of the blocks
 * @block_size: bytes
 * @file_size: bytes; nothing behind that is delivered
 */
struct homi_pump_source {
	const struct homi_extent *records;
	uint64_t count;
	uint32_t nsid;
	uint32_t block_size;
	uint64_t file_size;
};

/**
 * struct homi_pump_stats - of one read or write
 * @ios: commands that were sent
 * @bytes: delivered, holes included; or written
 * @hole_bytes: delivered without I/O
 * @error_offset: file offset of the first command that failed
 * @error_slba: its first block
 * @status: its NVMe status (see HOMI_STATUS_*), 0 if none failed
 */
struct homi_pump_stats {
	uint64_t ios;
	uint64_t bytes;
	uint64_t hole_bytes;
	uint64_t error_offset;
	uint64_t error_slba;
	uint16_t status;
};

enum {
	HOMI_PUMP_ANY_ORDER = 1 << 0,	/* deliver as completions come */
};

/**
 * homi_deliver_fn - takes data
 * @arg: the caller's
 * @offset: bytes from the start of the file
 * @data: valid until the function returns
 * @length: bytes, not 0
 *
 * Return: 0 to go on; a negative errno ends the read with that value
 */
typedef int (*homi_deliver_fn)(void *arg, uint64_t offset, const void *data, size_t length);

/**
 * homi_fetch_fn - gives data
 * @arg: the caller's
 * @offset: bytes from the start of the file
 * @data: to be filled
 * @length: bytes, not 0
 *
 * Return: 0 to go on; a negative errno ends the write with that value
 */
typedef int (*homi_fetch_fn)(void *arg, uint64_t offset, void *data, size_t length);

struct homi_pump;

/** homi_pump_memory - bytes of MEM that a pump of this configuration takes */
uint64_t homi_pump_memory(const struct homi_pump_config *config);

/**
 * homi_pump_new - makes a pump; @config is copied, what it points to is not
 *
 * -EINVAL for values that do not fit together, -EOPNOTSUPP if pages of the MEM
 * are smaller than the controller's.
 */
int homi_pump_new(struct homi_pump **pump, const struct homi_pump_config *config);
void homi_pump_free(struct homi_pump *pump);

/**
 * homi_pump_read - reads and delivers a range
 * @pump: the pump
 * @source: the file
 * @offset: bytes, need not be aligned
 * @length: bytes; the range is cut at the end of the file
 * @flags: 0: in file order; or HOMI_PUMP_ANY_ORDER
 * @deliver: gets every byte of the range once
 * @arg: for @deliver
 *
 * Return: 0; what @deliver returned; -EIO: a command failed, see
 * homi_pump_get_stats(), all others have completed; -EINVAL: the extents do not
 * cover the range, or a block is larger than a command may be; -ETIMEDOUT: a
 * command did not complete in time; -EPROTO: the controller completed a command
 * that was not sent; or what @check returned.
 *
 * After any but the first four commands may be in flight: the queue has to be
 * destroyed before the memory, and the pump takes no further read
 * (homi_pump_is_broken()).
 */
int homi_pump_read(struct homi_pump *pump, const struct homi_pump_source *source,
		   uint64_t offset, uint64_t length, unsigned int flags,
		   homi_deliver_fn deliver, void *arg);

/**
 * homi_pump_write - fetches and writes a range, and flushes it
 * @pump: the pump
 * @target: the file; resolved to be written to (HOMI_RESOLVE_WRITE)
 * @offset: bytes, a multiple of the block size
 * @length: bytes, likewise
 * @fetch: asked for every byte of the range once, in file order
 * @arg: for @fetch
 *
 * Return: as homi_pump_read(), @fetch in place of its receiver. 0: a Flush that
 * was sent after all of it has completed. -EINVAL besides for a range that is not
 * of whole blocks, or in which there is a hole. After an error any part of the
 * range may have been written.
 */
int homi_pump_write(struct homi_pump *pump, const struct homi_pump_source *target,
		    uint64_t offset, uint64_t length, homi_fetch_fn fetch, void *arg);

int homi_pump_is_broken(const struct homi_pump *pump);

/** homi_pump_get_stats - of the last read or write, also of one that failed */
void homi_pump_get_stats(const struct homi_pump *pump, struct homi_pump_stats *stats);

#ifdef __cplusplus
}
#endif

#endif /* HOMI_PUMP_H */
