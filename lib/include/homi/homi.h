/* SPDX-License-Identifier: MIT */
#ifndef HOMI_HOMI_H
#define HOMI_HOMI_H

/*
 * The control calls of libhomi: thin covers of the kernel's commands
 * (linux/homi.h) that also map what the kernel lends.
 *
 * Every function that returns int gives 0 or a negative errno, whose meaning is
 * listed in linux/homi.h. Nothing prints, and there are no hidden threads and no
 * global state. Calls on one device may come from several threads; a queue's
 * ring belongs to one.
 */

#include <stddef.h>
#include <stdint.h>

#include <linux/homi.h>

#include "extent.h"
#include "prp.h"
#include "ring.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct homi_dev - an open controller
 * @fd: open file of /dev/homi/nvmeN; owns all objects made through it
 * @info: as it was when the controller was opened
 */
struct homi_dev {
	int fd;
	struct homi_ctrl_info info;
};

/**
 * homi_open - opens a controller
 * @dev: written
 * @name: "nvme0", or a path if there is a slash in it
 */
int homi_open(struct homi_dev *dev, const char *name);

/**
 * homi_close - closes it; all objects end that are not held by a mapping
 *
 * The owner of a queue destroys it first, or leaves its mappings behind.
 */
void homi_close(struct homi_dev *dev);

/** homi_get_ctrl_info - what the controller has and lends now */
int homi_get_ctrl_info(const struct homi_dev *dev, struct homi_ctrl_info *info);

/**
 * homi_get_ns_info - one namespace
 * @dev: the controller
 * @nsid: its id; or with HOMI_NS_NEXT the lowest that may be found
 * @flags: 0 or HOMI_NS_NEXT
 * @info: written
 *
 * -ENOENT if there is none.
 */
int homi_get_ns_info(const struct homi_dev *dev, uint32_t nsid, uint32_t flags,
		     struct homi_ns_info *info);

/**
 * homi_file_register - a FILE, for READ and WRITE by io_uring (homi/uring.h)
 * @dev: the controller
 * @fd: of a regular file; may be closed afterwards
 * @file_id: written; ends by homi_destroy()
 * @reason: enum homi_reason, written also on error; may be NULL
 */
int homi_file_register(const struct homi_dev *dev, int fd, uint32_t *file_id, uint32_t *reason);

/** homi_destroy - ends a QUEUE, MEM, EXTENT or FILE by its id */
int homi_destroy(const struct homi_dev *dev, uint32_t id);

/**
 * struct homi_mem - memory that the controller can reach
 * @addr: where it is in this process
 * @length: bytes
 * @segs: pieces that are contiguous for the controller, for prp.h
 * @seg_count: number of these
 * @id: of the MEM
 * @owned: the library allocated @addr
 */
struct homi_mem {
	void *addr;
	uint64_t length;
	struct homi_seg *segs;
	uint32_t seg_count;
	uint32_t id;
	int owned;
};

/**
 * homi_mem_register - pins memory of the caller and learns its addresses
 * @dev: the controller
 * @addr: start, a multiple of the system's page size
 * @length: bytes, likewise
 * @flags: HOMI_MEM_WRITE if reads from the drive go there, or 0
 * @mem: written
 */
int homi_mem_register(const struct homi_dev *dev, void *addr, uint64_t length,
		      uint32_t flags, struct homi_mem *mem);

/** homi_mem_alloc - allocates zeroed memory and registers it; @length is rounded up to pages */
int homi_mem_alloc(const struct homi_dev *dev, uint64_t length, uint32_t flags,
		   struct homi_mem *mem);

/**
 * homi_mem_import - registers a part of a dma-buf, a GPU's memory for example
 * @dev: the controller
 * @dmabuf: may be closed afterwards
 * @offset: bytes from its start, a multiple of the system's page size
 * @length: bytes, likewise
 * @flags: HOMI_MEM_WRITE if reads from the drive go there; HOMI_MEM_BAR to refuse what
 *	is not in a device's BAR
 * @addr: where the caller has that part mapped, or NULL
 * @mem: written
 * @reason: enum homi_reason, written also on error; may be NULL
 *
 * The exporter may take it back: see HOMI_MEM_REVOKED, and bind an eventfd to @mem->id.
 */
int homi_mem_import(const struct homi_dev *dev, int dmabuf, uint64_t offset, uint64_t length,
		    uint32_t flags, void *addr, struct homi_mem *mem, uint32_t *reason);

/**
 * homi_udmabuf - a dma-buf of the system's memory, for a look without a device
 * @length: bytes, a multiple of the system's page size
 *
 * By /dev/udmabuf, whose module has a limit (size_limit_mb). The caller closes it.
 *
 * Return: a descriptor or a negative errno
 */
int homi_udmabuf(uint64_t length);

/** homi_get_mem_info - where memory really is, and whether it still is the controller's */
int homi_get_mem_info(const struct homi_dev *dev, const struct homi_mem *mem,
		      struct homi_mem_info *info);

/**
 * homi_mem_release - unregisters; frees what homi_mem_alloc() allocated
 *
 * -EBUSY while this open file has a live queue: then nothing was done.
 */
int homi_mem_release(const struct homi_dev *dev, struct homi_mem *mem);

/**
 * struct homi_queue - a queue pair, mapped
 * @ring: ready for homi_ring_post() and so on
 * @create: what the kernel answered: ids, offsets
 *
 * The rest is private.
 */
struct homi_queue {
	struct homi_ring ring;
	struct homi_queue_create create;
	void *sq;
	void *cq;
	void *db;
	void *shadow;
	void *event;
	void *book;
};

/**
 * homi_queue_open - creates a queue pair at the controller and maps it
 * @dev: the controller
 * @depth: entries; depth - 1 commands can be outstanding
 * @queue: written
 *
 * Needs CAP_SYS_RAWIO. -EAGAIN while the controller resets, -ENOSPC if it has no
 * queue to spare.
 */
int homi_queue_open(const struct homi_dev *dev, uint32_t depth, struct homi_queue *queue);

/**
 * homi_queue_open_interrupt - homi_queue_open() with an interrupt of its own
 *
 * For homi_queue_wait(), which without one relies on a thread of the kernel's that looks at
 * intervals. -EOPNOTSUPP where that is not possible (HOMI_CTRL_INTERRUPTS), -ENOSPC also if no
 * vector is left: homi_queue_open() does then.
 */
int homi_queue_open_interrupt(const struct homi_dev *dev, uint32_t depth,
			      struct homi_queue *queue);

/**
 * homi_queue_arm - be told when there is a completion to take
 * @dev: the controller
 * @queue: open; all completions that are there were taken (homi_ring_take())
 *
 * Returns 1 if there is one now, and 0 if the eventfd of homi_queue_bind_completions(), and
 * poll() on @dev->fd (POLLIN), will tell of the next one, or that the queue was lost. -ESTALE
 * if that has happened, -EOPNOTSUPP for a completion ring in memory of the caller's.
 */
int homi_queue_arm(const struct homi_dev *dev, const struct homi_queue *queue);

/** homi_queue_bind_completions - the eventfd for homi_queue_arm(), or -1 for none */
int homi_queue_bind_completions(const struct homi_dev *dev, const struct homi_queue *queue,
				int eventfd);

/**
 * homi_queue_wait - sleep until there is a completion to take
 * @timeout_ms: as for poll(), negative for ever
 *
 * homi_queue_arm(), and what poll() says of @dev->fd, which tells of all its queues: returns 1
 * if there is something to look at, of whichever queue, 0 after @timeout_ms, or as
 * homi_queue_arm(); -EINTR for a signal, -ENODEV if the controller is gone.
 */
int homi_queue_wait(const struct homi_dev *dev, const struct homi_queue *queue, int timeout_ms);

/**
 * struct homi_ring_place - where a ring of a queue is to be
 * @mem: registered with HOMI_MEM_WRITE for a completion ring
 * @offset: bytes from its start, a multiple of the controller's page size
 */
struct homi_ring_place {
	const struct homi_mem *mem;
	uint64_t offset;
};

/**
 * homi_queue_open_in - homi_queue_open() with rings in memory of the caller's
 * @dev: the controller
 * @depth: entries
 * @sq: for the submission ring; NULL: the kernel's memory
 * @cq: for the completion ring, likewise
 * @queue: written
 *
 * The memory stays registered as long as the queue lives. A completion ring is zeroed
 * here if @mem->addr is known, else by the caller before: nobody else's ring may be there,
 * whatever comes of the call. If one of both rings can't be
 * seen from here, @queue->ring is none: the device that sees it makes its own of
 * homi_queue_get_config().
 */
int homi_queue_open_in(const struct homi_dev *dev, uint32_t depth,
		       const struct homi_ring_place *sq, const struct homi_ring_place *cq,
		       struct homi_queue *queue);

/**
 * homi_queue_map - maps a queue in a process that did not open it
 * @dev: with a descriptor of the same open file
 * @queue: a copy of what the other process has; rings in memory of the caller's are where
 *	they are in this process, all other addresses are written
 *
 * No mapping of a queue is inherited over fork(). For homi_queue_get_config() then;
 * @queue->ring stays the other process's.
 */
int homi_queue_map(const struct homi_dev *dev, struct homi_queue *queue);

/**
 * homi_queue_get_config - what a queue is made of, for another driver of it
 * @queue: open
 * @config: written; users and free_cids are NULL, and so are rings that can't be seen
 *	from here. Addresses of this process.
 *
 * For homi_shared_init(), or homi_ring_init() with memory of the caller's. @queue->ring
 * must not be used beside it.
 */
void homi_queue_get_config(const struct homi_queue *queue, struct homi_ring_config *config);

/**
 * homi_queue_close - deletes it at the controller, then unmaps it
 *
 * Commands in flight are aborted: when this returns 0 the controller writes to
 * none of their buffers any more, or, if it did not answer within delete_ms, is
 * being reset: homi_mem_release() is -EBUSY until it has let go of them. The
 * mappings are gone in any case.
 */
int homi_queue_close(const struct homi_dev *dev, struct homi_queue *queue);

/**
 * homi_queue_recreate - makes a lost or revoked queue anew, in place
 *
 * @queue->ring begins afresh: no command is outstanding, and what was in flight
 * may or may not have been executed. -EAGAIN while the controller resets,
 * -EBUSY if the queue is not lost; -ENOSPC: not to be had any more, close it.
 * After these errors the queue is as lost as before; after another one, for
 * want of memory say, it is good for nothing, close it.
 */
int homi_queue_recreate(const struct homi_dev *dev, struct homi_queue *queue);

/**
 * homi_event_bind - an eventfd is told of what happens to an object
 * @dev: the controller
 * @id: of a queue (@create.out_queue_id), struct homi_extents or struct homi_set, or 0 for the
 *	state of the controller
 * @eventfd: or -1 to end it; see HOMI_EVENT_BIND
 */
int homi_event_bind(const struct homi_dev *dev, uint32_t id, int eventfd);

/** homi_get_queue_info - state of a queue, lost ones included */
int homi_get_queue_info(const struct homi_dev *dev, uint32_t queue_id,
			struct homi_queue_info *info);

/**
 * homi_doorbell_export - a page with a queue's doorbells as a dma-buf
 * @dev: the controller
 * @queue_id: of a queue (@create.out_queue_id), whose @create also tells where in the page they are
 * @part: enum homi_doorbell_part
 *
 * For devices that import it. As long as anybody has it the id of the queue is nobody else's.
 *
 * Return: the descriptor, or a negative errno: see HOMI_DOORBELL_EXPORT
 */
int homi_doorbell_export(const struct homi_dev *dev, uint32_t queue_id, uint32_t part);

/**
 * homi_queue_check - is the queue still there?
 *
 * 0, -ESTALE (lost by a reset, or revoked), -ENODEV (the controller is gone), or
 * why it is not known. To be asked when completions fail to come.
 */
int homi_queue_check(const struct homi_dev *dev, const struct homi_queue *queue);

/**
 * struct homi_extents - the blocks of a file
 * @table: mapped read-only; its state changes when somebody wants the blocks back
 * @length: bytes that are mapped; 0 if the mapping is a set's
 * @id: of the EXTENT
 */
struct homi_extents {
	const struct homi_extent_table *table;
	uint64_t length;
	uint32_t id;
};

/**
 * homi_extents_open - resolves a file range and keeps the answer true
 * @dev: the controller
 * @fd: the file, open for reading
 * @offset: bytes, a multiple of the block size
 * @length: likewise; 0 is up to the end of the file
 * @extents: written
 * @reason: enum homi_reason, written also on error; may be NULL
 */
int homi_extents_open(const struct homi_dev *dev, int fd, uint64_t offset, uint64_t length,
		      struct homi_extents *extents, uint32_t *reason);

/**
 * homi_extents_open_to_write - as homi_extents_open(), to write to the blocks
 * @fd: open with O_PATH; nobody else may have the file open
 *
 * See HOMI_RESOLVE_WRITE. homi_extents_close() is -EBUSY while @dev has queues, and
 * @extents stays open then.
 */
int homi_extents_open_to_write(const struct homi_dev *dev, int fd, uint64_t offset,
			       uint64_t length, struct homi_extents *extents, uint32_t *reason);

/**
 * homi_extents_ack - answers a recall (HOMI_EXTENT_RECALLED)
 * @dev: the controller
 * @extents: no command on their blocks may be in flight, or be submitted any more
 *
 * Whoever waits for the file goes on at once. What is left is homi_extents_close().
 * -EINVAL: it is not recalled; -ESTALE: too late, the queues are or will be deleted.
 */
int homi_extents_ack(const struct homi_dev *dev, const struct homi_extents *extents);

/** homi_extents_close - gives the blocks back; no command on them may be in flight */
int homi_extents_close(const struct homi_dev *dev, struct homi_extents *extents);

/**
 * struct homi_set - the blocks of many files, in one mapping
 * @head: mapped read-only: an entry for each name, in the order of the names
 * @length: bytes that are mapped
 * @id: of the SET, for homi_event_bind(): told of whatever becomes of one of the files
 */
struct homi_set {
	const struct homi_extent_set *head;
	uint64_t length;
	uint32_t id;
};

/**
 * homi_set_open - resolves many files by one call, as homi_extents_open() would
 * @dev: the controller
 * @dirfd: a directory, the root for all names (O_PATH is enough)
 * @names: of files below it
 * @count: number of names, 1 to HOMI_SET_FILES_MAX
 * @set: written
 *
 * A file that can't be had is no error: its entry says why. About 1 KiB of kernel memory
 * for each file. See HOMI_RESOLVE_SET.
 */
int homi_set_open(const struct homi_dev *dev, int dirfd, const char *const *names, uint32_t count,
		  struct homi_set *set);

/**
 * homi_set_get - one of its files, for homi_extents_ack() and homi_extents_close()
 * @set: stays open as long as @extents->table is used
 * @index: of the name, below @set->head->count
 * @extents: written
 *
 * homi_extents_close() gives back this file alone, the table stays readable. Or why there
 * is nothing: -errno, with @set->head->entries[@index].reason.
 */
int homi_set_get(const struct homi_set *set, uint32_t index, struct homi_extents *extents);

/** homi_set_close - gives back all that is left; no command on their blocks may be in flight */
int homi_set_close(const struct homi_dev *dev, struct homi_set *set);

/**
 * homi_reserve - queue pairs that the nvme driver is to leave to homi
 * @dev: the controller
 * @count: how many; 0 gives all back
 * @answer: written on success; may be NULL
 *
 * May reset the controller, once: see HOMI_RESERVE. Needs CAP_SYS_ADMIN.
 * -ENOSPC if the controller does not grant so many, -EBUSY if queue ids that
 * would be given back are in use.
 */
int homi_reserve(const struct homi_dev *dev, uint32_t count, struct homi_reserve *answer);

/**
 * homi_holders - who else has queues on the controller
 * @dev: the controller
 * @flags: 0, or HOMI_HOLDERS_REVOKE to take them all back
 * @holders: written: an array, which the caller frees
 * @answer: written: @count of them; may not be NULL
 *
 * Needs CAP_SYS_ADMIN.
 */
int homi_holders(const struct homi_dev *dev, uint32_t flags, struct homi_holder **holders,
		 struct homi_holders *answer);

/** homi_strreason - a sentence for enum homi_reason; never NULL */
const char *homi_strreason(uint32_t reason);

#ifdef __cplusplus
}
#endif

#endif /* HOMI_HOMI_H */
